"""Writes a teacher that learnt on ImageNet, from a package that brings its weights, as ONNX.

    python -m experiments.peers.teacher

EfficientNet-Lite0, 3.4 million parameters without its classifier, is written into
`runs/teachers/efficientnet_lite0.onnx`: it takes images `[N, 3, 64, 64]` in [0, 1], resizes them to
128 pixels and gives the mean of its last maps, `[N, 1280]`. PyTorch, which is needed for it, goes
into an environment of its own.
"""

import argparse
import pathlib
import subprocess

from experiments.peers.environment import HERE, environment
from experiments.recipe import ROOT


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "peers")
  parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs" / "teachers")
  args = parser.parse_args()
  args.out.mkdir(parents=True, exist_ok=True)
  network = args.out / "efficientnet_lite0.onnx"
  subprocess.run(
    [environment(args.runs), HERE / "write_efficientnet.py", network, "64", "128"], check=True
  )


if __name__ == "__main__":
  main()
