"""Figures and tables of accuracy and confusions by class."""

from collections.abc import Sequence

import numpy as np

from conrec_tf.reporting.figures.plot_style import (
  GREY,
  PALETTE,
  Picture,
  chart,
  wrap_label,
)

NAMED = 25  # classes whose names fit beside a picture
PAIRS = 15

ClassAccuracy = tuple[int, str, int, float]  # number, name, images, share right


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str], classifier: str) -> Picture:
  """Draws true by predicted class: numbers for a few classes, shades for many.

  Args:
    counts: int `[K, K]`.
    classifier: what predicts, in words.
  """
  counts = np.asarray(counts)
  shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
  few = len(counts) <= NAMED
  drawn, axes = chart((5.6, 4.8))
  # Differences among few confusions matter as much as those among many.
  image = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=10)
  axes.grid(False)
  bar = drawn.colorbar(image, ax=axes, shrink=0.8, label="share of the true class (%)")
  bar.set_ticks([0, np.sqrt(5), 5, 10], labels=["0", "5", "25", "100"])
  axes.set(xlabel="predicted class", ylabel="true class")
  if few:
    names = [wrap_label(name, 18) for name in class_names]
    axes.set_xticks(
      range(len(counts)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9
    )
    axes.set_yticks(range(len(counts)), names, fontsize=9)
  if len(counts) <= 10:
    for row, column in np.ndindex(*counts.shape):
      axes.text(
        column,
        row,
        f"{shares[row, column]:.0f}",
        ha="center",
        va="center",
        fontsize=9,
        color="white" if shares[row, column] > 36 else "black",
      )
  where = "" if few else " Classes are numbered as in class_accuracy.csv."
  return Picture(
    drawn,
    "confusion_matrix",
    "Confusion matrix",
    f"Predictions of {classifier}. Rows add up to 100 %; shades follow the square root, "
    f"so that rare confusions show.{where}",
    drawing=few,
  )


def confused_pairs(
  counts: np.ndarray, class_names: Sequence[str]
) -> list[tuple[str, str, int, float]]:
  """Returns the most frequent confusions: `[(true, predicted, count, share of the true class)]`."""
  counts = np.array(counts)
  totals = counts.sum(axis=1)
  np.fill_diagonal(counts, 0)
  order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
  return [
    (class_names[true], class_names[predicted], int(count), count / totals[true])
    for true, predicted in zip(*np.unravel_index(order, counts.shape), strict=True)
    if (count := counts[true, predicted])
  ]


def class_accuracies(counts: np.ndarray, class_names: Sequence[str]) -> list[ClassAccuracy]:
  """Returns accuracy by class, in the order of the labels; classes without images are left out."""
  counts = np.asarray(counts)
  return [
    (number, name, int(row.sum()), row[number] / row.sum())
    for number, (name, row) in enumerate(zip(class_names, counts, strict=True))
    if row.sum()
  ]


def class_accuracy(rows: list[ClassAccuracy]) -> Picture:
  """Draws accuracy by class, sorted; of many classes the ends."""
  ranked = sorted(rows, key=lambda row: row[3])
  mean = 100 * float(np.mean([row[3] for row in rows]))
  half = NAMED // 2
  text = "The line is the mean over classes. All classes are in class_accuracy.csv."
  if len(ranked) > 2 * half:
    text = f"The {half} least and the {half} most accurate of {len(rows)} classes. " + text
    ranked = ranked[:half] + ranked[-half:]
  drawn, axes = chart((5.6, 1.2 + 0.26 * len(ranked) if len(ranked) > 8 else 2.8))
  values = [100 * row[3] for row in ranked]
  axes.barh(range(len(ranked)), values, color=PALETTE[0], height=0.7)
  for position, (value, row) in enumerate(zip(values, ranked, strict=True)):
    axes.text(value + 1, position, f"{value:.0f} ({row[2]})", va="center", fontsize=8)
  axes.set_yticks(
    range(len(ranked)),
    [wrap_label(row[1], 22) for row in ranked],
    fontsize=9 if len(ranked) <= 8 else 8,
  )
  axes.axvline(mean, color=GREY, linestyle="--", linewidth=1.2)
  if len(rows) > len(ranked):
    axes.axhline(half - 0.5, color="black", linewidth=0.8, linestyle=":")
  axes.set(
    xlim=(0, max(20, 1.18 * max(values))),
    ylim=(-0.7, len(ranked) - 0.3),
    xlabel="accuracy (%), in brackets the images measured",
  )
  axes.grid(axis="y", visible=False)
  return Picture(drawn, "class_accuracy", "Accuracy by class", text, drawing=True)
