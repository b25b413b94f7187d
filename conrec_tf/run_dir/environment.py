"""The environment of a training: processor, memory, GPU, versions of libraries."""

from importlib import metadata
import os
import pathlib
import platform
import sys
import time
from typing import Any

import tensorflow as tf

from conrec_tf import __version__

PACKAGES = ("tensorflow-datasets", "numpy", "scikit-learn")
CPU_INFO = pathlib.Path("/proc/cpuinfo")


def process_info(step: int) -> dict[str, Any]:
  """Describes this process, which trains from a step on: `{step, started, machine, versions}`."""
  return {
    "step": step,
    "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    "machine": hardware(),
    "versions": versions(),
  }


def hardware() -> dict[str, str]:
  """Describes the machine, `{part: text}`."""
  gpus = [
    tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
    for gpu in tf.config.list_physical_devices("GPU")
  ]
  gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
  return {
    "processor": _processor(),
    "cores": str(len(os.sched_getaffinity(0))),
    "memory": f"{gigabytes:.0f} GB",
    "GPU": ", ".join(gpus) or "none",
    "system": platform.platform(terse=True),
  }


def versions() -> dict[str, str]:
  """Returns the versions of what computes, `{package: version}`."""
  keras = tf.keras.Model.__module__.split(".")[0]  # keras, or tf_keras beside a newer one
  return {
    "conrec_tf": __version__,
    "Python": platform.python_version(),
    "tensorflow": tf.__version__,
    keras: sys.modules[keras].__version__,
    **{name: _version(name) for name in PACKAGES},
  }


def _version(name: str) -> str:
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:  # a nightly one has another name
    return "unknown"


def _processor() -> str:
  lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else ()
  names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.processor() or platform.machine()
