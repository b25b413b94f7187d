"""The report of a segmentation: its network on whole images, and the sections of its page."""

from collections.abc import Iterator
import dataclasses
import heapq
import itertools

import numpy as np

from conrec_tf.config import Experiment, SegmentationExperiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.metrics import CLASSES, DICE
from conrec_tf.models import ConRec
from conrec_tf.reporting.context import ReportContext
from conrec_tf.reporting.figures import curves
from conrec_tf.reporting.figures.plot_style import (
  Picture,
  Sheet,
  caption,
  hide_axes,
  image_grid,
  pixel_step,
  to_rgb,
  wrap_label,
)
from conrec_tf.reporting.html_report import Section
from conrec_tf.reporting.sections import DrawSection, training_section
from conrec_tf.reporting.tables import Table
from conrec_tf.segmentation.batches import whole_images
from conrec_tf.segmentation.masks import IGNORED, palette
from conrec_tf.segmentation.measures import count_image, segmentation_measures
from conrec_tf.segmentation.network import SegmentationHead, Segmenter

SHOWN_IN_TENSORBOARD = 4
WIDTH = 2.2  # inches of an image
WORST = 6
COLUMNS = (
  ("Dice", "dice", 100, ".1f"),
  ("IoU", "iou", 100, ".1f"),
  ("95 % Hausdorff, px", "hausdorff_95", 1, ".1f"),
  ("images missed or made up", "one_sided_images", 1, "d"),
)


@dataclasses.dataclass(frozen=True)
class SegmentedImage:
  """An image with its mask, small enough to draw.

  Attributes:
    name: of its file.
    dice: of the prediction, the mean over classes but for the first; 1 where neither has any.
    image: float `[h, w, 3]` in [0, 1].
    true: the image under its mask, likewise.
    predicted: the image under what the network says.
  """

  name: str
  dice: float
  image: np.ndarray
  true: np.ndarray
  predicted: np.ndarray


class SegmentationInspector:
  """Runs the network of a run on the images of its evaluation split.

  Attributes:
    eval_source: the dataset with masks.
  """

  def __init__(
    self,
    config: SegmentationExperiment,
    eval_source: DatasetSource,
    model: ConRec,
    head: SegmentationHead,
    step: int,
  ) -> None:
    self.config: Experiment = config
    self.eval_source = eval_source
    self.class_names = eval_source.class_names
    self._segmenter = Segmenter(model, head, config.tile_size, config.test_time_flips)

  def worst(self, count: int) -> list[SegmentedImage]:
    """Returns the images with the lowest Dice, the lowest first."""
    return heapq.nsmallest(count, self._segmented(), key=lambda image: image.dice)

  def sheets(self) -> Iterator[Sheet]:
    """Yields the title and rows of pictures for TensorBoard: the first images of the split."""
    rows = [
      [found.image, found.true, found.predicted]
      for found in itertools.islice(self._segmented(), SHOWN_IN_TENSORBOARD)
    ]
    side = max(max(image.shape[:2]) for row in rows for image in row)
    yield "image, mask, prediction", [[_on_square(image, side) for image in row] for row in rows]

  def _segmented(self) -> Iterator[SegmentedImage]:
    split = self.eval_source.eval
    assert split.names is not None
    for name, (image, true) in zip(split.names, whole_images(self.eval_source, split), strict=True):
      probabilities = self._segmenter(image)
      counts = count_image(probabilities, true, with_distances=False)
      dice = segmentation_measures([counts], self.class_names).get(DICE, 1.0)
      step = pixel_step(image)
      small, true = to_rgb(image[::step, ::step]), true[::step, ::step]
      predicted = probabilities[::step, ::step].argmax(axis=-1).astype(np.uint8)
      assert isinstance(dice, float)
      yield SegmentedImage(
        str(name), dice, small, overlaid(small, true), overlaid(small, predicted)
      )


def overlaid(image: np.ndarray, classes: np.ndarray) -> np.ndarray:
  """Returns an image float `[h, w, 3]` under half-transparent colours of classes uint8 `[h, w]`.

  The first class has none; what doesn't count is grey.
  """
  colours = palette(IGNORED + 1) / 255.0
  colours[IGNORED] = 0.5
  return np.where(classes[..., np.newaxis] > 0, 0.5 * image + 0.5 * colours[classes], image)


def _on_square(image: np.ndarray, side: int) -> np.ndarray:
  """Returns an image at the top left of a white square."""
  extra = [(0, side - length) for length in image.shape[:2]]
  return np.pad(image, [*extra, (0, 0)], constant_values=1.0)


def dice_section(context: ReportContext) -> Section:
  """Draws Dice over epochs, and tabulates the classes."""
  picture = curves.accuracy_over_epochs(context.runs)
  rows = [
    (
      row["class"],
      *[
        "" if row.get(key) is None else format(scale * row[key], form)
        for _, key, scale, form in COLUMNS
      ],
    )
    for row in context.runs[0].result.get(CLASSES, ())
  ]
  table = Table(("class", *[title for title, *_ in COLUMNS]), rows, file="classes.csv")
  return Section("Evaluations", [picture], table=table, table_title="Classes of the masks (%)")


def segmentations_section(context: ReportContext) -> Section:
  """Draws the images with the lowest Dice beside their masks and what the network says."""
  inspector = context.network
  assert isinstance(inspector, SegmentationInspector)
  found, names = inspector.worst(WORST), inspector.class_names
  heights = [segmented.image.shape[0] / segmented.image.shape[1] for segmented in found]
  size = (3 * WIDTH, WIDTH * sum(heights) + 0.35 * len(found) + 0.5)
  titles = ("image", "mask", "prediction")
  drawn, grid = image_grid(len(found), 3, size, titles, height_ratios=heights)
  for axes, segmented in zip(grid, found, strict=True):
    images = segmented.image, segmented.true, segmented.predicted
    for place, image in zip(axes, images, strict=True):
      hide_axes(place, image)
    caption(axes[0], wrap_label(segmented.name, 36))
    caption(axes[2], f"Dice {100 * segmented.dice:.1f} %")
  colours = ", ".join(
    f"{name} #{rgb.tobytes().hex()}"
    for name, rgb in zip(names[1:], palette(len(names))[1:], strict=True)
  )
  picture = Picture(
    drawn,
    "segmentations",
    "Segmentations",
    f"Of {inspector.eval_source.eval.num_examples} images those with the lowest Dice, the lowest "
    f"first. Colours: {colours}; grey doesn't count.",
  )
  return Section("Segmentations", [picture])


# In the order of the page.
SECTIONS: dict[str, DrawSection] = {
  "Dice": dice_section,
  "segmentations": segmentations_section,
  "training curves": training_section,
}
