"""Results of evaluations: files in `model_dir`, and the table at the end."""

from collections.abc import Sequence
import dataclasses
import logging
import math
from typing import Any

from conrec_tf.evaluation.few_labels import shots_words
from conrec_tf.evaluation.late_gain import LateGain, late_gain
from conrec_tf.evaluation.linear_evaluation import VALIDATION_SHARE
from conrec_tf.files import io_as_usage_error
from conrec_tf.metrics import (
  BEST_SELECTED_BY,
  BEST_STEP,
  CHOSEN,
  CLASSIFIER,
  EVAL,
  FEW_SHOTS,
  GLOBAL_STEP,
  INTERVALS,
  LABEL_FRACTIONS,
  LABEL_FREE,
  LATE_GAIN,
  MEASURED_ON,
  PREDICTIONS,
  READINGS,
  REPRESENTATIONS,
  STANDARDISED,
  UNTRAINED_STRONGEST,
  UNTRAINED_STRONGEST_READING,
  best_key,
  display_name,
  format_interval,
  format_value,
  is_decisive,
  is_number,
  metric_of,
  recomputed_key,
  selection_score,
  standardised_key,
  untrained_key,
  validation_key,
)
from conrec_tf.run_dir.classifier_file import FILE as CLASSIFIER_FILE
from conrec_tf.run_dir.classifier_file import remove_classifiers, write_classifier
from conrec_tf.run_dir.measurement import EVAL as EVAL_SPLIT
from conrec_tf.run_dir.measurement import TRAIN, Measurement
from conrec_tf.run_dir.predictions_file import FILE as PREDICTIONS_FILE
from conrec_tf.run_dir.predictions_file import write_predictions
from conrec_tf.run_dir.run_directory import (
  RESULT_FILE,
  SUMMARY_FILE,
  RunDirectory,
  numbered,
  result_name,
)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Results:
  """The evaluations of a run, as far as they were measured alike.

  Attributes:
    directory: where results measured so belong; see `results_place`.
    metric: the name of the number that runs are compared by.
    selection_metric: the name of the number that the best checkpoint is chosen by.
  """

  directory: RunDirectory
  metric: str
  selection_metric: str
  measured: Measurement

  def cached(self, step: int, full: bool = False) -> dict[str, Any] | None:
    """Returns the result of a step if it is there and was measured as these options ask.

    With `full`, it must hold the slow measures of the end.
    """
    result = self._alike(step)
    needed = {self.metric, self.selection_metric} if step else set()
    if not result or not all(is_number(result.get(name)) for name in needed):
      return None
    return None if full and self.measured.lacks(result) else result

  def _alike(self, step: int) -> dict[str, Any]:
    """Returns the result of a step, or nothing where there is none that was measured alike."""
    result = self.directory.result(step)
    return {} if self.measured.differences(result) else result

  def _evaluations(self, last_step: float = math.inf) -> dict[int, dict[str, Any]]:
    """Returns `{step: result}` of those that were measured alike, up to a step."""
    return {
      step: result
      for step, result in self.directory.evaluations(last_step).items()
      if not self.measured.differences(result)
    }

  def _scores(self, evaluations: dict[int, dict[str, Any]]) -> dict[int, float]:
    """Returns `{step: worth}` by what the best checkpoint is chosen by, where that is known."""
    return {
      at: selection_score(self.selection_metric, result[self.selection_metric])
      for at, result in evaluations.items()
      if is_number(result.get(self.selection_metric))
    }

  def is_best(self, step: int, result: dict[str, Any]) -> bool:
    """Returns whether a result beats those of earlier steps, and none of a later step beats it.

    One without the number that counts, which not all images have, is none.
    """
    worth, own = self._scores(self._evaluations()), self._scores({step: result})
    return step in own and all(
      own[step] > other if at < step else own[step] >= other
      for at, other in worth.items()
      if at != step
    )

  def save(
    self,
    step: int,
    metrics: dict[str, Any],
    full: bool = False,
    untrained_metrics: dict[str, Any] | None = None,
  ) -> dict[str, Any]:
    """Writes what was measured to `result_<step>.json`, and logs it; returns what was written.

    What an earlier evaluation of the step, measured alike, had in addition stays. Of classifiers
    this one and that of the best network stay.

    Args:
      full: whether the slow measures of the end are among them.
      untrained_metrics: what the untrained network reaches, by the same names.
    """
    metrics, baseline = dict(metrics), dict(untrained_metrics or {})
    baseline.pop(CLASSIFIER, None)
    classifier = metrics.pop(CLASSIFIER, None)
    for found in (baseline, metrics):
      if PREDICTIONS in found:
        columns = found.pop(PREDICTIONS)
        count = len(next(iter(columns.values())))
        columns[MEASURED_ON] = [self.measured.digest] * count
        write_predictions(self.directory, step, columns)
    if baseline:
      strongest = strongest_untrained(baseline, self.metric)
      baseline = {untrained_key(name): value for name, value in baseline.items()}
      if strongest:
        baseline |= dict(
          zip((UNTRAINED_STRONGEST, UNTRAINED_STRONGEST_READING), strongest, strict=True)
        )
    metrics = baseline | metrics
    result = {GLOBAL_STEP: step, **metrics, **self.measured.record(full)}
    if full:
      result = self.measured.merged(self._alike(step), result)
    if classifier:  # first, as a result that is there isn't measured again
      write_classifier(self.directory, step, classifier)
    self.directory.write(result_name(step), result)
    if classifier:
      remove_classifiers(self.directory, {step, self._best_step(self._evaluations(), step)})
    self._log(step, metrics)
    return result

  def forget_from(self, step: int) -> None:
    """Removes what was measured at a step and later ones, of networks that aren't trained so."""
    for name in (RESULT_FILE, PREDICTIONS_FILE, CLASSIFIER_FILE):
      for later, path in numbered(self.directory.path, *name).items():
        if later >= step:
          with io_as_usage_error(self.directory.path):
            path.unlink(missing_ok=True)

  def _best_step(self, evaluations: dict[int, dict[str, Any]], otherwise: int) -> int:
    """Returns the step of the best network among evaluations; where there is none, another."""
    scores = self._scores(evaluations)
    return max(scores, key=lambda at: scores[at]) if scores else otherwise

  def _log(self, step: int, metrics: dict[str, Any]) -> None:
    """Logs an evaluation in a line."""
    parts = [
      f"{display_name(name)} {format_value(name, value)}"
      for name, value in shown(metrics, (*self._untrained_shown(metrics), *self._own)).items()
    ]
    if parts:
      logger.info("Step %d: %s", step, ", ".join(parts))

  def write_summary(self, step: int) -> dict[str, Any]:
    """Writes `result.json` for the last step and logs the summary; returns what was written."""
    evaluations = self._evaluations(step)
    best_step = self._best_step(evaluations, step)
    untrained = {
      name: value
      for name, value in evaluations.get(0, {}).items()
      if name.startswith(untrained_key(EVAL))
    }
    result = {**untrained, **evaluations[step], GLOBAL_STEP: step}
    if self.metric in evaluations[step]:
      result |= {
        best_key(self.metric): evaluations[best_step][self.metric],
        BEST_STEP: best_step,
        BEST_SELECTED_BY: self.selection_metric,
      }
    gain = self._late_gain(evaluations, step)
    if gain:
      result[LATE_GAIN] = dataclasses.asdict(gain)
    self.directory.write(SUMMARY_FILE, result)
    rows = self._summary_rows(evaluations, step, best_step)
    width = max((len(words) for words, *_ in rows), default=0) + 2
    lines = [f"  {words:{width}}{value:>8}   step {at}{note}" for words, value, at, note in rows]
    logger.info("%s", "\n".join(lines))
    if gain and not gain.rose:
      logger.info("%s", gain.sentence())
    logger.info("Results in %s", self.directory.path / SUMMARY_FILE)
    return result

  @property
  def _own(self) -> tuple[str, str]:
    """The names of the number that runs are compared by, and of what the best network is by."""
    return self.metric, self.selection_metric

  def _untrained_shown(self, numbers: dict[str, Any]) -> tuple[str, ...]:
    """Returns what is shown of an untrained network that has no strongest reading, as a loss."""
    return () if UNTRAINED_STRONGEST in numbers else (untrained_key(self.metric),)

  def _late_gain(self, evaluations: dict[int, dict[str, Any]], step: int) -> LateGain | None:
    """Returns what the last part of the training added to the number that runs are compared by.

    That is on held-out training labels, where they were measured. None where it has no interval.
    """
    last, name = evaluations[step], self.metric
    interval = last.get(INTERVALS, {}).get(name)
    if not interval or metric_of(name).smaller_is_better:
      return None
    half, held_out = (interval[1] - interval[0]) / 2, validation_key(name)
    images, learnt = (self.measured.data.get(f"{role}_images") for role in (EVAL_SPLIT, TRAIN))
    if held_out in last and images and learnt:  # fewer images, and so a wider interval
      half, name = half * math.sqrt(images / (VALIDATION_SHARE * learnt)), held_out
    scores = {at: result[name] for at, result in evaluations.items() if is_number(result.get(name))}
    return late_gain(scores, step, half) if step in scores else None

  def _summary_rows(
    self, evaluations: dict[int, dict[str, Any]], step: int, best_step: int
  ) -> list[tuple[str, str, int, str]]:
    """Returns `[(name, value, step, interval)]`: untrained, last, what was asked for, best.

    The rest is there with `--verbosity=1` alone.
    """
    first, last = evaluations.get(0, {}), evaluations[step]
    rows = [
      (display_name(name), format_value(name, value), 0, "")
      for name, value in shown(first, self._untrained_shown(first)).items()
      if "untrained" in name and name != UNTRAINED_STRONGEST
    ]
    if UNTRAINED_STRONGEST in first:
      words = f"untrained, strongest ({first[UNTRAINED_STRONGEST_READING]})"
      rows.append((words, format_value(self.metric, first[UNTRAINED_STRONGEST]), 0, ""))
    rows += [
      (display_name(name), format_value(name, value), step, format_interval(last, name))
      for name, value in shown(last, self._own).items()
      if name.startswith(EVAL) and not name.startswith((CHOSEN, untrained_key(EVAL)))
    ]
    for name in (LABEL_FRACTIONS, untrained_key(LABEL_FRACTIONS)):
      for row in last.get(name, ()):
        words = f"label fraction {row['fraction']:g} ({row['labels']} labels, std {row['std']:.2%})"
        rows.append((words, format_value(name, row["mean"]), step, ""))
    for row in last.get(FEW_SHOTS, ()):
      words = f"{shots_words(row['images'])} ({row['labels']} labels, std {row['std']:.2%})"
      rows.append((words, format_value(FEW_SHOTS, row["mean"]), step, ""))
    for row in last.get(REPRESENTATIONS, ()):
      if row["chosen"]:
        reading = READINGS[row["standardised"]]
        words = f"chosen on held-out labels: {row['representation']}, {reading}"
        note = f", C = {row['strength']:g}"
        rows.append((words, format_value(REPRESENTATIONS, row["test"]), step, note))
    if self.metric in last:
      chosen = (
        "on the validation share"
        if "validation" in self.selection_metric
        else f"by {display_name(self.selection_metric)}"
        if self.selection_metric in LABEL_FREE
        else "on the evaluation split"
      )
      value = format_value(self.metric, evaluations[best_step][self.metric])
      rows.append((f"best {chosen}", value, best_step, ""))
    return rows


def shown(numbers: dict[str, Any], also: Sequence[str] = ()) -> dict[str, Any]:
  """Returns what of `{name: value}` a terminal shows: numbers that decide, or with DEBUG all.

  Args:
    also: names that decide here.
  """
  everything = logger.isEnabledFor(logging.DEBUG)
  also = (*also, UNTRAINED_STRONGEST)
  return {
    name: value
    for name, value in numbers.items()
    if is_number(value) and (everything or is_decisive(name) or name in also)
  }


def strongest_untrained(metrics: dict[str, Any], metric: str) -> tuple[float, str] | None:
  """Returns the highest number of an untrained network over scalings, and of which it is.

  Args:
    metrics: `{name: value}` of the untrained network, by their plain names.
    metric: the name of the number that runs are compared by; of whichever reading.
  """
  name = metric.replace(STANDARDISED, EVAL)
  readings = {
    "raw": name,
    "standardised": standardised_key(name),
    "recomputed batch norm": recomputed_key(name),
    "recomputed batch norm, standardised": recomputed_key(standardised_key(name)),
  }
  found = {words: metrics[key] for words, key in readings.items() if key in metrics}
  if metric_of(name).smaller_is_better or name in LABEL_FREE or not found:
    return None
  words = max(found, key=lambda words: found[words])
  return found[words], words
