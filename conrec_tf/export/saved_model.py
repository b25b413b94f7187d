"""A trained network as a SavedModel that needs TensorFlow alone."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import os
import tempfile
from typing import Any

import tensorflow as tf

from conrec_tf.data.augmentation.resizing import evaluation_image, evaluation_reduction
from conrec_tf.data.images import header
from conrec_tf.data.images.decoding import decode_image, decode_reduced, decode_stored
from conrec_tf.export.classifier import classify
from conrec_tf.models import ConRec, LinearHead
from conrec_tf.models.pooling import AttentionPooling
from conrec_tf.pretrained.classifier import ASSET, without_images
from conrec_tf.pretrained.find import METADATA
from conrec_tf.pretrained.load import parts_of
from conrec_tf.run_dir.classifier_file import KeptClassifier

DECODABLE_CHANNELS = (1, 3)
SIGNATURES = {"reconstruction": "reconstruct"}

OfImages = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Exported:
  """The functions of a network that other programs call.

  Attributes:
    output: the name of what the main one computes.
    call: the main one, of float32 `[B, H, W, C]` in [0, 1] and whether batch norm trains.
    parts: `{name: part}` of the network with weights.
    used: those that the output depends on.
    functions: `{name: function of images}` of what else it computes, in inference mode.
    signatures: `{signature: name of an output}`, beside `serving_default`.
    decode: from a JPEG or PNG file to the image as it was evaluated, float32 `[H, W, C]`; None
      where such files hold no such images.
    classify: from images to what the network's classifier says, a tensor by name; None where it has
      none. See `export.classifier.classify`.
    classifier: that classifier, to be kept beside the network, or None.
  """

  output: str
  call: Callable[[tf.Tensor, bool], tf.Tensor]
  parts: Mapping[str, tf.keras.Model]
  used: Sequence[tf.keras.Model]
  functions: Mapping[str, OfImages]
  signatures: Mapping[str, str]
  decode: OfImages | None = None
  classify: Callable[[tf.Tensor], dict[str, tf.Tensor]] | None = None
  classifier: KeptClassifier | None = None


def save(exported: Exported, path: str | os.PathLike, metadata: dict[str, Any]) -> None:
  """Writes a SavedModel to a folder that isn't there yet.

  The metadata become `assets/metadata.json`; `channels` and `image_size` are used. A classifier
  becomes `assets/classifier.npz`.
  """
  root, signatures = reusable(exported, metadata["channels"], metadata["image_size"])
  with tempfile.TemporaryDirectory() as folder:
    file = os.path.join(folder, METADATA)
    with open(file, "w") as stream:
      json.dump(metadata, stream, indent=2)
    root.metadata = tf.saved_model.Asset(file)
    if exported.classifier:
      file = os.path.join(folder, ASSET)
      with open(file, "wb") as stream:
        stream.write(exported.classifier.to_bytes())
      root.classifier = tf.saved_model.Asset(file)
    tf.saved_model.save(root, os.fspath(path), signatures=signatures)


def reusable(
  exported: Exported, channels: int, size: int
) -> tuple[tf.train.Checkpoint, dict[str, Callable]]:
  """Makes a network an object after TensorFlow Hub's reusable SavedModel convention.

  Args:
    size: height and width of images that are decoded.

  Returns:
    root: a trackable object, callable as `(images, training=False)`. It has the `variables`,
    `trainable_variables` and `regularization_losses` of just what the output depends on, and each
    further function under its name. `parts` holds all variables.
    signatures: `serving_default`, the call, those of `exported`, and `encoded_images`, the call of
    files as strings `[B]`; what they give has the name of the output. With a classifier also
    `classify`, of images, and `classify_encoded_images`, of files.
  """
  spec = tf.TensorSpec([None, None, None, channels], tf.float32, name="images")

  @tf.function(autograph=False)
  def call(images: tf.Tensor, training: bool = False) -> tf.Tensor:
    return exported.call(images, training)

  def encoded(outputs: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Callable:
    def of_files(encoded_images: tf.Tensor) -> dict[str, tf.Tensor]:
      pixels = tf.TensorSpec([size, size, channels], tf.float32)
      return outputs(tf.map_fn(exported.decode, encoded_images, fn_output_signature=pixels))

    files = tf.TensorSpec([None], tf.string, name="encoded_images")
    return tf.function(of_files, input_signature=[files], autograph=False)

  def signature(name: str) -> Callable:
    function = exported.functions.get(name, call)
    return tf.function(
      lambda images: {name: function(images)}, input_signature=[spec], autograph=False
    )

  root = tf.train.Checkpoint()
  root.__call__ = call
  root.variables = [variable for part in exported.used for variable in part.variables]
  root.trainable_variables = [
    variable for part in exported.used for variable in part.trainable_variables
  ]
  root.regularization_losses = []
  root.parts = {name: part.weights for name, part in exported.parts.items()}
  call.get_concrete_function(spec, True)
  for name, function in exported.functions.items():
    setattr(root, name, tf.function(function, input_signature=[spec], autograph=False))
  outputs = {"serving_default": exported.output, **exported.signatures}
  signatures = {name: signature(output) for name, output in outputs.items()}
  if exported.decode:
    signatures["encoded_images"] = encoded(lambda images: {exported.output: call(images)})
  if exported.classify:
    signatures["classify"] = tf.function(exported.classify, input_signature=[spec], autograph=False)
    if exported.decode:
      signatures["classify_encoded_images"] = encoded(exported.classify)
  return root, signatures


def exported_representation(
  model: ConRec,
  head: LinearHead | None,
  metadata: dict[str, Any],
  kept: KeptClassifier | None = None,
) -> Exported:
  """Says what is exported of a network that embeds images.

  Args:
    metadata: that stands beside it. Used are channels, image_size, center_crop, image_bits,
      scaled_decoding, layer (of `ConRec.representation`) and whether a classifier is standardised.
    kept: the network's classifier, or None.

  Returns:
    From images, H and W any multiples of the network's stride, to the embedding `[B, F]`, and as
    far as the network has the part `projection` `[B, proj_out_dim]`, `reconstruction`
    `[B, H, W, C]` in [0, 1], `attention` `[B, h, w, 1]` in (0, 1), `logits` `[B, K]`.
  """
  channels, size, layer = (metadata[name] for name in ("channels", "image_size", "layer"))
  crop, is_scaled = metadata["center_crop"], metadata.get("scaled_decoding", False)

  def decode(encoded: tf.Tensor) -> tf.Tensor:
    def prepared(as_uint16: bool) -> tf.Tensor:
      image = decode_image(encoded, channels, metadata.get("image_bits", 0), as_uint16=as_uint16)
      return evaluation_image(image, size, crop)

    def prepared_reduced() -> tf.Tensor:
      image, _ = decode_reduced(
        encoded,
        lambda full_size: evaluation_reduction(full_size, size, crop),
        lambda data: decode_stored(data, channels),
        channels,
      )
      return evaluation_image(image, size, crop)

    return tf.cond(
      header.is_16_bit_png(encoded),
      lambda: prepared(as_uint16=True),
      prepared_reduced if is_scaled else lambda: prepared(as_uint16=False),
    )

  parts, functions = parts_of(model, head), _further_functions(model, head, layer)
  used = [parts[name] for name in ("encoder", "pooling") if name in parts]
  if layer and model.projection_head:
    used += model.projection_head.first_layers(layer)
  of_images = None
  if kept:
    of_embeddings = classify(kept, metadata["standardize_embeddings"])
    of_images = lambda images: of_embeddings(model.representation(images, layer=layer))
  return Exported(
    "embedding",
    lambda images, training: model.representation(images, training=training, layer=layer),
    parts,
    used,
    functions,
    {SIGNATURES[name]: name for name in functions if name in SIGNATURES},
    decode if channels in DECODABLE_CHANNELS else None,
    of_images,
    kept and without_images(kept),
  )


def _further_functions(model: ConRec, head: LinearHead | None, layer: int) -> dict[str, OfImages]:
  """Returns `{name: function of images}` of what the network has beside the representation."""
  functions: dict[str, OfImages] = {}
  decoder = model.decoder
  if model.projection_head and model.projection_head.weights:
    functions["projection"] = lambda images: model.representation(images, layer=-1)
  if decoder:
    functions["reconstruction"] = lambda images: decoder(*model.encoder(images))[0]
  if isinstance(model.pooling, AttentionPooling):
    functions["attention"] = lambda images: model.pooling.attention(model.encoder(images)[0])
  if head:
    functions["logits"] = lambda images: head(model.representation(images, layer=layer))
  return functions
