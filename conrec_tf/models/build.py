"""From options to a network, and a supervised head on it."""

from typing import Any

import tensorflow as tf

from conrec_tf.config import Training
from conrec_tf.models.conrec import ConRec
from conrec_tf.models.densenet import DenseNetEncoder
from conrec_tf.models.heads import LinearHead, build_projection_head
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
  sizes: dict[str, Any] = dict(
    base_filters=config.base_filters,
    depth=config.unet_depth,
    batch_norm_decay=config.batch_norm_decay,
    gradient_checkpointing=config.gradient_checkpointing,
    global_bn=config.global_bn,
  )
  projects = config.contrastive_weight if config.is_pretraining else config.ft_proj_selector
  model = ConRec(
    encoder=(
      UNetEncoder(**sizes, name="encoder")
      if config.encoder == "unet"
      else DenseNetEncoder(
        encoder_weights,
        config.global_bn,
        all_levels=config.representation_levels != "last",
        name="encoder",
      )
    ),
    pooling=(
      AttentionPooling(config.attention_dropout, config.global_bn, name="pooling")
      if config.has_attention
      else AveragePooling(name="pooling")
    ),
    projection_head=build_projection_head(config, name="projection_head") if projects else None,
    decoder=(
      UNetDecoder(channels, **sizes, skip_connections=config.decoder_skips, name="decoder")
      if with_decoder and config.decoder_skips
      else None
    ),
    representation_levels=config.representation_levels,
  )
  side = 2 ** (config.unet_depth - 1) if config.encoder == "unet" else 32
  model(tf.zeros([1, side, side, channels]))  # creates the variables
  return model
