"""`--mode=report`: draws again what the run in `model_dir` learned."""

from conrec_tf.config import Config, UsageError
from conrec_tf.data.registry import load_dataset, load_eval_dataset
from conrec_tf.reporting.report import write_report
from conrec_tf.run_dir.pretrained import known_center_crop
from conrec_tf.run_dir.run_directory import RunDirectory


def run(config: Config) -> None:
  """Draws the report of a finished run.

  Raises:
    UsageError: `model_dir` is not the folder of one run.
  """
  directory = RunDirectory(config.run_directory)
  if not directory.read("config.json"):
    raise UsageError(
      f"model_dir must be the folder of a run, for mode=report. Received: {config.run_directory}"
    )
  if config.cv_folds and not config.is_pretraining:
    raise UsageError(
      "model_dir must be the folder of one training, e.g. repetition_0_fold_0 in that of a "
      f"cross-validation, for mode=report. Received: {directory.path}"
    )
  center_crop = known_center_crop(directory)
  source = load_dataset(config, center_crop)
  write_report(config, source, load_eval_dataset(config, source, center_crop))
