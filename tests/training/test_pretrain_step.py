import numpy as np
import pytest
import tensorflow as tf

from conrec_tf import losses
from conrec_tf.config import Config
from conrec_tf.losses import view_major
from conrec_tf.models import Outputs, build_model
from conrec_tf.models.heads import LinearHead
from conrec_tf.models.unet import ConvBlock
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep

pytestmark = pytest.mark.usefixtures("optimized_graphs")


def make_step(**values):
  config = Config(base_filters=2, unet_depth=2, local_crops=0, **values)
  model = build_model(config)
  optimizer = build_optimizer(config, examples=100, last_step=10)
  optimizer.build(model.trainable_variables)
  return model, optimizer, PretrainStep(config, model, optimizer)


def make_batch():
  return {
    name: tf.random.stateless_uniform([4, 2, 16, 16, 1], [0, seed])
    for seed, name in enumerate(("corrupted", "target"))
  }


def test_view_major_puts_first_views_first():
  views = tf.reshape(tf.range(6), [3, 2, 1])
  np.testing.assert_array_equal(view_major(views)[:, 0], [0, 2, 4, 1, 3, 5])


PAPER = dict(contrastive_method="nt_xent", temperature=0.5, reconstruction_weight=100.0)


def test_loss_is_contrast_plus_100_times_reconstruction():
  _, _, step = make_step(**PAPER)
  outputs = Outputs(None, tf.random.stateless_uniform([8, 5], [0, 0]), tf.zeros([8, 4, 4, 1]))
  batch = {"target": tf.fill([8, 4, 4, 1], 0.1)}
  found = [
    objective.loss(batch, outputs, None, training=True) for objective in step.loss.objectives
  ]
  total, metrics = sum(loss for loss, _ in found), found[0][1]
  contrast = losses.nt_xent(outputs.projection, 0.5)
  np.testing.assert_allclose(metrics["train/contrast_loss"], contrast, rtol=1e-6)
  np.testing.assert_allclose(total, contrast + 100 * 0.01, rtol=1e-6)


@pytest.mark.parametrize(
  "values",
  [
    dict(),
    dict(reconstruction_weight=0.0, pooling="average"),
    dict(contrastive_weight=0.0),
    dict(mixed_precision="mixed_bfloat16"),
    dict(contrastive_method="decoupled", contrastive_inputs="clean", representation_levels="all"),
    dict(skip_connections="deep", optimizer="adamw"),
    dict(skip_connections="none", optimizer="adam"),
  ],
)
def test_every_variable_moves_but_biases_before_batch_norm(values):
  model, optimizer, step = make_step(**values)
  before = model.get_weights()
  metrics = step(make_batch())
  assert set(metrics) == set(step.metrics())
  assert optimizer.iterations == 1
  unmoved = {
    variable.ref()
    for variable, value in zip(model.variables, before, strict=True)
    if np.array_equal(variable, value)
  }
  assert unmoved == {
    layer.convolution.bias.ref()
    for layer in model._flatten_layers()
    if isinstance(layer, ConvBlock)
  }


def test_a_supervised_head_leaves_the_network_alone():
  plain, _, step = make_step()
  step(make_batch())
  values = dict(local_crops=0, lineareval_while_pretraining=True)
  config = Config(base_filters=2, unet_depth=2, **values)
  model, head = build_model(config), LinearHead(3)
  # The head sees what evaluation does.
  assert config.representation_levels == "all_with_deviations"
  head(tf.zeros([1, 2 * (2 + 4)]))
  optimizer = build_optimizer(config, 100, 10, head.trainable_variables)
  optimizer.build(model.trainable_variables + head.trainable_variables)
  step = PretrainStep(config, model, optimizer, head)
  before = head.get_weights()
  metrics = step({**make_batch(), "label": tf.constant([0, 1, 2, 0], tf.int64)})
  assert set(metrics) == set(step.metrics())
  np.testing.assert_allclose(metrics["train/supervised_loss"], np.log(3), rtol=0.1)
  assert not np.array_equal(before[0], head.get_weights()[0])
  for a, b in zip(plain.get_weights(), model.get_weights(), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_other_optimizers_decay_through_the_loss():
  model, _, step = make_step(optimizer="momentum", weight_decay=0.5)
  kernels = [v.numpy() for v in model.trainable_variables if "kernel" in v.name]
  metrics = step(make_batch())
  np.testing.assert_allclose(
    metrics["train/weight_decay"], 0.25 * sum((kernel**2).sum() for kernel in kernels), rtol=1e-4
  )
  _, _, step = make_step(weight_decay=0.5)
  assert step(make_batch())["train/weight_decay"] == 0  # LARS decays by itself


def test_learns_to_reconstruct_one_batch():
  _, _, step = make_step(contrastive_weight=0.0, attention_dropout=0.0, learning_rate=0.01)
  step = tf.function(step)
  seen = [float(step(make_batch())["train/reconstruction_loss"]) for _ in range(30)]
  assert seen[-1] < 0.95 * seen[0]


@pytest.mark.slow
def test_a_compiled_step_is_the_same():
  results = []
  for jit_compile in (False, True):
    # XLA draws other random numbers; Adam's first step is the sign of gradients, rounding included.
    model, _, step = make_step(attention_dropout=0.0, optimizer="lars", learning_rate=0.1)
    metrics = tf.function(step, jit_compile=jit_compile)(make_batch())
    results.append((float(metrics["train/total_loss"]), model.get_weights()))
  assert results[1][0] == pytest.approx(results[0][0], rel=1e-4)
  for compiled, plain in zip(*(weights for _, weights in reversed(results)), strict=True):
    np.testing.assert_allclose(compiled, plain, atol=1e-3)


def test_the_contrastive_loss_may_compare_clean_views():
  model, _, step = make_step(contrastive_inputs="clean", **PAPER)
  batch = make_batch()
  total, metrics = step.loss.validation(model, batch)
  corrupted, clean = (model(view_major(batch[name])) for name in ("corrupted", "target"))
  contrast = losses.nt_xent(clean.projection, 0.5)
  target = view_major(batch["target"])
  reconstruction = losses.reconstruction_loss(corrupted.reconstruction, target)
  np.testing.assert_allclose(metrics["train/contrast_loss"], contrast, rtol=1e-5)
  np.testing.assert_allclose(total, contrast + 100 * reconstruction, rtol=1e-5)


def test_the_moving_average_is_that_of_all_weights_after_each_step():
  config = Config(base_filters=2, unet_depth=2, local_crops=0, moving_average_decay=0.5)
  model = build_model(config)
  optimizer = build_optimizer(config, examples=100, last_step=10)
  optimizer.build(model.trainable_variables)
  step = PretrainStep(config, model, optimizer)
  averaged, step = step.loss.evaluated, tf.function(step)
  expected = averaged.get_weights()
  for taken in (1, 2, 3, 4, 5, 6, 7, 8, 9):
    step(make_batch())
    decay = min(0.5, (1 + taken) / (10 + taken))  # 2/11, 3/12, ... and 0.5 from step 8 on
    expected = [
      decay * before + (1 - decay) * now
      for before, now in zip(expected, model.get_weights(), strict=True)
    ]
  for name, want, got in zip(
    [weight.name for weight in model.weights],
    expected,
    averaged.get_weights(),
    strict=True,
  ):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6, err_msg=name)
  moving = [weight for weight in averaged.weights if "moving_mean" in weight.name]
  assert moving and all(np.abs(weight).max() > 0 for weight in moving[:1])
