"""`--train_mode=finetune --cv_folds=K`: one finetuning for each fold and repetition."""

from collections.abc import Iterator
import dataclasses
import logging

import numpy as np

from conrec_tf.commands.train import start_workers, train_and_evaluate
from conrec_tf.config import Config, UsageError
from conrec_tf.evaluation import metric_names
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Finetunes for each fold of `train_split` and repetition; reports mean and deviation.

  Folds are consecutive shares of the split, which TFDS shuffled when it was prepared, and so
  the same for every method.

  Raises:
    UsageError: `train_split` is not a plain name.
  """
  strategy, workers = start_workers(config)
  if "[" in config.train_split or "+" in config.train_split:
    raise UsageError(
      "train_split must be a plain name such as train for finetuning with cv_folds. "
      f"Received: {config.train_split}"
    )
  directory, scores = RunDirectory(config.run_directory), []
  metric = metric_names.supervised_metric(config.ordinal_labels)
  with workers.raise_on_lost_worker():
    if workers.is_chief:
      directory.start(config)
    for fold in _folds(config, directory):
      result = train_and_evaluate(fold, strategy, workers)
      if result:
        scores.append(result[metric])
  if scores:
    mean, deviation = float(np.mean(scores)), float(np.std(scores))
    directory.write(
      "result.json", {metric: mean, f"{metric}_std": deviation, "trainings": len(scores)}
    )
    logger.info(
      "%s over %d trainings: %.2f%%, standard deviation %.2f%%",
      metric_names.display_name(metric).removeprefix("label "),
      len(scores),
      100 * mean,
      100 * deviation,
    )


def _folds(config: Config, directory: RunDirectory) -> Iterator[Config]:
  """Yields the options of each finetuning, in a folder of its own."""
  name = config.train_split
  borders = [round(100 * fold / config.cv_folds) for fold in range(config.cv_folds + 1)]
  for repetition in range(config.num_repeats):
    for fold, (start, stop) in enumerate(zip(borders, borders[1:])):
      parts = ((f"{name}[:{start}%]", start), (f"{name}[{stop}%:]", 100 - stop))
      logger.info(
        "Repetition %d of %d, fold %d of %d",
        repetition + 1,
        config.num_repeats,
        fold + 1,
        config.cv_folds,
      )
      yield dataclasses.replace(
        config,
        cv_folds=0,
        seed=(config.seed + repetition) % 2**31,
        train_split="+".join(part for part, length in parts if length),
        eval_split=f"{name}[{start}%:{stop}%]",
        model_dir=str(directory.path / f"repetition_{repetition}_fold_{fold}"),
      )
