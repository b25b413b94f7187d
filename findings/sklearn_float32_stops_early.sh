#!/usr/bin/env bash
# Expected: LogisticRegression gives the same coefficients, up to rounding, for the same values as
# float32 and as float64, or warns; features that an image network gives are float32.
# Happens: it computes in its input's dtype. On features with a mean of 100 and a deviation of 1
# the default solver stops at float32 after a fraction of the iterations, reports convergence
# without a warning, and its coefficients are more than 5 % off; labels that it predicts differ.
# scikit-learn 1.9.1, sklearn/linear_model/_logistic.py, LogisticRegression.fit keeps float32; the
# class's reference says that all but 64-bit floats "will be converted (and copied)".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  numpy==1.26.4 scipy==1.17.1 scikit-learn==1.9.1
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

warnings.simplefilter("error")
print("scikit-learn", sklearn.__version__)
labels = np.arange(400) % 2
features = np.random.default_rng(0).normal(loc=100, size=[400, 8]).astype(np.float32)
features[:, 0] += 3 * labels
fits = {}
for dtype in ("float32", "float64"):
  same = features.astype(dtype)
  fit = fits[dtype] = LogisticRegression(max_iter=1000).fit(same, labels)
  print(dtype, "iterations", fit.n_iter_, "accuracy", fit.score(same, labels), fit.coef_.round(3))
single, double = fits["float32"], fits["float64"]
error = np.abs(single.coef_ - double.coef_).max() / np.abs(double.coef_).max()
differing = (single.predict(features) != double.predict(features.astype(float))).sum()
print(f"coefficients {error:.1%} off, {differing} of 400 labels differ, no warning")
assert single.n_iter_[0] < double.n_iter_[0] / 2
assert error > 0.05 and differing > 0
PYTHON
