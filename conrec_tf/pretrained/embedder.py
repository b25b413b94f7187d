"""Embeddings in Python, by a trained network of any kind: of files, folders and arrays."""

from collections.abc import Iterator, Mapping, Sequence
import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
import tensorflow as tf

from conrec_tf.config import Config, Experiment
from conrec_tf.data.augmentation.resizing import evaluation_image
from conrec_tf.data.files.walk import image_files, readable
from conrec_tf.data.images.pixel_values import filled_range
from conrec_tf.data.registry import load_files, takes_centre
from conrec_tf.errors import UsageError, listed
from conrec_tf.evaluation.embedding import Embedder, batch_size, embed_images, embed_split
from conrec_tf.pretrained.find import PretrainedModel, resolve_checkpoint, said_beside
from conrec_tf.pretrained.load import open_network

RANKS = (2, 3)  # of an image
RGB = 3

Opened = tuple[Config, PretrainedModel, Embedder]


def embed(
  network: str | os.PathLike[str],
  images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
  **options: Any,
) -> tuple[np.ndarray, list[str]]:
  """Embeds image files, as `--mode=embed` does.

  Args:
    network: a run, or whatever `--checkpoint` takes.
    images: a folder, of which all images are taken, however deep they lie, or paths of files.
    **options: of `Config`, such as `export_checkpoint="best"` or `eval_batch_size=16`.

  Returns:
    Embeddings float32 `[N, F]`, and the paths of the images: in the order of their names, or in
    that of `images`. Bad images are left out.

  Raises:
    UsageError: the network or the images can't be read, or don't fit.
  """
  return _embed_files(_open(network, options), images)


def _embed_files(
  network: Opened,
  images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
  center_crop: bool | None = None,
) -> tuple[np.ndarray, list[str]]:
  """Embeds a folder or a list of files; see `embed`.

  Args:
    center_crop: whether images are given by their centre; None: as the network says, or else by
      the sizes of these.
  """
  config, pretrained, model = network
  if isinstance(images, str | os.PathLike):
    root = os.path.expanduser(os.fspath(images))
    if not os.path.isdir(root):
      raise UsageError(f"images must be a folder, or a list of files. Received: {root}")
    files, in_order = image_files(root), None
  else:
    paths = [os.fspath(path) for path in images]
    if not paths:
      raise UsageError("images must be a folder, or a list of files. Received: an empty list")
    root, files, names = _located(paths)
    in_order = [(readable(name), path) for name, path in zip(names, paths, strict=True)]
  known = pretrained.center_crop if center_crop is None else center_crop
  source = load_files(config, root, files, known).without_stand_ins
  pretrained.check_channels(source.channels, root)
  embeddings, _ = embed_split(model, source, source.train, config)
  assert source.train.names is not None
  row_of = {str(name): row for row, name in enumerate(source.train.names)}
  if in_order is None:
    path_of = {readable(name): os.path.join(root, name) for name in files}
    in_order = [(name, path_of[name]) for name in row_of]
  good = [(row_of[name], path) for name, path in in_order if name in row_of]
  return embeddings[[row for row, _ in good]], [path for _, path in good]


def _located(paths: Sequence[str]) -> tuple[str, list[str], list[str]]:
  """Returns a folder that files lie in, their names below it, sorted and each once, and of each."""
  absolute = [os.path.abspath(os.path.expanduser(path)) for path in paths]
  root = os.path.commonpath([os.path.dirname(path) for path in absolute])
  names = [os.path.relpath(path, root) for path in absolute]
  return root, sorted(set(names)), names


def _are_paths(images: Sequence[Any]) -> bool:
  return len(images) > 0 and isinstance(images[0], str | os.PathLike)


class ConRecEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
  """A transformer of scikit-learn from images to embeddings.

  Images are paths of files, or arrays, uint8, uint16 or float in [0, 1]: `[N, H, W, C]`, grey ones
  `[N, H, W]`, or a list of single images, which may differ in size. Of uint16 so many bits are used
  as `image_bits` of the network says. Nothing is learnt but, of a network that doesn't say it, if
  images are given by their centre: by whether they differ in size.

  Args:
    network: a run, or whatever `--checkpoint` takes.
    options: `{option: value}` of `Config`, such as `{"export_checkpoint": "best"}`, or None.

  Attributes:
    n_features_out_: the length of an embedding.
    center_crop_: whether evaluation takes the central 87.5 % of images.
  """

  def __init__(
    self, network: str | os.PathLike[str] = "", options: Mapping[str, Any] | None = None
  ) -> None:
    self.network = network
    self.options = options

  def fit(self, X: Any, y: Any = None) -> Self:
    """Opens the network as it is now, and tries the first image.

    Of the other images sizes count; labels don't.
    """
    del y
    self.__dict__.pop("_network", None)
    images = list(X)  # be it a column of a table, whose rows have numbers of their own
    self.center_crop_ = self._takes_centre(images)
    self.n_features_out_ = self._n_features_out = self._embeddings(images[:1]).shape[1]
    return self

  def transform(self, X: Any) -> np.ndarray:
    """Returns embeddings float32 `[N, F]` of images.

    Raises:
      UsageError: an image can't be read.
    """
    check_is_fitted(self)
    return self._embeddings(list(X))

  def _embeddings(self, images: Sequence[Any]) -> np.ndarray:
    if not images:
      raise ValueError("X must hold images. Received: 0")
    if _are_paths(images):
      paths = [os.fspath(path) for path in images]
      embeddings, found = _embed_files(self._opened(), paths, self.center_crop_)
      if len(found) < len(paths):
        bad = sorted(set(paths) - set(found))
        raise UsageError(f"images must be files that can be decoded. Received: {listed(bad)}")
      return embeddings
    config, pretrained, model = self._opened()
    channels = pretrained.channels or getattr(model, "channels", config.channels)
    batches = _batches(images, channels, self.center_crop_, config)
    return np.concatenate([embed_images(model, batch, config).numpy() for batch in batches])

  def _takes_centre(self, images: Sequence[Any]) -> bool:
    """Returns whether images are given by their centre: as is said, or by the sizes of these."""
    config, pretrained, _ = self._opened()
    is_said = config.eval_crop != "auto" or pretrained.center_crop is not None
    if not is_said and _are_paths(images):
      root, files, _ = _located([os.fspath(path) for path in images])
      return load_files(config, root, files).center_crop
    by_data = not is_said and len({np.shape(image)[:2] for image in images}) > 1
    return takes_centre(config.eval_crop, pretrained.center_crop, by_data)

  def _opened(self) -> Opened:
    """Returns the options, the description and the network itself, which is opened once."""
    asked = os.fspath(self.network), dict(self.options or {})
    known = getattr(self, "_network", None)
    if known is None or known[0] != asked:
      self._network = known = asked, _open(*asked)
    return known[1]

  def __getstate__(self) -> dict[str, Any]:
    """Returns what is pickled: all but the network in memory, which is opened again."""
    state = dict(super().__getstate__())
    state.pop("_network", None)
    return state

  def __sklearn_tags__(self) -> Tags:
    """Says that it takes images, and nothing of two dimensions."""
    tags = super().__sklearn_tags__()
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    tags.input_tags.string = True
    tags.no_validation = True
    return tags


def _open(network: str | os.PathLike[str], options: Mapping[str, Any]) -> Opened:
  """Opens a network, with the options to embed with."""
  path = os.fspath(network)
  pretrained = resolve_checkpoint(path, options.get("export_checkpoint", "last"))
  own = said_beside(pretrained.values, options)
  values = {"dataset": "image_folder", "label_mode": "none", **own, **options}
  config = Config(**{**values, "mode": "embed", "checkpoint": path})
  config = config.to_embed(batch_size(config))
  model, _ = open_network(config, pretrained, pretrained.channels or config.channels)
  return config, pretrained, model


def _batches(images: Any, channels: int, crop: bool, config: Experiment) -> Iterator[tf.Tensor]:
  """Yields images float32 `[B, size, size, channels]` in [0, 1], as they are evaluated."""
  size = config.evaluation_size
  for start in range(0, len(images), config.eval_batch_size):
    pixels = [
      _pixels(image, channels, config.image_bits)
      for image in images[start : start + config.eval_batch_size]
    ]
    yield tf.stack([evaluation_image(image, size, crop) for image in pixels])


def _pixels(image: Any, channels: int, bits: int) -> tf.Tensor:
  """Returns an image uint8 or uint16 `[h, w, channels]`; one of floats in [0, 1] in 16 bits.

  Args:
    bits: that one of uint16 uses, 0 for all.
  """
  pixels = np.asarray(image)
  if pixels.ndim not in RANKS:
    raise ValueError(
      "X must hold images, [height, width, channels] or [height, width]. "
      f"Received: {list(pixels.shape)}"
    )
  if pixels.dtype not in (np.uint8, np.uint16):
    if pixels.dtype.kind != "f" or not (pixels.min() >= 0 and pixels.max() <= 1):
      raise ValueError(
        "X must hold images of uint8, uint16, or floats from 0 to 1. "
        f"Received: {pixels.dtype} from {pixels.min()} to {pixels.max()}"
      )
    pixels = filled_range(pixels, 1.0)
  elif bits and pixels.dtype == np.uint16:
    pixels = filled_range(pixels, 2**bits - 1)
  pixels = pixels.reshape([*pixels.shape[:2], -1])
  if pixels.shape[2] == 1 and channels == RGB:
    pixels = np.repeat(pixels, RGB, axis=2)
  if pixels.shape[2] != channels:
    raise ValueError(f"X must hold images of {channels} channels. Received: {pixels.shape[2]}")
  return tf.constant(pixels)
