"""Shared: a data_dir with the embedded dataset, prepared once, and a tiny configuration."""

import itertools
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # nothing is left in the user's
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # more would wait for each other's turn on a core

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
import pytest  # noqa: E402

from conrec_tf.config import Config  # noqa: E402


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
  """Names no test by bytes: a gzip file holds the time, which differs between processes."""
  return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)  # before the processes are told
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Keeps the tests that share what their module makes in one process, with --dist=loadgroup."""
  for item in items:
    fixtures = itertools.chain.from_iterable(item._fixtureinfo.name2fixturedefs.values())
    if any(fixture.scope == "module" and fixture.baseid for fixture in fixtures):
      item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  """A TFDS folder that holds rectangle_triangle."""
  from conrec_tf.data.registry import load_dataset

  path = str(tmp_path_factory.mktemp("tfds"))
  load_dataset(Config(data_dir=path))
  return path


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
  """Keyword arguments of a configuration on small colour photographs of differing sizes."""
  import tfds_sets.tiny_flowers  # noqa: F401  # registers the dataset

  from conrec_tf.data.registry import load_dataset

  values = dict(
    dataset="tiny_flowers",
    data_dir=str(tmp_path_factory.mktemp("flowers")),
    train_split="train+validation",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    local_crops=0,  # whose step takes half as long again
    train_batch_size=8,
    report=False,
  )
  load_dataset(Config(**values))
  return values


@pytest.fixture(autouse=True, scope="session")  # before what modules make for their tests
def same_precision():
  """Makes `mixed_precision=auto` float32 in this process, whatever the machine is fast in."""
  from conrec_tf.models import precision

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(precision, "CPU_INFO", pathlib.Path(os.devnull))
    yield


@pytest.fixture(autouse=True, scope="session")
def plain_graphs():
  """Leaves graphs as they were traced; see the module of this name."""
  from plain_graphs import set_optimization

  set_optimization(False)


@pytest.fixture
def optimized_graphs():
  """Optimizes the graphs of a test, as a user has them."""
  from plain_graphs import optimized

  with optimized():
    yield


@pytest.fixture
def tiny(data_dir, tmp_path):
  """Keyword arguments of a configuration that trains in seconds."""
  return dict(
    data_dir=data_dir,
    train_split="train[:48]",
    eval_split="test[:24]",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    local_crops=0,  # whose step takes half as long again
    train_batch_size=8,
    train_epochs=2,
    mixed_precision="float32",
    learning_rate_schedule="constant",  # so that a run can go on for longer
    report=False,
    model_dir=str(tmp_path / "run"),
  )


@pytest.fixture
def simclr(tiny):
  """Keyword arguments of SimCLR, in two thirds of the time, where any pre-training will do."""
  return {**tiny, "reconstruction_weight": 0.0, "pooling": "average", "corruption": "none"}


@pytest.fixture
def quickest(tiny):
  """Keyword arguments of learning from labels, in a quarter of the time, where all will do."""
  return {**tiny, "train_mode": "finetune"}


@pytest.fixture
def unlabelled(tmp_path, rng):
  """Keyword arguments of a configuration on a few images without labels."""
  images = {name: rng.random([count, 24, 24, 3]) for name, count in (("train", 24), ("test", 8))}
  np.savez(tmp_path / "images.npz", x_train=images["train"], x_test=images["test"])
  return dict(
    dataset="npz",
    data_dir=str(tmp_path / "images.npz"),
    label_mode="none",
    image_size=24,
    base_filters=2,
    unet_depth=2,
    local_crops=0,  # whose step takes half as long again
    train_batch_size=8,
    model_dir=str(tmp_path / "run"),
  )


@pytest.fixture
def kaggle(tmp_path):
  """A folder in the layout of Kaggle's download: ten retinas, grades 0 to 4."""
  manual = tmp_path / "downloads" / "manual"
  (manual / "train_images").mkdir(parents=True)
  lines = ["id_code,diagnosis"]
  for index in range(10):
    image = np.full((60 + index, 80, 3), 20 * index, np.uint8)
    Image.fromarray(image).save(manual / "train_images" / f"eye{index}.png")
    lines.append(f"eye{index},{index % 5}")
  (manual / "train.csv").write_text("\n".join(lines) + "\n")
  return tmp_path


@pytest.fixture
def rng():
  return np.random.default_rng(0)
