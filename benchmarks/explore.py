"""Seconds and memory of what `--mode=explore` finds out about very many vectors.

    python -m benchmarks.explore --vectors=1000000 --size=240

Each part stands beside the library alone, called in the same process on the same vectors with the
same settings; vectors are drawn around 200 middles. Memory is the most that the process had so far.
"""

import argparse
import resource
import time
from typing import Any

import faiss
import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from conrec_tf.explore import clusters as groups
from conrec_tf.explore import neighbours as near
from conrec_tf.explore.coreset import k_center
from conrec_tf.explore.embedding_map import embedding_map
from conrec_tf.explore.findings import NEIGHBOURS

MIDDLES, CLUSTERS, CHOSEN = 200, 50, 100
BLOCK = 50_000


def drawn(count, size, rng):
  """Returns vectors of length 1 around middles, float32 `[count, size]`."""
  middles = rng.normal(size=(MIDDLES, size)).astype(np.float32)
  units = np.empty([count, size], np.float32)
  for start in range(0, count, BLOCK):
    part = units[start : start + BLOCK]
    part[:] = middles[rng.integers(0, MIDDLES, len(part))] + rng.normal(size=part.shape)
    part /= np.linalg.norm(part, axis=1, keepdims=True)
  return units


def library_neighbours(units):
  """The search by faiss alone, with the settings of `neighbours`."""
  size = units.shape[1]
  index: Any = faiss.IndexFlatL2(size)
  if len(units) > near.MOST_EXACT:
    lists = round(near.LISTS_PER_ROOT * len(units) ** 0.5)
    index = faiss.IndexIVFFlat(index, size, lists)
    index.nprobe = near.LISTS_SEARCHED
    index.train(units[: lists * near.TRAINED_ON])
  index.add(units)
  return index.search(units, NEIGHBOURS + 1)


def library_clusters(units):
  """K-means by scikit-learn alone, fitted to as many vectors."""
  with threadpool_limits(1):
    return (
      KMeans(CLUSTERS, n_init=1, random_state=0).fit(units[: groups.MOST_FITTED]).predict(units)
    )


def library_coreset(units):
  """The products alone that k-center needs."""
  for one in range(CHOSEN):
    units @ units[one]


def timed(function):
  began, worked = time.perf_counter(), time.process_time()
  value = function()
  return value, time.perf_counter() - began, time.process_time() - worked


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--vectors", type=int, default=1_000_000)
  parser.add_argument("--size", type=int, default=240)
  parser.add_argument("--parts", default="coreset,clusters,neighbours", help="map needs neighbours")
  args = parser.parse_args()
  units = drawn(args.vectors, args.size, np.random.default_rng(0))
  parts = {
    "coreset": (
      lambda: k_center(units, CHOSEN, np.zeros(1, int)),
      lambda: library_coreset(units),
    ),
    "clusters": (
      lambda: groups.clusters(units, CLUSTERS, seed=0),
      lambda: library_clusters(units),
    ),
    "neighbours": (
      lambda: near.neighbours(units, NEIGHBOURS, seed=0),
      lambda: library_neighbours(units),
    ),
  }
  print(f"{'':12}{'s':>8}{'CPU s':>8}{'alone':>8}{'CPU s':>8}{'ratio':>7}{'GB':>6}", flush=True)
  asked = args.parts.split(",")
  for name in (name for name in parts if name in asked):
    ours, alone = parts[name]
    _, *library = timed(alone)
    found, *own = timed(ours)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cells = "".join(f"{seconds:8.1f}" for seconds in (*own, *library))
    print(f"{name:12}{cells}{own[1] / library[1]:7.2f}{peak:6.1f}", flush=True)
  if "map" in asked:
    _, *own = timed(lambda: embedding_map(units, found, seed=0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'map':12}{own[0]:8.1f}{own[1]:8.1f}{'':23}{peak:6.1f}")


if __name__ == "__main__":
  main()
