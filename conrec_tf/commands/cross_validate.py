"""`--train_mode=finetune --cv_folds=K`: one finetuning for each fold and repetition."""

from collections.abc import Iterator
import dataclasses
import logging
import os

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.commands.train import start_workers, train_and_evaluate
from conrec_tf.config import Config
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.metrics import display_name, supervised_metric
from conrec_tf.run_dir.results_place import write_summary_of
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Finetunes for each fold of `train_split` and repetition; reports mean and deviation.

  Folds are the same for every method and seed; see `stratified_folds`.

  Raises:
    UsageError: there are fewer images or groups than folds.
  """
  strategy, workers = start_workers(config)
  load_dataset(_fold(config, "", 0, 0))  # where there can't be such folds, nothing is left behind
  directory, results = RunDirectory(config.run_directory), []
  metric = supervised_metric(config.ordinal_labels)
  with workers.raise_on_lost_worker():
    if workers.is_chief and not directory.read("result.json"):  # whose settings stay
      directory.start(config)
    for fold in _folds(config, directory):
      result = train_and_evaluate(fold, strategy, workers)
      if result:
        results.append(result)
  if results:
    mean, deviation = mean_and_deviation([result[metric] for result in results])
    summary = {metric: mean, f"{metric}_std": deviation, "trainings": len(results)}
    write_summary_of(directory, results, summary, of_folds=True)
    logger.info(
      "%s over %d trainings: %.2f%%, standard deviation %.2f%%",
      display_name(metric).removeprefix("label "),
      len(results),
      100 * mean,
      100 * deviation,
    )


def _folds(config: Config, directory: RunDirectory) -> Iterator[Config]:
  """Yields the options of each finetuning, in a folder of its own."""
  # Unlike the authors, because data may be in the order of its labels: folds are random, and not
  # consecutive shares.
  for repetition in range(config.num_repeats):
    for fold in range(config.cv_folds):
      logger.info(
        "Repetition %d of %d, fold %d of %d",
        repetition + 1,
        config.num_repeats,
        fold + 1,
        config.cv_folds,
      )
      yield _fold(config, str(directory.path), repetition, fold)


def _fold(config: Config, parent: str, repetition: int, fold: int) -> Config:
  """Returns the options of one finetuning, whose folder lies in `parent`."""
  return dataclasses.replace(
    config,
    cv_folds=0,
    cv_fold=f"{fold}/{config.cv_folds}",
    seed=(config.seed + repetition) % 2**31,
    model_dir=os.path.join(parent, f"repetition_{repetition}_fold_{fold}"),
  )
