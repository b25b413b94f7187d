"""What a number was measured on: the one record that results, embeddings and comparisons carry.

Two numbers can be compared, averaged or take each other's place only where their records are
equal. What a run's own numbers are measured on is written once, into `measured_on.json`; whatever
is measured otherwise goes into a folder of its own below `evaluations/`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import logging
import pathlib
import re
from typing import Any

from conrec_tf.config import Config, UsageError, listed
from conrec_tf.config.data_options import OWN_DATASETS, Augmentation
from conrec_tf.config.objective_options import Objective
from conrec_tf.config.options import ARCHITECTURE_OPTIONS, current_settings
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.evaluation.metric_names import EVALUATED_WITH, GLOBAL_STEP, MEASURED_ON
from conrec_tf.files import io_as_usage_error
from conrec_tf.run_dir.pretrained import CenterCrops
from conrec_tf.run_dir.run_directory import ELSEWHERE, IMAGES, RunDirectory

logger = logging.getLogger(__name__)

OWN = "measured_on.json"
TRAIN, EVAL, VIEWS = "train", "eval", "views"  # what images are for
# Options that say which images are measured: where a record holds their digests, those count.
OF_DATA = ("eval_dataset", "eval_train_split", "eval_test_split", "eval_split", "eval_crop")
# Options that change no number of a result but add some; `num_repeats` is of the first two.
ADDITIONS = ("label_fractions", "few_shots", "sweep_representations", "bootstrap_samples")
OF_SUBSETS = ADDITIONS[:2]
# Options of a training that its evaluations read too.
READ_OF_TRAINING = (
  *ARCHITECTURE_OPTIONS,
  *(field.name for section in (Augmentation, Objective) for field in dataclasses.fields(section)),
  *("train_mode", "train_batch_size", "seed", "mixed_precision", "moving_average_decay"),
  *("external_scaling", "external_output"),
)
DIGITS = 12
LONGEST_NAME = 60  # of a folder, but for its digest


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What numbers are measured on, but for the step, which each result has beside it.

  Attributes:
    data: digests of the images with their labels and groups by their role, how many there are, the
      classes' names, whether evaluation crops, and of a network that isn't the run's own, which it
      is; JSON's types alone. Empty in records from before.
    settings: options that all numbers depend on.
    at_the_end: options that only the numbers of the last evaluation depend on, and `ADDITIONS`.
  """

  data: dict[str, Any]
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  at_the_end: dict[str, Any] = dataclasses.field(default_factory=dict)

  @classmethod
  def of_result(cls, result: Mapping[str, Any]) -> "Measurement":
    """Returns what a result says of itself; nothing of one from before."""
    return cls(result.get(MEASURED_ON, {}), result.get(EVALUATED_WITH, {}))

  @property
  def digest(self) -> str:
    """A short text that tells this record from others, for tables and names of folders."""
    content = json.dumps([self.data, self.compared(OF_DATA)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:DIGITS]

  def record(self, full: bool) -> dict[str, Any]:
    """Returns what a result says of itself.

    Args:
      full: whether it is one of the end.
    """
    settings = self.settings | (self.at_the_end if full else {})
    return {EVALUATED_WITH: settings, **({MEASURED_ON: self.data} if self.data else {})}

  def differences(self, result: Mapping[str, Any]) -> list[str]:
    """Returns in what a result was measured otherwise, in words; nothing where it wasn't.

    What a result from before didn't note counts as what is asked for.

    Args:
      result: with the keys of `record`.
    """
    data = result.get(MEASURED_ON, {})
    words: list[str] = []
    if data and self.data:
      absent = dict.fromkeys([*data, *self.data])
      words = changed_words(absent | data, absent | self.data)
    noted = result.get(EVALUATED_WITH, {})
    settings = current_settings(noted)
    if "label_fractions" not in noted:  # of an evaluation on the way
      settings = {name: settings[name] for name in self.settings if name in settings}
    passed_over = OF_DATA if data and self.data else ()
    return words + changed_words(settings, self.compared(passed_over))

  def other_images(self, other: "Measurement") -> list[str]:
    """Returns in what images or labels another record differs, in words, whatever the settings.

    Nothing is known of records from before.
    """
    if not (self.data and other.data):
      return []
    both = [name for name in (TRAIN, "class_names") if name in self.data and name in other.data]
    mine, others = (
      {name: data.get(name) for name in (EVAL, *both)} for data in (self.data, other.data)
    )
    return changed_words(mine, others)

  def lacks(self, result: Mapping[str, Any]) -> bool:
    """Returns whether numbers of the end that are asked for aren't in a result."""
    settings = result.get(EVALUATED_WITH)
    if settings is None:  # of version 0.1.0, which kept no settings and had one addition
      return bool(self.at_the_end.get("label_fractions")) and not any(
        name.endswith("label_fractions") for name in result
      )
    if not self.at_the_end.keys() <= settings.keys():
      return True
    asked = [name for name in ADDITIONS if self.at_the_end.get(name)]
    if set(asked) & set(OF_SUBSETS):
      asked.append("num_repeats")
    return any(settings[name] != self.at_the_end[name] for name in asked)

  def merged(self, before: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result with the additions that one before it, measured alike, had and it hasn't."""
    settings = dict(result[EVALUATED_WITH])
    known = before.get(EVALUATED_WITH, {})
    of_subsets = any(settings.get(name) for name in OF_SUBSETS)  # measured now
    for name in ADDITIONS:
      if name in settings and not settings[name] and known.get(name):
        settings[name] = known[name]
        if name in OF_SUBSETS and "num_repeats" in known and not of_subsets:
          settings["num_repeats"] = known["num_repeats"]
    return {**before, **result, EVALUATED_WITH: settings}

  def compared(self, passed_over: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the settings in which two records may not differ, but for some."""
    others = {*ADDITIONS, "num_repeats", *passed_over}
    settings = self.settings | self.at_the_end
    return {name: value for name, value in settings.items() if name not in others}


def measurement(
  config: Config, source: DatasetSource, eval_source: DatasetSource, network: str = ""
) -> Measurement:
  """Returns what an evaluation with these options measures.

  Args:
    config: the options of the run.
    source: dataset that the network learns from; its eval split makes views.
    eval_source: dataset of linear evaluation, with each image once.
    network: digest of the network where it isn't the run's own.
  """
  classes, roles = eval_source.class_names, {}
  if config.is_pretraining and classes:
    roles[TRAIN] = eval_source.train
  if not (config.cv_folds and config.is_pretraining):
    roles[EVAL] = eval_source.eval
  digests = {role: split.digest(classes) for role, split in roles.items()}
  if config.is_pretraining and config.eval_dataset:
    digests[VIEWS] = source.without_stand_ins.eval.digest(source.class_names)
  always, at_the_end = config.evaluation_settings
  return Measurement(
    {
      **digests,
      **{f"{role}_images": split.num_examples for role, split in roles.items()},
      "class_names": list(classes),
      "center_crop": eval_source.center_crop,
      **({"network": network} if network else {}),
    },
    always,
    at_the_end,
  )


def note_data(
  directory: RunDirectory, source: DatasetSource, eval_source: DatasetSource, network: str = ""
) -> None:
  """Writes what a run began from: images' channels, crops, class names, digest, bad ones.

  Args:
    directory: the folder of a run.
    source: dataset that the network learns from.
    eval_source: dataset of linear evaluation.
    network: digest of the network that it started from, if any.
  """
  directory.write_lines("bad_images.txt", source.bad)
  directory.write_lines("class_names.txt", eval_source.class_names)
  images = {
    "channels": source.channels,
    **CenterCrops(source.center_crop, eval_source.center_crop).described(),
    "class_names": source.class_names or eval_source.class_names,
    "digest": source.digest,
    "network": network,
  }
  directory.write(IMAGES, images)


def changed_words(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Returns what is other now, in words, of the names that both have."""
  words = []
  for name, value in now.items():
    known = before.get(name, value)
    if known == value:
      continue
    if name == "class_names":
      gone, added = (
        listed([label for label in one if label not in other])
        for one, other in ((known, value), (value, known))
      )
      words.append(f"labels: {gone} -> {added}" if gone or added else "the order of labels")
    elif name in (TRAIN, EVAL, VIEWS):
      words.append(f"images or labels of the {name} split")
    elif name == "network":
      words.append("the network")
    else:
      words.append(f"{name}: {known} -> {value}")
  return words


@dataclasses.dataclass(frozen=True)
class ResultsPlace:
  """Where results belong: with a run's own, or in a folder below it if measured otherwise.

  Attributes:
    directory: the folder.
    measured: what they are measured on.
    changed: in what that differs from the run's own results, in words.
  """

  directory: RunDirectory
  measured: Measurement
  changed: tuple[str, ...] = ()

  @property
  def is_own(self) -> bool:
    """Whether the results are the run's own."""
    return not self.changed

  def open(self, config: Config, source: DatasetSource, eval_source: DatasetSource) -> None:
    """Notes in the folder what results there are measured on; makes it if it isn't the run's.

    Args:
      config: the options asked for.
      source: dataset that the network learns from.
      eval_source: dataset of linear evaluation.
    """
    directory, record = self.directory, self.measured.record(full=True)
    known, has_results = _own_record(directory), bool(directory.evaluations())
    if self.changed:
      logger.info(
        "Measured otherwise than the run's own results (%s), and so kept apart, in %s",
        "; ".join(self.changed),
        directory.path,
      )
      with io_as_usage_error(directory.path):
        directory.path.mkdir(parents=True, exist_ok=True)
      directory.write("config.json", dataclasses.asdict(config))
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
  the run's own, where its settings and images are asked for.

  Args:
    config, source, eval_source, network: see `measurement`.
    run: the folder of a run.
  """
  measured = measurement(config, source, eval_source, network)
  stored = current_settings(run.read("config.json") or {})
  read = {name: getattr(config, name) for name in READ_OF_TRAINING}
  if "auto" in (read["mixed_precision"], stored.get("mixed_precision")):
    del read["mixed_precision"]
  changed = changed_words(stored, read)
  if run.evaluations():
    own = _own_record(run)
    changed += (
      _changed_from_before(config, run, stored, source)
      if own is None
      else measured.differences(own)
    )
  elif config.mode == "eval":  # before the training measured anything
    changed += ["images or labels"] * _is_of_other_images(run, source)
    changed += ["the network"] * bool(network and run.has_checkpoints)
  if not changed:
    return ResultsPlace(run, measured)
  digest = hashlib.sha256(repr((measured.digest, changed)).encode()).hexdigest()[:DIGITS]
  folder = run.path / ELSEWHERE / f"{_data_name(config)}-{digest}"
  return ResultsPlace(RunDirectory(folder), measured, tuple(changed))


def write_summary_of(
  directory: RunDirectory,
  results: Sequence[Mapping[str, Any]],
  summary: Mapping[str, Any],
  of_folds: bool = False,
) -> None:
  """Writes `result.json` of several trainings, unless they were measured otherwise than before.

  In that case it goes into a folder of its own, as the trainings' results do.

  Args:
    directory: the folder that holds the trainings'.
    results: of each training.
    summary: of all of them.
    of_folds: whether each training is measured on images of its own; else all are measured alike.

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
  differs = measured.differences(directory.read("result.json") or {})
  if differs:
    directory = RunDirectory(directory.path / ELSEWHERE / measured.digest)
    logger.info(
      "Measured otherwise than before (%s), and so kept apart, in %s",
      "; ".join(differs),
      directory.path,
    )
    with io_as_usage_error(directory.path):
      directory.path.mkdir(parents=True, exist_ok=True)
  record = {MEASURED_ON: measured.data, EVALUATED_WITH: measured.settings}
  directory.write("result.json", {**summary, **{name: it for name, it in record.items() if it}})


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


def _changed_from_before(
  config: Config, directory: RunDirectory, stored: Mapping[str, Any], source: DatasetSource
) -> list[str]:
  """Returns in what options or images differ from those of a run that has no record."""
  always, at_the_end = config.evaluation_settings
  compared = Measurement({}, always, at_the_end).compared()
  paths = {"eval_data_dir": config.eval_data_dir} if config.eval_dataset else {}
  changed = changed_words(stored, {**compared, **paths})
  return changed + ["images or labels"] * _is_of_other_images(directory, source)


def _is_of_other_images(directory: RunDirectory, source: DatasetSource) -> bool:
  """Returns whether a run began with other images or labels, as far as it is known."""
  known = (directory.read(IMAGES) or {}).get("digest")
  return bool(known) and known != source.digest


def _data_name(config: Config) -> str:
  """Returns a short name of what is measured, for a folder."""
  dataset = config.eval_dataset or config.dataset
  path = (config.eval_data_dir if config.eval_dataset else "") or config.data_dir
  name = pathlib.PurePath(path).name if dataset in OWN_DATASETS and path else dataset
  split = (config.eval_test_split if config.eval_dataset else "") or config.eval_split
  return re.sub(r"[^\w.-]+", "_", f"{name}-{split}")[:LONGEST_NAME]
