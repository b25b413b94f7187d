"""All sections of options as one table, and the unions of sections that functions take.

The sections are the groups of `--help`, and lie in modules of their own beside this one; each
field is one command-line flag of the same name.
Names and meanings follow SimCLR's TensorFlow 2 code where it has them. Defaults are a recipe for
two CPU cores, with small images, few filters and few epochs; the paper's values stand in full in
its presets.
"""

import dataclasses
import itertools

from conrec_tf.config.options.data import Augmentation, Data
from conrec_tf.config.options.explore import Explore
from conrec_tf.config.options.objective import Objective
from conrec_tf.config.options.option import section
from conrec_tf.config.options.run import Bookkeeping, Devices, Evaluation, Export, Task
from conrec_tf.config.options.segmentation import Segmentation
from conrec_tf.config.options.training import SIZE_AND_SHARE, Model, Optimization, SizePhase

# Of `image_size_schedule=auto`: (share of image_size, share of the steps).
GROWTH = ((0.5, 0.5), (0.75, 0.3))
SMALLEST_GROWING = 32  # pixels

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
  Explore,
  Export,
)
OPTIONS = {field.name: field for each in SECTIONS for field in dataclasses.fields(each)}
BY_CONTENT = tuple(name for name, field in OPTIONS.items() if field.metadata["by_content"])
ARCHITECTURE_OPTIONS = tuple(
  name for name, field in OPTIONS.items() if field.metadata["architecture"]
)


# From the last section to the first: a dataclass takes the fields of its last base first.
@section
class Training(Optimization, Objective, Model, Augmentation, Data, Task):
  """The options of a network and of what it learns from, by and how."""

  @property
  def starts_trained(self) -> bool:
    """True where pre-training starts from weights that have learnt before."""
    return bool(self.checkpoint or self.encoder_weights)

  @property
  def size_shares(self) -> tuple[tuple[int, float], ...]:
    """`image_size_schedule` as (size, share of the steps); what can't be read is 0."""
    if self.image_size_schedule == ("auto",):
      return self._growing_sizes
    found = map(SIZE_AND_SHARE.fullmatch, self.image_size_schedule)
    return tuple((int(part[1]), float(part[2])) if part else (0, 0.0) for part in found)

  @property
  def _growing_sizes(self) -> tuple[tuple[int, float], ...]:
    """What `image_size_schedule=auto` is: sizes that the decoder's levels can halve."""
    has_inner_ssim = self.reconstruction_loss == "ssim" and self.multi_level_reconstruction_weight
    if not self.is_pretraining or has_inner_ssim or self.learning_rate_schedule == "constant":
      return ()  # inner maps would be too small; a run at a constant rate has an open end
    stride = 2**self.decoder_levels
    sizes = ((int(part * self.image_size) // stride * stride, share) for part, share in GROWTH)
    return tuple((size, share) for size, share in sizes if size >= SMALLEST_GROWING)

  @property
  def training_sizes(self) -> tuple[int, ...]:
    """The sizes that images of training have, one after the other; the last is `image_size`."""
    return (*(size for size, _ in self.size_shares), self.image_size)

  def size_phases(self, last_step: int) -> list[SizePhase]:
    """Returns the sizes of a training of so many steps, each with the step that it ends at.

    A share may round to no step, but for `image_size`, which has one at least.
    """
    shares = itertools.accumulate(share for _, share in self.size_shares)
    ends = [*(min(round(share * last_step), last_step - 1) for share in shares), last_step]
    return [SizePhase(*each) for each in zip(ends, self.training_sizes, strict=True)]

  @property
  def has_supervised_head(self) -> bool:
    """True where a supervised head is trained: on its own, or beside pre-training."""
    return self.is_finetuning or self.lineareval_while_pretraining

  @property
  def has_outputs(self) -> bool:
    """True where the network tells classes: of images, or of their pixels."""
    return self.has_supervised_head or self.is_segmenting

  @property
  def has_attention(self) -> bool:
    """True where the network's pooling weighs locations."""
    # Unlike the authors, because without a contrastive loss nothing trains the gate.
    has_gate = self.contrastive_weight if self.is_pretraining else not self.is_segmenting
    return self.pooling == "attention" and bool(has_gate)

  @property
  def decoder_skips(self) -> str:
    """The skip connections of the network's decoder; empty where it has none."""
    if self.is_segmenting:  # outlines come from the shallow levels
      return "all"
    return self.skip_connections if self.is_pretraining and self.reconstruction_weight else ""

  @property
  def method(self) -> str:
    """The name of the system that these values make (paper, Tables 1 and 2)."""
    if self.is_segmenting:
      return "segment"
    if not self.is_pretraining:
      return "finetune" if self.checkpoint else f"supervised_{self.encoder}"
    if self.encoder == "external":
      return "external"
    if self.encoder == "densenet121" and self.encoder_weights:
      return "densenet121_imagenet"
    if not self.contrastive_weight:
      return "reconstruction" if self.reconstruction_weight else "teacher"
    attention = self.pooling == "attention"
    if not self.reconstruction_weight:
      return "simclr_attention" if attention else "simclr"
    return "conrec" if attention else "conrec_ga_pool"


@section
class Experiment(Evaluation, Training):
  """The options that a result depends on: of a training, and of how it is evaluated."""

  @property
  def evaluation_size(self) -> int:
    """Height and width of what is evaluated, embedded and exported, pixels."""
    return self.eval_image_size or self.image_size


@section
class SegmentationExperiment(Experiment, Segmentation, Training):
  """The options that the result of a segmentation depends on."""


@section
class Options(
  Export,
  Explore,
  SegmentationExperiment,
  Experiment,
  Evaluation,
  Bookkeeping,
  Devices,
  Segmentation,
  Training,
):
  """All options, flat; none is checked here."""
