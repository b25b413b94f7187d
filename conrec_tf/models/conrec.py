"""ConRec (paper, Figure 1): one encoder, two heads."""

from collections.abc import Callable, Sequence
import functools
import hashlib
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

import tensorflow as tf

from conrec_tf.models.encoder import Encoder
from conrec_tf.models.heads import ProjectionHead
from conrec_tf.models.pooling import AttentionPooling, AveragePooling
from conrec_tf.models.unet import UNetDecoder

LEAST_VARIANCE = 1e-8

P = ParamSpec("P")
T = TypeVar("T")
Method = Callable[Concatenate[Any, P], T]


class Outputs(NamedTuple):
  """The outputs of the network; None where the part isn't built.

  Attributes:
    embedding: `[B, F]`, the representation: h = a(e(x)), `[B, f]`, and what else
      `representation_levels` puts beside it.
    projection: `[B, proj_out_dim]`, z = p(a(e(x))).
    reconstruction: `[B, H, W, C]` in [0, 1], d(e(x)).
  """

  embedding: tf.Tensor
  projection: tf.Tensor | None
  reconstruction: tf.Tensor | None


class FeatureLevels(NamedTuple):
  """The feature maps in between, `[B, h, w, c]` each.

  Attributes:
    encoder: its shallower levels, of what is embedded, shallowest first.
    decoder: its levels, deepest first; none without a decoder.
  """

  encoder: Sequence[tf.Tensor]
  decoder: Sequence[tf.Tensor]


Maps = tuple[tf.Tensor, Sequence[tf.Tensor]]  # features and skips, as encoders return them


def _compiled(method: Method[P, T]) -> Method[P, T]:
  """Compiles a method as a graph of its own for each network.

  Of a method `tf.function` counts the traces of all networks together, and warns of retracing where
  some are open.
  """

  def graph(network: "ConRec") -> Any:
    own = functools.partial(method, network)
    return tf.function(own, reduce_retracing=True, autograph=False)

  return cast(Method[P, T], functools.cached_property(graph))


class ConRec(tf.keras.Model):
  """Encoder, pooling, and either or both of projection head and decoder.

  Args:
    encoder: images -> (features, skips).
    pooling: features -> embedding.
    projection_head: embedding -> projection, or None.
    decoder: (features, skips) -> (reconstruction, maps), or None.
    representation_levels: last, or all: the averages of the encoder's shallower levels, shallowest
      first, and then the embedding; with all_with_deviations then the standard deviations over
      locations of all levels too.
  """

  def __init__(
    self,
    encoder: Encoder,
    pooling: AttentionPooling | AveragePooling,
    projection_head: ProjectionHead | None = None,
    decoder: UNetDecoder | None = None,
    representation_levels: str = "last",
    **kwargs: Any,
  ) -> None:
    super().__init__(**kwargs)
    self.encoder = encoder
    self.pooling = pooling
    self.projection_head = projection_head
    self.decoder = decoder
    self.representation_levels = representation_levels

  def call(self, images: tf.Tensor, training: bool = False) -> Outputs:
    """Embeds, projects and reconstructs images; see `with_maps`."""
    return self.with_maps(images, training)[0]

  def with_maps(
    self,
    images: tf.Tensor,
    training: bool = False,
    seed: tf.Tensor | None = None,
    num_views: int = 1,
    contrastive_images: tf.Tensor | None = None,
  ) -> tuple[Outputs, FeatureLevels]:
    """Embeds, projects and reconstructs images, and returns what lies between too.

    Args:
      images: float32 `[B, H, W, C]` in [0, 1].
      training: whether batch norm uses the batch's statistics and dropout drops.
      seed: integer `[2]` for dropout; see `AttentionPooling`.
      num_views: how many views of each image the batch holds; see there too.
      contrastive_images: of the shape of `images`; what is embedded and projected in their place.
        The encoder sees both at once, so that both are in batch norm's statistics.
    """
    if contrastive_images is None:
      maps = contrastive_maps = self.encoder(images, training=training)
    else:
      both = self.encoder(tf.concat([images, contrastive_images], axis=0), training=training)
      halves = [tf.split(values, 2) for values in tf.nest.flatten(both)]
      maps, contrastive_maps = (
        tf.nest.pack_sequence_as(both, half) for half in zip(*halves, strict=True)
      )
    features, skips = contrastive_maps
    embedding = self.pooling(features, training=training, seed=seed, num_views=num_views)
    # Its variables are drawn in this order when it is first called: the projection head's first.
    projection = self.projection_head and self.projection_head(embedding, training=training)
    reconstruction, decoder_maps = None, []
    if self.decoder:
      reconstruction, decoder_maps = self.decoder(*maps, training=training)
    representation = _with_levels(contrastive_maps, embedding, self.representation_levels)
    outputs = Outputs(representation, projection, reconstruction)
    return outputs, FeatureLevels(skips, decoder_maps)

  def representation(
    self, images: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None, layer: int = 0
  ) -> tf.Tensor:
    """Computes what a classifier sees; differentiable, and traced by whatever calls it.

    Args:
      images: float32 `[B, H, W, C]` in [0, 1].
      layer: 0 for the embedding `[B, F]` of `Outputs`, n for the output of the projection
        head's n-th layer, -1 of its last.

    Raises:
      ValueError: there is no projection head.
    """
    features, skips = self.encoder(images, training=training)
    embedding = self.pooling(features, training=training, seed=seed)
    if not layer:
      return _with_levels((features, skips), embedding, self.representation_levels)
    if self.projection_head is None:
      raise ValueError(f"layer must be 0 for a network without projection head. Received: {layer}")
    return self.projection_head(embedding, training=training, layers=layer)

  @_compiled
  def representations(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Computes everything that a classifier could see, each `[B, F]`, by name.

    These are the averages of each of the encoder's levels, the embedding, both together, the
    standard deviations of all levels beside these, and the outputs of the projection head's layers.
    """
    features, skips = self.encoder(images)
    embedding = self.pooling(features)
    found = {
      f"level {number}": tf.reduce_mean(tf.cast(level, embedding.dtype), axis=[1, 2])
      for number, level in enumerate((*skips, features), 1)
    }
    found["embedding"] = embedding
    if skips:
      maps = features, skips
      found["all levels"] = _with_levels(maps, embedding, "all")
      found["all levels with deviations"] = _with_levels(maps, embedding, "all_with_deviations")
    if self.projection_head:
      for layer in range(1, self.projection_head.num_layers + 1):
        found[f"projection {layer}"] = self.projection_head(embedding, layers=layer)
    return found

  @_compiled
  def embed(self, images: tf.Tensor, layer: int = 0) -> tf.Tensor:
    """Computes `representation` as a compiled graph, for inference."""
    return self.representation(images, layer=layer)

  @_compiled
  def reconstruct(self, images: tf.Tensor) -> tf.Tensor:
    """Reconstructs images, both float32 `[B, H, W, C]` in [0, 1]; with a decoder alone."""
    return self(images).reconstruction

  def digest(self, layer: int = 0) -> str:
    """Returns what tells this network's representation from another's: a hash of its weights.

    Which of them are frozen, and in which order they are made, isn't in it.

    Args:
      layer: see `representation`.
    """
    weights = [*self.encoder.weights, *self.pooling.weights]
    if layer and self.projection_head:
      weights += [
        each for part in self.projection_head.first_layers(layer) for each in part.weights
      ]
    hashes = sorted(hashlib.sha256(weight.numpy().tobytes()).hexdigest() for weight in weights)
    described = [self.representation_levels, layer, *hashes]
    return hashlib.sha256(repr(described).encode()).hexdigest()

  def freeze(self, blocks: int) -> None:
    """Freezes the encoder up to and with its n-th block; with -1, nothing.

    With all blocks of the encoder, pooling and projection head are frozen too.
    """
    if blocks >= 0:
      self.encoder.freeze(blocks)
    if blocks == self.encoder.num_blocks:
      self.pooling.trainable = False
      if self.projection_head:
        self.projection_head.trainable = False


def _with_levels(maps: Maps, embedding: tf.Tensor, representation_levels: str) -> tf.Tensor:
  """Puts beside an embedding what belongs there of the encoder's maps."""
  if representation_levels == "last":
    return embedding
  features, skips = maps
  levels = [tf.cast(level, embedding.dtype) for level in (*skips, features)]
  averages = [tf.reduce_mean(level, axis=[1, 2]) for level in levels[:-1]]
  if representation_levels == "all":
    return tf.concat([*averages, embedding], axis=-1)
  return tf.concat([*averages, embedding, *map(deviations, levels)], axis=-1)


def deviations(level: tf.Tensor) -> tf.Tensor:
  """Returns standard deviations over locations, `[B, h, w, f]` to `[B, f]`, differentiable at 0."""
  return tf.sqrt(tf.math.reduce_variance(level, axis=[1, 2]) + LEAST_VARIANCE)
