"""The processes that train together, on one machine or several."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import hashlib
import re
import signal
from typing import Any

import tensorflow as tf

from conrec_tf.errors import UsageError, short_message

# What TensorFlow raises in a process when another one is gone.
LOST = (
  tf.errors.UnavailableError,
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.FailedPreconditionError,
  tf.errors.InternalError,
)


class Workers:
  """The processes of a strategy: one, or with multi_worker_mirrored several.

  Attributes:
    index: which of them this is; 0 is the chief, who alone writes, evaluates and exports.
    count: how many there are.
  """

  def __init__(self, strategy: tf.distribute.Strategy) -> None:
    self._strategy = strategy
    self.index, self.count = 0, 1
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
      resolver = strategy.cluster_resolver
      cluster = resolver.cluster_spec().as_dict()
      self.index, self.count = place_in(cluster, resolver.task_type, resolver.task_id)

  @contextlib.contextmanager
  def raise_on_lost_worker(self) -> Iterator[None]:
    """Turns the errors of a lost worker, raised inside, into one line.

    Raises:
      UsageError: TensorFlow lost contact.
    """
    try:
      yield
    except LOST as error:
      if self.count == 1:
        raise
      lost = re.search(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", error.message)
      who = " ".join(lost.groups()) if lost else f"one ({short_message(error)})"
      raise UsageError(
        "all workers must keep running; the same command on each of them continues from the last "
        f"checkpoint. Received: {who} lost"
      ) from error

  @property
  def is_chief(self) -> bool:
    """True in the process that writes."""
    return self.index == 0

  def sync_stop_signal(self, steps: int, signum: int | None) -> tuple[int, int | None]:
    """Returns how many steps to run next and which signal to stop for, the same for all workers.

    It is given what this one would take, and the signal that came here, or None.
    """
    if self.count == 1:
      return steps, signum
    mean_steps, stops = self._mean(steps, bool(signum))
    return int(mean_steps), (signum or signal.SIGTERM) if stops else None

  def assert_same_step(self, step: int) -> None:
    """Waits for the other workers.

    Raises:
      UsageError: they start from another step.
    """
    if self.count > 1 and self._mean(step) != [step]:
      raise UsageError(
        "model_dir must be one folder that all workers see, for "
        f"multi_worker_mirrored. Received: one with step {step} here, others not"
      )

  def assert_alike(self, known: Mapping[str, Any]) -> None:
    """Waits for the other workers.

    Args:
      known: `{name: value}` of what all of them must have the same of.

    Raises:
      UsageError: something is another one elsewhere.
    """
    if self.count == 1:
      return
    digests = [int(hashlib.sha256(repr(it).encode()).hexdigest()[:8], 16) for it in known.values()]
    means = self._mean(*digests)  # exact, of 32 bits in float64
    others = [name for name, one, mean in zip(known, digests, means, strict=True) if one != mean]
    if others:
      raise UsageError(
        "all workers must have the same command and the same data. "
        f"Received: another {', '.join(others)} here than elsewhere"
      )

  @contextlib.contextmanager
  def chief_first(self) -> Iterator[None]:
    """Lets the chief go first: the other workers enter when it is through."""
    if not self.is_chief:
      self._mean(0)
    yield
    if self.is_chief and self.count > 1:
      self._mean(0)

  def _mean(self, *numbers: float) -> list[float]:
    return self._reduced(tf.constant(numbers, tf.float64)).numpy().tolist()

  @tf.function
  def _reduced(self, numbers: tf.Tensor) -> tf.Tensor:
    return self._strategy.reduce("MEAN", self._strategy.run(tf.identity, (numbers,)), axis=None)


def place_in(cluster: Mapping[str, Sequence[str]], kind: str, index: int) -> tuple[int, int]:
  """Returns which of all processes one is, the chief first, and how many there are.

  Args:
    cluster: `{chief or worker: addresses}`.
    kind, index: of the process.
  """
  order = [(name, at) for name in ("chief", "worker") for at in range(len(cluster.get(name, ())))]
  return order.index((kind, index)), len(order)
