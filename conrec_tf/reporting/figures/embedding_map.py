"""A 2-D map of embeddings."""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize

from conrec_tf.reporting.figures.plot_style import (
  GREY,
  PALETTE,
  Picture,
  chart,
  series_style,
  wrap_label,
)

MOST_POINTS = 500
MOST_COLOURS = len(PALETTE)
SMALLEST_SPREAD = 1e-12  # of directions; below it is rounding alone


def embedding_map(
  embeddings: np.ndarray,
  labels: np.ndarray | None,
  class_names: Sequence[str],
  seed: int,
) -> Picture:
  """Draws t-SNE of embeddings, coloured by class; of many classes the most frequent are.

  Args:
    embeddings: float `[N, F]`.
    labels: int `[N]`, or None.
    seed: fixes which images are drawn, and the map.
  """
  chosen = np.random.default_rng(seed).permutation(len(embeddings))[:MOST_POINTS]
  points = project(embeddings[chosen], seed)
  drawn, axes = chart((6.4, 5.0))
  text = (
    f"t-SNE of the embeddings of {len(chosen)} images of the evaluation split: neighbouring points "
    "are similar; axes and large distances have no meaning."
  )
  if labels is None:
    axes.scatter(points[:, 0], points[:, 1], s=14, color=GREY, linewidths=0, rasterized=True)
  else:
    present = labels[chosen]
    counts = np.bincount(present, minlength=len(class_names))
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_COLOURS])
    shown = shown[counts[shown] > 0]
    rest = ~np.isin(present, shown)
    if rest.any():
      axes.scatter(
        points[rest, 0],
        points[rest, 1],
        s=9,
        color="#cccccc",
        linewidths=0,
        label="other classes",
        rasterized=True,
      )
      text += f" The {len(shown)} most frequent of {np.sum(counts > 0)} classes are coloured."
    for index, label in enumerate(shown):
      style = series_style(index)
      axes.scatter(
        points[present == label, 0],
        points[present == label, 1],
        s=26,
        color=style["color"],
        alpha=0.85,
        marker=style["marker"],
        linewidths=0.4,
        edgecolors="white",
        label=wrap_label(class_names[label]),
        rasterized=True,
      )
    drawn.legend(
      loc="outside lower center", ncols=3, markerscale=1.2, handletextpad=0.2, columnspacing=1.0
    )
  axes.set(xticks=[], yticks=[], xlabel="t-SNE, first axis", ylabel="t-SNE, second axis")
  axes.grid(False)
  return Picture(drawn, "embedding_map", "Map of the embeddings", text)


def project(embeddings: np.ndarray, seed: int) -> np.ndarray:
  """Projects embeddings `[N, F]`, compared by cosine, to points `[N, 2]`."""
  directions = normalize(embeddings.astype(np.float64))
  if len(directions) < 2:
    return np.zeros([len(embeddings), 2])
  width = min(50, *directions.shape)
  reduced = PCA(width, random_state=seed).fit_transform(directions)
  # t-SNE takes distances as they come; those between nearly constant embeddings are tiny.
  spread = reduced.std(axis=0).max()
  if spread < SMALLEST_SPREAD:
    return np.zeros([len(embeddings), 2])
  reduced /= spread
  if len(reduced) < 4:
    return np.pad(reduced, [(0, 0), (0, 2)])[:, :2]
  perplexity = min(30.0, (len(reduced) - 1) / 3)
  # For so few points exact gradients take less time than approximate ones.
  return TSNE(
    init="pca", method="exact", perplexity=perplexity, max_iter=500, random_state=seed
  ).fit_transform(reduced)
