"""The options of what computes, a section of `options`."""

import dataclasses
import re

from conrec_tf.config.option import option


@dataclasses.dataclass(frozen=True)
class Devices:
  """What computes; the weights are the same on any, up to rounding."""

  strategy: str = option(
    "one_device",
    "The first GPU, or the CPU without one; several GPUs of this machine "
    "(mirrored); those of several machines (multi_worker_mirrored), by the same command on each "
    "with TF_CONFIG as TensorFlow documents it; or a TPU.",
    choices=("one_device", "mirrored", "multi_worker_mirrored", "tpu"),
    changes_training=False,
  )
  devices: str = option(
    "",
    "Which GPUs, e.g. 0,1, for one_device and mirrored. Empty: the first, or all.",
    changes_training=False,
  )
  tpu_name: str = option(
    "", "Name or address of the TPU; local on a TPU's own machine.", changes_training=False
  )
  tpu_zone: str = option(
    "", "Zone of the TPU, where it isn't this machine's.", changes_training=False
  )
  gcp_project: str = option(
    "", "Project of the TPU, where it isn't this machine's.", changes_training=False
  )


def device_rules(config):
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
  tpu = config.tpu_name or config.tpu_zone or config.gcp_project
  yield (
    tpu and strategy != "tpu",
    "tpu_name, tpu_zone and gcp_project must be empty unless strategy=tpu",
    tpu,
  )
  yield (
    config.mixed_precision == "mixed_float16" and strategy == "tpu",
    "mixed_precision must be float32 or mixed_bfloat16 for strategy=tpu",
    "mixed_float16",
  )
  for name in ("jit_compile", "recompute"):
    yield (
      getattr(config, name) and strategy != "one_device",
      f"{name} must be false for strategy={strategy}",
      "true",
    )
