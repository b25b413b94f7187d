#!/usr/bin/env bash
# Expected: quadratic weighted kappa, by which grades of retinas and tumours are compared, takes the
# squared distance of two grades: 1 and 4 are 3 apart, whichever grades else occur.
# Happens: the distance is that of their places among the grades which occur in the two arrays.
# Without a 2 and a 3, as in a small fold, one hospital or a resample, 1 and 4 count as
# neighbours: the same mistakes cost less, kappa doesn't change when every 4 is made a 2, and
# nothing is said. labels=range(5) mends it.
# scikit-learn 1.9.1: cohen_kappa_score (metrics/_classification.py) weighs rows and columns of
# confusion_matrix, which holds sorted labels that occur. Its documentation says of labels that
# those are taken, and of weights nothing more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
import sklearn
from sklearn.metrics import cohen_kappa_score

print("scikit-learn", sklearn.__version__)
GRADES = range(5)


def by_definition(first, second):
  """1 - (mean squared distance of pairs) / (the same of all pairs that chance would make)."""
  apart = np.subtract.outer(first, second) ** 2
  return 1 - np.diag(apart).mean() / apart.mean()


doctor = np.array([0, 0, 0, 0, 0, 1, 1, 1, 4, 4])
network = np.array([0, 0, 0, 0, 1, 1, 1, 4, 1, 4])
found = cohen_kappa_score(doctor, network, weights="quadratic")
milder = cohen_kappa_score(
  *(np.where(grades == 4, 2, grades) for grades in (doctor, network)), weights="quadratic"
)
told = cohen_kappa_score(doctor, network, weights="quadratic", labels=GRADES)
oracle = by_definition(doctor, network)
print(f"grades 0, 1, 4: {found:.3f}; with labels=range(5) {told:.3f}, by definition {oracle:.3f}")
print(f"every 4 made a 2: {milder:.3f}")

# One more pair of doctors, who agree on a 2 and a 3, and the mistakes between 1 and 4 cost in full.
more = [np.append(grades, [2, 3]) for grades in (doctor, network)]
all_five = cohen_kappa_score(*more, weights="quadratic")
print(f"two right answers more, a 2 and a 3: {all_five:.3f}, lower than {found:.3f}")
assert np.isclose(told, oracle) and np.isclose(all_five, by_definition(*more))
assert found == milder and found - told > 0.1 and all_five < found
PYTHON
