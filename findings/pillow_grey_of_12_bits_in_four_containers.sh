#!/usr/bin/env bash
# Expected: a grey picture of 12 bits, kept without loss, has the same values whatever holds it.
# Happens: Pillow gives 0..4095 from TIFF and PNG, multiples of 16 up to 65520 from JPEG 2000 (so
# white isn't 65535 either), 0..65535 in another mode and dtype from PGM. All are silent, and the
# array alone doesn't tell which scale it's in.
# Pillow 13.0.0, src/libImaging/Jpeg2KDecode.c, j2ku_gray_i shifts to 16 bits;
# PIL/PpmImagePlugin.py, PpmDecoder.decode scales by the file's maxval, on purpose.
# tifffile 2026.3.3 and imagecodecs 2026.1.14 give what is stored.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  numpy==1.26.4 pillow==13.0.0 imagecodecs==2026.1.14 tifffile==2026.3.3
"$folder/venv/bin/python" - <<'PYTHON'
import io

import imagecodecs
import numpy as np
import PIL
import tifffile
from PIL import Image

print("Pillow", PIL.__version__, "tifffile", tifffile.__version__, end=" ")
print("imagecodecs", imagecodecs.__version__)
stored = np.tile(np.array([0, 1, 2048, 4095], np.uint16), [8, 2])
tiff = io.BytesIO()
tifffile.imwrite(tiff, stored, photometric="minisblack")
jpeg2000 = imagecodecs.jpeg2k_encode(stored, bitspersample=12, reversible=True, level=0)
png = imagecodecs.png_encode(stored)
assert (tifffile.imread(io.BytesIO(tiff.getvalue())) == stored).all()
assert (imagecodecs.png_decode(png) == stored).all()
assert (imagecodecs.jpeg2k_decode(jpeg2000) == stored).all()
files = {
  "TIFF": (tiff.getvalue(), "I;16", [0, 1, 2048, 4095]),
  "PNG": (png, "I;16", [0, 1, 2048, 4095]),
  "JPEG 2000": (jpeg2000, "I;16", [0, 16, 32768, 65520]),
  "PGM": (b"P5 8 8 4095\n" + stored.astype(">u2").tobytes(), "I", [0, 16, 32776, 65535]),
}
for name, (file, mode, values) in files.items():
  image = Image.open(io.BytesIO(file))
  seen = np.asarray(image)
  print(f"{name}: stored {stored[0, :4]}", image.mode, seen.dtype, seen[0, :4])
  assert image.mode == mode and (seen[:, :4] == values).all()
PYTHON
