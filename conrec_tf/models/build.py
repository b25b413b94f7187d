"""From options to a network, and a supervised head on it."""

from typing import Any

import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.models.conrec import ConRec
from conrec_tf.models.densenet import DenseNetEncoder
from conrec_tf.models.encoder import Encoder
from conrec_tf.models.heads import LinearHead, build_projection_head
from conrec_tf.models.keras_encoder import KerasEncoder
from conrec_tf.models.pooling import AttentionPooling, AveragePooling
from conrec_tf.models.precision import mixed_precision_scope, resolve_precision
from conrec_tf.models.unet import UNetDecoder, UNetEncoder


def build_model(
  config: Training,
  channels: int | None = None,
  with_decoder: bool = True,
  with_encoder_weights: bool = True,
) -> ConRec:
  """Builds the network that `config` describes, with weights drawn from `config.seed`.

  Sets the global random seed of Python, NumPy and TensorFlow.

  Args:
    channels: channels of the images; None takes `config.channels`.
    with_decoder: whether it has a decoder, if `config` describes one.
    with_encoder_weights: whether the encoder starts from `config.encoder_weights`, if there are.
  """
  tf.keras.utils.set_random_seed(config.seed)
  with mixed_precision_scope(resolve_precision(config.mixed_precision)):
    weights = config.encoder_weights if with_encoder_weights else ""
    return _build(config, channels or config.channels, with_decoder, weights)


def build_head(config: Training, model: ConRec, channels: int, outputs: int) -> LinearHead:
  """Builds the supervised head that `config` describes on a network, with its variables.

  It has as many outputs as there are classes; grades have as many bits.
  """
  head = LinearHead(outputs, config.zero_init_logits_layer)
  images = tf.zeros([1, config.image_size, config.image_size, channels])
  head(model.representation(images, layer=config.ft_proj_selector))
  return head


def _build(config: Training, channels: int, with_decoder: bool, encoder_weights: str) -> ConRec:
  encoder = _build_encoder(config, channels, encoder_weights)
  projects = config.contrastive_weight if config.is_pretraining else config.ft_proj_selector
  model = ConRec(
    encoder=encoder,
    pooling=(
      AttentionPooling(config.attention_dropout, config.global_bn, name="pooling")
      if config.has_attention
      else AveragePooling(name="pooling")
    ),
    projection_head=build_projection_head(config, name="projection_head") if projects else None,
    decoder=(
      UNetDecoder(
        channels,
        **_unet_sizes(config),
        depth=config.decoder_levels + 1,
        skip_connections=config.decoder_skips,
        num_skips=encoder.num_skips,
        name="decoder",
      )
      if with_decoder and config.decoder_skips
      else None
    ),
    representation_levels=config.representation_levels,
  )
  model(tf.zeros([1, encoder.stride, encoder.stride, channels]))  # creates the variables
  return model


def _build_encoder(config: Training, channels: int, weights: str) -> Encoder:
  if config.encoder == "unet":
    return UNetEncoder(**_unet_sizes(config), depth=config.unet_depth, name="encoder")
  if config.encoder == "densenet121":
    all_levels = config.representation_levels != "last"
    return DenseNetEncoder(weights, config.global_bn, all_levels=all_levels, name="encoder")
  return KerasEncoder(
    config.encoder, channels, weights, config.batch_norm_decay, config.global_bn, name="encoder"
  )


def _unet_sizes(config: Training) -> dict[str, Any]:
  return dict(
    base_filters=config.base_filters,
    batch_norm_decay=config.batch_norm_decay,
    gradient_checkpointing=config.gradient_checkpointing,
    global_bn=config.global_bn,
  )
