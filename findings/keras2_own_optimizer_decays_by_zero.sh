#!/usr/bin/env bash
# Expected: an optimizer of one's own, a subclass of Keras 2's Optimizer, has no weight decay unless
# it is given one: its docstring says "weight_decay: Float, defaults to None", as all built-in ones.
# Happens: the default of the base class alone is 0, which isn't None, so that each step takes
# 0 * weight * learning rate from every weight: operations for each variable, and a weight that is
# infinite (a mask's, say) becomes NaN though its gradient is 0. With weight_decay=None it stays.
# tf-keras 2.21.0 (Keras 2.11 to 2.15 too), tf_keras/src/optimizers/optimizer.py,
# Optimizer.__init__ and _apply_weight_decay.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.21.0 tf-keras==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import tensorflow as tf
import tf_keras

print("tensorflow", tf.__version__, "tf-keras", tf_keras.__version__)


class Descent(tf_keras.optimizers.Optimizer):
  def __init__(self, rate, **kwargs):
    super().__init__(name="Descent", **kwargs)
    self._learning_rate = self._build_learning_rate(rate)

  def update_step(self, gradient, variable):
    variable.assign_sub(tf.cast(self.learning_rate, variable.dtype) * gradient)


def step_of(optimizer):
  mask = tf.Variable([0.0, -float("inf")])
  optimizer.build([mask])
  update = lambda: optimizer.apply_gradients([(tf.zeros([2]), mask)])  # noqa: E731
  step = tf.function(update, autograph=False)
  step()
  operations = step.get_concrete_function().graph.get_operations()
  calls = [each.type for each in operations if each.type in ("Mul", "AssignSubVariableOp")]
  return mask.numpy(), len(calls)


for name, made in {
  "default": Descent(0.1),
  "weight_decay=None": Descent(0.1, weight_decay=None),
  "SGD": tf_keras.optimizers.SGD(0.1),
}.items():
  mask, count = step_of(made)
  print(f"{name}: weight_decay {made.weight_decay}, weights {mask}, {count} products and updates")
  assert tf.math.is_nan(mask[1]).numpy() == (name == "default")
PYTHON
