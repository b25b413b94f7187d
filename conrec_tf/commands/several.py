"""Several trainings in one command, and how far their numbers spread.

With `--seeds=0,1,2` one for each seed; with `--train_mode=finetune --cv_folds=K` one for each fold
and repetition.
"""

from collections.abc import Iterator, Sequence
import logging
from typing import Any

from conrec_tf.commands import report
from conrec_tf.commands.evaluator import log_and_continue
from conrec_tf.commands.tasks import load_dataset
from conrec_tf.commands.train import start_workers, train_and_evaluate
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.metrics import EVAL, display_name, format_value, is_number, supervised_metric
from conrec_tf.run_dir.results import shown
from conrec_tf.run_dir.results_place import write_summary_of
from conrec_tf.run_dir.run_directory import SEEDS, RunDirectory, seed_folder

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Trains and evaluates with each seed or fold, in folders of model_dir; reports the spread.

  Started again it goes on where it was, as each training does. Folds are the same for every method
  and seed; see `stratified_folds`.

  Raises:
    UsageError: there are fewer images or groups than folds.
  """
  strategy, workers = start_workers(config, config, config.export_format, config.tracker)
  trainings = list(_trainings(config))
  if not config.seeds:  # where there can't be such folds, nothing is left behind
    load_dataset(trainings[0][1])
  _check_images([one for _, one in trainings])
  directory, results = RunDirectory(config.run_directory), []
  with workers.raise_on_lost_worker():
    if workers.is_chief and not directory.summary:  # whose settings stay
      directory.start(config)
    directory.check_kind(config.is_of_several)
    for title, one in trainings:
      logger.info("%s", title)
      result = train_and_evaluate(one, strategy, workers)
      if result:
        results.append(result)
  if not results:
    return
  if config.seeds:
    place = _write_seeds(directory, results, config.seeds)
  else:
    place = _write_folds(directory, results, supervised_metric(config.ordinal_labels))
  if place is directory:  # its settings are now those of these trainings
    directory.start(config)
  if config.seeds and config.report:
    with log_and_continue("Drawing the report, which --mode=report tries again,"):
      report.run(config)


def _check_images(trainings: Sequence[Config]) -> None:
  """Raises UsageError where some trainings learn from other images than others: no mean is of both.

  Those that haven't begun learn from the images of now.
  """
  folders = [RunDirectory(one.run_directory) for one in trainings]
  learnt = [folder.images.get("digest", "") for folder in folders]
  if any(learnt) and not all(learnt):
    now = load_dataset(trainings[0]).digest
    learnt = [digest or now for digest in learnt]
  if len(set(learnt)) > 1:
    other = folders[[digest == learnt[0] for digest in learnt].index(False)]
    raise UsageError(
      "model_dir must be new, or data_dir give the images that all trainings in it began with. "
      f"Received: others for {other.path} than for {folders[0].path}"
    )


def _trainings(config: Config) -> Iterator[tuple[str, Config]]:
  """Yields a title and the options of each training: of each seed, or of each fold."""
  for number, seed in enumerate(config.seeds, 1):
    title = f"Seed {seed}, {number} of {len(config.seeds)}"
    yield title, config.of_seed(seed, seed_folder(seed))
  # Unlike the authors, because data may be in the order of its labels: folds are random, and not
  # consecutive shares.
  for repetition in range(0 if config.seeds else config.num_repeats):
    for fold in range(config.cv_folds):
      of_repetition = f"Repetition {repetition + 1} of {config.num_repeats}"
      title = f"{of_repetition}, fold {fold + 1} of {config.cv_folds}"
      yield title, config.of_fold(repetition, fold)


def _write_seeds(
  directory: RunDirectory, results: Sequence[dict[str, Any]], seeds: Sequence[int]
) -> RunDirectory:
  """Writes and logs means and deviations over seeds; returns where they lie."""
  summary = summarize(results)
  place = write_summary_of(directory, results, {SEEDS: list(seeds), **summary})
  _log(summary, len(results))
  return place


def _write_folds(
  directory: RunDirectory, results: Sequence[dict[str, Any]], metric: str
) -> RunDirectory:
  """Writes and logs mean and deviation over the finetunings of a cross-validation; as above."""
  mean, deviation = mean_and_deviation([result[metric] for result in results])
  summary = {metric: mean, f"{metric}_std": deviation, "trainings": len(results)}
  place = write_summary_of(directory, results, summary, of_folds=True)
  logger.info(
    "%s over %d trainings: %.2f%%, standard deviation %.2f%%",
    display_name(metric).removeprefix("label "),
    len(results),
    100 * mean,
    100 * deviation,
  )
  return place


def summarize(results: Sequence[dict[str, Any]]) -> dict[str, float]:
  """Returns means of the numbers that all results have, and their standard deviations.

  A deviation, named `<number>_std`, is that of a sample (of n, divided by n - 1). Those over folds,
  which have such names in the results, are left out.

  Args:
    results: `{name: value}` of at least two seeds.
  """
  summary: dict[str, float] = {}
  for name in results[0]:
    values: list[Any] = [result.get(name) for result in results]
    is_deviation = name.endswith("_std")
    if name.startswith(EVAL) and not is_deviation and all(map(is_number, values)):
      summary[name], summary[f"{name}_std"] = mean_and_deviation(values)
  return summary


def _log(summary: dict[str, float], count: int) -> None:
  names = [name for name in shown(summary) if not name.endswith("_std")]
  width = max(len(display_name(name)) for name in names) + 2
  lines = [
    f"  {display_name(name):{width}}"
    f"{format_value(name, summary[name]):>8} ± "
    f"{format_value(name, summary[f'{name}_std'])}"
    for name in names
  ]
  logger.info("Mean and standard deviation of %d seeds\n%s", count, "\n".join(lines))
