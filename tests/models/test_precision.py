import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.models import build_model, precision
from conrec_tf.training.optimizers import build_optimizer
from conrec_tf.training.pretrain_step import PretrainStep


@pytest.mark.parametrize(
  "vendor, flags, gpus, chosen",
  [
    ("GenuineIntel", "avx2 avx512_bf16 amx_bf16", [], "mixed_bfloat16"),
    ("GenuineIntel", "avx2 avx512_bf16", [], "float32"),
    ("AuthenticAMD", "avx2 avx512_bf16", [], "mixed_bfloat16"),
    ("AuthenticAMD", "avx2", [], "float32"),
    (None, None, [], "float32"),
    ("GenuineIntel", "amx_bf16", ["GPU:0"], "float32"),
  ],
)
def test_auto_is_bfloat16_on_processors_that_are_fast_in_it(
  monkeypatch, tmp_path, vendor, flags, gpus, chosen
):
  path = tmp_path / "cpuinfo"
  if vendor:
    path.write_text(f"vendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n")
  monkeypatch.setattr(precision, "CPU_INFO", path)
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
  assert precision.resolve_precision("auto") == chosen
  assert precision.resolve_precision("mixed_float16") == "mixed_float16"


@pytest.mark.slow
@pytest.mark.parametrize(
  "name, pooling", [("mixed_bfloat16", "attention"), ("mixed_float16", "average")]
)
def test_a_step_in_half_precision_is_near_that_in_float32(rng, name, pooling):
  batch = {
    part: tf.constant(rng.uniform(size=(8, 2, 24, 24, 1)), tf.float32)
    for part in ("corrupted", "target")
  }
  losses, updates = [], []
  for value in ("float32", name):
    config = Config(
      base_filters=4,
      image_size=24,
      unet_depth=3,
      train_batch_size=8,
      local_crops=0,
      mixed_precision=value,
      attention_dropout=0.0,
      pooling=pooling,
    )
    model = build_model(config)
    assert {variable.dtype for variable in model.variables} == {tf.float32}
    assert model.encoder.levels[0][0].convolution.compute_dtype == value.removeprefix("mixed_")
    outputs = model(batch["target"][:, 0])
    assert {output.dtype for output in outputs} == {tf.float32}
    lars = Config(
      train_batch_size=8,
      optimizer="lars",
      learning_rate=0.075,
      learning_rate_scaling="sqrt",
      learning_rate_schedule="constant",
    )
    optimizer = build_optimizer(lars, 80, 80)
    if value == "mixed_float16":
      # The first scale by default overflows for some steps, which are left out.
      optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=256)
    before = [variable.numpy() for variable in model.trainable_variables]
    step = tf.function(PretrainStep(config, model, optimizer))
    losses.append(float(step(batch)["train/total_loss"]))
    # Biases before batch norm have no gradient but rounding.
    updates.append(
      [
        new.numpy() - old
        for new, old in zip(model.trainable_variables, before, strict=True)
        if new.shape.rank > 1
      ]
    )
  np.testing.assert_allclose(losses[1], losses[0], rtol=0.01)
  assert tf.keras.mixed_precision.global_policy().name == "float32"
  for half, full in zip(*reversed(updates), strict=True):
    # LARS gives each kernel a length; a wrong scale of the loss would show in it.
    assert np.linalg.norm(half) == pytest.approx(np.linalg.norm(full), rel=0.05)
  half, full = (np.concatenate([part.ravel() for part in one]) for one in reversed(updates))
  assert np.dot(half, full) > 0.95 * np.linalg.norm(half) * np.linalg.norm(full)


def test_overflowing_gradients_are_left_out_and_the_scale_falls():
  sizes = dict(base_filters=2, image_size=24, unet_depth=3, local_crops=0)
  config = Config(**sizes, mixed_precision="mixed_float16")
  model = build_model(config)
  optimizer = build_optimizer(config, 80, 80)
  step = PretrainStep(config, model, optimizer)
  batch = {part: tf.fill([4, 2, 24, 24, 1], np.float32("nan")) for part in ("corrupted", "target")}
  before, scale = model.get_weights(), float(optimizer.loss_scale)
  step(batch)
  trainable = [variable.name for variable in model.trainable_variables]
  for variable, value in zip(model.weights, before, strict=True):
    if variable.name in trainable:
      np.testing.assert_array_equal(variable, value)
  assert float(optimizer.loss_scale) == scale / 2
