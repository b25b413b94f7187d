#!/usr/bin/env bash
# Expected: a window's result rises with its input, from the range's least to its greatest value
# (DICOM PS3.3 C.11.2.1.2.1: ymin at and below the window, ymax above it).
# Happens: where Rescale Slope is negative, apply_windowing takes the slope's image of the least
# stored value as ymin, which is then the greatest: the picture comes out as a negative, the more
# easily missed as a second picture of the same rescaled values with a positive slope is right.
# pydicom 3.0.2, pydicom/pixels/processing.py, apply_windowing; apply_voi_lut goes the same way.
# Documented is only apply_modality_lut's range, "from (min. pixel value * Rescale Slope + ...)".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==1.26.4 pydicom==3.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing

print("pydicom", pydicom.__version__)


def shown(stored: np.ndarray, slope: int, intercept: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns rescaled values, and those values in a window of the middle half of their range."""
  file = Dataset()
  file.PhotometricInterpretation = "MONOCHROME2"
  file.BitsStored, file.PixelRepresentation = 8, 0
  file.RescaleSlope, file.RescaleIntercept = slope, intercept
  file.WindowCenter, file.WindowWidth = 128, 128
  rescaled = apply_modality_lut(stored, file)
  windowed = apply_windowing(rescaled, file)
  assert (windowed == apply_voi_lut(rescaled, file)).all()
  print(f"slope {slope}: stored {stored} rescaled {rescaled} windowed {windowed.round(1)}")
  return rescaled, windowed


values = np.array([0, 64, 100, 128, 192, 255], np.uint8)
rescaled, rising = shown(values, slope=1, intercept=0)
same, falling = shown(255 - values, slope=-1, intercept=255)
assert (rescaled == same).all()  # the same physical values in the same window ...
assert (np.diff(rising) >= 0).all() and rising[-1] == 255
assert np.allclose(falling, 255 - rising)  # ... are each other's negative
PYTHON
