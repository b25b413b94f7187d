"""Records of what numbers were measured on, and what files of embeddings or masks were made of.

Two numbers can be compared, averaged or take each other's place only where their records are equal.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import logging
import pathlib
from typing import Any

from conrec_tf.config.config import OF_MEASURED_IMAGES
from conrec_tf.config.migrations import ADDED, current_settings, named_settings
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.errors import UsageError, listed
from conrec_tf.files import io_as_usage_error, remove, remove_leftovers
from conrec_tf.metrics import EVALUATED_WITH, MEASURED_ON
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)

TRAIN, EVAL, VIEWS = "train", "eval", "views"  # what images are for
# Options that change no number of a result but add some; `num_repeats` is of the first two.
ADDITIONS = ("label_fractions", "few_shots", "sweep_representations", "bootstrap_samples")
OF_SUBSETS = ADDITIONS[:2]
# Options that came after the first records, which are as if they had the defaults.
LATER = {name: ADDED[name] for name in ("eval_image_size", "eval_crops")}
DIGITS = 12
DESCRIPTION = "description.json"  # of the files of a folder


@dataclasses.dataclass(frozen=True)
class Measurement:
  """A record of what numbers are measured on, but for the step, which each result has beside it.

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
    return short_digest([self.data, named_settings(self.compared(OF_MEASURED_IMAGES))])

  def record(self, full: bool) -> dict[str, Any]:
    """Returns what a result, with `full` one of the end, says of itself."""
    settings = self.settings | (self.at_the_end if full else {})
    return {EVALUATED_WITH: settings, **({MEASURED_ON: self.data} if self.data else {})}

  def differences(self, result: Mapping[str, Any]) -> list[str]:
    """Returns in what a result was measured otherwise, in words; nothing where it wasn't.

    What a result from before didn't note counts as what is asked for.
    """
    data = result.get(MEASURED_ON, {})
    words: list[str] = []
    if data and self.data:
      absent = dict.fromkeys([*data, *self.data])
      words = changed_words(absent | data, absent | self.data)
    noted = result.get(EVALUATED_WITH, {})
    # Of a segmentation or not, whatever a record notes was read.
    settings = current_settings({"train_mode": "segment", **noted} if noted else {})
    if "label_fractions" not in noted:  # of an evaluation on the way
      settings = {name: settings[name] for name in self.settings if name in settings}
    passed_over = OF_MEASURED_IMAGES if data and self.data else ()  # their digests count
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
    settings = result.get(EVALUATED_WITH, {})
    if not self.at_the_end.keys() <= settings.keys():
      return True
    asked = [name for name in ADDITIONS if self.at_the_end.get(name)]
    if set(asked) & set(OF_SUBSETS):
      asked.append("num_repeats")
    noted = current_settings(settings)  # lists as they are written now
    return any(noted[name] != self.at_the_end[name] for name in asked)

  def merged(self, before: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result with the additions that one before it, measured alike, had and it hasn't.

    Those of another number of subsets than is measured now aren't noted as asked for.
    """
    settings = dict(result[EVALUATED_WITH])
    known = before.get(EVALUATED_WITH, {})
    of_subsets = any(settings.get(name) for name in OF_SUBSETS)  # measured now
    for name in ADDITIONS:
      if name in settings and not settings[name] and known.get(name):
        if name in OF_SUBSETS and "num_repeats" in known:
          if of_subsets and known["num_repeats"] != settings["num_repeats"]:
            continue
          settings["num_repeats"] = known["num_repeats"]
        settings[name] = known[name]
    return {**before, **result, EVALUATED_WITH: settings}

  def compared(self, passed_over: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the settings in which two records may not differ, but for some."""
    others = {*ADDITIONS, "num_repeats", *passed_over}
    settings = self.settings | self.at_the_end
    settings = LATER | settings if settings else {}
    return {name: value for name, value in settings.items() if name not in others}


def short_digest(record: Any) -> str:
  """Returns a short text that tells a record of JSON's types from others."""
  content = json.dumps(record, sort_keys=True)
  return hashlib.sha256(content.encode()).hexdigest()[:DIGITS]


def measurement(
  settings: tuple[dict[str, Any], dict[str, Any]],
  source: DatasetSource,
  eval_source: DatasetSource,
  *,
  is_pretraining: bool,
  network: str = "",
) -> Measurement:
  """Returns what an evaluation measures.

  Args:
    settings: the options that it depends on; see `Config.evaluation_settings`.
    source: dataset that the network learns from; its eval split makes views.
    eval_source: dataset of linear evaluation, with each image once.
    is_pretraining: whether classifiers learn from the embeddings of `eval_source`.
    network: digest of the network where it isn't the run's own.
  """
  always, at_the_end = settings
  classes, roles = eval_source.class_names, {}
  if is_pretraining and classes:
    roles[TRAIN] = eval_source.train
  if not (always["cv_folds"] and is_pretraining):
    roles[EVAL] = eval_source.eval
  digests = {role: split.digest(classes) for role, split in roles.items()}
  if is_pretraining and always["eval_dataset"]:
    digests[VIEWS] = source.without_stand_ins.eval.digest(source.class_names)
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


def write_description(
  folder: pathlib.Path,
  description: Mapping[str, Any],
  what: str,
  absent: Mapping[str, Any] | None = None,
  begins_anew: bool = False,
) -> None:
  """Writes what a folder's files are made of, or checks that those in it are of the same.

  Args:
    folder: created if it isn't there.
    description: `{name: value}`.
    what: the files, for messages.
    absent: values of names that earlier versions didn't write, which count as these.
    begins_anew: whether files of something else are removed in place of an error.

  Raises:
    UsageError: the folder holds files of something else, or can't be written.
  """
  directory = RunDirectory(folder)
  before = current_settings(directory.read(DESCRIPTION) or {})
  known = {**(absent or {}), **before}
  if before and not (absent or {}).keys() <= before.keys():
    logger.info(
      "%s is of an earlier version, which noted less: what it lacks counts as it is now", folder
    )
  noted = {**dict.fromkeys(description), **known} if before else {}
  if changed := changed_words(noted, description):
    if not begins_anew:
      raise UsageError(f"{folder} must be empty, or hold {what}. Received: {'; '.join(changed)}")
    logger.info("Beginning anew in %s: %s", folder, "; ".join(changed))
    with io_as_usage_error(folder):
      for path in folder.iterdir():
        if path.name != DESCRIPTION:  # which goes last: it says what is left after a kill
          remove(path)
  with io_as_usage_error(folder):
    folder.mkdir(parents=True, exist_ok=True)
  remove_leftovers(folder)
  directory.write(DESCRIPTION, description)


def is_described(folder: pathlib.Path, description: Mapping[str, Any]) -> bool:
  """Returns whether a folder says that its files are made of this and nothing else."""
  return RunDirectory(folder).read(DESCRIPTION) == description
