"""What contradicts what: values of options that exclude each other."""

from collections.abc import Iterator
import re

from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.table import Options
from conrec_tf.config.rules.data import data_rules
from conrec_tf.config.rules.evaluation import evaluation_rules
from conrec_tf.config.rules.objective import SHORTEST_SIDE_FOR_SSIM, objective_rules
from conrec_tf.config.rules.segmentation import segmentation_rules

SHORTEST_SIDE_FOR_CORRUPTION = 21
SHORTEST_SIDE_FOR_DENSENET = 32
PATTERNS = "*?[]"
EXPORT_FORMATS = ("saved_model", "onnx", "tflite")


def rules(config: Options) -> Iterator[Rule]:
  """Yields (whether it is wrong, what is expected, what was received)."""
  learns = config.mode not in ("embed", "segment", "export")
  stride = 2 ** (config.unet_depth - 1)
  unet, size = config.encoder == "unet", config.image_size
  layers = {"none": 0, "linear": 1, "nonlinear": config.num_proj_layers}[config.proj_head_mode]
  yield (
    unet and size % stride,
    f"image_size must be a multiple of {stride} for unet_depth={config.unet_depth}",
    size,
  )
  for applies, least, name in (
    (config.encoder == "densenet121", SHORTEST_SIDE_FOR_DENSENET, "encoder=densenet121"),
    (
      learns and config.is_pretraining and config.corruption != "none",
      SHORTEST_SIDE_FOR_CORRUPTION,
      f"corruption={config.corruption}",
    ),
    (
      learns and config.reconstruction_loss == "ssim",
      SHORTEST_SIDE_FOR_SSIM,
      "reconstruction_loss=ssim",
    ),
  ):
    yield applies and size < least, f"image_size must be at least {least} for {name}", size
  yield (
    config.is_pretraining and not config.contrastive_weight and not config.reconstruction_weight,
    "contrastive_weight or reconstruction_weight must be positive",
    "0 and 0",
  )
  yield (
    config.encoder != "densenet121" and config.encoder_weights,
    f"encoder_weights must be empty for encoder={config.encoder}",
    config.encoder_weights,
  )
  yield (
    not unet and config.is_pretraining and config.reconstruction_weight,
    f"reconstruction_weight must be 0 for encoder={config.encoder}, which has no decoder",
    config.reconstruction_weight,
  )
  external = config.encoder == "external"
  yield (
    external and not (config.checkpoint and config.mode in ("eval", "embed", "report")),
    "checkpoint must be a network of this package, unless mode is eval or embed",
    config.checkpoint or "nothing, with encoder=external",
  )
  yield (
    external and config.ft_proj_selector,
    "ft_proj_selector must be 0 for an external network",
    config.ft_proj_selector,
  )
  yield from left_out(
    config,
    ("external_scaling", "external_output"),
    external,
    "unless checkpoint is somebody else's network",
  )
  yield (
    config.fine_tune_after_block > config.encoder_blocks,
    f"fine_tune_after_block must be at most {config.encoder_blocks}, the encoder's blocks",
    config.fine_tune_after_block,
  )
  yield (
    config.ft_proj_selector > layers,
    f"ft_proj_selector must be at most {layers}, the layers of the projection head",
    config.ft_proj_selector,
  )
  for name, most in (
    ("brightness_jitter", 1.0),
    ("contrast_jitter", 1.0),
    ("saturation_jitter", 1.0),
    ("hue_jitter", 0.5),
  ):
    product = config.color_jitter_strength * getattr(config, name)
    yield (
      product > most,
      f"color_jitter_strength * {name} must be at most {most:g}",
      f"{product:g}",
    )
  yield from objective_rules(config)
  yield (
    config.moving_average_decay and not config.is_pretraining and learns,
    f"moving_average_decay must be 0 for train_mode={config.train_mode}",
    config.moving_average_decay,
  )
  yield (
    config.label_mode == "none" and config.train_mode == "finetune" and learns,
    "label_mode must be auto or folders for train_mode=finetune",
    config.label_mode,
  )
  yield (
    config.label_mode == "none" and config.lineareval_while_pretraining and learns,
    "label_mode must be auto or folders for lineareval_while_pretraining",
    config.label_mode,
  )
  yield from data_rules(config)
  yield from evaluation_rules(config)
  yield from segmentation_rules(config)
  yield (
    config.eval_dataset and not config.is_pretraining,
    f"eval_dataset must be empty for train_mode={config.train_mode}",
    config.eval_dataset,
  )
  yield (
    config.checkpoint and config.encoder_weights and config.is_pretraining,
    "encoder_weights must be empty with a checkpoint, which has its own",
    config.encoder_weights,
  )
  for name in ("model_dir", "checkpoint"):
    path = getattr(config, name)
    yield (
      set(path) & set(PATTERNS),
      f"{name} must not contain any of {' '.join(PATTERNS)}, which TensorFlow takes for patterns",
      path,
    )
  yield (
    not set(config.export_formats) <= set(EXPORT_FORMATS),
    f"export_format must be made of {', '.join(EXPORT_FORMATS)}",
    config.export_format,
  )
  yield (
    config.mode == "export" and not config.export_formats,
    f"export_format must be one or more of {', '.join(EXPORT_FORMATS)} for mode=export",
    "none",
  )
  yield from device_rules(config)


def device_rules(config: Options) -> Iterator[Rule]:
  """Yields (whether it is wrong, what is expected, what was received)."""
  strategy, devices = config.strategy, [text.strip() for text in config.devices.split(",")]
  yield (
    config.devices
    and (
      not all(re.fullmatch(r"\d+", text) for text in devices)
      or len(set(map(int, devices))) < len(devices)
    ),
    "devices must be different numbers, separated by commas",
    config.devices,
  )
  yield (
    config.devices and strategy not in ("one_device", "mirrored"),
    f"devices must be empty for strategy={strategy}; CUDA_VISIBLE_DEVICES selects GPUs there",
    config.devices,
  )
  yield (
    len(devices) > 1 and strategy == "one_device",
    "devices must be one for strategy=one_device; mirrored takes several",
    config.devices,
  )
  for name in ("jit_compile", "gradient_checkpointing"):
    yield (
      getattr(config, name) and strategy != "one_device",
      f"{name} must be false for strategy={strategy}",
      "true",
    )
