"""A training whose terminal is closed."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios

from command_line import ROOT, RUN, as_flags
import pytest


@contextlib.contextmanager
def training_in_terminal(flags, on_hangup=signal.SIG_DFL):
  """A training, in a terminal of its own that was closed when it trained, as a process."""
  ours, theirs = os.openpty()

  def become_its_session():
    os.setsid()
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, on_hangup)  # whatever these tests were started by

  process = subprocess.Popen(
    [sys.executable, str(RUN), *as_flags(flags)],
    cwd=ROOT,
    stdin=theirs,
    stdout=theirs,
    stderr=theirs,
    preexec_fn=become_its_session,  # noqa: PLW1509
  )
  os.close(theirs)
  seen = b""
  while b" loss " not in seen:
    seen += os.read(ours, 1000)
  os.close(ours)
  try:
    yield process
  finally:
    process.kill()
    process.wait()


@pytest.fixture
def flags(quickest):
  return {**quickest, "mode": "train", "log_steps": 1, "checkpoint_steps": 100_000}


@pytest.mark.slow
def test_a_terminal_that_closes_leaves_a_checkpoint(flags, tmp_path):
  with training_in_terminal({**flags, "train_steps": 50_000}) as process:
    assert process.wait(60) == 128 + signal.SIGHUP
  [saved] = (tmp_path / "run" / "checkpoints").glob("*.index")
  step = int(saved.stem.split("-")[1])
  assert 0 < step < 50_000
  done = subprocess.run(
    [sys.executable, str(RUN), *as_flags({**flags, "train_steps": step + 1})],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0 and f"Continuing from step {step}" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_training_that_ignores_that_its_terminal_closes_goes_on(flags, tmp_path):
  with training_in_terminal({**flags, "train_steps": 200}, signal.SIG_IGN) as process:
    assert process.wait(120) == 0
  assert (tmp_path / "run" / "checkpoints" / "ckpt-200.index").exists()
