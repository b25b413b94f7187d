"""Options of images and of what is done to them: data and augmentation."""

import functools
from typing import Any, ClassVar
import unicodedata

from conrec_tf.config.options.option import option, section, section_with, setting, share

# Files of the user's own; others are TFDS's.
OF_IMAGE_FILES = ("image_folder", "webdataset", "parquet")  # which may lie in buckets
OWN_DATASETS = ("image_folder", "npz", "webdataset", "parquet")
SYNTHETIC_DATASETS = ("rectangle_triangle", "circles_square")
# What says something of the files that training learns from, and of no others.
OF_FILES = ("label_table", "label_columns", "drop_duplicates")


def are_of_a_kind(dataset: str, other: str) -> bool:
  """Returns whether two datasets may lie in one `data_dir`: both are files of one's own, or none.

  TFDS writes what it prepares into its own.
  """
  return (dataset in OWN_DATASETS) == (other in OWN_DATASETS)


def as_image_channels(channels: int) -> int:
  """Returns the value of `image_channels` for images of so many: 0 but for grey and RGB."""
  return channels if channels in (1, 3) else 0


@section
class Data:
  """Images."""

  # Whether `label_order`, `image_key` and `label_key` must be of the data; else they count where
  # they are.
  names_must_fit: ClassVar[bool] = True

  dataset: str = option(
    "rectangle_triangle",
    "image_folder, npz, webdataset, parquet, or a TensorFlow Datasets name "
    "(rectangle_triangle and circles_square are drawn locally).",
  )
  data_dir: str = setting(
    "",
    "The folder of images, the .npz file (x_train, y_train, x_test, y_test), the tar archives "
    "(photos-{000..099}.tar), the folder of .parquet files, or that of prepared TFDS data (empty: "
    "~/tensorflow_datasets). Images, archives and .parquet files may lie in a bucket (s3://, "
    "gs://, hf://), of which a copy is kept.",
    path=True,
  )
  label_mode: str = option(
    "auto",
    "Labels of an image folder.",
    choices={
      "auto": "its folders or tables beside the images; none for a flat folder",
      "folders": "its folders: split/label/file or label/file",
      "none": "none: images lie anywhere; other datasets' labels go unused",
    },
  )
  train_split: str = option("train", "Split to learn from, e.g. train+validation or train[:10%].")
  eval_split: str = setting("test", "Split to measure linear accuracy on.")
  eval_dataset: str = setting(
    "", "Labelled dataset for linear evaluation, in place of the one that is learnt from."
  )
  eval_data_dir: str = setting(
    "",
    "Its data_dir. Empty: the same as data_dir where both are files of your own, or both of TFDS.",
    path=True,
  )
  eval_train_split: str = setting(
    "train", "The split of eval_dataset that the classifier learns from."
  )
  eval_test_split: str = setting(
    "",
    "The split of eval_dataset that the classifier is measured on. Empty: eval_split, which is "
    "that of the data that is learnt from.",
  )
  eval_crop: str = setting(
    "auto",
    "Part of an image that evaluation and exports take before they resize it. A trained network "
    "keeps that, whatever images it sees later.",
    choices={
      "auto": (
        "the centre where sizes differ in the data that it is first evaluated on, or TFDS states "
        "no one size, else all"
      ),
      "center": "its centre, a square of 87.5 % of the shorter side; at 32 pixels or fewer all",
      "none": "all of it",
    },
  )
  cache_dataset: bool = option(
    False, "Keep encoded images in memory, for slow disks; the size is told beforehand."
  )
  max_undecodable: str = setting(
    "10,1%",
    "Limit of images of a folder that fail to decode (the next good one stands in): a "
    "number, a share, or the larger of several.",
  )
  max_pixels: int = setting(
    150_000_000,
    "Height times width from which an image counts as one that can't be decoded, by its header.",
    low=1,
  )
  drop_duplicates: bool = option(
    False,
    "Leave out images of a folder that look like an earlier one, by name, and say which; "
    "mode=check_data shows them.",
  )
  image_size: int = option(
    64,
    "Height and width that the network works at, in pixels. Paper: 128 synthetic, 224 otherwise.",
    low=8,
    architecture=True,
  )
  train_label_fraction: float = option(
    1.0,
    "Share of the training labels that a supervised head learns from, with train_mode=finetune: "
    "each class as near to it as counts allow, the first subset of label_fractions.",
    above=0.0,
    high=1.0,
    before=1.0,
  )
  ordinal_labels: bool = option(
    False,
    "Treats classes as grades: cumulative-bit classifiers and quadratic weighted kappa instead of "
    "accuracy.",
  )
  image_bits: int = option(
    0,
    "Bits that image files of 16 bits a channel use, e.g. 12, as many cameras and scanners write "
    "them; 0: all.",
    low=0,
    high=16,
    architecture=True,
  )
  dicom_window: str = option(
    "",
    "Window of DICOM and NIfTI images as centre,width, e.g. 40,400; empty: the file's own, or else "
    "all that its bits can hold (DICOM) or that the volume holds (NIfTI).",
    architecture=True,
  )
  dicom_frames: str = option(
    "",
    "Frames of a DICOM file, slices of a NIfTI file or of MedMNIST3D's volumes that are images.",
    choices={
      "": "none: files of several are refused",
      "middle": "the middle one, the later one of an even number",
      "all": "all; those of one file stay together as a group",
    },
    architecture=True,
    before="",
  )
  image_key: str = option(
    "image",
    "Name of the image among the features of a TFDS dataset or the columns of Parquet files.",
  )
  label_key: str = option(
    "label",
    "Name of the label among the features of a TFDS dataset or the columns of Parquet files.",
  )
  label_table: str = option(
    "",
    "CSV file for an image folder: columns image and label, perhaps split, and group (patients, "
    "say), of which none lies in two splits.",
    by_content=True,
  )
  label_columns: tuple[str, ...] = option(
    (),
    "Columns of label_table or of metadata.csv that say 0 or 1 of several labels each image may "
    "have, separated by commas, in place of the column label.",
  )
  label_order: tuple[str, ...] = option(
    (),
    "Labels in their order, separated by commas, e.g. none,mild,severe; empty for natural order, "
    "or what the dataset states. Of eval_dataset it counts where it names the labels there.",
    item=functools.partial(unicodedata.normalize, "NFC"),  # as labels are compared
  )
  scaled_decoding: bool = option(
    True,
    "Decode JPEG files of folders and TFDS at 1/2, 1/4 or 1/8 of their size where no view needs "
    "more pixels; a network's evaluation and exports do as its training did.",
    architecture=True,
  )
  image_channels: int = option(
    0,
    "Channels of the images.",
    choices={
      0: "what the dataset holds",
      1: "converted to grey",
      3: "converted to RGB",
    },
    architecture=True,
  )

  @property
  def channels(self) -> int:
    """Channels of the images if `image_channels` leaves them to the dataset."""
    return self.image_channels or (1 if self.dataset in SYNTHETIC_DATASETS else 3)

  def with_splits(self, learnt: str, measured: str) -> "Data":
    """Returns the same data with other splits."""
    return section_with(Data, self, train_split=learnt, eval_split=measured)

  def of_eval_dataset(self, channels: int) -> "Data":
    """Returns what a run says of `eval_dataset`, under the names that `dataset`'s options have.

    Its images are converted to so many channels, or with 0 keep what they have.
    """
    shared = self.data_dir if are_of_a_kind(self.dataset, self.eval_dataset) else ""
    data_dir = self.eval_data_dir or shared
    changes: dict[str, Any] = dict(
      dataset=self.eval_dataset,
      data_dir=data_dir,
      train_split=self.eval_train_split,
      eval_split=self.eval_test_split or self.eval_split,
      label_mode="auto",
      image_channels=channels,
    )
    if (self.dataset, self.data_dir) != (self.eval_dataset, data_dir):
      changes |= {name: getattr(Data, name) for name in OF_FILES}
    return section_with(EvaluationData, self, **changes)


class EvaluationData(Data):
  """The data set of evaluation, where that isn't the one that training learns from."""

  names_must_fit = False


@section
class Augmentation:
  """Stage 1 (views, as SimCLR) and stage 2 (corruption, as Models Genesis)."""

  color_jitter_strength: float = option(
    0.3,
    "Strength of brightness, contrast, saturation and hue jitter of views. Paper: 1.",
    low=0.0,
    high=1.25,
  )
  color_jitter_probability: float = share(
    0.8,
    "Share of RGB views with colour jitter; of others, such as grey ones, brightness and contrast "
    "always change.",
  )
  brightness_jitter: float = share(
    0.8, "Largest change of brightness, as a share of it, at strength 1."
  )
  contrast_jitter: float = share(
    0.8, "Largest change of contrast, as a share of it, at strength 1."
  )
  saturation_jitter: float = share(
    0.8, "Largest change of saturation, as a share of it, at strength 1."
  )
  hue_jitter: float = option(
    0.2,
    "Largest turn of the hue, as a share of the colour circle, at strength 1.",
    low=0.0,
    high=0.5,
  )
  grey_probability: float = share(0.0, "Share of RGB views without colour.")
  use_blur: bool = option(True, "Blur RGB views, a share of blur_probability.")
  blur_probability: float = share(0.5, "Share of RGB views that are blurred.")
  window_size: int = option(
    0,
    "Take both views from a random window of each image, of this side in pixels, for images that "
    "are large beside what matters in them; 0: from the whole image.",
    low=0,
  )
  crop_min_area: float = option(
    0.3,
    "Smallest share of an image's area that a view shows; the largest is all of it. Paper: 0.08.",
    above=0.0,
    high=1.0,
  )
  random_flip: str = option(
    "horizontal",
    "In which directions views are mirrored, half of them each.",
    choices={
      "none": "in none",
      "horizontal": "left-right",
      "horizontal_and_vertical": (
        "in both, for images without a natural upright, as retinas and histology"
      ),
    },
  )
  random_rotation: float = option(
    0.0,
    "Largest angle, in degrees and either direction, that views are turned by; the border is "
    "filled by reflection.",
    low=0.0,
    high=180.0,
  )
  supervised_augmentation: str = option(
    "crop",
    "Augmentation of images with train_mode=finetune; never of colour. Of the options of views it "
    "heeds random_flip=none alone, with which none is mirrored.",
    choices={
      "crop": "random crop of 8 % to 100 % of the area, and left-right flip",
      "zoom": "zoom by 0.85 to 1.15 and flips in both directions",
    },
  )
  corruption: str = option(
    "models_genesis",
    "Corruption of views, which the decoder learns to undo.",
    choices={
      "models_genesis": (
        "pixel shuffling, in-painting, out-painting, and intensity maps for one channel"
      ),
      "none": "nothing",
    },
    architecture=True,
  )
