"""Ctrl-C and preemption: finish the step, save, leave."""

import contextlib
import os
import signal


class Preempted(BaseException):
  """A signal asked the process to end; like KeyboardInterrupt it is no Exception.

  Attributes:
    signum: which one.
    step: how many steps were taken; None if the signal came during an evaluation.
  """

  def __init__(self, signum, step=None):
    super().__init__(signal.Signals(signum).name)
    self.signum = signum
    self.step = step


class GracefulShutdown:
  """While entered, SIGINT and SIGTERM are noted in `received`; the second one ends at once."""

  def __init__(self):
    self.received = None
    self._raises = False

  def __enter__(self):
    self._before = {
      signum: signal.signal(signum, self._note) for signum in (signal.SIGINT, signal.SIGTERM)
    }
    return self

  def __exit__(self, *_):
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  @contextlib.contextmanager
  def interruptible(self):
    """What is inside can be broken off without harm, by `Preempted`."""
    if self.received:
      raise Preempted(self.received)
    self._raises = True
    try:
      yield
    finally:
      self._raises = False

  def _note(self, signum, _):
    if self.received:
      os._exit(128 + signum)
    self.received = signum
    if self._raises:
      raise Preempted(signum)
