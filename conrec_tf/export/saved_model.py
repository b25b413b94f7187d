"""The trained representation as a SavedModel that needs TensorFlow alone."""

from collections.abc import Callable
import json
import os
import tempfile
from typing import Any

import tensorflow as tf

from conrec_tf.data.augmentation.evaluation import evaluation_image, evaluation_reduction
from conrec_tf.data.images import header
from conrec_tf.data.images.decoding import decode_image, decode_reduced, decode_stored
from conrec_tf.models import ConRec, LinearHead
from conrec_tf.models.pooling import AttentionPooling
from conrec_tf.pretrained.find import METADATA
from conrec_tf.pretrained.load import parts_of
from conrec_tf.segmentation.network import SegmentationHead, segment_images

DECODABLE_CHANNELS = (1, 3)


def save(
  model: ConRec,
  head: LinearHead | SegmentationHead | None,
  path: str | os.PathLike,
  metadata: dict[str, Any],
) -> None:
  """Writes a SavedModel to a folder that isn't there yet.

  Args:
    model: a built network.
    head: a built supervised or segmentation head, or None.
    path: of the folder.
    metadata: becomes `assets/metadata.json`. Used are channels, image_size, center_crop, layer (of
      `ConRec.representation`) and class_names (of the head).
  """
  root, signatures = (
    segmentation(model, head, metadata)
    if isinstance(head, SegmentationHead)
    else representation(model, head, metadata)
  )
  with tempfile.TemporaryDirectory() as folder:
    file = os.path.join(folder, METADATA)
    with open(file, "w") as stream:
      json.dump(metadata, stream, indent=2)
    root.metadata = tf.saved_model.Asset(file)
    tf.saved_model.save(root, os.fspath(path), signatures=signatures)


def representation(
  model: ConRec, head: LinearHead | None, metadata: dict[str, Any]
) -> tuple[tf.train.Checkpoint, dict[str, Callable]]:
  """Makes encoder and pooling an object after TensorFlow Hub's reusable SavedModel convention.

  Args:
    model: a built network.
    head: a built supervised head, or None.
    metadata: see `save`.

  Returns:
    root: a trackable object, callable as `(images, training=False)`: float32 `[B, H, W, C]` in
    [0, 1], H and W any multiples of the network's stride, to float32 `[B, F]`. It has the
    `variables`, `trainable_variables` and `regularization_losses` of just what the output
    depends on. Beside it, each a function of images in inference mode and there if the network
    has the part: `projection` `[B, proj_out_dim]`, `reconstruction` `[B, H, W, C]` in [0, 1],
    `attention` `[B, h, w, 1]` in (0, 1), `logits` `[B, K]`. `parts` holds all variables.
    signatures: `serving_default`, the call, and of the parts `reconstruct` and `classify`;
    `encoded_images`, JPEG or PNG files as strings `[B]`, evaluated as the network was. Outputs
    are named embedding, reconstruction, logits.
  """
  channels, size, layer = (metadata[name] for name in ("channels", "image_size", "layer"))
  crop, is_scaled = metadata["center_crop"], metadata.get("scaled_decoding", False)
  spec = tf.TensorSpec([None, None, None, channels], tf.float32, name="images")

  @tf.function(autograph=False)
  def embed(images: tf.Tensor, training: bool = False) -> tf.Tensor:
    return model.representation(images, training=training, layer=layer)

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

  def embed_encoded(encoded_images: tf.Tensor) -> dict[str, tf.Tensor]:
    pixels = tf.TensorSpec([size, size, channels], tf.float32)
    return {"embedding": embed(tf.map_fn(decode, encoded_images, fn_output_signature=pixels))}

  def of_images(name: str, function: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
    return tf.function(
      lambda images: {name: function(images)}, input_signature=[spec], autograph=False
    )

  parts = parts_of(model, head)
  used = [parts[name] for name in ("encoder", "pooling") if name in parts]
  if layer and model.projection_head:
    used += model.projection_head.first_layers(layer)
  root = tf.train.Checkpoint()
  root.__call__ = embed
  root.variables = [variable for part in used for variable in part.variables]
  root.trainable_variables = [variable for part in used for variable in part.trainable_variables]
  root.regularization_losses = []
  root.parts = {name: part.weights for name, part in parts.items()}
  embed.get_concrete_function(spec, True)
  signatures = {"serving_default": of_images("embedding", embed)}
  if channels in DECODABLE_CHANNELS:
    signatures["encoded_images"] = tf.function(
      embed_encoded,
      input_signature=[tf.TensorSpec([None], tf.string, name="encoded_images")],
      autograph=False,
    )
  for name, function in _named_parts(model, head, layer).items():
    setattr(root, name, tf.function(function, input_signature=[spec], autograph=False))
    if name in ("reconstruction", "logits"):
      signature = {"reconstruction": "reconstruct", "logits": "classify"}[name]
      signatures[signature] = of_images(name, function)
  return root, signatures


def segmentation(
  model: ConRec, head: SegmentationHead, metadata: dict[str, Any]
) -> tuple[tf.train.Checkpoint, dict[str, Callable]]:
  """Makes a segmenting network an object after TensorFlow Hub's reusable SavedModel convention.

  Args:
    model: a built network with a decoder.
    head: its built segmentation head.
    metadata: see `save`.

  Returns:
    root: a trackable object, callable as `(images, training=False)`: float32 `[B, H, W, C]` in
    [0, 1], of any size and predicted at once, to probabilities float32 `[B, H, W, K]`. `parts`
    holds all variables.
    signatures: `serving_default` and `segment`, both the call, with the output `probabilities`.
  """
  spec = tf.TensorSpec([None, None, None, metadata["channels"]], tf.float32, name="images")

  @tf.function(autograph=False)
  def segment(images: tf.Tensor, training: bool = False) -> tf.Tensor:
    return segment_images(model, head, images, training)

  signature = tf.function(
    lambda images: {"probabilities": segment(images)}, input_signature=[spec], autograph=False
  )
  parts = parts_of(model, head)
  used = [parts[name] for name in ("encoder", "decoder", "head")]
  root = tf.train.Checkpoint()
  root.__call__ = segment
  root.variables = [variable for part in used for variable in part.variables]
  root.trainable_variables = [variable for part in used for variable in part.trainable_variables]
  root.regularization_losses = []
  root.parts = {name: part.weights for name, part in parts.items()}
  segment.get_concrete_function(spec, True)
  return root, {"serving_default": signature, "segment": signature}


def _named_parts(
  model: ConRec, head: LinearHead | None, layer: int
) -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
  """Returns `{name: function of images}` of what the network has beside the representation."""
  functions: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {}
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
