#!/usr/bin/env bash
# Expected: WhiteIsZero (PhotometricInterpretation 0) is either inverted upon reading or not, and
# PlanarConfiguration doesn't matter to one sample a pixel (TIFF 6.0, section 8: "irrelevant").
# Happens: Pillow inverts 8 bits but not 16, and 8 bits no longer once PlanarConfiguration is 2,
# in the same mode and without a word: the same picture is a negative in one of two files.
# Pillow 13.0.0, PIL/TiffImagePlugin.py: OPEN_INFO has "L;I" for 8 bits but plain "I;16" for 16,
# and _setup takes the first letter of the raw mode for the first plane. Not documented.
# tifffile 2026.3.3 gives the stored values of all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  numpy==1.26.4 pillow==13.0.0 tifffile==2026.3.3
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct

import numpy as np
import PIL
import tifffile
from PIL import Image

PIXELS = np.array([[0, 1, 2, 3]])


def tiff(bits: int, planar: int) -> bytes:
  """Returns a WhiteIsZero file of PIXELS: its header, directory, then one strip."""
  strip = PIXELS.astype(f"<u{bits // 8}").tobytes()
  tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 0, 273: 134, 277: 1, 278: 1}
  tags |= {279: len(strip), 284: planar}
  entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
  return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + strip


print("Pillow", PIL.__version__, "tifffile", tifffile.__version__)
for bits, planar, inverted in ((8, 1, True), (8, 2, False), (16, 1, False)):
  file = tiff(bits, planar)
  assert (tifffile.imread(io.BytesIO(file)) == PIXELS).all()
  image = Image.open(io.BytesIO(file))
  seen = np.asarray(image)
  print(f"{bits} bits, PlanarConfiguration {planar}: stored {PIXELS[0]}", image.mode, seen[0])
  assert (seen == (255 - PIXELS if inverted else PIXELS)).all()
PYTHON
