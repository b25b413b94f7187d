#!/usr/bin/env bash
# Expected: a run that W&B logs offline keeps, when its process is killed, what was logged seconds
# ago; its documentation has offline runs for machines without a network, to be synced later.
# Happens: rows reach the .wandb file in blocks of 32 KiB. Of a process that ends by SIGKILL (out of
# memory, a preempted job) all that doesn't fill one is lost, however long ago it was logged: of 50
# rows, logged half a minute before, the file holds its header of 7 bytes. The same process that
# ends by itself leaves them all.
# wandb 0.28.0; the file is LevelDB's log format, see wandb/sdk/internal/datastore.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wandb==0.28.0
export WANDB_MODE=offline WANDB_SILENT=true WANDB_CONFIG_DIR="$folder" WANDB_CACHE_DIR="$folder"
for end in finish SIGKILL; do
  mkdir "$folder/$end"
  "$folder/venv/bin/python" - "$folder/$end" "$end" <<'PYTHON' || true
import os
import signal
import sys
import time

import wandb

folder, end = sys.argv[1:]
run = wandb.init(project="finding", dir=folder)
for step in range(50):
  run.log({"loss": 1.0 / (step + 1)}, step=step)
time.sleep(30)
if end == "SIGKILL":
  os.kill(os.getpid(), signal.SIGKILL)
run.finish()
PYTHON
done
sleep 5
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import pathlib
import sys

import wandb

print("wandb", wandb.__version__)
sizes = {}
for end in ("finish", "SIGKILL"):
  [path] = pathlib.Path(sys.argv[1], end).rglob("*.wandb")
  sizes[end] = path.stat().st_size
  print(f"{end}: {sizes[end]} bytes in {path.name}")
assert sizes["finish"] > 5_000 and sizes["SIGKILL"] < 100
PYTHON
