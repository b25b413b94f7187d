"""Which images a training sees, and what of them: the same with any TensorFlow, in any version.

A run that goes on in another environment, or with a later version, sees what it would have seen.
What stands here was the same with TensorFlow 2.15.1 and 2.21.0: orders and pixels to the last bit,
views to the seventh decimal. They are compared up to rounding, as processors may differ in it.
"""

import hashlib

import kinds_of_data
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config
from conrec_tf.data.pipeline import finetuning_batches, pretraining_batches
from conrec_tf.data.records import Streamed
from conrec_tf.data.stream import batch_ids, index_at, training_records
from conrec_tf.segmentation.batches import segmentation_batches

pytestmark = pytest.mark.usefixtures("optimized_graphs")

FIRST_16 = [12, 9, 1, 16, 4, 10, 3, 14, 7, 15, 17, 11, 0, 6, 19, 18]
# Of the first 64 images, in four epochs of 16: places in the split; pixels in that order.
PLACES = {"by_place": "582b55741a7a", "streamed": "437e619eff05"}
IMAGES = {"folder": "5f839c2c7cef", "tfds": "6dd6cde26f39", "tfds_streamed": "f334ba5d5afb"}
# Of the first two images of a training, both views, and of four of finetuning and segmentation.
VIEWS = {
  "folder": {
    "target": [[0.4942757, 0.3010158], [0.5991605, 0.2718925]],
    "corrupted": [[0.4863097, 0.3010124], [0.5991509, 0.4927023]],
  },
  "tfds": {
    "target": [[0.5961637, 0.3356718], [0.5959507, 0.2686966]],
    "corrupted": [[0.5864359, 0.3356662], [0.595968, 0.4866666]],
  },
  "tfds_streamed": {
    "target": [[0.511959, 0.3016964], [0.5755761, 0.279819]],
    "corrupted": [[0.5060967, 0.3016889], [0.5756153, 0.4827025]],
  },
}
FINETUNING = {
  "crop": [0.5106144, 0.5955956, 0.5795807, 0.4911597],
  "zoom": [0.5012113, 0.4967972, 0.5323176, 0.4992359],
}
CROPS = [0.5431689, 0.4972321, 0.472827, 0.5645604]
CLASSES = [0.4470833, 0.4904348, 0.8042271, 42.8997947]  # 255 where there is no image
# By the number of images: the first places of epoch 5 for seed 7.
FIRST_PLACES = {
  1020: [14, 324, 829],
  2**14: [8739, 1189, 829],
  2**14 + 1: [15988, 10609, 5826],
  2**40: [284244621589, 578915212231, 40367437890],
}
ROUNDING = 1e-5


def config(values, **others):
  sizes = dict(image_size=24, unet_depth=3, base_filters=2, train_batch_size=8)
  sizes |= dict(color_jitter_strength=1.0, grey_probability=0.2, local_crops=0)
  return Config(**(sizes | values | others), mixed_precision="float32")


@pytest.fixture(scope="module", params=kinds_of_data.KINDS)
def kind(request):
  return request.param


@pytest.fixture
def stored(kind):
  """Kinds that store the images in one order: TFDS has its own, and another where they stream."""
  if kind == "tfds_streamed":
    return kind
  return "tfds" if kind in kinds_of_data.OF_TFDS else "folder"


@pytest.fixture(scope="module")
def opened(kind, tmp_path_factory):
  """A configuration and the dataset that it names."""
  with pytest.MonkeyPatch.context() as patch:
    values = kinds_of_data.write(kind, tmp_path_factory.mktemp(kind), patch)
    return config(values), load_dataset(config(values))


def digest(data):
  return hashlib.sha256(data).hexdigest()[:12]


def weighted_means(images):
  """Of images `[..., H, W, C]`: a number each, in which each place counts differently."""
  weights = np.linspace(0.0, 2.0, np.prod(images.shape[-3:])).reshape(images.shape[-3:])
  return np.mean(images * weights, axis=(-3, -2, -1), dtype=np.float64)


def test_order_of_images(stored, opened):
  _, source = opened
  places = [number for step in range(1, 9) for number in batch_ids(source.train, 8, 0, step)]
  order = "streamed" if isinstance(source.train.rows, Streamed) else "by_place"
  assert digest(repr(places).encode()) == PLACES[order]
  if order == "by_place":
    assert places[:16] == FIRST_16
  rows = training_records(source.train, 8, seed=0).take(64)
  pixels = b"".join(source.decode(record["image"]).numpy().tobytes() for _, record in rows)
  assert digest(pixels) == IMAGES[stored]


def test_first_views(stored, opened):
  batch = next(iter(pretraining_batches(*opened)))
  for name, expected in VIEWS[stored].items():
    np.testing.assert_allclose(weighted_means(batch[name].numpy())[:2], expected, atol=ROUNDING)


def test_first_images_of_finetuning(tmp_path, monkeypatch):
  values = kinds_of_data.write("image_folder", tmp_path, monkeypatch)
  source = load_dataset(config(values))
  for augmentation, expected in FINETUNING.items():
    finetuning = config(values, train_mode="finetune", supervised_augmentation=augmentation)
    batch = next(iter(finetuning_batches(finetuning, source)))
    found = weighted_means(batch["image"].numpy())[:4]
    np.testing.assert_allclose(found, expected, atol=ROUNDING)
    labels = [source.train.labels()[place] for place in FIRST_16[:8]]
    assert batch["label"].numpy().tolist() == labels


def test_first_crops_of_segmentation(tmp_path):
  settings = config(kinds_of_data.write_masks(tmp_path))
  batch = next(iter(segmentation_batches(settings, load_dataset(settings))))
  np.testing.assert_allclose(weighted_means(batch["image"].numpy())[:4], CROPS, atol=ROUNDING)
  found = weighted_means(batch["classes"].numpy()[:4, ..., np.newaxis])
  np.testing.assert_allclose(found, CLASSES, atol=ROUNDING)


@pytest.mark.parametrize("count", FIRST_PLACES)
def test_order_of_sets_of_any_size(count):
  places = index_at(tf.range(3, dtype=tf.int64), epoch=5, num_examples=count, seed=7)
  assert places.numpy().tolist() == FIRST_PLACES[count]
