"""A run as its `model_dir` records it: settings, rows of metrics, evaluations, results."""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

from conrec_tf.config import Config, Data, Description
from conrec_tf.config.options.data import OWN_DATASETS
from conrec_tf.errors import UsageError
from conrec_tf.metrics import (
  BEST,
  BEST_SELECTED_BY,
  BEST_STEP,
  DATA_WAIT,
  EVAL,
  EVALUATION_SECONDS,
  GLOBAL_STEP,
  IMAGES_PER_SECOND,
  MAIN_METRICS,
  standardised_key,
)
from conrec_tf.reporting import paper_results
from conrec_tf.run_dir.measurement import Measurement
from conrec_tf.run_dir.predictions_file import ImagePredictions, read_predictions
from conrec_tf.run_dir.run_directory import (
  ELSEWHERE,
  METRICS_FILE,
  SEEDS,
  RunDirectory,
  seed_folder,
)

NOT_A_METRIC = (BEST_STEP, BEST_SELECTED_BY)


@dataclasses.dataclass(frozen=True)
class RunRecord:
  """One run as its `model_dir` records it.

  Attributes:
    path: the `model_dir`.
    config: its options; those that the run's version didn't have are at their defaults.
    rows: the rows of `metrics.jsonl`.
    evaluations: `{step: result}`, in order.
    result: what `result.json` holds; without one, the last evaluation.
    predictions: of the eval split's images, or None where they weren't kept.
    processes: the processes that trained, `{step, started, machine, versions}`, in order;
      none of a network that was evaluated alone.
    label: what tells it from the other runs of a report.
    train_images: images of an epoch; 0 where the run didn't note it.
    learnt_from: digest of the images that it learnt from; empty where it didn't note it.
    epoch_steps: training steps of an epoch.
  """

  path: pathlib.Path
  config: Config
  rows: list[dict[str, Any]]
  evaluations: dict[int, dict[str, Any]]
  result: dict[str, Any]
  predictions: ImagePredictions | None
  processes: list[dict[str, Any]]
  label: str = ""
  train_images: int = 0
  learnt_from: str = ""
  epoch_steps: int = 1

  @property
  def step(self) -> int:
    """Steps that the results are of."""
    return self.result[GLOBAL_STEP]

  @property
  def measured(self) -> Measurement:
    """The images and settings that the result was measured with; of older runs settings alone."""
    found = Measurement.of_result(self.result)
    if found.settings:
      return found
    always, at_the_end = self.config.evaluation_settings
    return Measurement({}, always | at_the_end)

  @property
  def name(self) -> str:
    """The system's name; of an external network, its file's."""
    if self.config.method == "external":
      return pathlib.Path(self.config.checkpoint).stem
    return paper_results.METHODS.get(self.config.method, self.config.method)

  @property
  def metric(self) -> str:
    """The name of the number that runs are compared by."""
    for name in self.result:
      if name.startswith(BEST) and name not in NOT_A_METRIC:
        return name.replace(BEST, EVAL)
    known: tuple[str, ...] = MAIN_METRICS
    if self.config.standardize_embeddings:  # of which there are two readings, one that counts
      known = (*map(standardised_key, known), *known)
    return next((name for name in known if name in self.result), known[0])

  def curve(self, name: str) -> tuple[list[int], list[float]]:
    """Returns steps, in order, and values of a number of `metrics.jsonl`."""
    pairs = sorted((row[GLOBAL_STEP], row[name]) for row in self.rows if name in row)
    return [step for step, _ in pairs], [value for _, value in pairs]

  def times(self) -> dict[str, float]:
    """Returns seconds by part: data (waiting for it), step and, if it was noted, evaluation."""
    waited = total = 0.0
    before = 0
    for row in self.rows:
      if IMAGES_PER_SECOND in row:
        steps, before = row[GLOBAL_STEP] - before, row[GLOBAL_STEP]
        seconds = steps * self.config.train_batch_size / row[IMAGES_PER_SECOND]
        total += seconds
        waited += seconds * row.get(DATA_WAIT, 0.0)
    times = {"data": waited, "step": total - waited}
    evaluations = self.curve(EVALUATION_SECONDS)[1]
    return times | ({"evaluation": sum(evaluations)} if evaluations else {})


def read_run_record(path: str | os.PathLike, flag: str = "model_dir") -> RunRecord:
  """Reads the run in a `model_dir`.

  Args:
    flag: where its name comes from, for messages.

  Raises:
    UsageError: there is no run, or nothing that it measured.
  """
  directory = RunDirectory(path)
  values = directory.settings
  if not values:
    raise UsageError(f"{flag} must be the folder of a run, for the report. Received: {path}")
  config = Description.from_settings({**values, "mode": "report"})
  evaluations = directory.evaluations()
  last = evaluations[max(evaluations)] if evaluations else {}
  result = directory.summary or last
  rows = directory.rows(METRICS_FILE, GLOBAL_STEP)
  if GLOBAL_STEP not in result:
    raise UsageError(
      f"{flag} must be the folder of a run that was evaluated, for the report; "
      f"--mode=eval does that. Received: {path}"
    )
  images = _images_learnt_from(directory)
  return RunRecord(
    directory.path,
    config,
    rows,
    evaluations,
    result,
    read_predictions(directory, result[GLOBAL_STEP]),
    directory.processes(),
    train_images=images.get("train_images", 0),
    learnt_from=images.get("digest", ""),
  )


def _images_learnt_from(directory: RunDirectory) -> dict[str, Any]:
  """Returns what is noted of a run's images, also of what was measured apart from its results."""
  above = directory.path.absolute().parent
  run = RunDirectory(above.parent) if above.name == ELSEWHERE else directory
  return run.images


def read_other_runs(names: Sequence[str], run: RunRecord) -> list[RunRecord]:
  """Reads the runs of `compare_with`.

  Args:
    names: model_dirs; of several seeds' folder, each seed's run is read.

  Raises:
    UsageError: one of them is no run, or of another dataset.
  """
  others = [
    read_run_record(path, "compare_with")
    for name in names
    for path in seed_folders(name) or [pathlib.Path(name)]
  ]
  for other in others:
    if not (run.measured.data and other.measured.data) and _data(other.config) != _data(run.config):
      raise UsageError(
        f"compare_with must be runs on {_data(run.config)}. "
        f"Received: {other.path}, on {_data(other.config)}"
      )
    changed = run.measured.other_images(other.measured)
    if changed:
      raise UsageError(
        f"compare_with must be runs that are measured on what {run.path} is; --mode=eval measures "
        f"one otherwise, in a folder of its own. Received: {other.path}, with other "
        f"{'; '.join(changed)}"
      )
    if other.metric != run.metric:
      raise UsageError(
        f"compare_with must be runs that are measured by {run.metric}. "
        f"Received: {other.path}, by {other.metric}"
      )
  return others


def seed_folders(path: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the folders of the runs in one of several seeds; none for any other folder."""
  result = RunDirectory(path).summary
  return [pathlib.Path(path) / seed_folder(seed) for seed in result.get(SEEDS, ())]


def told_apart(names: Sequence[str], folders: Sequence[str]) -> list[str]:
  """Returns names, of which those that come twice have that of their folder too."""
  return [
    name if names.count(name) == 1 else f"{name} ({folder})"
    for name, folder in zip(names, folders, strict=True)
  ]


def last_parts(folders: Sequence[pathlib.PurePath]) -> list[str]:
  """Returns the ends of paths: of all as many parts as tell those that differ apart."""
  deepest = max(len(folder.parts) for folder in folders)
  for count in range(1, deepest + 1):
    ends = [str(pathlib.PurePath(*folder.parts[-count:])) for folder in folders]
    if len(set(ends)) == len(set(folders)):
      break
  return ends


def differences(run: RunRecord, others: Sequence[RunRecord]) -> list[tuple[str, Any, list[Any]]]:
  """Returns options in which runs differ from one: `[(name, value, values of the others)]`."""
  skipped = {"model_dir", "compare_with", "mode", "data_dir"}
  rows = []
  settings = [record.config.settings for record in (run, *others)]
  for name in settings[0]:
    values = [each[name] for each in settings]
    if name not in skipped and len({str(value) for value in values}) > 1:
      rows.append((name, values[0], values[1:]))
  return rows


def _data(data: Data) -> str:
  """Names which images a run is about."""
  parts = [data.dataset] + [data.data_dir] * (data.dataset in OWN_DATASETS)
  return " ".join(parts + [f"evaluated on {data.eval_dataset}"] * bool(data.eval_dataset))
