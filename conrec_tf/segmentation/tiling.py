"""A network on images of any size: padded to its stride, in tiles where they are large."""

from collections.abc import Callable, Iterator

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]  # `[1, h, w, C]` to `[1, h, w, K]`


def predict_image(
  predict: Predict, image: np.ndarray, *, stride: int, context: int, tile: int, outputs: int
) -> np.ndarray:
  """Computes what a network says of each pixel of an image.

  A tile is given `context` pixels around, which are thrown away, so that what it says doesn't
  depend on where tiles lie; neighbours overlap by as much again, where their weights change
  linearly.

  Args:
    predict: the network, on sides that are multiples of `stride`.
    image: float32 `[h, w, C]`.
    stride: of the network.
    context: how far a pixel's answer depends on others, pixels; a multiple of `stride`.
    tile: side of a tile without its context, a multiple of `stride`, more than `context`.
    outputs: K, numbers for a pixel.

  Returns:
    float32 `[h, w, K]`.
  """
  height, width = image.shape[:2]
  padded = _padded(image, stride)
  if max(height, width) <= tile + 2 * context:
    return predict(padded[np.newaxis])[0, :height, :width]
  total = np.zeros([*padded.shape[:2], outputs], np.float32)
  weight = np.zeros([*padded.shape[:2], 1], np.float32)
  rows, columns = (list(_spans(side, tile, context)) for side in padded.shape[:2])
  for top, bottom in rows:
    for left, right in columns:
      outer = [
        slice(max(0, start - context), min(side, end + context))
        for (start, end), side in zip(((top, bottom), (left, right)), padded.shape[:2], strict=True)
      ]
      made = predict(padded[outer[0], outer[1]][np.newaxis])[0]
      inner = made[
        top - outer[0].start : bottom - outer[0].start,
        left - outer[1].start : right - outer[1].start,
      ]
      ramp = (
        _ramp(top, bottom, padded.shape[0], context)[:, np.newaxis, np.newaxis]
        * _ramp(left, right, padded.shape[1], context)[np.newaxis, :, np.newaxis]
      )
      total[top:bottom, left:right] += ramp * inner
      weight[top:bottom, left:right] += ramp
  return (total / weight)[:height, :width]


def _padded(image: np.ndarray, stride: int) -> np.ndarray:
  """Pads an image at the bottom and on the right to multiples of the stride, by its border."""
  extra = [-side % stride for side in image.shape[:2]]
  return np.pad(image, [(0, extra[0]), (0, extra[1]), (0, 0)], "edge")


def _spans(side: int, tile: int, overlap: int) -> Iterator[tuple[int, int]]:
  """Yields where tiles begin and end; they overlap, and the last ends where the image does."""
  start = 0
  while start + tile < side:
    yield start, start + tile
    start += tile - overlap
  yield max(0, side - tile), side


def _ramp(start: int, end: int, side: int, overlap: int) -> np.ndarray:
  """Returns weights float32 `[end - start]`, rising and falling but at the image's border."""
  offsets = np.arange(end - start, dtype=np.float32)
  rise = (offsets + 1) / (overlap + 1) if start else np.ones_like(offsets)
  fall = (offsets[::-1] + 1) / (overlap + 1) if end < side else np.ones_like(offsets)
  return np.minimum(1.0, np.minimum(rise, fall))
