"""Values of options of files, exports and devices that exclude each other."""

from collections.abc import Iterator

from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.table import OPTIONS, Options

PATTERNS = "*?[]\\"


def run_rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`."""
  for name in ("model_dir", "checkpoint"):
    path = getattr(config, name)
    yield (
      set(path) & set(PATTERNS),
      f"{name} must not contain any of {' '.join(PATTERNS)}, which TensorFlow takes for patterns",
      path,
    )
  formats = ", ".join(OPTIONS["export_format"].metadata["choices"])
  yield (
    config.mode == "export" and not config.export_format,
    f"export_format must be one or more of {formats} for mode=export",
    "none",
  )
  yield from left_out(
    config,
    ("query", "num_clusters", "label_next"),
    config.mode == "explore",
    "unless mode=explore",
  )
  yield from _device_rules(config)
  yield (
    config.on_nan == "explain" and config.strategy != "one_device",
    f"on_nan must be stop or skip for strategy={config.strategy}",
    "explain",
  )
  yield (
    config.log_gradient_conflict and config.jit_compile,
    "log_gradient_conflict must be false with jit_compile, which then computes other bits",
    "true",
  )


def _device_rules(config: Options) -> Iterator[Rule]:
  strategy, devices = config.strategy, config.devices
  yield len(set(devices)) < len(devices), "devices must be different numbers, separated by commas"
  yield (
    devices and strategy not in ("one_device", "mirrored"),
    f"devices must be empty for strategy={strategy}; CUDA_VISIBLE_DEVICES selects GPUs there",
  )
  yield (
    len(devices) > 1 and strategy == "one_device",
    "devices must be one for strategy=one_device; mirrored takes several",
  )
  for name in ("jit_compile", "gradient_checkpointing", "log_gradient_conflict"):
    yield (
      getattr(config, name) and strategy != "one_device",
      f"{name} must be false for strategy={strategy}",
      "true",
    )
