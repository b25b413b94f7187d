"""What a segmenting network says of whole images, for figures."""

from collections.abc import Iterator
import dataclasses
import heapq
import itertools

import numpy as np

from conrec_tf.config import Config
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.masks import IGNORED, palette
from conrec_tf.data.segmentation_batches import whole_images
from conrec_tf.evaluation.segmentation import count_image, segmentation_measures
from conrec_tf.metrics import DICE
from conrec_tf.models.segmentation import Segmenter
from conrec_tf.reporting.figures.plot_style import Sheet, to_rgb

LONGEST_SIDE = 320  # pixels of a picture
SHOWN_IN_TENSORBOARD = 4


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
    config: the options of the run.
    eval_source: the dataset with masks.
    class_names: of the masks.

  Args:
    config, eval_source: see the attributes.
    segmenter: the network.
  """

  def __init__(self, config: Config, eval_source: DatasetSource, segmenter: Segmenter) -> None:
    self.config, self.eval_source = config, eval_source
    self.class_names = eval_source.class_names
    self._segmenter = segmenter

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
      step = -(-max(image.shape[:2]) // LONGEST_SIDE)
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
