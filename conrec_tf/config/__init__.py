"""Every option of a run, its range, and what contradicts what."""

from conrec_tf.config.config import Config
from conrec_tf.config.description import Description
from conrec_tf.config.options.data import Augmentation, Data
from conrec_tf.config.options.explore import Explore
from conrec_tf.config.options.objective import Objective
from conrec_tf.config.options.run import Bookkeeping, Devices, Evaluation, Export, Task
from conrec_tf.config.options.segmentation import Segmentation
from conrec_tf.config.options.table import Experiment, SegmentationExperiment, Training
from conrec_tf.config.options.training import Model, Optimization

__all__ = [
  "Augmentation",
  "Bookkeeping",
  "Config",
  "Data",
  "Description",
  "Devices",
  "Evaluation",
  "Experiment",
  "Explore",
  "Export",
  "Model",
  "Objective",
  "Optimization",
  "Segmentation",
  "SegmentationExperiment",
  "Task",
  "Training",
]
