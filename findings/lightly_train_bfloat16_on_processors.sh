#!/usr/bin/env bash
# Expected: without a GPU, precision="bf16-mixed" computes convolutions in bfloat16, whether the
# accelerator is found ("auto", the default) or said ("cpu").
# Happens: with "auto" they are float32, and nothing but a warning on disabled autocast tells. What
# was found is handed on as an object, and for all but the text "cpu" Lightning opens the autocast
# of a GPU, which PyTorch disables where there is none.
# LightlyTrain 0.18.0 (get_accelerator in _commands/common_helpers.py), PyTorch Lightning 2.6.6 (the
# precision plugin in trainer/connectors/accelerator_connector.py), PyTorch 2.14.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  lightly-train==0.18.0 pytorch-lightning==2.6.6 torch==2.14.1 torchvision==0.29.1
cat > "$folder/train.py" <<'PYTHON'
import pathlib

import lightly_train
import numpy as np
from PIL import Image
import torch
from torchvision.models import resnet18

found = {}


def note(layer, given, made):
  found[accelerator] = str(made.dtype)


images = pathlib.Path("images")
images.mkdir()
for number in range(8):
  pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
  Image.fromarray(pixels).save(images / f"{number}.png")
for accelerator in ("auto", "cpu"):
  network = resnet18()
  network.conv1.register_forward_hook(note)
  lightly_train.pretrain(
    out=f"out_{accelerator}", data=images, model=network, method="simclr", epochs=1,
    batch_size=4, num_workers=0, precision="bf16-mixed", accelerator=accelerator,
    transform_args={"image_size": (64, 64)},
  )
print(f"\nPyTorch {torch.__version__}: convolutions are {found}")
assert found == {"auto": "torch.float32", "cpu": "torch.bfloat16"}, found
PYTHON
cd "$folder"
CUDA_VISIBLE_DEVICES="" venv/bin/python train.py > log 2>&1 || { tail -n 5 log; exit 1; }
tail -n 1 log
