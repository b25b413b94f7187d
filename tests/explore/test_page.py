import base64
import csv
import json
import pathlib
import re

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.data.duplicates import Duplicate
from conrec_tf.explore import page as module
from conrec_tf.explore.findings import explored
from conrec_tf.explore.page import places, write_page
from conrec_tf.explore.tables import Images
from conrec_tf.explore.thumbnails import SIDE

COUNT = 60
NASTY = '</script><b>"it\'s" & \u2028, =1+1'


def parsed(text):
  return json.loads(re.fullmatch(r"window\.conrecData = (.*);\n", text, re.DOTALL)[1])


def array(data, name, dtype):
  return np.frombuffer(base64.b64decode(data[name]), dtype)


def rows(path):
  with path.open(newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A page of sixty images of two classes: its folder, its data, and what was found; only read."""
  rng = np.random.default_rng(0)
  labels = np.arange(COUNT) % 2
  vectors = np.eye(2, 6)[labels] + 0.1 * rng.normal(size=(COUNT, 6))
  vectors[2] = vectors[0]
  labels[4] = 1
  names = [f"{number}.png" for number in range(COUNT)]
  names[0] = NASTY
  words = [("cat", NASTY)[label] for label in labels]
  images = Images(names, ["train"] * 40 + ["test"] * 20, words, ("cat", NASTY))
  options = Config(mode="explore", num_clusters=3, label_next=5)
  found = explored(vectors, labels, 2, options, [Duplicate(2, 0, 4)], seed=0)
  pictures = (np.full([SIDE, SIDE, 3], number, np.uint8) for number in range(COUNT))
  folder = tmp_path_factory.mktemp("run") / "explore/photos"
  write_page(folder, NASTY, images, found, lambda shown: pictures, ["Of note."], 0)
  return folder, parsed((folder / "data.js").read_text()), found


def test_the_page_holds_no_data_and_needs_no_network(written):
  text = (written[0] / "index.html").read_text()
  assert NASTY not in text and text.count("</script>") == 2
  assert re.findall(r'(?:src|href)="([^"]*)"', text)[:2] == ["data:,", "images.csv"]
  assert "http" not in text and "Of note." in text


def test_names_and_labels_arrive_whatever_is_in_them(written):
  folder, data, _ = written
  assert data["names"][0] == NASTY and data["classes"] == ["cat", NASTY]
  assert rows(folder / "images.csv")[0]["image"] == NASTY


def test_arrays_arrive_as_they_were(written):
  _, data, found = written
  np.testing.assert_array_equal(array(data, "places", "<f4").reshape(COUNT, 2), found.map.places)
  np.testing.assert_array_equal(
    array(data, "neighbours", "<i4").reshape(COUNT, 12), found.neighbours.others[:, :12]
  )
  assert sorted(array(data, "slot", "<i4")) == list(range(COUNT))
  np.testing.assert_array_equal(array(data, "label", "<i4")[:6], [0, 1, 0, 1, 1, 1])
  assert [data["splits"][each] for each in array(data, "split", "<i4")[[0, 50]]] == [
    "train",
    "test",
  ]


def test_tables_and_lists_say_the_same(written):
  folder, data, found = written
  [pair] = rows(folder / "duplicates.csv")
  assert (pair["image"], pair["other_image"], pair["bits"]) == (NASTY, "2.png", "4")
  assert pair["by_embedding"] == "1" and data["lists"]["duplicates"] == [[0, 2, 0.0, 1, 4]]
  [wrong] = rows(folder / "label_errors.csv")
  assert (wrong["image"], wrong["label"], wrong["suggested"]) == ("4.png", NASTY, "cat")
  assert [row[:2] for row in data["lists"]["errors"]] == [[4, 0]]
  following = rows(folder / "label_next.csv")
  assert [row["image"] for row in following] == [
    data["names"][row[0]] for row in data["lists"]["next"]
  ]
  assert len(following) == 5 and int(following[0]["stands_for"]) > 1
  assert len(rows(folder / "outliers.csv")) == 20
  clusters = [int(row["cluster"]) for row in rows(folder / "images.csv")]
  np.testing.assert_array_equal(array(data, "cluster", "<i4"), clusters)
  assert [row[1] for row in data["lists"]["clusters"]] == np.bincount(clusters).tolist()
  assert [clusters[row[0]] for row in data["lists"]["clusters"]] == [0, 1, 2]
  lengths = {"clusters": 3, "outliers": 20, "duplicates": 1, "errors": 1, "next": 5}
  assert data["lengths"] == lengths
  script = pathlib.Path(module.__file__).with_name("explore.js").read_text()
  assert not re.search(r"cluster\W+(group|image)\W+\+ 1", script)  # the number is the tables'


def test_a_list_that_is_cut_says_how_long_its_table_is(written, monkeypatch):
  monkeypatch.setattr(module, "MOST_LISTED", 4)
  *_, found = written
  listed, every = module.lists(found), module.lengths(found)
  counts = {name: len(part) for name, part in listed.items()}
  assert counts == {"clusters": 3, "outliers": 4, "duplicates": 1, "next": 4, "errors": 1}
  assert (every["outliers"], every["next"]) == (20, 5)
  script = pathlib.Path(module.__file__).with_name("explore.js").read_text()
  assert "data.lengths[name]" in script and "place + 1}:" not in script  # ranks are the tables'


def test_of_too_many_images_those_of_the_lists_are_shown(monkeypatch):
  monkeypatch.setattr(module, "MOST_SHOWN", 10)
  listed = np.array([3, 50, 97])
  shown, slots = places(100, listed, seed=0)
  assert len(shown) == 10 and np.all(np.diff(shown) > 0) and np.isin(listed, shown).all()
  assert sorted(slots[np.isin(shown, listed)]) == [0, 1, 2]
  assert sorted(slots) == list(range(10))
