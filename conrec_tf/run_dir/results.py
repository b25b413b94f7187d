"""What evaluations found: files in `model_dir`, and the table at the end."""

import logging
import textwrap

import numpy as np

from conrec_tf.evaluation import metric_names

logger = logging.getLogger(__name__)


class Results:
  """The evaluations of a run.

  Args:
    directory: `RunDirectory`.
    metric: the name of the number that runs are compared by.
    selection_metric: the name of the number that the best checkpoint is chosen by.
    trained_at_0: whether a network of 0 steps isn't an untrained one, but one from elsewhere.
  """

  def __init__(self, directory, metric, selection, trained_at_0=False):
    self._first = -1 if trained_at_0 else 0  # the step of the untrained network
    self._directory = directory
    self._metric = metric
    self._selection = selection

  def cached(self, step):
    """What the network after `step` steps was found to do, or None if that says too little."""
    result = self._directory.read(f"result_{step}.json")
    says = result and (not step or {self._metric, self._selection} <= set(result))
    return result if says else None

  def is_best(self, step, result):
    """Whether a result beats those of earlier steps, and none of a later step beats it."""
    worth = {
      at: selection_score(self._selection, other[self._selection])
      for at, other in self._directory.evaluations().items()
      if self._selection in other
    }
    mine = selection_score(self._selection, result[self._selection])
    return all(
      mine > other if at < step else mine >= other for at, other in worth.items() if at != step
    )

  def save(self, step, metrics):
    """Keeps `{name: value}` as `result_<step>.json`; returns what was kept."""
    if metric_names.CONFUSIONS in metrics:
      metrics = dict(metrics)
      self._directory.write(
        f"confusions_{step}.json", metrics.pop(metric_names.CONFUSIONS), indent=None
      )
    if step == self._first:
      metrics = {metric_names.untrained(name): value for name, value in metrics.items()}
    result = {metric_names.GLOBAL_STEP: step, **metrics}
    self._directory.write(f"result_{step}.json", result)
    parts = [
      f"{display_name(name)} {format_value(name, value)}"
      for name, value in metrics.items()
      if np.isscalar(value) and not name.endswith(("top_3_accuracy", "top_5_accuracy"))
    ]
    logger.info("%s", textwrap.fill(f"Step {step}: {', '.join(parts)}", 79, subsequent_indent="  "))
    return result

  def write_summary(self, step):
    """Writes `result.json` for the last step and prints the summary."""
    evaluations = self._directory.evaluations(step)
    last = evaluations[step]
    chosen = {
      at: result[self._selection] for at, result in evaluations.items() if self._selection in result
    }
    best = (
      max(chosen, key=lambda at: selection_score(self._selection, chosen[at])) if chosen else step
    )
    best_name = self._metric.replace("eval/", metric_names.BEST)
    result = {**evaluations.get(self._first, {}), **last, metric_names.GLOBAL_STEP: step}
    if step != self._first:
      result |= {
        best_name: evaluations[best][self._metric],
        metric_names.BEST_STEP: best,
        metric_names.BEST_SELECTED_BY: self._selection,
      }
    self._directory.write("result.json", result)
    rows = [
      (display_name(name), 0, value)
      for name, value in evaluations.get(self._first, {}).items()
      if "untrained" in name and np.isscalar(value)
    ]
    rows += [
      (display_name(name), step, value)
      for name, value in last.items()
      if name.startswith(metric_names.EVAL) and np.isscalar(value) and step != self._first
    ]
    rows += [
      (
        f"label fraction {row['fraction']:g} ({row['labels']} labels, std {row['std']:.2%})",
        step,
        row["mean"],
      )
      for name in last
      if name.endswith("label_fractions")
      for row in last[name]
    ]
    if step != self._first:
      on = "validation share" if "validation" in self._selection else "evaluation split"
      rows.append((f"best on the {on}, {display_name(self._metric)}", best, result[best_name]))
    width = max(len(row[0]) for row in rows) + 2
    logger.info(
      "%s",
      "\n".join(
        f"  {name:{width}}{format_value(name, value):>8}   step {at}" for name, at, value in rows
      ),
    )
    logger.info("Results in %s", self._directory.path / "result.json")


def selection_score(name, value):
  """What is to be as large as possible: of losses, the negative."""
  return -value if name.endswith("loss") else value


def format_value(name, value):
  """A share in per cent; a loss, an entropy or a step as it is."""
  if name.endswith("step"):
    return str(value)
  return f"{value:.4f}" if name.endswith(("loss", "entropy")) else f"{value:.2%}"


def display_name(name):
  """The name of a number as it is shown."""
  return name.removeprefix("eval/").replace("_", " ")
