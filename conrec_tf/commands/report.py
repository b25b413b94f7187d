"""`--mode=report`: draws again what the run in `model_dir` learned."""

import functools
import os

from conrec_tf.commands.tasks import TASKS, check_classes, load_dataset, without_origin
from conrec_tf.config import Config, Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.registry import load_eval_dataset
from conrec_tf.data.summary import failing_images_named
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.find import known_center_crops, resolve_checkpoint
from conrec_tf.pretrained.load import load_network
from conrec_tf.reporting.context import Inspector
from conrec_tf.reporting.report import write_report
from conrec_tf.run_dir.results_place import results_place
from conrec_tf.run_dir.run_directory import (
  BEST,
  CHECKPOINTS,
  RunDirectory,
  prefixes,
  seed_folder,
  step_of,
)


def run(config: Config) -> None:
  """Draws the report of a finished run; of several seeds' folder, of the first beside the others.

  Raises:
    UsageError: `model_dir` is not the folder of one run, or other data is asked for than it was
      measured on.
  """
  directory = RunDirectory(config.run_directory)
  directory.check_is_run(config.mode, config.checkpoint)
  if config.cv_folds and not config.is_pretraining:
    raise UsageError(
      "model_dir must be the folder of one training, e.g. repetition_0_fold_0 in that of a "
      f"cross-validation, for mode=report. Received: {directory.path}"
    )
  folder, compared = directory.path, config.compare_with
  if config.seeds:
    first, *others = config.seeds
    compared = (*(str(folder / seed_folder(seed)) for seed in others), *compared)
    config = config.of_seed(first, seed_folder(first)).to_report()
    directory = RunDirectory(config.run_directory)
  crops = known_center_crops(directory, config.eval_dataset)
  source = load_dataset(config, crops.training)
  eval_source = load_eval_dataset(config, source, crops.evaluation)
  changed = results_place(config, directory, source, eval_source).changed
  if changed:
    raise UsageError(
      "a report must be drawn of what its numbers were measured on; mode=eval measures otherwise. "
      f"Received: other {'; '.join(changed)} for {directory.path}"
    )
  inspect = functools.partial(restore_inspector, config, directory, source, eval_source)
  _, sections = TASKS[config.train_mode].drawing()
  with failing_images_named(source, eval_source):
    write_report(directory.path, compared, source, inspect, sections, folder)


def restore_inspector(
  options: Experiment,
  directory: RunDirectory,
  source: DatasetSource,
  eval_source: DatasetSource,
  step: int,
) -> Inspector:
  """Restores the network of a run at a step, or where those weights are gone the best one.

  Raises:
    UsageError: there are no weights, or they can't be read.
  """
  task, folder = TASKS[options.train_mode], directory.path
  check_classes(options, directory, source, eval_source)
  found = [
    prefix for prefix in prefixes(os.path.join(folder, CHECKPOINTS)) if step_of(prefix) == step
  ] or prefixes(os.path.join(folder, BEST))
  options = without_origin(options) if found else options
  model, head = task.build_network(options, source.channels, len(source.class_names))
  if found:
    step = step_of(found[-1])
    load_network(resolve_checkpoint(found[-1]), model, head)
  elif step or not options.encoder_weights:  # else given weights, evaluated as they are
    raise UsageError(
      "model_dir must hold the checkpoint of its last step or the best one, for "
      f"the report. Received: {folder} without"
    )
  inspect, _ = task.drawing()
  return inspect(options, eval_source, model, head, step)
