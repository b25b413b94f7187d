"""Runs the command as a user does: a process of its own, with its output and exit code."""

import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).parent.parent
RUN = ROOT / "run.py"


def as_flags(values):
  return [f"--{name}={value}" for name, value in values.items()]


def command(*flags, cwd=ROOT, script=RUN):
  """Runs to the end; returns a `subprocess.CompletedProcess`."""
  process = start(*flags, cwd=cwd, script=script)
  stdout, stderr = process.communicate()
  return subprocess.CompletedProcess(flags, process.returncode, stdout, stderr)


def start(*flags, cwd=ROOT, script=RUN, log=None, **environment):
  """Starts a command that saves the time for imports; returns its `Process`.

  Args:
    log: a file for all that it says, which can't be read from the process then.
    **environment: variables beside those of this process.
  """
  argv, env = [str(script), *map(str, flags)], {**os.environ, **environment}
  request = dict(argv=argv, cwd=str(cwd), env=env)
  server = ForkServer.that_preloads(env.get("LD_PRELOAD", ""))
  if log:
    return Process(server, server.ask(request, log.fileno(), log.fileno()))
  stderr = tempfile.TemporaryFile("w+")
  reading, writing = os.pipe()
  pid = server.ask(request, writing, stderr.fileno())
  os.close(writing)
  return Process(server, pid, open(reading), stderr)


def cold_command(*flags, cwd=ROOT):
  """Like `command`, from the start of Python on, in the environment of a user."""
  env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
  return subprocess.run(
    [sys.executable, str(RUN), *flags], cwd=cwd, env=env, capture_output=True, text=True
  )


class Process:
  """What the tests need of `subprocess.Popen`, for a child of the fork server."""

  def __init__(self, server, pid, stdout=None, stderr=None):
    self.pid, self.stdout, self.returncode = pid, stdout, None
    self._server, self._stderr = server, stderr

  def send_signal(self, signum):
    os.kill(self.pid, signum)

  def kill(self):
    self.send_signal(signal.SIGKILL)

  def poll(self):
    if self.returncode is None:
      self.returncode = self._server.ask(dict(poll=self.pid))
    return self.returncode

  def wait(self, timeout=None):
    if timeout is None and self.returncode is None:
      self.returncode = self._server.ask(dict(wait=self.pid))
    until = time.monotonic() + (timeout or 0.0)
    while self.poll() is None:
      if time.monotonic() > until:
        raise subprocess.TimeoutExpired(str(self.pid), timeout)
      time.sleep(0.01)
    return self.returncode

  def communicate(self, timeout=None):
    """Waits for the end; returns (rest of stdout, stderr). With a timeout, they must be short."""
    if timeout is not None:
      self.wait(timeout)
    with self.stdout, self._stderr:
      stdout = self.stdout.read()
      self.wait()
      self._stderr.seek(0)
      return stdout, self._stderr.read()


class ForkServer:
  """A process that forks for every command, and ends with this one; threads may share it.

  Args:
    preload: a library that it begins with, for only what begins anew loads one; empty: none.
  """

  def __init__(self, preload):
    self._lock = threading.Lock()
    self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
      subprocess.Popen(
        [sys.executable, ROOT / "tests/fork_server.py", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "LD_PRELOAD": preload},
      )

  @classmethod
  @functools.cache
  def that_preloads(cls, preload):
    """Returns the one that begins with a library, or without."""
    return cls(preload)

  def ask(self, request, *files):
    """Returns what it answers to a request, which has files where it starts a command."""
    with self._lock:
      socket.send_fds(self._channel, [json.dumps(request).encode()], files)
      return json.loads(self._channel.recv(100))
