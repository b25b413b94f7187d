"""A process that has imported what is slow to import, and forks for every command.

`commands` starts it. TensorFlow is imported but not used in it: until it is used it has no
threads, which a fork would lack, so a fork goes on like a new process that has come as far.
"""

import gc
import json
import os
import pathlib
import random
import runpy
import signal
import socket
import sys

MAX_REQUEST = 2**17  # bytes
# pandas, which TensorFlow imports where it is there, imports pyarrow, whose allocator has a thread.
os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import numpy as np  # noqa: E402
from plain_graphs import set_optimization  # noqa: E402
import tensorflow_datasets.testing  # noqa: E402, F401
import tfds_sets.tiny_flowers  # noqa: E402, F401  # registers the dataset

import conrec_tf.commands.train  # noqa: E402, F401


def serve(channel):
  """Starts commands and waits for them, as asked; returns only in a fork, what it is to run."""
  running = set()
  while True:
    message, files, _, _ = socket.recv_fds(channel, MAX_REQUEST, 2)
    if not message:  # the tests are over
      for pid in running:
        os.kill(pid, signal.SIGKILL)
      sys.exit()
    request = json.loads(message)
    if "wait" in request:
      pid, status = os.waitpid(request["wait"], 0)
      running.remove(pid)
      answer = os.waitstatus_to_exitcode(status)
    elif "poll" in request:
      pid, status = os.waitpid(request["poll"], os.WNOHANG)
      running.discard(pid)
      answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
      answer = os.fork()
      if not answer:
        return request, files
      running.add(answer)
      for file in files:
        os.close(file)
    channel.send(json.dumps(answer).encode())


def become(request, files):
  """Makes a fork what a new process would be."""
  signal.signal(signal.SIGINT, signal.default_int_handler)
  for number, file in enumerate(files, start=1):  # stdout, stderr
    os.dup2(file, number)
    os.close(file)
  os.chdir(request["cwd"])
  os.environ.clear()
  os.environ.update(request["env"])
  sys.argv = request["argv"]
  random.seed()
  np.random.seed()  # noqa: NPY002  # what scikit-learn draws from by default
  set_optimization(False)


if __name__ == "__main__":
  assert len(os.listdir("/proc/self/task")) == 1, "a fork would lack all threads but this"
  gc.freeze()  # nothing of this for a fork to look through and copy when it collects and ends
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands
  with socket.socket(fileno=int(sys.argv[1])) as channel:
    request, files = serve(channel)
  become(request, files)
  runpy.run_path(sys.argv[0], run_name="__main__")
