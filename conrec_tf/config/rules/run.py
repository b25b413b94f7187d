"""Values of options of files, exports and devices that exclude each other."""

from collections.abc import Iterator
import re

from conrec_tf.config.options.option import Rule
from conrec_tf.config.options.table import Options

PATTERNS = "*?[]"
EXPORT_FORMATS = ("saved_model", "onnx", "tflite")


def run_rules(config: Options) -> Iterator[Rule]:
  """Yields (whether it is wrong, what is expected, what was received)."""
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
  yield from _device_rules(config)


def _device_rules(config: Options) -> Iterator[Rule]:
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
