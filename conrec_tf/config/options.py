"""Every option once, as one table: its name, default, range and one-line explanation.

The sections are the groups of `--help`, and lie in modules of their own beside this one; each
field is one command-line flag of the same name.
Names and meanings follow SimCLR's TensorFlow 2 code where it has them. Defaults are a recipe for
two CPU cores, with small images, few filters and few epochs; the paper's values stand in full in
its presets.
"""

import dataclasses

from conrec_tf.config.data_options import Augmentation, Data
from conrec_tf.config.objective_options import Objective
from conrec_tf.config.run_options import Bookkeeping, Devices, Evaluation, Export, Task
from conrec_tf.config.segmentation_options import Segmentation
from conrec_tf.config.training_options import Model, Optimization

SECTIONS = (
  Task,
  Data,
  Augmentation,
  Model,
  Objective,
  Optimization,
  Segmentation,
  Devices,
  Bookkeeping,
  Evaluation,
  Export,
)
OPTIONS = {field.name: field for section in SECTIONS for field in dataclasses.fields(section)}
BY_CONTENT = tuple(name for name, field in OPTIONS.items() if field.metadata["by_content"])
ARCHITECTURE_OPTIONS = tuple(
  name for name, field in OPTIONS.items() if field.metadata["architecture"]
)
