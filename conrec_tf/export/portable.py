"""A trained network on its own, as it is exported: in float32, for one device."""

import dataclasses

from conrec_tf.config import Config, Description
from conrec_tf.models import ConRec, LinearHead, build_model
from conrec_tf.pretrained.find import MOMENTUM, PretrainedModel
from conrec_tf.pretrained.load import load_network
from conrec_tf.segmentation.network import SegmentationHead, build_segmentation_head
from conrec_tf.training.task import build_supervised_head


def network_config(config: Config, pretrained: PretrainedModel) -> Description:
  """Returns the description of a pretrained network, to build it with."""
  own = pretrained.settings or dataclasses.asdict(config)
  return Description.from_settings(
    {
      **own,
      "mode": "export",
      "mixed_precision": "float32",
      "gradient_checkpointing": False,
      "encoder_weights": "",
      "image_size": config.image_size,
      "ft_proj_selector": config.ft_proj_selector,
    }
  )


def portable_network(
  config: Config, pretrained: PretrainedModel
) -> tuple[ConRec, LinearHead | SegmentationHead | None]:
  """Builds a trained network on its own, in float32; returns it and its head or None."""
  channels, classes = pretrained.channels or config.channels, len(pretrained.class_names)
  model = build_model(config, channels)
  head: LinearHead | SegmentationHead | None = None
  if config.is_segmenting:
    head = build_segmentation_head(model, channels, classes)
  elif config.has_supervised_head and pretrained.kind != "hdf5" and pretrained.network != MOMENTUM:
    head = build_supervised_head(config, model, channels, classes)
  load_network(pretrained, model, head)
  return model, head
