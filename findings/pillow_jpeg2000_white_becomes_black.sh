#!/usr/bin/env bash
# Expected: of a colour JPEG 2000 of more than 8 bits, Pillow keeps the upper 8: white stays 255.
# Happens: it adds half a step before it shifts and doesn't clamp, so the brightest values
# (65408 to 65535 of 16 bits) become 256, which wraps to 0: white turns black, opaque turns
# transparent, and nothing is said. Alone in grey, 16 bits are kept.
# Pillow 13.0.0, src/libImaging/Jpeg2KDecode.c, j2ku_srgb_rgb and its siblings; not documented.
# imagecodecs 2026.1.14 (OpenJPEG too) gives the stored values of the same bytes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  numpy==1.26.4 pillow==13.0.0 imagecodecs==2026.1.14
"$folder/venv/bin/python" - <<'PYTHON'
import io

import imagecodecs
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "imagecodecs", imagecodecs.__version__)
for bits in (10, 12, 16):
  top = 2**bits - 1
  half = 2 ** (bits - 8) // 2
  ramp = np.array([0, top // 2, top - half, top - half + 1, top], np.uint16)
  for channels in (3, 4):
    image = np.tile(ramp[None, :, None], [8, 1, channels])
    file = imagecodecs.jpeg2k_encode(image, bitspersample=bits, reversible=True, level=0)
    assert (imagecodecs.jpeg2k_decode(file) == image).all()
    seen = np.asarray(Image.open(io.BytesIO(file)))
    print(f"{bits} bits, {channels} channels: stored {ramp} Pillow {seen[0, :, -1]}")
    assert (seen == np.array([0, 128, 255, 0, 0])[None, :, None]).all()
PYTHON
