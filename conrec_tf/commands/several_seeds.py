"""`--seeds=0,1,2`: one training for each seed, and how far their numbers spread."""

from collections.abc import Sequence
import dataclasses
import logging
from typing import Any

from conrec_tf.commands import report
from conrec_tf.commands.evaluator import log_and_continue
from conrec_tf.commands.train import start_workers, train_and_evaluate
from conrec_tf.config import Config
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.metrics import EVAL, display_name, format_value, is_number
from conrec_tf.run_dir.results_place import write_summary_of
from conrec_tf.run_dir.run_directory import SEEDS, RunDirectory, seed_folder

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
  """Trains and evaluates with each seed, in `seed_<n>` of model_dir; reports mean and deviation.

  Started again it goes on where it was, as each training does.
  """
  strategy, workers = start_workers(config)
  directory, results = RunDirectory(config.run_directory), []
  with workers.raise_on_lost_worker():
    if workers.is_chief and not directory.read("result.json"):  # whose settings stay
      directory.start(config)
    for place, seed in enumerate(config.seed_list):
      logger.info("Seed %d, %d of %d", seed, place + 1, len(config.seed_list))
      one = dataclasses.replace(
        config, seed=seed, seeds="", model_dir=str(directory.path / seed_folder(seed))
      )
      result = train_and_evaluate(one, strategy, workers)
      if result:
        results.append(result)
  if results:
    summary = summarize(results)
    write_summary_of(directory, results, {SEEDS: list(config.seed_list), **summary})
    _log(summary, len(results))
    if config.report:
      with log_and_continue("Drawing the report, which --mode=report tries again,"):
        report.run(config)


def summarize(results: Sequence[dict[str, Any]]) -> dict[str, float]:
  """Returns means of the numbers that all results have, and their standard deviations.

  A deviation, named `<number>_std`, is that of a sample (of n, divided by n - 1).

  Args:
    results: `{name: value}` of at least two seeds.
  """
  summary: dict[str, float] = {}
  for name in results[0]:
    values: list[Any] = [result.get(name) for result in results]
    if name.startswith(EVAL) and all(map(is_number, values)):
      summary[name], summary[f"{name}_std"] = mean_and_deviation(values)
  return summary


def _log(summary: dict[str, float], count: int) -> None:
  names = [name for name in summary if not name.endswith("_std")]
  width = max(len(display_name(name)) for name in names) + 2
  lines = [
    f"  {display_name(name):{width}}"
    f"{format_value(name, summary[name]):>8} ± "
    f"{format_value(name, summary[f'{name}_std'])}"
    for name in names
  ]
  logger.info("Mean and standard deviation of %d seeds\n%s", count, "\n".join(lines))
