"""`--mode=report`: draws again what the run in `model_dir` learned."""

import dataclasses

from conrec_tf.config import Config
from conrec_tf.data.failing_images import failing_images_named
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.errors import UsageError
from conrec_tf.pretrained.find import known_center_crops
from conrec_tf.reporting.report import write_report
from conrec_tf.run_dir.results_place import results_place
from conrec_tf.run_dir.run_directory import RunDirectory, seed_folder


def run(config: Config) -> None:
  """Draws the report of a finished run; of several seeds' folder, of the first beside the others.

  Raises:
    UsageError: `model_dir` is not the folder of one run, or other data is asked for than it was
      measured on.
  """
  directory = RunDirectory(config.run_directory)
  if not directory.read("config.json"):
    raise UsageError(
      f"model_dir must be the folder of a run, for mode=report. Received: {config.run_directory}"
    )
  if config.encoder == "external":
    raise UsageError(
      "model_dir must be the folder of a training, for mode=report; --compare_with takes that of "
      f"somebody else's network. Received: {directory.path}"
    )
  if config.cv_folds and not config.is_pretraining:
    raise UsageError(
      "model_dir must be the folder of one training, e.g. repetition_0_fold_0 in that of a "
      f"cross-validation, for mode=report. Received: {directory.path}"
    )
  folder = directory.path
  if config.seeds:
    first, *others = [str(folder / seed_folder(seed)) for seed in config.seed_list]
    beside = ",".join([*others, *filter(None, [config.compare_with])])
    seed = config.seed_list[0]
    config = dataclasses.replace(
      config, seeds="", seed=seed, model_dir=first, compare_with=beside, mode="report"
    )
    directory = RunDirectory(first)
  crops = known_center_crops(directory, config.eval_dataset)
  source = load_dataset(config, crops.training)
  eval_source = load_eval_dataset(config, source, crops.evaluation)
  changed = results_place(config, directory, source, eval_source).changed
  if changed:
    raise UsageError(
      "a report must be drawn of what its numbers were measured on; mode=eval measures otherwise. "
      f"Received: other {'; '.join(changed)} for {directory.path}"
    )
  with failing_images_named(source, eval_source):
    write_report(config, source, eval_source, folder)
