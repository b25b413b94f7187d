"""The tasks that a network can learn: one row of a table for each `--train_mode`."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import tensorflow as tf

from conrec_tf.config import (
  Bookkeeping,
  Config,
  Description,
  Experiment,
  SegmentationExperiment,
  Training,
)
from conrec_tf.config.options.option import section_with
from conrec_tf.data import registry
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.summary import failing_images_named
from conrec_tf.export.saved_model import Exported, exported_representation
from conrec_tf.models import ConRec
from conrec_tf.pretrained.classifier import find_classifier
from conrec_tf.pretrained.find import (
  MOMENTUM,
  READ,
  REPRESENTED,
  PretrainedModel,
  check_read_as_learnt,
  network_digest,
  resolve_checkpoint,
)
from conrec_tf.pretrained.load import load_network
from conrec_tf.run_dir.checkpoints import goes_on
from conrec_tf.run_dir.classifier_file import KeptClassifier
from conrec_tf.run_dir.results_place import evaluated_center_crop
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.segmentation.network import build_segmentation_network, exported_segmentation
from conrec_tf.segmentation.task import (
  load_masked_dataset,
  segmentation_evaluation,
  segmentation_task,
)
from conrec_tf.training.label_checks import check_labels, check_learnt_labels
from conrec_tf.training.task import (
  EvalTask,
  TrainTask,
  build_network,
  finetuning_evaluation,
  finetuning_task,
  pretraining_evaluation,
  pretraining_task,
)

if TYPE_CHECKING:  # what draws takes a while to import
  from conrec_tf.reporting.context import Inspector
  from conrec_tf.reporting.sections import DrawSection

Task = TypeVar("Task", bound=EvalTask)
Options = TypeVar("Options", bound=Experiment)
Head: TypeAlias = tf.keras.Model | None
Drawing: TypeAlias = "tuple[Callable[..., Inspector], Mapping[str, DrawSection]]"


def _drawn_embeddings() -> Drawing:
  from conrec_tf.reporting.inference import ModelInspector
  from conrec_tf.reporting.sections import SECTIONS

  return ModelInspector, SECTIONS


def _drawn_masks() -> Drawing:
  from conrec_tf.segmentation.report import SECTIONS, SegmentationInspector

  return SegmentationInspector, SECTIONS


@dataclasses.dataclass(frozen=True)
class LearningTask:
  """One task of a network: everything that differs from the others.

  Attributes:
    load_dataset: opens the dataset to learn from; of the options, and whether evaluation crops,
      where that is known.
    build_training: builds a training, within the strategy's scope; of the options, the datasets to
      learn from and of evaluation, the last step, the network that it starts from or None, and what
      happens on the way.
    build_evaluation: builds the network, its head and what measures them; of the options and the
      datasets to learn from and of evaluation.
    build_network: builds the network and its head alone; of the options, the images' channels and
      the number of classes.
    classifier: finds the network's classifier, or None; see `find_classifier`.
    export: returns what is exported; of the network, its head, the metadata beside it, and the
      classifier.
    drawing: imports what draws: the class that runs the network for figures, of the options, the
      dataset of evaluation, the network, its head and the step of their weights; and the sections
      of the report.
  """

  load_dataset: Callable[[SegmentationExperiment, bool | None], DatasetSource]
  build_training: Callable[
    [
      SegmentationExperiment,
      DatasetSource,
      DatasetSource,
      int,
      PretrainedModel | None,
      Bookkeeping,
    ],
    TrainTask,
  ]
  build_evaluation: Callable[[SegmentationExperiment, DatasetSource, DatasetSource], EvalTask]
  build_network: Callable[[Training, int, int], tuple[ConRec, Head]]
  classifier: Callable[..., KeptClassifier | None]
  export: Callable[[ConRec, Head, dict[str, Any], KeptClassifier | None], Exported]
  drawing: Callable[[], Drawing]


PRETRAINING = LearningTask(
  registry.load_dataset,
  pretraining_task,
  pretraining_evaluation,
  build_network,
  find_classifier,
  exported_representation,
  _drawn_embeddings,
)
TASKS = {
  "pretrain": PRETRAINING,
  "finetune": dataclasses.replace(
    PRETRAINING, build_training=finetuning_task, build_evaluation=finetuning_evaluation
  ),
  "segment": LearningTask(
    load_masked_dataset,
    segmentation_task,
    segmentation_evaluation,
    build_segmentation_network,
    lambda *network: None,  # it classifies pixels, not images
    lambda model, head, metadata, _: exported_segmentation(model, head, metadata),
    _drawn_masks,
  ),
}


def load_dataset(config: SegmentationExperiment, center_crop: bool | None = None) -> DatasetSource:
  """Loads the dataset, with masks if the network learns from those; see `registry.load_dataset`."""
  return TASKS[config.train_mode].load_dataset(config, center_crop)


def check_classes(
  options: Experiment, directory: RunDirectory, source: DatasetSource, eval_source: DatasetSource
) -> None:
  """Raises UsageError where labels, or classes of masks, don't fit the options or the network."""
  check_learnt_labels(options, directory, source.class_names)
  if not options.is_segmenting:
    check_labels(options, source, eval_source)


def without_origin(options: Options) -> Options:
  """Returns the options of a network whose own weights are there: its origin may be gone."""
  return section_with(type(options), options, encoder_weights="")


def build_training(
  options: SegmentationExperiment,
  bookkeeping: Bookkeeping,
  directory: RunDirectory,
  source: DatasetSource,
  eval_source: DatasetSource,
  last_step: int,
) -> TrainTask:
  """Builds the training that the options describe; call it within the strategy's scope.

  Args:
    directory: of the run.

  Raises:
    UsageError: `options.checkpoint` can't be restored, or labels are missing or others.
  """
  check_classes(options, directory, source, eval_source)
  start = None
  if goes_on(directory):
    options = without_origin(options)
  elif options.checkpoint:
    start = resolve_checkpoint(options.checkpoint)
  build = TASKS[options.train_mode].build_training
  training = build(options, source, eval_source, last_step, start, bookkeeping)
  return _naming_failures(training, source, eval_source)


def build_evaluation(
  options: SegmentationExperiment,
  directory: RunDirectory,
  source: DatasetSource,
  eval_source: DatasetSource,
) -> EvalTask:
  """Builds the network that the options describe and what measures it, without a training.

  Raises:
    UsageError: labels are missing or others.
  """
  check_classes(options, directory, source, eval_source)
  if goes_on(directory):
    options = without_origin(options)
  measured = TASKS[options.train_mode].build_evaluation(options, source, eval_source)
  return _naming_failures(measured, source, eval_source)


def _naming_failures(task: Task, *sources: DatasetSource) -> Task:
  """Returns a task whose evaluation names the images that failed."""
  return dataclasses.replace(task, evaluate=failing_images_named(*sources)(task.evaluate))


def known_center_crop(
  options: Training, pretrained: PretrainedModel, directory: RunDirectory
) -> bool | None:
  """Returns whether a network was given the centre of images; None where that isn't known.

  It says so itself, or else where it was evaluated in a folder.
  """
  if pretrained.center_crop is not None:
    return pretrained.center_crop
  return evaluated_center_crop(directory, network_digest(pretrained) if options.checkpoint else "")


def portable_network(
  config: Config, pretrained: PretrainedModel
) -> tuple[Description, ConRec, Head]:
  """Builds a trained network alone, in float32 and for one device, with its weights.

  Args:
    config: the options of the run; of the network's own settings only those of `READ` can be
      changed, and all if it doesn't tell them.

  Returns:
    The description of the network, the network, and its head or None.

  Raises:
    UsageError: it can't be read, or has a supervised head that learnt from another representation.
  """
  own = Description.from_settings(
    {
      **(pretrained.settings or config.settings),
      "mode": "export",
      "mixed_precision": "float32",
      "gradient_checkpointing": False,
      "encoder_weights": "",
      **{name: getattr(config, name) for name in READ},
    }
  )
  if own.has_supervised_head:
    check_read_as_learnt(own, pretrained.settings, REPRESENTED)
  has_head = pretrained.kind != "hdf5" and pretrained.network != MOMENTUM
  classes = len(pretrained.class_names) if has_head else 0
  channels = pretrained.channels or own.channels
  model, head = TASKS[own.train_mode].build_network(own, channels, classes)
  load_network(pretrained, model, head)
  return own, model, head
