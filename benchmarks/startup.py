"""How long people wait: for `--help`, and from the command to the first step.

    python -m benchmarks.startup --rounds=3

Medians beside that of `python -c "import tensorflow"`, taken in turn, with the ratio to it. The
data is prepared before. Nothing else should run on the machine meanwhile.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]


def seconds(command, until=None):
  """Until a line of output begins with `until`, or until the end; then it is stopped."""
  began = time.perf_counter()
  with subprocess.Popen(
    [sys.executable, *command],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    cwd=ROOT,
  ) as process:
    for line in process.stdout:
      if until and line.startswith(until):
        break
    else:
      process.wait()
    taken = time.perf_counter() - began
    process.kill()
  return taken


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--rounds", type=int, default=3)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:

    def command(name, *flags):
      return ["run.py", f"--data_dir={folder}/tfds", f"--model_dir={folder}/{name}", *flags]

    first_step = ["--log_steps=1", "--train_steps=100000"]
    subprocess.run(
      [sys.executable, *command("prepares", "--mode=train", "--train_steps=1")],
      cwd=ROOT,
      check=True,
      capture_output=True,
    )
    measured = {
      "import tensorflow": [],
      "--help": [],
      "first step": [],
    }
    for turn in range(args.rounds):
      for times, result in zip(
        measured.values(),
        (
          seconds(["-c", "import tensorflow"]),
          seconds(["run.py", "--help"]),
          seconds(command(f"run_{turn}", "--mode=train_then_eval", *first_step), "step 1/"),
        ),
        strict=True,
      ):
        times.append(result)
  base = measured["import tensorflow"]
  print(f"{'':38}{'s':>8}{'/ import tensorflow':>21}")
  for name, times in measured.items():
    ratio = statistics.median(a / b for a, b in zip(times, base, strict=True))
    print(f"{name:38}{statistics.median(times):8.2f}{ratio:21.2f}")


if __name__ == "__main__":
  main()
