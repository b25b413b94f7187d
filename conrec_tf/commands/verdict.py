"""`--mode=verdict`: whether the run in `model_dir` was worth it."""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
from typing import Any

import numpy as np

from conrec_tf.commands.contenders import Network, trained_network, untrained_network
from conrec_tf.commands.tasks import load_dataset
from conrec_tf.commands.train import start_workers, train_and_evaluate
from conrec_tf.config import Config, Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.registry import load_eval_dataset
from conrec_tf.data.summary import failing_images_named
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.comparison import measure_of
from conrec_tf.evaluation.few_labels import say_if_fewer, say_if_more
from conrec_tf.evaluation.label_kinds import Grades
from conrec_tf.evaluation.measures import mean_and_deviation
from conrec_tf.evaluation.protocol import (
  ALL_LABELS,
  Protocol,
  fraction_key,
  label_counts,
  predictions_by_labels,
  shots_key,
)
from conrec_tf.evaluation.verdict import SUPERVISED, Verdict, decide, overall, sentence
from conrec_tf.files import make_output_folder
from conrec_tf.metrics import EVALUATED_WITH, GLOBAL_STEP, MEASURED_ON
from conrec_tf.pretrained.find import known_center_crops, resolve_checkpoint
from conrec_tf.reporting.run_record import read_run_record, seed_folders, told_apart
from conrec_tf.run_dir.embedding_files import read_arrays, write_arrays
from conrec_tf.run_dir.measurement import LATER, measurement, short_digest
from conrec_tf.run_dir.predictions_file import read_predictions
from conrec_tf.run_dir.results_place import is_of_other_images
from conrec_tf.run_dir.run_directory import VERDICT, VERDICT_FILE, RunDirectory
from conrec_tf.training.evaluations import label_kind
from conrec_tf.training.label_checks import check_labels
from conrec_tf.training.progress import duration

logger = logging.getLogger(__name__)

THIS_RUN, UNTRAINED = "this run", "untrained"
FRACTIONS, SHOTS = (0.01, 0.1), (1, 2, 4, 8, 16)  # where none are asked for
# Of an archive, beside predictions by amount of labels: those of either split, and how it was read.
LABEL, LEARNT, CHOSEN = "label", "train_label", "chosen"

# Of each training of a method, by amount of labels: int [R, N], or float [R, N, L].
Predictions = list[dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Measured:
  """A method as it was measured.

  Attributes:
    paths: where its networks lie; empty where it isn't on disk.
    labels: of the measured images, int `[N]`, or 0 and 1 of several labels, `[N, L]`.
    learnt: labels that classifiers learnt from, likewise; None of a supervised network.
    chosen: how each was read; see `representation_sweep.choices`.
  """

  name: str
  paths: tuple[str, ...]
  labels: np.ndarray
  predictions: Predictions
  learnt: np.ndarray | None = None
  chosen: tuple[dict[str, Any], ...] = ()


def run(config: Config) -> None:
  """Measures the run in `model_dir` and what it is compared with, and says if it was worth it.

  All networks are read by one protocol, `predictions_by_labels`; of several seeds' folder, each
  seed's is a training of the method. Beside `verdict.json`, a page, and what each network
  predicted, `model_dir/verdict` holds the supervised trainings. What an earlier call measured is
  taken from there.

  Raises:
    UsageError: `model_dir` isn't the folder of a pre-training, images have no labels, or a network
      can't be read.
  """
  directory = RunDirectory(config.run_directory)
  directory.check_is_run(config.mode, config.checkpoint)
  runs = [str(path) for path in seed_folders(directory.path) or [directory.path]]
  compared = _compared_with(config.compare_with)
  steps, *_ = [_steps_of(each) for each in (runs, *(paths for _, paths in compared if paths[1:]))]
  crops = known_center_crops(RunDirectory(runs[0]), config.eval_dataset)
  source = load_dataset(config, crops.training)
  eval_source = load_eval_dataset(config, source, crops.evaluation)
  for path in runs:
    if is_of_other_images(RunDirectory(path), source):
      logger.warning(
        "%s learnt from other images or labels than those of now: what is measured may be of them",
        path,
      )
  if not eval_source.class_names:
    raise UsageError(
      "mode=verdict needs labels, or an eval_dataset that has them. "
      f"Received: {source.name} without"
    )
  check_labels(config, source, eval_source)
  folder = directory.path / VERDICT
  make_output_folder(folder)
  bench = _Bench(config, source, eval_source, folder)
  methods = [(name, [*map(bench.trained, paths)]) for name, paths in compared]
  settings, channels = config.settings, eval_source.channels
  own = [
    trained_network(path, config, settings, channels, "model_dir", read_as_asked=True)
    for path in runs
  ]
  first = [untrained_network(path, settings, channels) for path in runs]
  with failing_images_named(source, eval_source):
    ours, *others = [
      bench.measured(name, networks)
      for name, networks in [(THIS_RUN, own), (UNTRAINED, first), *methods]
    ]
  if config.verdict_supervised and not eval_source.multi_label:
    assert ours.learnt is not None
    others.append(bench.supervised(runs[0], steps, ours.learnt))
  result = {GLOBAL_STEP: steps, **bench.compared(ours, others)}
  RunDirectory(folder).write(VERDICT_FILE, result)
  _draw(folder, result)


def _compared_with(paths: Sequence[str]) -> list[tuple[str, list[str]]]:
  """Returns the names of what a run is compared with, and the networks of each.

  No two are called alike, nor as what is always compared: a verdict is given by the names.
  """
  paths, always = list(dict.fromkeys(paths)), [THIS_RUN, UNTRAINED, SUPERVISED]
  names = [_name(pathlib.PurePath(path)) for path in paths]
  trainings = [[str(each) for each in seed_folders(path)] or [path] for path in paths]
  apart = told_apart([*names, *always], [*paths, *always])[: len(paths)]
  return list(zip(apart, trainings, strict=True))


def _steps_of(trainings: Sequence[str]) -> int:
  """Returns the steps of a method's trainings; raises UsageError where they differ."""
  steps = sorted({resolve_checkpoint("", model_dir=path).step for path in trainings})
  if len(steps) > 1:
    raise UsageError(
      "trainings of one method must be of as many steps, for mode=verdict. "
      f"Received: {', '.join(map(str, steps))} in {', '.join(trainings)}"
    )
  return steps[0]


def _name(path: pathlib.PurePath) -> str:
  """Returns what a network is called by where it lies; an export in a run's folder by both."""
  return f"{path.parent.parent.name} {path.name}" if path.name.isdecimal() else path.stem


class _Bench:
  """Data and protocol that all networks are measured on.

  Args:
    source: what the run learnt from.
    eval_source: the labelled images of linear evaluation.
    folder: of all that a verdict leaves.
  """

  def __init__(
    self, config: Config, source: DatasetSource, eval_source: DatasetSource, folder: pathlib.Path
  ) -> None:
    self._config, self._source, self._folder = config, eval_source, folder
    self._kind = label_kind(config, eval_source)
    self._grades = self._kind.count if isinstance(self._kind, Grades) else 0
    self._measurement = measurement(
      config.evaluation_settings, source, eval_source, is_pretraining=True
    )
    self._protocol = _protocol(config, eval_source.multi_label)

  def trained(self, path: str) -> Network:
    """Returns one of the networks that the run is compared with."""
    asked, channels = self._config, self._source.channels
    return trained_network(path, asked, asked.settings, channels, "compare_with")

  def measured(self, name: str, networks: Sequence[Network]) -> Measured:
    """Measures the trainings of a method, unless that was done."""
    archives = [self._archive(name, network) for network in networks]
    paths = tuple(network.path for network in networks if network.path)
    labels, learnt, chosen = (
      [archive.pop(key) for archive in archives] for key in (LABEL, LEARNT, CHOSEN)
    )
    read = tuple(json.loads(str(each)) for each in chosen)
    return Measured(name, paths, labels[0], archives, learnt[0], read)

  def _archive(self, name: str, network: Network) -> dict[str, np.ndarray]:
    """Returns what a network predicts with each amount of labels, true labels, how it was read."""
    measured = {"labels": self._kind.name, "data": self._measurement.data}
    record = {**network.record, **measured, **vars(self._protocol)}
    path = self._folder / f"predictions-{short_digest(record)}.npz"
    arrays = read_arrays(path, self._source.eval.num_examples, LABEL)
    if arrays is None:
      logger.info("Measuring %s%s", name, f", {network.path}" if network.path else "")
      (train, learnt), (test, labels) = network.represent(self._source)
      groups = self._source.train.groups
      found, chosen = predictions_by_labels(train, test, learnt, self._kind, self._protocol, groups)
      arrays = {**found, LABEL: labels, LEARNT: learnt, CHOSEN: np.array(json.dumps(chosen))}
      write_arrays(path, arrays)
    return arrays

  def supervised(self, run: str, steps: int, learnt: np.ndarray) -> Measured:
    """Trains a supervised network with each share of the labels, unless that was done.

    Its head is measured. One subset of each share is learnt from, the first of `share_subsets`.

    Args:
      run: folder of a training of so many steps.
      learnt: labels of the training images, int `[N]`.

    Raises:
      Preempted: a signal came; what was trained is saved.
    """
    counts = label_counts(self._protocol, learnt)
    trainings = {
      fraction_key(each): self._from_scratch(steps, each, counts[fraction_key(each)])
      for each in self._protocol.fractions
    }
    folders = {key: RunDirectory(each.run_directory) for key, each in trainings.items()}
    left = [key for key, folder in folders.items() if not folder.summary]
    if left:
      _say_how_long(run, steps, len(left))
    for key in left:
      logger.info("Supervised from scratch, %s", self._protocol.amounts[key])
      strategy, workers = start_workers(trainings[key], trainings[key], ())
      train_and_evaluate(trainings[key], strategy, workers)
    found = {key: read_predictions(folder, steps) for key, folder in folders.items()}
    predictions = {key: each.predictions[np.newaxis] for key, each in found.items() if each}
    labels = [each.labels for each in found.values() if each]
    paths = tuple(str(folder.path) for folder in folders.values())
    return Measured(SUPERVISED, paths, labels[0], [predictions])

  def _from_scratch(self, steps: int, fraction: float, labels: int) -> Config:
    """Returns the options of a supervised training, in a folder named by all that it depends on."""
    asked = (steps, self._source.center_crop, fraction, labels)
    settings = self._config.from_scratch(VERDICT, *asked).training_fingerprint
    known = [settings, steps, self._measurement.data]
    # As it is read where none of these is given, earlier versions named it.
    read = {name: getattr(self._config, name) for name in LATER}
    if read != LATER:
      known.append(read)
    name = f"supervised-{short_digest(known)}"
    return self._config.from_scratch(os.path.join(VERDICT, name), *asked)

  def compared(self, ours: Measured, others: Sequence[Measured]) -> dict[str, Any]:
    """Decides on a method against others, with each amount of labels; logs and returns it all.

    Raises:
      UsageError: they were measured on different images.
    """
    for other in others:
      if not np.array_equal(other.labels, ours.labels):
        raise UsageError(
          f"what a run is compared with must be measured on the same images. Received: {other.name}"
        )
    amounts = self._protocol.amounts
    assert ours.learnt is not None
    counts = label_counts(self._protocol, ours.learnt)
    for fraction in self._protocol.fractions:
      say_if_more(fraction, counts[fraction_key(fraction)], len(ours.learnt))
    for shots in self._protocol.shots:
      say_if_fewer(shots, counts[shots_key(shots)], len(np.unique(ours.learnt)))
    rows: list[dict[str, Any]] = []
    answers: dict[str, tuple[str, str]] = {}
    for amount in amounts:
      decided: dict[str, Verdict] = {}
      for other in others:
        if amount in other.predictions[0]:
          decided[other.name] = found = self._decided(ours, other, amount, len(others))
          rows.append({"amount": amount, "against": other.name, **dataclasses.asdict(found)})
      answers[amount] = overall(decided)
    answer, name = answers[fraction_key(ALL_LABELS)]  # which come last
    text = sentence(answer, name, decided[name])
    methods = [self._described(method) for method in (ours, *others)]
    _log(amounts, methods, {amount: words for amount, (words, _) in answers.items()})
    logger.info("%s", text)
    return {
      "answer": answer,
      "sentence": text,
      "decided_by": name,
      "margin": decided[name].margin,
      "comparisons": len(others),
      "metric": self._kind.metric,
      "amounts": [
        {
          "amount": key,
          "words": words,
          "labels": counts[key],
          "answer": answers[key][0],
          "decided_by": answers[key][1],
        }
        for key, words in amounts.items()
      ],
      "methods": methods,
      "differences": rows,
      MEASURED_ON: self._measurement.data,
      EVALUATED_WITH: self._measurement.settings | vars(self._protocol),
    }

  def _decided(self, ours: Measured, other: Measured, amount: str, comparisons: int) -> Verdict:
    sides = [[training[amount] for training in method.predictions] for method in (ours, other)]
    subsets = min(len(each) for side in sides for each in side)  # the first, of either
    first, second = ([each[:subsets] for each in side] for side in sides)
    return decide(
      first,
      second,
      ours.labels,
      margin=self._config.verdict_margin / 100,
      grades=self._grades,
      groups=self._source.eval.groups,
      comparisons=comparisons,
      seed=self._config.seed,
    )

  def _described(self, method: Measured) -> dict[str, Any]:
    """Returns what is told of a method: what it reaches, and how its networks were read."""
    once = np.ones([1, len(method.labels)])
    reached = {}
    for amount in method.predictions[0]:
      values = [
        float(measure_of(each, method.labels, self._grades)(once)[0])
        for training in method.predictions
        for each in training[amount]
      ]
      mean, deviation = mean_and_deviation(values)
      reached[amount] = {"mean": mean, "std": deviation, "classifiers": len(values)}
    return {
      "name": method.name,
      "networks": list(method.paths),
      "trainings": len(method.predictions),
      "reached": reached,
      "chosen_on_held_out_labels": list(method.chosen),
    }


def _say_how_long(run: str, steps: int, trainings: int) -> None:
  """Logs how long supervised trainings will take, at most: one of the run's steps does more."""
  time = ""
  with contextlib.suppress(UsageError, KeyError):  # a run that nothing measured
    seconds = trainings * read_run_record(run).times()["step"]
    time = f", at most {duration(seconds)}, as the run's steps took"
  logger.info(
    "Training from scratch, supervised: %d times %d steps%s; --noverdict_supervised leaves it out",
    trainings,
    steps,
    time,
  )


def _protocol(options: Experiment, multi_label: bool) -> Protocol:
  """Returns what the options ask for; all labels are always measured."""
  shares = options.label_fractions or FRACTIONS
  shots = () if multi_label else options.few_shots or SHOTS
  fractions = tuple(sorted({*map(float, shares), ALL_LABELS}))
  return Protocol(fractions, tuple(sorted(set(shots))), options.num_repeats, options.seed)


def _log(
  amounts: Mapping[str, str], methods: Sequence[Mapping[str, Any]], answers: Mapping[str, str]
) -> None:
  """Logs what each method reaches with each amount of labels, in per cent, and the verdict."""
  first = max(map(len, amounts.values())) + 2
  widths = [max(len(method["name"]), 6) + 2 for method in methods]
  lines = [" " * first + "".join(f"{m['name']:>{w}}" for m, w in zip(methods, widths, strict=True))]
  for key, words in amounts.items():
    cells = (
      f"{100 * method['reached'][key]['mean']:.2f}" if key in method["reached"] else ""
      for method in methods
    )
    line = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    lines.append(f"{words:{first}}{line}  {answers[key]}")
  logger.info("%s", "\n".join(f"  {line}" for line in lines))


def _draw(folder: pathlib.Path, result: Mapping[str, Any]) -> None:
  # Imported where there is something to draw: matplotlib takes its time.
  from conrec_tf.reporting.verdict_report import write_verdict_page

  logger.info("Page in %s", write_verdict_page(folder, result))
