"""Ctrl-C, preemption, a terminal that is closed: finish the step, save, leave."""

from collections.abc import Iterator
import contextlib
import os
import signal
import threading
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Preempted(BaseException):
  """A signal asked the process to end; like KeyboardInterrupt it is no Exception.

  Attributes:
    signum: which one.
    step: how many steps were taken; None if the signal came during an evaluation.
  """

  def __init__(self, signum: int, step: int | None = None) -> None:
    super().__init__(signal.Signals(signum).name)
    self.signum = signum
    self.step = step


class GracefulShutdown:
  """While entered, notes SIGINT, SIGTERM and SIGHUP; a second SIGINT or SIGTERM ends at once.

  SIGHUP comes when the terminal is closed: often twice, of the shell and of the system, or beside
  SIGTERM. Where it is ignored, as nohup does, it stays so. Python tells signals to the main thread:
  in another one, of a program that calls this package, none is noted.

  Attributes:
    received: the number of the signal that came, or None.
  """

  def __init__(self) -> None:
    self.received: int | None = None
    self._raises = self._was_asked = False

  def __enter__(self) -> "GracefulShutdown":
    in_main_thread = threading.current_thread() is threading.main_thread()
    self._before = {
      signum: signal.signal(signum, self._note)
      for signum in (SIGNALS if in_main_thread else ())
      if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN
    }
    return self

  def __exit__(self, *_: object) -> None:
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  @contextlib.contextmanager
  def interruptible(self) -> Iterator[None]:
    """Lets a signal break off what is inside at once, by raising `Preempted` there."""
    if self.received:
      raise Preempted(self.received)
    self._raises = True
    try:
      yield
    finally:
      self._raises = False

  def _note(self, signum: int, _: Any) -> None:
    if signum != signal.SIGHUP:
      if self._was_asked:
        os._exit(128 + signum)
      self._was_asked = True
    if self.received:
      return
    self.received = signum
    if self._raises:
      raise Preempted(signum)
