"""Two processes that train together, one of them killed, against one process.

    python -m benchmarks.workers --steps=300 --dataset=oxford_flowers102 --data_dir=tfds

One process trains. Then two train with `multi_worker_mirrored` over the loopback; halfway, the
second is killed with SIGKILL, the first must end with one line, and both are started again. The
table gives, for windows of steps, the largest relative difference of the logged losses from the
one process, and that of another run of one process whose learning rate differs by 2e-7,
about what rounding is worth: small differences grow with every step, at high learning rates
fast. Last, whether both workers end with the same weights.
"""

import argparse
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = pathlib.Path(__file__).parents[1]
LOG_STEPS = 10
LARS = ("--optimizer=lars", "--learning_rate_scaling=sqrt", "--learning_rate_schedule=constant")
ROUNDING = 2e-7
SECONDS = 3600
LOSSES = ("train/total_loss", "train/contrast_loss", "train/reconstruction_loss")


def train_here(weights, flags):
  """What `run.py` does, and at the end the weights into a file."""
  import numpy as np
  import tensorflow as tf

  from conrec_tf import cli
  from conrec_tf.commands import train

  tasks, build_training = [], train.build_training
  train.build_training = lambda *args: tasks.append(build_training(*args)) or tasks[-1]
  sys.argv = ["run.py", *flags]
  try:
    cli.main()  # which ends the process
  finally:
    if tasks:
      np.savez(weights, *[tf.convert_to_tensor(value) for value in tasks[0].model.variables])


def start(folder, name, flags, **environment):
  """A training as a process; what it says goes to `<name>.log`."""
  command = [sys.executable, "-m", "benchmarks.workers", f"--weights={folder / name}.npz", *flags]
  with (folder / f"{name}.log").open("w") as log:
    return subprocess.Popen(
      command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment}
    )


def start_both(folder, flags):
  """Both workers, over free ports."""
  sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
  addresses = ["{}:{}".format(*free.getsockname()) for free in sockets]
  for free in sockets:
    free.close()
  return [
    start(
      folder,
      f"worker_{index}",
      ["--strategy=multi_worker_mirrored", *flags],
      TF_CONFIG=json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
      ),
    )
    for index in range(2)
  ]


def finish(folder, name, process):
  if process.wait(SECONDS):
    raise RuntimeError((folder / f"{name}.log").read_text())


def kill_second(folder, flags, step):
  """Kills the second worker after a checkpoint.

  Returns:
    Seconds until the first worker ended, and what it said last.
  """
  first, second = start_both(folder, flags)
  while not list((folder / "two/checkpoints").glob(f"ckpt-{step}.index")):
    time.sleep(0.1)
    if first.poll() is not None:
      raise RuntimeError((folder / "worker_0.log").read_text())
  second.send_signal(signal.SIGKILL)
  began = time.monotonic()
  first.wait(SECONDS)
  second.wait()
  if first.returncode != 1:
    raise RuntimeError(f"exit code {first.returncode}")
  return time.monotonic() - began, (folder / "worker_0.log").read_text().splitlines()[-1]


def rows(model_dir):
  """Logged losses, `{step: (losses)}`."""
  lines = map(json.loads, (model_dir / "metrics.jsonl").read_text().splitlines())
  return {
    row["global_step"]: [row[name] for name in LOSSES if name in row]
    for row in lines
    if LOSSES[0] in row
  }


def differences(ours, reference):
  """The largest relative difference of the losses, `{step: difference}`."""
  assert ours.keys() == reference.keys()
  return {
    step: max(abs(a - b) / abs(b) for a, b in zip(ours[step], reference[step], strict=True))
    for step in ours
  }


def training(steps, learning_rate, flags):
  """Flags of a training with a checkpoint halfway, which is its step."""
  middle = steps // 2 // LOG_STEPS * LOG_STEPS
  own = [f"--train_steps={steps}", f"--checkpoint_steps={middle}", f"--log_steps={LOG_STEPS}"]
  return ["--mode=train", *LARS, *own, f"--learning_rate={learning_rate}", *flags], middle


def train_alone(folder, name, flags):
  """Trains in one process; returns `rows` of it."""
  finish(folder, name, start(folder, name, [f"--model_dir={folder / name}", *flags]))
  return rows(folder / name)


def measure(folder, flags, middle):
  """Trains in one process, then in two, of which one is killed.

  Returns:
    seconds until the first worker noticed, what it said, `rows` of one and of two processes, and
    whether the workers' weights are equal.
  """
  import numpy as np

  one = train_alone(folder, "one", flags)
  flags = [*flags, f"--model_dir={folder / 'two'}"]
  seconds, said = kill_second(folder, flags, middle)
  for index, process in enumerate(start_both(folder, flags)):
    finish(folder, f"worker_{index}", process)
  continued = f"Continuing from step {middle}" in (folder / "worker_0.log").read_text()
  assert continued
  weights = [np.load(folder / f"worker_{index}.npz") for index in range(2)]
  equal = all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0].files)
  return seconds, said, one, rows(folder / "two"), equal


def main():
  parser = argparse.ArgumentParser(
    description=__doc__.split("\n")[0], epilog="All other flags go to the trainings."
  )
  parser.add_argument("--steps", type=int, default=100)
  parser.add_argument("--learning_rate", type=float, default=0.001)
  parser.add_argument("--weights", help=argparse.SUPPRESS)
  args, flags = parser.parse_known_args()
  if args.weights:
    train_here(args.weights, [f"--learning_rate={args.learning_rate}", *flags])
  with tempfile.TemporaryDirectory() as folder:
    folder, rate = pathlib.Path(folder), args.learning_rate
    seconds, said, one, two, equal = measure(folder, *training(args.steps, rate, flags))
    changed, _ = training(args.steps, rate * (1 + ROUNDING), flags)
    changed = differences(train_alone(folder, "changed", changed), one)
    two = differences(two, one)
  print(f"One worker killed; the other ended {seconds:.0f} s later with\n  {said}")
  print(f"{'steps':>12}{'two processes':>16}{'changed rate':>15}")
  windows = sorted(
    {*(LOG_STEPS * 2**n for n in range(20) if LOG_STEPS * 2**n < args.steps), args.steps}
  )
  for before, last in itertools.pairwise([0, *windows]):
    largest = [
      max(values[step] for step in values if before < step <= last) for values in (two, changed)
    ]
    print(f"{before + 1:>6}-{last:<5}{largest[0]:16.1e}{largest[1]:15.1e}")
  print(f"Final weights on both workers equal: {equal}")
  sys.exit(not equal)


if __name__ == "__main__":
  main()
