"""The weights of a network by the names of its parts; the same for Keras 2 and Keras 3."""

OF_CONVOLUTION = ("kernel", "bias")
OF_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def variables(network):
  """Yields `(name, variable)` of encoder, pooling and decoder."""
  for part, blocks in (
    ("encoder", [block for level in network.encoder.levels for block in level]),
    ("pooling", network.pooling.blocks),
    ("skips", network.decoder.skip_blocks),
    ("decoder", [block for level in network.decoder.levels for block in level]),
  ):
    for number, block in enumerate(blocks):
      for name in OF_CONVOLUTION:
        yield f"{part}/{number}/{name}", getattr(block.convolution, name)
      for name in OF_BATCH_NORM:
        yield f"{part}/{number}/{name}", getattr(block.batch_norm, name)
  for part, layer in (("gate", network.pooling.gate), ("out", network.decoder.output_convolution)):
    for name in OF_CONVOLUTION:
      yield f"{part}/{name}", getattr(layer, name)
