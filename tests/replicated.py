"""What training on several logical processors comes to, beside one; prints JSON.

A process of its own, since the number of logical devices is fixed when TensorFlow starts, for
`test_strategy.py`: `python tests/replicated.py little`, `options` or `more`.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from foreign_networks import WIDTH, quarters
import numpy as np
from plain_graphs import set_optimization
import tensorflow as tf

from conrec_tf import commands, losses
import conrec_tf.commands.train  # noqa: F401
from conrec_tf.config import Config
from conrec_tf.data.pipeline import pretraining_batches
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.stream import WorkerShard
from conrec_tf.distribute.strategy import build_strategy, split_batch
from conrec_tf.errors import UsageError
from conrec_tf.metrics import SKIPPED_UPDATES
from conrec_tf.models import build_model
from conrec_tf.models.heads import LinearHead
from conrec_tf.models.normalization import batch_norm
from conrec_tf.segmentation.masks import IGNORED
from conrec_tf.segmentation.network import build_segmentation_head
from conrec_tf.segmentation.step import SegmentationStep, segmentation_variables
from conrec_tf.training.loop import StepRunner
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

PROCESSORS = 3
BATCH = 12
CONREC = dict(lineareval_while_pretraining=True)
# Rounding grows slowly under it, and so float32 can be compared.
PAPER = dict(
  contrastive_method="nt_xent",
  temperature=0.5,
  skip_connections="all",
  reconstruction_weight=100.0,
)
# What a training may have beside the paper, together where it can be: (replicas, options).
OPTIONS = {
  "moco, average pooling, adversarial, a teacher of views": (
    2,
    dict(
      contrastive_method="moco",
      moco_momentum=0.9,
      pooling="average",
      adversarial_weight=1.0,
      adversarial_start_step=1,
      teacher="quarters",
      teacher_views=True,
    ),
  ),
  "moco with a queue": (
    2,
    dict(
      contrastive_method="moco",
      moco_momentum=0.9,
      moco_momentum_schedule="cosine",
      moco_queue_length=4 * BATCH,
      reconstruction_weight=0.0,
      corruption="none",
    ),
  ),
  "inner levels, local crops, a teacher and relations on three": (
    3,
    dict(
      unet_depth=3,
      multi_level_contrastive_weight=0.5,
      multi_level_reconstruction_weight=50.0,
      local_crops=2,
      local_crop_size=8,
      teacher="quarters",
      teacher_relation_weight=25.0,
    ),
  ),
}
RECIPE = {name: getattr(Config, name) for name in PAPER}
ROUNDING = 1e-8  # below it is nothing but that


def main():
  tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * PROCESSORS
  )
  set_optimization(False)
  print(json.dumps({"little": little, "options": options, "more": more}[sys.argv[1]]()))


def little():
  """Five steps of LARS in float64 on two replicas against one device; who takes which image."""
  found = {"seen": {replicas: seen(replicas) for replicas in (1, 2, 3)}}
  try:
    build_strategy(make_config(3), make_config(3, train_batch_size=16))
  except UsageError as error:
    found["error"] = str(error)
  found["batch norm"] = {str(shape): statistics(shape) for shape in ([4, 2, 2, 3], [4, 3])}
  found["far batch norm"] = statistics([4, 4, 4, 3], mean=1000.0, deviation=0.05)
  tf.keras.backend.set_floatx("float64")
  batches = make_batches(5, "float64")
  for method, values in (("recipe", RECIPE), ("conrec", CONREC)):
    reference = train(1, batches, **values)
    found[method] = distances(train(2, batches, **values), reference)
  with local_negatives():
    found["local negatives"] = distances(train(2, batches, **values), reference)
  return found


def options():
  """Five steps in float64 of what a training may have beside the paper."""
  tf.keras.backend.set_floatx("float64")
  batches, found = make_batches(5, "float64"), {}
  with tempfile.TemporaryDirectory() as folder:
    file = quarters(f"{folder}/quarters", channels=1)
    for method, (replicas, values) in OPTIONS.items():
      values |= {"teacher": file} if "teacher" in values else {}
      found[method] = distances(train(replicas, batches, **values), train(1, batches, **values))
  found["segmentation"] = distances(segment(2), segment(1))
  return found


def more():
  """Float32, a step that isn't finite, mixed precision, and whole runs."""
  batches, found = make_batches(2, "float32"), {"skipped": skipped()}
  for precision in ("mixed_float16", "mixed_bfloat16"):
    found[precision], _, _ = train(
      2, batches, mixed_precision=precision, temperature=0.1, on_nan="skip", **CONREC
    )
  return {**found, **runs()}


def make_batches(steps, floats):
  """Batches for `PretrainStep`."""
  rng = np.random.default_rng(0)
  return [
    {
      "corrupted": rng.uniform(size=[BATCH, 2, 16, 16, 1]).astype(floats),
      "target": rng.uniform(size=[BATCH, 2, 16, 16, 1]).astype(floats),
      "label": rng.integers(0, 3, BATCH),
      "local_crops": rng.uniform(size=[BATCH, 2, 8, 8, 1]).astype(floats),
      "teacher_vector": rng.normal(size=[BATCH, WIDTH]),
    }
    for _ in range(steps)
  ]


def make_config(replicas, **values):
  """A tiny network on so many replicas."""
  if replicas > 1:
    values.update(strategy="mirrored", devices=",".join(map(str, range(replicas))))
  return Config(
    **{
      **dict(image_size=24, unet_depth=2, base_filters=4, train_batch_size=BATCH, local_crops=0),
      **dict(mixed_precision="float32"),  # whatever this processor is fast in
      **dict(optimizer="lars", learning_rate=0.075, learning_rate_scaling="sqrt"),
      **dict(learning_rate_schedule="constant", representation_levels="last", **PAPER),
      **values,
    }
  )


def statistics(shape, mean=5.0, deviation=1.0):
  """Output and statistics of a batch norm on two replicas, against those of Keras' own."""
  inputs = np.random.default_rng(0).normal(mean, deviation, shape).astype(np.float32)
  plain = tf.keras.layers.BatchNormalization(momentum=0.0)
  expected = plain(inputs, training=True)
  strategy = strategy_of(2)
  with strategy.scope():
    layer = batch_norm(True, momentum=0.0)
    layer.build(shape)
  outputs = strategy.run(lambda half: layer(half, training=True), (split_batch(strategy, inputs),))
  outputs = np.concatenate(strategy.experimental_local_results(outputs))
  return {
    "outputs": float(np.max(np.abs(outputs - expected))),
    **{
      name: float(np.max(np.abs(getattr(layer, name).numpy() - getattr(plain, name).numpy())))
      for name in ("moving_mean", "moving_variance")
    },
  }


@functools.cache
def strategy_of(replicas):
  """One for each number of replicas: a process usually has but one, and they mustn't mix keys."""
  tf.distribute.MirroredStrategy._collective_key_base += 1000
  config = make_config(replicas)
  return build_strategy(config, config)


def train(replicas, batches, **values):
  """Trains a step on each batch.

  Returns:
    The metrics of each step, all gradients of the first, and at the end all that changes.
  """
  config = make_config(replicas, **values)
  strategy = strategy_of(replicas)
  with strategy.scope():
    model, head = build_model(config), None
    if config.lineareval_while_pretraining:
      head = LinearHead(3)
      head(tf.zeros([1, 8]))
    optimizer = build_optimizer(config, 100, 10, head.trainable_variables if head else ())
    step = PretrainStep(
      config,
      model,
      optimizer,
      head,
      last_step=10,
      skip_non_finite=config.on_nan == "skip",
    )
    gradients = [tf.Variable(tf.zeros_like(variable)) for variable in step._variables]
  apply = step._update._apply

  def noting(summed, of):
    for variable, gradient in zip(gradients, summed, strict=True):
      variable.assign(gradient)
    apply(summed, of)

  step._update._apply = noting
  runner, metrics, first = StepRunner(strategy, step), [], None
  iterator = iter(
    tf.data.Dataset.from_generator(
      lambda: iter(batches),
      output_signature=tf.nest.map_structure(
        lambda part: tf.TensorSpec(part.shape, part.dtype), batches[0]
      ),
    )
  )
  for _ in batches:
    runner(iterator, tf.constant(1))
    metrics.append(runner.collect()[0])
    first = first or values_of(strategy, gradients)
  networks, others = step.loss.networks, step.loss.only_to_resume
  networks.pop("queue", None)  # it holds the same keys in another order
  changing = [*networks.values(), optimizer, *others.values()]
  changing = [variable for part in changing for variable in part.variables]
  return metrics, first, values_of(strategy, changing)


def segment(replicas):
  """Learns from masks for five steps; returns what `train` does, but for the gradients."""
  config = make_config(
    replicas, train_mode="segment", dataset="image_folder", class_weights="1,2,3"
  )
  strategy, rng = strategy_of(replicas), np.random.default_rng(0)
  batch = {
    "image": rng.uniform(size=[BATCH, 24, 24, 3]),
    "classes": rng.choice([0, 1, 2, IGNORED], [BATCH, 24, 24]).astype(np.int32),
  }
  batch["classes"][: BATCH // 2, 4:] = IGNORED  # one half has less that counts
  with strategy.scope():
    model = build_model(config, 3)
    head = build_segmentation_head(model, 3, 3)
    optimizer = build_optimizer(config, 100, 100, head.trainable_variables)
    optimizer.build(segmentation_variables(model, head))
  runner = StepRunner(strategy, SegmentationStep(config, model, head, optimizer, False))
  iterator, metrics = iter(tf.data.Dataset.from_tensors(batch).repeat()), []
  for _ in range(5):
    runner(iterator, tf.constant(1))
    metrics.append(runner.collect()[0])
  changing = [*model.variables, *head.variables, *optimizer.variables]
  values = values_of(strategy, changing)
  return metrics, values, values


def values_of(strategy, variables):
  """Arrays; all replicas must have the same."""
  parts = [strategy.experimental_local_results(variable) for variable in variables]
  for replicas in parts:
    for part in replicas[1:]:
      np.testing.assert_array_equal(part, replicas[0])
  return [replicas[0].numpy() for replicas in parts]


def distances(ours, reference):
  """The largest relative differences of what `train` returned."""

  def metric(name):
    return max(
      abs(a[name] - b[name]) / max(abs(b[name]), ROUNDING)
      for a, b in zip(ours[0], reference[0], strict=True)
    )

  def arrays(part):
    pairs = [
      (a.astype(np.float64), b.astype(np.float64))
      for a, b in zip(ours[part], reference[part], strict=True)
    ]
    return max(
      np.max(np.abs(a - b)) / np.max(np.abs(b))
      for a, b in pairs
      if max(np.max(np.abs(a)), np.max(np.abs(b))) > ROUNDING
    )

  assert [set(row) for row in ours[0]] == [set(row) for row in reference[0]]
  return {
    "loss": metric("train/total_loss"),
    "metrics": max(map(metric, reference[0][0])),
    "gradients": arrays(1),
    "variables": arrays(2),
  }


@contextlib.contextmanager
def local_negatives():
  """What is wrong in so many implementations: each replica compares its own images alone."""
  before = losses.gather_views, losses.own_columns
  losses.gather_views = lambda views: views
  losses.own_columns = lambda logits: tf.range(tf.shape(logits)[0])
  try:
    yield
  finally:
    losses.gather_views, losses.own_columns = before


def skipped():
  """Whether a step that isn't finite on one replica is left out on all of them."""
  good, bad = make_batches(2, "float32")
  bad["target"][-1] = np.nan
  options = dict(on_nan="skip", moving_average_decay=0.9)
  metrics, _, values = train(2, [bad, good], **options)
  alone, _, expected = train(1, [bad, good], **options)
  return {
    "counted": metrics[0][SKIPPED_UPDATES],
    **distances((metrics[1:], values, values), (alone[1:], expected, expected)),
  }


def runs():
  """Runs on two replicas: whole, in two parts, and continued on one device."""
  commands.train.build_strategy = lambda config, _: strategy_of(2 if config.devices else 1)
  with tempfile.TemporaryDirectory() as folder:
    values = dict(data_dir=folder, train_split="train[:48]", eval_split="test[:24]", log_steps=1)
    values |= dict(reconstruction_weight=0.0, corruption="none")  # compared above

    def run(name, replicas, steps):
      path = f"{folder}/{name}"
      commands.run(make_config(replicas, train_steps=steps, model_dir=path, **values))

    run("whole", 2, 8)  # with exports and the report
    values.update(mode="train")  # of those the weights and losses alone are looked at
    run("parts", 2, 5)
    shutil.copytree(f"{folder}/parts", f"{folder}/moved")
    run("parts", 2, 8)
    run("moved", 1, 8)
    return {name: what_is_left(f"{folder}/{name}") for name in ("whole", "parts", "moved")}


def what_is_left(model_dir):
  """A digest of the weights, and the logged losses."""
  reader = tf.train.load_checkpoint(f"{model_dir}/checkpoints")
  digest = hashlib.sha256()
  for name in sorted(reader.get_variable_to_shape_map()):
    if name.startswith(("model/", "optimizer/")) and "VALUE" in name:
      digest.update(reader.get_tensor(name).tobytes())
  with open(f"{model_dir}/metrics.jsonl") as file:
    logged = [row["train/total_loss"] for row in map(json.loads, file) if "train/total_loss" in row]
  return {"weights": digest.hexdigest(), "losses": logged}


def seen(replicas):
  """The numbers of the images that each replica takes in two epochs, step by step."""
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "images.npz")
    numbers = np.arange(4 * BATCH)
    np.savez(
      path,
      x_train=np.tile(numbers[:, None, None], (1, 30, 30)).astype(np.uint8),
      y_train=numbers,
      x_test=np.zeros([1, 30, 30], np.uint8),
      y_test=[0],
    )
    config = make_config(
      replicas, dataset="npz", data_dir=path, corruption="none", lineareval_while_pretraining=True
    )
    strategy, source = strategy_of(replicas), load_dataset(config)
    whole = [batch["target"].numpy() for batch in pretraining_batches(config, source).take(8)]

    @tf.function
    def step(iterator):
      return strategy.run(lambda batch: batch, (split_batch(strategy, next(iterator)),))

    iterator, rows = iter(pretraining_batches(config, source)), []
    for expected in whole:
      parts = {
        name: strategy.experimental_local_results(part) for name, part in step(iterator).items()
      }
      np.testing.assert_array_equal(np.concatenate(parts["target"]), expected)
      rows.append([part.numpy().tolist() for part in parts["label"]])
    for worker in range(replicas):  # the same as shares of several processes, from any step on
      share = WorkerShard(worker, replicas, first_step=5)
      for row, batch in zip(rows[5:], pretraining_batches(config, source, share), strict=False):
        assert row[worker] == batch["label"].numpy().tolist()
  return rows


if __name__ == "__main__":
  main()
