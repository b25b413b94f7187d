"""Decoded images as arrays: how large they may be, their range of values, channels and bits."""

import numpy as np

ROUNDING = 1e-4  # by which images of floats may leave [0, 1]
GREY_WEIGHTS = np.array([0.2989, 0.587, 0.114], np.float32)  # TensorFlow's, of ITU-R BT.601


def check_size(height: int, width: int, max_pixels: int) -> None:
  """Refuses an image by its header.

  Raises:
    ValueError: it has too many pixels, or none.
  """
  if min(height, width) < 1:
    raise ValueError(f"no pixels: {height} x {width}")
  if height * width > max_pixels:
    raise ValueError(too_large(max_pixels))


def too_large(max_pixels: int) -> str:
  """Returns why an image is refused by its header."""
  return f"more than {max_pixels} pixels (--max_pixels)"


def filled_range(image: np.ndarray, largest: float, dtype: type = np.uint16) -> np.ndarray:
  """Stretches values from 0 to `largest` over the range of a dtype; what is more is white."""
  share = np.clip(np.asarray(image, np.float64) / largest, 0.0, 1.0)
  return np.round(share * np.iinfo(dtype).max).astype(dtype)


def converted(image: np.ndarray, channels: int, as_uint16: bool) -> np.ndarray:
  """Returns an image `[h, w, C]` of `read_image` with as many channels and bits as asked.

  Args:
    image: uint8 or uint16.
    channels: 1, 3, what the image has, or 0 for that.
    as_uint16: whether it shall be uint16; 8 bits then fill 16, else the high 8 of 16 are kept.

  Raises:
    ValueError: the image has neither that many channels nor 1 or 3.
  """
  stored = image.shape[-1]
  if channels in (1, 3) and stored in (1, 3) and channels != stored:
    if channels == 3:
      image = np.repeat(image, 3, axis=-1)
    else:
      grey = image.astype(np.float32) @ GREY_WEIGHTS
      image = np.round(grey)[..., np.newaxis].astype(image.dtype)
  elif channels not in (0, stored):
    raise ValueError(f"{stored} channels, where other images have {channels}")
  if as_uint16 and image.dtype == np.uint8:
    return image.astype(np.uint16) * 257
  return image if as_uint16 or image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def upright(image: np.ndarray, number: int) -> np.ndarray:
  """Does what `header.upright` does, of `[h, w]` too."""
  if number in (5, 6, 7, 8):
    image = image.swapaxes(0, 1)
  if number in (3, 4, 7, 8):
    image = image[::-1]
  return image[:, ::-1] if number in (2, 3, 6, 7) else image
