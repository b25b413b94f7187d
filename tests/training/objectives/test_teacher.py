"""A teacher's losses against slow NumPy, and what they leave alone."""

import itertools

from foreign_networks import WIDTH, quarters
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.losses import view_major
from conrec_tf.models import build_model
from conrec_tf.pretrained.external import ExternalNetwork
from conrec_tf.training.objectives.pretrain_loss import PretrainLoss
from conrec_tf.training.objectives.teacher import cosine_loss, relation_loss
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

LOSS, RELATIONS = "train/teacher_loss", "train/teacher_relation_loss"
ALONE = dict(contrastive_weight=0.0, reconstruction_weight=0.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  return quarters(tmp_path_factory.mktemp("teacher") / "quarters", side=12)


def slow_cosine_loss(rows, vectors):
  cosines = [
    a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(rows, vectors, strict=True)
  ]
  return 1 - np.mean(cosines)


def slow_huber(difference):
  return difference**2 / 2 if abs(difference) <= 1 else abs(difference) - 0.5


def slow_relation_loss(rows, vectors):
  """Pair by pair and triplet by triplet, in float64."""
  rows, vectors = np.float64(rows), np.float64(vectors)
  pairs = list(itertools.permutations(range(len(rows)), 2))
  found = []
  for points in (rows, vectors):
    lengths = np.array([np.linalg.norm(points[i] - points[j]) for i, j in pairs])
    found.append(lengths / lengths.mean())
  distance = np.mean([slow_huber(a - b) for a, b in zip(*found, strict=True)])
  angles = []
  for i, j, k in itertools.permutations(range(len(rows)), 3):
    cosines = [
      1 - slow_cosine_loss([points[i] - points[j]], [points[k] - points[j]])
      for points in (rows, vectors)
    ]
    angles.append(slow_huber(cosines[0] - cosines[1]))
  return distance + 2 * np.mean(angles)


def test_losses_against_loops(rng):
  rows = rng.normal(size=(7, 4)).astype(np.float32)
  vectors = rng.normal(size=(7, 3)).astype(np.float32) + 2
  assert float(relation_loss(rows, vectors)) == pytest.approx(
    slow_relation_loss(rows, vectors), rel=1e-5
  )
  turned = np.roll(rows, 1, axis=1) * [1, -1, 1, 1] * 3 + 5  # turned, mirrored, scaled, moved
  assert float(relation_loss(rows, turned.astype(np.float32))) == pytest.approx(0, abs=1e-9)
  assert float(cosine_loss(rows, vectors @ np.ones([3, 4], np.float32))) == pytest.approx(
    slow_cosine_loss(rows, vectors @ np.ones([3, 4])), rel=1e-5
  )


@pytest.mark.parametrize("count", [1, 2, 4])
def test_equal_embeddings_have_a_gradient_that_is_finite(count):
  rows = tf.Variable(tf.ones([count, 3]))
  with tf.GradientTape() as tape:
    loss = relation_loss(rows, tf.eye(count))
  assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, rows)).all()


def make_step(file, **values):
  sizes = dict(base_filters=2, unet_depth=2, image_size=24, local_crops=0)
  sizes |= dict(attention_dropout=0.0, weight_decay=0.0)
  config = Config(**sizes, teacher=file, **values)
  model = build_model(config)
  return model, PretrainStep(config, model, build_optimizer(config, examples=9, last_step=9))


def make_batch(seed):
  images = {
    name: tf.random.stateless_uniform([4, 2, 24, 24, 1], [seed, number])
    for number, name in enumerate(("corrupted", "target"))
  }
  return images | {"teacher_vector": tf.random.stateless_normal([4, WIDTH], [seed, 2])}


@pytest.mark.parametrize(
  "values",
  [
    dict(ALONE, teacher_weight=2.0, teacher_relation_weight=0.5),
    dict(ALONE, teacher_weight=0.0, teacher_relation_weight=3.0),
    dict(reconstruction_weight=0.0, teacher_views=True),
  ],
)
def test_three_steps_against_loops(file, values):
  model, step = make_step(file, **values)
  options, network = step._options, ExternalNetwork(file, "unit", "", 12)
  take_step = tf.function(step)
  for number in range(3):
    batch = make_batch(number)
    statistics = model.get_weights()
    views = {name: view_major(batch[name]) for name in ("corrupted", "target")}
    embedding = model.with_maps(views["corrupted"], training=True, num_views=2)[0].embedding.numpy()
    model.set_weights(statistics)
    vectors = np.tile(batch["teacher_vector"], [2, 1])
    if options.teacher_views:  # of 12 pixels and 3 channels
      seen = tf.image.resize(views["target"], [12, 12], antialias=True).numpy()
      vectors = network.embed(np.repeat(seen, 3, axis=-1)).numpy()
    expected, total = {}, 0.0
    if options.teacher_weight:
      kernel, bias = (weight.numpy() for weight in step.loss.only_to_resume["teacher_head"].weights)
      expected[LOSS] = slow_cosine_loss(embedding @ kernel + bias, vectors)
      total += options.teacher_weight * expected[LOSS]
    if options.teacher_relation_weight:
      halves = zip(np.split(embedding, 2), np.split(vectors, 2), strict=True)
      expected[RELATIONS] = np.mean([slow_relation_loss(*half) for half in halves])
      total += options.teacher_relation_weight * expected[RELATIONS]
    metrics = take_step(batch)
    assert {name for name in metrics if "teacher" in name} == set(expected)
    for name, value in expected.items():
      assert float(metrics[name]) == pytest.approx(value, rel=1e-4), (number, name)
    others = float(metrics.get("train/contrast_loss", 0.0))
    assert float(metrics["train/total_loss"]) == pytest.approx(total + others, rel=1e-4)


def test_the_embedding_comes_near_the_teacher_and_nothing_of_it_is_trained_or_kept(file):
  model, step = make_step(file, **ALONE, optimizer="adam", learning_rate=0.01)
  before = [variable.numpy() for variable in model.encoder.trainable_variables]
  take_step = tf.function(step)
  losses = [float(take_step(make_batch(0))[LOSS]) for _ in range(20)]
  assert losses[-1] < 0.5 * losses[0]
  moved = zip(model.encoder.trainable_variables, before, strict=True)
  assert any(not np.array_equal(variable, value) for variable, value in moved)
  shapes = [weight.shape.as_list() for weight in step.loss.only_to_resume["teacher_head"].weights]
  assert shapes == [[model.representation(tf.zeros([1, 24, 24, 1])).shape[1], WIDTH], [WIDTH]]
  assert set(step.loss.networks) == {"model"} and set(step.loss.only_to_resume) == {"teacher_head"}
  assert not step.loss.has_validation
  trained = step._variables
  assert len(trained) == len(model.trainable_variables) + 2


def test_an_evaluation_needs_no_teacher():
  config = Config(base_filters=2, teacher="gone", **ALONE)
  loss = PretrainLoss(config, build_model(config), in_training=False)
  assert not loss.objectives and not loss.has_validation


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(teacher_views=True), "teacher_views must be left out unless there is a teacher"),
    (dict(teacher="a", train_mode="finetune"), "teacher must be left out for train_mode=finetune"),
    (
      dict(teacher="a", teacher_weight=0.0),
      "teacher_weight or teacher_relation_weight must be pos",
    ),
    (dict(teacher="a", window_size=64), "teacher_views must be true with window_size"),
    (
      dict(teacher="a", teacher_views=True, jit_compile=True),
      "teacher_views must be false with jit_compile",
    ),
  ],
)
def test_contradictions_are_refused(values, message):
  with pytest.raises(UsageError, match=message):
    Config(**values)
