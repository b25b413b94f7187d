"""Options of segmentation: masks, its loss, and how whole images are predicted."""

from conrec_tf.config.options.option import option, section, setting


@section
class Segmentation:
  """Learning from masks, with train_mode=segment."""

  segment_from: str = option(
    "both",
    "Parts that are taken from --checkpoint, as far as they fit.",
    choices={
      "encoder": "its encoder alone",
      "both": "its decoder too",
    },
  )
  mask_key: str = option(
    "segmentation_mask",
    "The feature of a dataset of TensorFlow Datasets that is the mask.",
  )
  mask_table: str = option(
    "",
    "CSV file that pairs the files of an image folder: columns image and mask, perhaps field (what "
    "counts) and split. Empty: folders images and masks side by side.",
    path=True,
    by_content=True,
  )
  mask_classes: str = option(
    "",
    "CSV file with the columns value (a number, or a colour as #rrggbb, of palettes too) and name: "
    "which value of the masks is which class, the background first; what is named ignored doesn't "
    "count. The nearest class is taken for values up to 64 away of masks saved with losses (JPEG), "
    "for colours up to 8 away, and said. Empty: each value that there is, in order.",
    path=True,
    by_content=True,
  )
  ignored_mask_value: int = option(
    -1,
    "Number of pixels in masks that don't count, e.g. 255; -1: none. A colour that doesn't count "
    "is named ignored in mask_classes.",
    low=-1,
    high=65535,
  )
  crops_per_image: int = option(64, "Random crops of each image in an epoch.", low=1)
  segment_loss: str = option(
    "dice",
    "The loss of segmentation.",
    choices={
      "dice": "Dice of classes, which learns classes of few pixels soonest (arXiv 1606.04797)",
      "cross_entropy": "cross entropy of pixels",
      "cross_entropy_dice": "the sum of both, Dice times dice_weight",
      "focal": "focal loss of pixels (arXiv 1708.02002)",
    },
  )
  dice_weight: float = option(1.0, "Weight of Dice beside cross entropy.", low=0.0)
  class_weights: tuple[float, ...] = option(
    (),
    "Weights of the classes in the loss, in their order, separated by commas. Empty: all alike.",
    above=0.0,
  )
  segment_color_jitter: float = option(
    0.25,
    "Strength of brightness, contrast, saturation and hue jitter of the image. Of the options of "
    "views the parts and the probability of that jitter, flips and rotation count, and no others.",
    low=0.0,
    high=1.25,
    before=0.25,
  )
  scale_jitter: float = option(
    0.25,
    "Crops of image and mask show up to this share more or less of a side.",
    low=0.0,
    below=1.0,
  )
  elastic_deformation: float = option(
    0.0,
    "Standard deviation, in pixels, of displacements that bend crops of image and mask.",
    low=0.0,
  )
  tile_size: int = setting(
    512,
    "Larger images are predicted in tiles of this side, with as many pixels around as a pixel's "
    "answer depends on.",
    low=64,
  )
  write_probabilities: bool = setting(
    False,
    "With mode=segment: write the probability of each class beside each mask, as float16 [h, w, K] "
    "in .npz files.",
  )
  test_time_flips: bool = setting(
    False, "Average predictions over the image and its mirror images, left-right and upside down."
  )
