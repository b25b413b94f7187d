"""One update of the weights, guarded against numbers that aren't finite."""

import tensorflow as tf

from conrec_tf.distribute import replicas

NON_FINITE = "train/first_non_finite_step"
SKIPPED = "train/skipped_updates"


class NonFiniteGuard:
  """Applies the gradients of all replicas; with `on_nan=skip` only if they and the loss are finite.

  With float16 the loss that is differentiated is a multiple, so that small gradients don't
  vanish. Its optimizer leaves out gradients that overflowed and lowers the multiple; that
  happens in every such training and is no trouble.

  Args:
    config: `Config`.
    optimizer: Keras optimizer; its `iterations` counts all steps, skipped ones too.
    variables: what is trained.
    untrained: what isn't; among it what the forward pass itself changes, moving averages.
  """

  def __init__(self, config, optimizer, variables, untrained):
    self._skips = config.on_nan == "skip"
    self._optimizer = optimizer
    self._variables = variables
    self._statistics = [
      variable for variable in untrained if self._skips and not variable.trainable
    ]  # else it is frozen
    self._scales = isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

  def metrics(self):
    """The Keras metrics of what it reports."""
    # Both in any case: checkpoints go on with another on_nan.
    return {SKIPPED: tf.keras.metrics.Sum(SKIPPED), NON_FINITE: FirstNonFiniteStep(NON_FINITE)}

  def snapshot(self):
    """What to hand to the call; to be taken before the forward pass."""
    return [tf.identity(variable) for variable in self._statistics]

  def scaled(self, loss):
    """What to differentiate in place of the loss: the replicas' gradients are added up."""
    loss = loss / replicas.num_replicas()
    return self._optimizer.get_scaled_loss(loss) if self._scales else loss

  def __call__(self, loss, gradients, snapshot, metrics):
    """Updates.

    Args:
      loss: scalar.
      gradients: of the scaled loss, by variable.
      snapshot: what `snapshot` returned.
      metrics: what the step reports, `{name: scalar}`.

    Returns:
      `metrics`, means over the replicas, and its own; a skipped step doesn't count in the means.
    """
    step = self._optimizer.iterations + 1
    loss, *values = _means([loss, *metrics.values()])
    metrics = dict(zip(metrics, values))
    finite = tf.math.is_finite(loss)
    if self._scales:
      gradients = self._optimizer.get_unscaled_gradients(gradients)
    pairs = [pair for pair in zip(gradients, self._variables) if pair[0] is not None]
    gradients = replicas.all_reduce_sum([gradient for gradient, _ in pairs])
    if not self._scales:
      finite &= tf.math.is_finite(tf.linalg.global_norm(gradients))
    variables = [variable for _, variable in pairs]
    if not self._skips:
      self._apply(gradients, variables)
      return {**metrics, NON_FINITE: (step, ~finite), SKIPPED: 0.0}
    self._apply_if(finite, gradients, variables)
    for variable, value in zip(self._statistics, snapshot):
      variable.assign(tf.where(finite, variable, value))
    counted = {
      name: (tf.where(finite, value, 0.0), tf.cast(finite, tf.float32))
      for name, value in metrics.items()
    }
    return {**counted, NON_FINITE: (step, False), SKIPPED: tf.cast(~finite, tf.float32)}

  def _apply(self, gradients, variables):
    self._optimizer.apply_gradients(zip(gradients, variables), skip_gradients_aggregation=True)

  def _apply_if(self, finite, gradients, variables):
    def together(strategy, finite, gradients):
      tf.cond(
        strategy.experimental_local_results(finite)[0],
        lambda: strategy.run(lambda parts: self._apply(parts, variables), (gradients,)),
        self._pass_over,
      )

    # A replica can't meet the others within tf.cond, but all of them can enter it together.
    tf.distribute.get_replica_context().merge_call(together, (finite, gradients))

  def _pass_over(self):
    self._optimizer.iterations.assign_add(1)


def _means(values):
  """Means over the replicas of scalars of any float type, in the type of the first."""
  if replicas.num_replicas() == 1:
    return values
  return tf.unstack(
    replicas.all_reduce_mean(tf.stack([tf.cast(value, values[0].dtype) for value in values]))
  )


class FirstNonFiniteStep(tf.keras.metrics.Metric):
  """The first step at which something happened; 0 if it didn't."""

  def __init__(self, name):
    super().__init__(name=name, dtype=tf.int64)
    self._first = self.add_weight("first", initializer="zeros", dtype=tf.int64)

  def update_state(self, step, happened):
    self._first.assign(tf.where(happened & (self._first == 0), step, self._first))

  def result(self):
    return tf.identity(self._first)


def mean_metrics(*names):
  """A Keras mean for each name."""
  return {name: tf.keras.metrics.Mean(name=name) for name in names}
