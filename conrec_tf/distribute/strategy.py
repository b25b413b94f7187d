"""The devices that compute, and the shares of a batch that each gets."""

from collections.abc import Iterator, Sequence
import contextlib
import json
import logging
import os
import re
from typing import Any

import tensorflow as tf

from conrec_tf.config import Devices, Optimization
from conrec_tf.config.options.option import written
from conrec_tf.errors import UsageError, as_usage_error

logger = logging.getLogger(__name__)


def build_strategy(devices: Devices, optimization: Optimization) -> tf.distribute.Strategy:
  """Builds the `tf.distribute.Strategy` that the options name.

  With multi_worker_mirrored this must come before any other TensorFlow operation, and waits until
  all workers are there.

  Raises:
    UsageError: devices or TF_CONFIG aren't what they should be, or the batch can't be
      shared evenly.
  """
  strategy = {
    "one_device": lambda: one_device(devices.devices),
    "mirrored": lambda: tf.distribute.MirroredStrategy(_device_names(devices.devices)),
    "multi_worker_mirrored": _multi_worker,
  }[devices.strategy]()
  replicas = strategy.num_replicas_in_sync
  if optimization.train_batch_size % replicas:
    raise UsageError(
      f"train_batch_size must be a multiple of {replicas}, the devices. "
      f"Received: {optimization.train_batch_size}"
    )
  return strategy


def set_up_devices(devices: Sequence[int], deterministic: bool = False) -> None:
  """Hides all GPUs but the chosen ones; must come before TensorFlow computes anything.

  Their memory is taken as it is needed, so that others can use what is left. A warning says so if
  TensorFlow was built before there were GPUs like one of them.

  Args:
    devices: numbers of GPUs; empty for all.
    deterministic: whether operations give the same bits in each run, on a GPU too.

  Raises:
    UsageError: there is no such GPU.
  """
  if deterministic:
    tf.config.experimental.enable_op_determinism()
  gpus = tf.config.list_physical_devices("GPU")
  if gpus and devices:
    chosen = _chosen(devices, range(len(gpus)), "GPU")
    gpus = [gpus[number] for number in chosen]
    tf.config.set_visible_devices(gpus, "GPU")
  for gpu in gpus:
    _warn_of_newer(gpu)
    with contextlib.suppress(RuntimeError):  # whoever called us computes on it already
      tf.config.experimental.set_memory_growth(gpu, True)


def one_device(devices: Sequence[int]) -> tf.distribute.Strategy:
  """Returns a strategy on the first GPU that isn't hidden if there is one, else on the CPU.

  Args:
    devices: the number of a processor, where there are no GPUs; empty for the first.

  Raises:
    UsageError: there is no such device.
  """
  return tf.distribute.OneDeviceStrategy(_device_names(devices)[0])


def is_compiled(jit_compile: bool) -> bool:
  """Returns whether XLA compiles training steps: where that is wanted, on a GPU alone."""
  if jit_compile and not tf.config.list_logical_devices("GPU"):
    logger.info("Steps aren't compiled without a GPU; up to rounding they are the same")
    return False
  return jit_compile


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
  """Says in one line that a device's memory doesn't hold what is asked for inside.

  Raises:
    UsageError: it doesn't.
  """
  try:
    yield
  except tf.errors.ResourceExhaustedError as error:
    found = re.search(r"(OOM|[Oo]ut of memory)[^\n]*", error.message)
    if not found:  # of a disk, say
      raise
    raise UsageError(
      "memory must hold what a step takes; it takes less with a smaller train_batch_size, "
      f"eval_batch_size, image_size or base_filters. Received: {found[0]}"
    ) from error


def newest_capability() -> int:
  """Returns the newest major compute capability of GPUs that TensorFlow was built for, or 0."""
  built_for = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", [])
  return max((int(text.rpartition("_")[2]) // 10 for text in built_for), default=0)


def _warn_of_newer(gpu: Any) -> None:
  details = tf.config.experimental.get_device_details(gpu)
  major, minor = details.get("compute_capability", (0, 0))
  newest = newest_capability()
  if major > newest > 0:
    logger.warning(
      "TensorFlow %s has code for GPUs up to compute capability %d.x, and %s has %d.%d: it may "
      "fail or take long to start. With CUDA_VISIBLE_DEVICES=-1 the processor trains",
      tf.__version__,
      newest,
      details.get("device_name", gpu),
      major,
      minor,
    )


def _device_names(devices: Sequence[int]) -> list[str]:
  """Returns the GPUs that aren't hidden or, without any, those of `devices` among the CPUs."""
  gpus = tf.config.list_logical_devices("GPU")
  if gpus:
    return [f"/gpu:{number}" for number in range(len(gpus))]
  available = range(len(tf.config.list_logical_devices("CPU")))
  return [f"/cpu:{number}" for number in _chosen(devices, available, "CPU")]


def _chosen(devices: Sequence[int], available: Sequence[int], kind: str) -> Sequence[int]:
  """Returns the numbers in `devices`, or all that are available."""
  chosen = devices or available
  if not set(chosen) <= set(available):
    raise UsageError(
      f"devices must be among {', '.join(map(str, available))} ({kind}). "
      f"Received: {written(devices)}"
    )
  return chosen


def _multi_worker() -> tf.distribute.Strategy:
  check_cluster(os.environ.get("TF_CONFIG", ""))
  logger.info("Waiting for all workers that TF_CONFIG names")
  expected, received = "TF_CONFIG must name addresses that can be served", os.environ["TF_CONFIG"]
  with as_usage_error(expected, received, tf.errors.OpError, RuntimeError):
    return tf.distribute.MultiWorkerMirroredStrategy()


def check_cluster(text: str) -> None:
  """Raises UsageError unless a text says who the workers are and which of them this is."""
  try:
    values = json.loads(text)
    tasks = {kind: list(addresses) for kind, addresses in values["cluster"].items()}
    kind, index = values["task"]["type"], int(values["task"]["index"])
    fits = (
      set(tasks) <= {"chief", "worker"}
      and len(tasks.get("chief", [])) <= 1
      and 0 <= index < len(tasks.get(kind, []))
    )
  except (ValueError, LookupError, TypeError, AttributeError):
    fits = False
  if not fits:
    raise UsageError(
      "TF_CONFIG must name all workers and this one, for strategy=multi_worker_mirrored, like "
      '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", '
      f'"index": 0}}}}. Received: {text or "nothing"}'
    )


def split_batch(strategy: tf.distribute.Strategy, batch: Any) -> Any:
  """Returns a process's batch as consecutive shares for its replicas, for `strategy.run`."""
  local = strategy.extended.worker_devices
  if len(local) == 1:
    return batch
  size = tf.nest.flatten(batch)[0].shape[0] // len(local)

  def share(context: Any) -> Any:
    start = context.replica_id_in_sync_group % len(local) * size
    return tf.nest.map_structure(lambda values: values[start : start + size], batch)

  return strategy.experimental_distribute_values_from_function(share)


def first_local_result(strategy: tf.distribute.Strategy, values: Any) -> Any:
  """Returns what the first replica of this process returned from `strategy.run`."""
  return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], values)
