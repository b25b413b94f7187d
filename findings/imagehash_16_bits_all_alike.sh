#!/usr/bin/env bash
# Expected: unlike pictures of 16 bits have unlike perceptual hashes, as those of 8 bits do.
# Happens: every picture whose values are 255 or more gets the hash of a plain white one, so that
# a search for duplicates finds all medical or microscopy images alike; nothing is said.
# ImageHash 4.3.2 turns images into mode "L" (imagehash/__init__.py: phash, dhash, average_hash,
# whash), and Pillow 13.0.0 clips "I;16" to 255 there instead of scaling it
# (src/libImaging/Convert.c, I16L_L). ImageHash's readme doesn't say which modes are meant.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  numpy==1.26.4 pillow==13.0.0 ImageHash==4.3.2
"$folder/venv/bin/python" - <<'PYTHON'
import imagehash
import numpy as np
import PIL
from PIL import Image

print("ImageHash", imagehash.__version__, "Pillow", PIL.__version__)
y, x = np.mgrid[:64, :64] / 63
pictures = {
  "bowl": np.hypot(x - 0.3, y - 0.8) / 2,
  "waves": 0.5 + 0.5 * np.sin(9 * x + 4 * y),
  "disc": np.hypot(x - 0.5, y - 0.4) < 0.3,
}
for kind in ("phash", "dhash", "average_hash", "whash"):
  take = getattr(imagehash, kind)
  deep, shallow = (
    [
      str(take(Image.fromarray((low + (high - low) * picture).astype(dtype))))
      for picture in pictures.values()
    ]
    for low, high, dtype in ((300, 65535, np.uint16), (1, 255, np.uint8))
  )
  white = str(take(Image.new("L", (64, 64), 255)))
  print(f"{kind}: 16 bits {deep}, 8 bits {shallow}, white {white}")
  assert len(set(shallow)) == len(pictures)
  assert set(deep) == {white}
PYTHON
