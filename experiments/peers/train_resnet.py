"""Trains a ResNet-18 with LightlyTrain and writes it as ONNX; runs in an environment of its own.

    python train_resnet.py '{"method": "simclr", "images": "images", "out": "out", ...}'

It imports nothing of the package. The network takes images less ImageNet's mean, by its deviation;
`report.json` beside it says how long it trained.
"""

import json
import math
import pathlib
import sys
import time

from as_onnx import write
import lightly_train
import numpy as np
from PIL import Image
import torch
from torchvision.models import resnet18
from torchvision.transforms.functional import normalize, to_tensor

RATES = {"simclr": 0.3, "dino": 0.0005}  # LightlyTrain's own, of a reference batch
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOCAL_VIEW = 0.5  # of the size of whole views; the library's 96 of 224 pixels is 0.43
CALIBRATION_EPOCHS = 2
CALLS = []  # when the first layer was called


def note_call(*_):
  """A hook; the library pickles networks, so that it is a function of the module."""
  CALLS.append(time.monotonic())


def network_of(seed):
  """A ResNet-18 of random weights."""
  torch.manual_seed(seed)
  return resnet18(weights=None)


def train(asked, out, epochs):
  """Trains for so many epochs.

  Args:
    asked: what the command was given.
    out: folder of what the library writes.
    epochs: how many.

  Returns:
    The network, and the seconds from its first step on.
  """
  network = network_of(asked["seed"])
  CALLS.clear()
  hook = network.conv1.register_forward_pre_hook(note_call)
  transform = {"image_size": (asked["pixels"],) * 2}
  if asked["method"] == "dino":
    transform["local_view"] = {"view_size": (round(LOCAL_VIEW * asked["pixels"]),) * 2}
  tuned = {}
  if asked["rate"]:
    tuned["optim_args"] = {"lr": asked["rate"] * RATES[asked["method"]]}
  if asked["batch"]:
    tuned["batch_size"] = asked["batch"]
  lightly_train.pretrain(
    out=out,
    data=asked["images"],
    model=network,
    method=asked["method"],
    epochs=epochs,
    accelerator="cpu",  # said so, or autocast is that of a GPU and bfloat16 stays off
    precision=asked["precision"],
    seed=asked["seed"],
    transform_args=transform,
    overwrite=True,
    **tuned,
  )
  hook.remove()
  return network, (CALLS[-1] - CALLS[0]) * len(CALLS) / (len(CALLS) - 1)


def recompute_statistics(network, images, size):
  """Sets the statistics of batch norm to those of images, for a network that hasn't learnt.

  Args:
    network: which.
    images: paths of their files.
    size: height and width that they are resized to, pixels.
  """
  for layer in network.modules():
    if isinstance(layer, torch.nn.BatchNorm2d):
      layer.reset_running_stats()
      layer.momentum = None  # a plain mean
  network.train()
  with torch.no_grad():
    for paths in np.array_split(images, math.ceil(len(images) / 128)):
      pictures = [Image.open(path).resize((size, size), Image.Resampling.BICUBIC) for path in paths]
      pixels = [normalize(to_tensor(picture), MEAN, DEVIATION) for picture in pictures]
      network(torch.stack(pixels))


def main(asked):
  """Writes an untrained network, one with recomputed statistics, or a trained one."""
  out = pathlib.Path(asked["out"])
  out.mkdir(parents=True, exist_ok=True)
  images = sorted(pathlib.Path(asked["images"]).iterdir())
  report = {}
  if asked["method"] in RATES:
    _, seconds = train(asked, out / "calibration", CALIBRATION_EPOCHS)
    epochs = math.ceil(asked["seconds"] / seconds * CALIBRATION_EPOCHS)
    network, seconds = train(asked, out / "training", epochs)
    report = {"epochs": epochs, "seconds": seconds, "images": epochs * len(images)}
  else:
    network = network_of(asked["seed"])
    if asked["method"] == "recomputed":
      recompute_statistics(network, images, asked["pixels"])
  network.fc = torch.nn.Identity()  # embeddings, not classes
  write(network, str(out / "network.onnx"), asked["pixels"])
  report["parameters"] = sum(each.numel() for each in network.parameters())
  (out / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
  main(json.loads(sys.argv[1]))
