"""The place of results: a run's own beside it, and what is measured otherwise apart from them.

What a run's own results are measured on is written once, into `measured_on.json`; whatever is
measured otherwise goes into a folder of its own below `evaluations/`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import logging
import pathlib
import re
from typing import Any

from conrec_tf.config import Config, Data
from conrec_tf.config.migrations import current_settings
from conrec_tf.config.options.data import OWN_DATASETS, Augmentation
from conrec_tf.config.options.objective import Objective
from conrec_tf.config.options.table import ARCHITECTURE_OPTIONS, BY_CONTENT
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError, listed
from conrec_tf.files import CONFIG_FILE, make_output_folder
from conrec_tf.metrics import EVALUATED_WITH, GLOBAL_STEP, MEASURED_ON
from conrec_tf.run_dir.measurement import DIGITS, EVAL, Measurement, changed_words, measurement
from conrec_tf.run_dir.run_directory import ELSEWHERE, IMAGES, SUMMARY_FILE, RunDirectory

logger = logging.getLogger(__name__)

OWN = "measured_on.json"
# Options of a training that its evaluations read too; a file that may move isn't known by its path.
READ_OF_TRAINING = (
  *ARCHITECTURE_OPTIONS,
  *(
    field.name
    for section in (Augmentation, Objective)
    for field in dataclasses.fields(section)
    if field.name not in BY_CONTENT
  ),
  *("train_mode", "train_batch_size", "seed", "mixed_precision", "moving_average_decay"),
  *("external_scaling", "external_output"),
)
LONGEST_NAME = 60  # of a folder, but for its digest


@dataclasses.dataclass(frozen=True)
class ResultsPlace:
  """The place of results: with a run's own, or in a folder below it if measured otherwise.

  Attributes:
    changed: in what that differs from the run's own results, in words.
    options: `{option: value}` of the evaluation, to be written where it differs.
  """

  directory: RunDirectory
  measured: Measurement
  changed: tuple[str, ...] = ()
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def is_own(self) -> bool:
    """True where the results are the run's own."""
    return not self.changed

  def open(self, source: DatasetSource, eval_source: DatasetSource) -> None:
    """Notes in the folder what results there are measured on; makes it if it isn't the run's.

    Raises:
      UsageError: it can't be written, which is known before anything is measured.
    """
    directory, record = self.directory, self.measured.record(full=True)
    known, has_results = _own_record(directory), bool(directory.evaluations())
    make_output_folder(directory.path)
    if self.changed:
      logger.info(
        "Measured otherwise than the run's own results (%s), and so kept apart, in %s",
        "; ".join(self.changed),
        directory.path,
      )
      directory.write(CONFIG_FILE, self.options)
      note_data(directory, source, eval_source)
    elif has_results and known is None:
      logger.info(
        "Results in %s are of an earlier version, which didn't note what they were measured on: "
        "they count as measured on the images and labels of now",
        directory.path,
      )
    if directory.read(OWN) is None or not has_results and known != record:
      directory.write(OWN, record)


def results_place(
  config: Config,
  run: RunDirectory,
  source: DatasetSource,
  eval_source: DatasetSource,
  network: str = "",
) -> ResultsPlace:
  """Returns where the results of an evaluation belong.

  The first results of a run are its own, unless they are of other images than it began with or of
  another network. Those of a run from before noted nothing of their data: they count as measured on
  the run's own, where its settings and images are asked for. See also `measurement`.
  """
  measured = measurement(
    config.evaluation_settings,
    source,
    eval_source,
    is_pretraining=config.is_pretraining,
    network=network,
  )
  stored = current_settings(run.settings)
  settings = config.settings
  read = {name: settings[name] for name in READ_OF_TRAINING}
  if "auto" in (read["mixed_precision"], stored.get("mixed_precision")):
    del read["mixed_precision"]
  changed = changed_words(stored, read)
  if run.evaluations():
    own = _own_record(run)
    if own is None:
      paths = {"eval_data_dir": config.eval_data_dir} if config.eval_dataset else {}
      changed += changed_words(stored, {**measured.compared(), **paths})
      changed += ["images or labels"] * is_of_other_images(run, source)
    else:
      changed += measured.differences(own)
  elif config.mode == "eval":  # before the training measured anything
    changed += ["images or labels"] * is_of_other_images(run, source)
    changed += ["the network"] * bool(network and run.has_checkpoints)
  changed = list(dict.fromkeys(changed))
  if not changed:
    return ResultsPlace(run, measured)
  digest = hashlib.sha256(repr((measured.digest, changed)).encode()).hexdigest()[:DIGITS]
  folder = run.path / ELSEWHERE / f"{_data_name(config)}-{digest}"
  return ResultsPlace(RunDirectory(folder), measured, tuple(changed), config.settings)


def note_data(
  directory: RunDirectory, source: DatasetSource, eval_source: DatasetSource, network: str = ""
) -> None:
  """Writes what a run began from: images' channels, crops, class names, count, digest, bad ones.

  That is also the digest of the network that it started from, if any.
  """
  directory.write_lines("bad_images.txt", list(map(str, source.bad)))
  directory.write_lines("class_names.txt", eval_source.class_names)
  images = {
    "channels": source.channels,
    "center_crop": eval_source.center_crop,
    "train_center_crop": source.center_crop,
    "class_names": source.class_names or eval_source.class_names,
    "digest": source.digest,
    "train_images": source.train.num_examples,
    "network": network,
  }
  directory.write(IMAGES, images)


def write_summary_of(
  directory: RunDirectory,
  results: Sequence[Mapping[str, Any]],
  summary: Mapping[str, Any],
  of_folds: bool = False,
) -> RunDirectory:
  """Writes `result.json` of several trainings, unless they were measured otherwise than before.

  In that case it goes into a folder of its own, as the trainings' results do. `of_folds`, each
  training is measured on images of its own; else all are measured alike. Returns where it lies.

  Raises:
    UsageError: trainings that should be measured alike weren't, or are of different steps.
  """
  measured = Measurement.of_result(results[0])
  if of_folds:
    evals = [Measurement.of_result(result).data.get(EVAL, "") for result in results]
    joined = {EVAL: hashlib.sha256("".join(evals).encode()).hexdigest()}
    # Of what is known of the first fold alone nothing is said.
    measured = dataclasses.replace(measured, data=measured.data | joined if all(evals) else {})
  else:
    _check_alike(directory, results)
  if differs := measured.differences(directory.summary):
    directory = RunDirectory(directory.path / ELSEWHERE / measured.digest)
    logger.info(
      "Measured otherwise than before (%s), and so kept apart, in %s",
      "; ".join(differs),
      directory.path,
    )
    make_output_folder(directory.path)
  record = {MEASURED_ON: measured.data, EVALUATED_WITH: measured.settings}
  directory.write(SUMMARY_FILE, {**summary, **{name: it for name, it in record.items() if it}})
  return directory


def evaluated_center_crop(directory: RunDirectory, network: str) -> bool | None:
  """Returns whether a network was given the centre of images where it was evaluated in a folder.

  Args:
    network: its digest, empty for the folder's own.

  Returns:
    None where it wasn't evaluated there, or that isn't noted.
  """
  data = (directory.read(OWN) or {}).get(MEASURED_ON, {})
  return data.get("center_crop") if data.get("network", "") == network else None


def _check_alike(directory: RunDirectory, results: Sequence[Mapping[str, Any]]) -> None:
  """Raises UsageError where a mean of results would be one of different things."""
  measured = Measurement.of_result(results[0])
  changed = [words for result in results for words in measured.differences(result)]
  steps = sorted({result[GLOBAL_STEP] for result in results})
  if len(steps) > 1:
    changed.append(f"steps {listed(list(map(str, steps)))}")
  if changed:
    raise UsageError(
      "trainings must be measured alike, for a mean of them. "
      f"Received: {'; '.join(changed)} in {directory.path}"
    )


def _own_record(run: RunDirectory) -> dict[str, Any] | None:
  """Returns what a run's own results are measured on; None where nothing noted it."""
  noted = (result for result in reversed(run.evaluations().values()) if MEASURED_ON in result)
  return run.read(OWN) or next(noted, None)


def is_of_other_images(directory: RunDirectory, source: DatasetSource) -> bool:
  """Returns whether a run began with other images or labels, as far as it is known."""
  known = directory.images.get("digest")
  return bool(known) and known != source.digest


def _data_name(data: Data) -> str:
  """Returns a short name of what is measured, for a folder."""
  own = data.of_eval_dataset(0) if data.eval_dataset else data
  path = own.data_dir if own.dataset in OWN_DATASETS else ""
  name = pathlib.PurePath(path).name if path else own.dataset
  return re.sub(r"[^\w.-]+", "_", f"{name}-{own.eval_split}")[:LONGEST_NAME]
