"""Split expressions of data that lies in lists."""

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.data.dataset import Columns
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.splits import listed_split
from conrec_tf.errors import UsageError

NAMES = ["a. Training Set", "train", "train-v1.2", "fold 1", "a[1]", "x+y", "x", "y", "é/b"]


def chosen(expression, names=NAMES):
  """`{split: places of its images}`, ten of each, in the order of an expression."""
  rows = {"image": np.array([f"{name}|{index}" for name in names for index in range(10)], object)}
  index_of = {name: np.arange(10 * at, 10 * at + 10) for at, name in enumerate(names)}
  columns = Columns(names=rows["image"])
  split = listed_split("train_split", expression, rows, columns, index_of)
  found: dict[str, list[int]] = {}
  for record in split.records().as_numpy_iterator():
    name, _, index = record["image"].decode().partition("|")
    found.setdefault(name, []).append(int(index))
  return found


@pytest.mark.parametrize("name", NAMES)
def test_a_split_is_called_as_it_is(name):
  assert chosen(name) == {name: list(range(10))}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "x+y"])
def test_a_split_of_any_name_is_part_of_a_sum(name):
  assert chosen(f" {name}[8:] + train[:10%]") == (
    {name: [8, 9], "train": [0]} if name != "train" else {"train": [8, 9, 0]}
  )


@pytest.mark.parametrize(
  "expression, expected",
  [
    ("train[:5]", {"train": [0, 1, 2, 3, 4]}),
    ("train[:-90%]+train-v1.2[-1:]", {"train": [0], "train-v1.2": [9]}),
    ("a[1][:2]+fold 1[9:]", {"a[1]": [0, 1], "fold 1": [9]}),
    ("x+y", {"x+y": list(range(10))}),  # a name before a sum
    ("y+x", {"y": list(range(10)), "x": list(range(10))}),
    ("x[:1]+y[:1]", {"x": [0], "y": [0]}),
  ],
)
def test_sums_and_slices(expression, expected):
  assert chosen(expression) == expected


def test_all_is_each_of_them():
  assert list(chosen("all", ["val", "train"])) == ["val", "train"]
  assert chosen("all+train", ["val", "train"])["train"] == [*range(10), *range(10)]
  assert chosen("all[:2]", ["all", "train"]) == {"all": [0, 1]}


@pytest.mark.parametrize(
  "expression",
  [
    "trane",
    "",
    "train+",
    "train[5",
    "train[]",
    "all[:5]",
    "train[8:2]",
    "train[:3]+train[80%:20%]",
  ],
)
def test_what_there_is_is_listed(expression):
  with pytest.raises(UsageError) as caught:
    chosen(expression, ["fold 1", "train"])
  assert str(caught.value) == (
    "train_split must be made of fold 1, train, e.g. train[:10%] or train+test. "
    f"Received: {expression}"
  )


def test_a_slice_of_records_that_ends_before_it_starts_is_refused(flowers):
  for expression in ("train[80%:20%]", "test+train[8:2]"):
    with pytest.raises(UsageError, match="train_split must be made of .* Received: .*train.8"):
      load_dataset(Config(**flowers | dict(train_split=expression)))


def test_what_could_mean_two_things_is_refused():
  with pytest.raises(UsageError, match="must have one meaning, .* Received: x.y.x"):
    chosen("x+y+x")
