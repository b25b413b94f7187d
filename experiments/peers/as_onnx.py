"""Writes PyTorch's networks as ONNX, for the scripts beside it."""

import torch


def write(network, path, pixels):
  """Writes a network of images `[N, 3, pixels, pixels]`, of any N."""
  torch.onnx.export(
    network.eval(),
    (torch.zeros(2, 3, pixels, pixels),),
    path,
    input_names=["images"],
    output_names=["embedding"],
    dynamic_shapes=({0: torch.export.Dim("batch")},),
    dynamo=True,
    external_data=False,
  )
