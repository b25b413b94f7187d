"""Which devices compute, and how batches come to them."""

import json
import logging
import os

import tensorflow as tf

from conrec_tf.config import UsageError, short_message

logger = logging.getLogger(__name__)


def build_strategy(config):
  """The `tf.distribute.Strategy` that `config` names.

  With multi_worker_mirrored this must come before any other TensorFlow operation, and waits until
  all workers are there.

  Raises:
    UsageError: devices, TF_CONFIG or TPU aren't what they should be, or the batch can't be
      shared evenly.
  """
  strategy = {
    "one_device": one_device,
    "mirrored": _mirrored,
    "multi_worker_mirrored": _multi_worker,
    "tpu": _tpu,
  }[config.strategy](config)
  replicas = strategy.num_replicas_in_sync
  if config.train_batch_size % replicas:
    raise UsageError(
      f"train_batch_size must be a multiple of {replicas}, the devices. "
      f"Received: {config.train_batch_size}"
    )
  return strategy


def select_devices(config):
  """Hides all GPUs but those of `config.devices`; must come before TensorFlow computes anything.

  Raises:
    UsageError: there is no such GPU.
  """
  gpus = tf.config.list_physical_devices("GPU")
  if gpus and config.devices:
    wanted = _wanted(config, range(len(gpus)), "GPU")
    tf.config.set_visible_devices([gpus[number] for number in wanted], "GPU")


def one_device(config):
  """The first GPU that isn't hidden if there is one, else the CPU.

  Raises:
    UsageError: there is no such device, or `config.jit_compile` without a GPU.
  """
  device = _devices(config)[0]
  if config.jit_compile and "gpu" not in device:
    raise UsageError(
      "jit_compile must be false without a GPU: on processors compiled steps are "
      "slower. Received: true"
    )
  return tf.distribute.OneDeviceStrategy(device)


def _devices(config):
  """Names of the GPUs that aren't hidden or, without any, of `config.devices` among the CPUs."""
  gpus = tf.config.list_logical_devices("GPU")
  if gpus:
    return [f"/gpu:{number}" for number in range(len(gpus))]
  there = range(len(tf.config.list_logical_devices("CPU")))
  return [f"/cpu:{number}" for number in _wanted(config, there, "CPU")]


def _wanted(config, there, kind):
  """The numbers in `config.devices`, or all that are there."""
  wanted = [int(text) for text in config.devices.split(",") if text] or there
  if not set(wanted) <= set(there):
    raise UsageError(
      f"devices must be among {', '.join(map(str, there))} ({kind}). Received: {config.devices}"
    )
  return wanted


def _mirrored(config):
  return tf.distribute.MirroredStrategy(_devices(config))


def _multi_worker(config):
  del config
  _check_cluster(os.environ.get("TF_CONFIG", ""))
  logger.info("Waiting for all workers that TF_CONFIG names")
  try:
    return tf.distribute.MultiWorkerMirroredStrategy()
  except (tf.errors.OpError, RuntimeError) as error:
    raise UsageError(
      f"TF_CONFIG must name addresses that can be served ({short_message(error)}). "
      f"Received: {os.environ['TF_CONFIG']}"
    ) from error


def _check_cluster(text):
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


def _tpu(config):
  try:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
      config.tpu_name or None, zone=config.tpu_zone or None, project=config.gcp_project or None
    )
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
  except (ValueError, OSError, RuntimeError, ImportError, tf.errors.OpError) as error:
    raise UsageError(
      "tpu_name must be a TPU that can be reached "
      f"({str(error).strip().splitlines()[0]}). "
      f"Received: {config.tpu_name or 'nothing'}"
    ) from error
  return tf.distribute.TPUStrategy(resolver)


def split_batch(strategy, batch):
  """A process's batch as consecutive shares for its replicas, to be passed to `strategy.run`."""
  local = strategy.extended.worker_devices
  if len(local) == 1:
    return batch
  size = tf.nest.flatten(batch)[0].shape[0] // len(local)

  def share(context):
    start = context.replica_id_in_sync_group % len(local) * size
    return tf.nest.map_structure(lambda values: values[start : start + size], batch)

  return strategy.experimental_distribute_values_from_function(share)


def first_local_result(strategy, values):
  """What the first replica of this process returned from `strategy.run`."""
  return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], values)
