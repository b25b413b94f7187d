"""Several devices against one, and what a user can get wrong about them."""

import json

from command_line import ROOT, command, start
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import workers
from conrec_tf import commands
from conrec_tf.commands import check_data
from conrec_tf.config import Config
from conrec_tf.distribute import replicas
from conrec_tf.distribute.strategy import (
  build_strategy,
  enough_memory,
  is_compiled,
  set_up_devices,
)
from conrec_tf.errors import UsageError
from conrec_tf.models.pooling import replica_slice_of_uniform


def replicated(what):
  """What `replicated.py` finds out in a process of its own."""
  done = command(what, script=ROOT / "tests/replicated.py")
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def assert_equal_but_for_rounding(differences):
  """Reports are float32, of which rounding gives two neighbours at most."""
  limits = dict.fromkeys(differences, 1e-7) | {"metrics": 2 * np.finfo(np.float32).eps}
  assert all(differences[part] < limits[part] for part in differences), differences


@pytest.fixture(scope="module")
def found():
  return replicated("little")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["recipe", "conrec"])
def test_two_replicas_equal_one_device(found, method):
  """Loss, gradients, and weights, statistics and velocities after five steps, in float64."""
  assert_equal_but_for_rounding(found[method])


@pytest.mark.slow
def test_the_comparison_detects_local_negatives(found):
  assert found["local negatives"]["loss"] > 0.01
  assert found["local negatives"]["gradients"] > 0.01


@pytest.mark.slow
def test_batch_norm_over_replicas_is_keras_own_on_the_whole_batch(found):
  """Moving variances with n - 1 for maps, where Keras is fused, and with n for vectors."""
  for differences in found["batch norm"].values():
    assert max(differences.values()) < 1e-5


@pytest.mark.slow
def test_variance_over_replicas_keeps_its_digits_far_from_the_moving_mean(found):
  """Inputs are 1000 with a deviation of 0.05, and moving means start at 0."""
  assert found["far batch norm"]["moving_variance"] < 1e-4
  assert found["far batch norm"]["outputs"] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_workers_together_take_every_image_once_an_epoch(found, count):
  steps = found["seen"][str(count)]
  assert all(len(parts) == count and len({len(part) for part in parts}) == 1 for parts in steps)
  for epoch in (steps[:4], steps[4:]):
    assert sorted(sum(sum(epoch, []), [])) == list(range(48))
  assert [sum(parts, []) for parts in steps] == [parts[0] for parts in found["seen"]["1"]]


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_evenly_is_refused(found):
  assert found["error"] == "train_batch_size must be a multiple of 3, the devices. Received: 16"


@pytest.mark.slow
def test_two_replicas_equal_one_device_with_each_option():
  for differences in replicated("options").values():
    assert_equal_but_for_rounding(differences)


@pytest.mark.slow
def test_precisions_and_runs_on_replicas_equal_one_device():
  found = replicated("more")
  assert found["skipped"]["loss"] < 1e-5  # float32
  assert found["skipped"]["counted"] == 1
  for precision in ("mixed_float16", "mixed_bfloat16"):
    for row in found[precision]:
      assert np.all(np.isfinite(list(row.values()))) and "train/skipped_updates" not in row
  assert found["parts"] == found["whole"]
  np.testing.assert_allclose(found["moved"]["losses"], found["whole"]["losses"], rtol=1e-3)


@pytest.mark.slow
def test_two_processes_train_and_survive_a_lost_worker(data_dir, tmp_path, monkeypatch):
  """Trained, killed and continued."""

  def start_worker(folder, name, flags, **environment):
    with (folder / f"{name}.log").open("w") as log:
      weights = f"--weights={folder / name}.npz"
      return start(weights, *flags, script=workers.__file__, log=log, **environment)

  monkeypatch.setattr(workers, "start", start_worker)
  flags = [
    *(f"--data_dir={data_dir}", "--image_size=24", "--unet_depth=2", "--base_filters=2"),
    *("--contrastive_method=nt_xent", "--temperature=0.5", "--skip_connections=all"),
    *("--reconstruction_weight=100", "--mixed_precision=float32", "--local_crops=0"),
  ]
  seconds, said, one, two, equal = workers.measure(tmp_path, *workers.training(20, 1e-3, flags))
  assert equal and seconds < 120
  assert said.startswith("Error: all workers must keep running")
  assert max(workers.differences(two, one).values()) < 1e-3


@pytest.mark.parametrize("shape", [[6, 5, 3], [4, 8]])
@pytest.mark.parametrize("parts", [1, 2])
def test_dropout_of_replicas_is_that_of_one_device(monkeypatch, shape, parts):
  count, seed = 3, [7, 2**40]
  whole = tf.random.stateless_uniform([count * shape[0], *shape[1:]], seed)
  whole = tf.reshape(whole, [parts, count, shape[0] // parts, *shape[1:]])
  monkeypatch.setattr(replicas, "num_replicas", lambda: count)
  for place in range(count):
    monkeypatch.setattr(replicas, "replica_id", lambda place=place: place)
    mine = replica_slice_of_uniform(shape, seed, parts)
    np.testing.assert_array_equal(mine, tf.reshape(whole[:, place], shape))


CLUSTER = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": %s}}'


@pytest.mark.parametrize(
  "text",
  [
    "",
    "nonsense",
    "[]",
    '{"cluster": {"worker": ["a:1"]}}',
    CLUSTER % 2,
    CLUSTER % '"x"',
    CLUSTER.replace("cluster", "c") % 0,
    CLUSTER.replace('{"worker"', '{"ps"') % 0,
  ],
)
def test_malformed_tf_config_is_refused(monkeypatch, text):
  monkeypatch.setenv("TF_CONFIG", text)
  with pytest.raises(UsageError, match="^TF_CONFIG must name all workers.* Received: .") as caught:
    build_strategy(Config(strategy="multi_worker_mirrored"), Config())
  assert str(caught.value).endswith(text or "nothing")


@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
def test_missing_devices_are_refused(strategy):
  with pytest.raises(UsageError, match=r"^devices must be among 0 \(CPU\). Received: 7$"):
    build_strategy(Config(strategy=strategy, devices="7"), Config())


def test_other_gpus_are_hidden_and_memory_is_taken_as_needed(monkeypatch):
  seen, grow = [], []

  def set_memory_growth(gpu, enable):
    grow.append(gpu)
    if gpu == "b":
      raise RuntimeError("Physical devices cannot be modified after being initialized")

  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b", "c"])
  monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, kind: seen.append(gpus))
  monkeypatch.setattr(tf.config.experimental, "set_memory_growth", set_memory_growth)
  monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {})
  set_up_devices((2, 1))
  assert seen == [["c", "b"]] and grow == ["c", "b"]
  set_up_devices(())
  assert len(seen) == 1 and grow[2:] == ["a", "b", "c"]
  with pytest.raises(UsageError, match=r"devices must be among 0, 1, 2 \(GPU\). Received: 3"):
    set_up_devices((3,))


@pytest.mark.parametrize(
  "capability, built_for, warned",
  [
    ((12, 0), ["sm_60", "sm_89", "compute_90"], True),
    ((9, 0), ["sm_60", "sm_89", "compute_90"], False),
    ((9, 0), ["sm_50", "sm_75", "compute_80"], True),
    ((8, 6), ["sm_50", "sm_75", "compute_80"], False),
    ((12, 0), ["sm_60", "sm_100", "compute_120"], False),
    ((12, 0), [], False),  # built without CUDA, or for nobody knows what
  ],
)
def test_a_gpu_newer_than_tensorflow_is_named(capability, built_for, warned, monkeypatch, caplog):
  details = {"device_name": "NVIDIA GeForce RTX 5090", "compute_capability": capability}
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a"])
  monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, enable: None)
  monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
  monkeypatch.setattr(
    tf.sysconfig, "get_build_info", lambda: {"cuda_compute_capabilities": built_for}
  )
  set_up_devices(())
  assert ("NVIDIA GeForce RTX 5090 has " in caplog.text) == warned


def test_steps_are_compiled_on_a_gpu_alone(monkeypatch, caplog):
  caplog.set_level("INFO")
  assert not is_compiled(False) and not caplog.text
  assert not is_compiled(True) and "Steps aren't compiled without a GPU" in caplog.text
  monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["gpu"])
  assert is_compiled(True) and not is_compiled(False)


@pytest.mark.slow  # TensorFlow tries for ten seconds
def test_memory_that_does_not_suffice_is_one_line(tiny, monkeypatch):
  ask = tf.function(lambda count: tf.reduce_sum(tf.random.uniform([count, count])))
  monkeypatch.setattr(check_data, "run", lambda config: ask(2**24))
  with pytest.raises(
    UsageError, match=r"^memory must hold .* OOM when allocating .*16777216\S*[^\n]*$"
  ):
    commands.run(Config(**tiny, mode="check_data"))
  full = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
  with pytest.raises(tf.errors.ResourceExhaustedError), enough_memory():
    raise full


@pytest.mark.parametrize(
  "values, message",
  [
    (
      dict(strategy="mirrored", gradient_checkpointing=True),
      "gradient_checkpointing must be false for strategy=mirrored",
    ),
    (dict(devices="a"), "devices must be whole numbers from 0"),
    (dict(strategy="mirrored", devices="0,0"), "devices must be different numbers"),
    (dict(devices="0,1"), "devices must be one for strategy=one_device"),
    (dict(strategy="multi_worker_mirrored", devices="0"), "CUDA_VISIBLE_DEVICES"),
    (dict(strategy="mirrored", jit_compile=True), "jit_compile must be false for"),
    (dict(strategy="mirrored", log_gradient_conflict=True), "log_gradient_conflict must be false"),
  ],
)
def test_contradicting_device_flags_are_refused(values, message):
  with pytest.raises(UsageError, match=message):
    Config(**values)


def test_default_model_dir_is_the_same_for_all_strategies():
  """Another device continues the same run; one without shared batch norm is another run."""
  assert Config().run_directory == Config(global_bn=False).run_directory
  assert Config().run_directory == Config(strategy="mirrored").run_directory
  assert Config().run_directory != Config(strategy="mirrored", global_bn=False).run_directory
  assert (
    Config(strategy="mirrored").training_fingerprint["global_bn"]
    != Config(strategy="mirrored", global_bn=False).training_fingerprint["global_bn"]
  )
