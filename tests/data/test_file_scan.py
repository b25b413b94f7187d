"""What is known of a folder is kept, and no longer believed once a file has changed."""

import os

import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.data import file_scan
from conrec_tf.data.file_formats import EXTRA
from conrec_tf.data.registry import load_dataset


@pytest.fixture
def photos(tmp_path, monkeypatch):
  """A folder with 12 photographs, one of them bad."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  folder = tmp_path / "photos"
  folder.mkdir()
  for index in range(12):
    photograph(folder / f"{index:02}.png", 30 + index % 2)
  (folder / "05.png").write_bytes(b"nothing")
  return folder


def photograph(path, height):
  rng = np.random.default_rng(height)
  Image.fromarray(rng.integers(0, 256, (height, 40, 3), np.uint8)).save(path)


def look(folder, monkeypatch):
  """Opens a folder; returns the source, and the names of the files that were decoded for that."""
  decoded, scan = [], file_scan.scan_images

  def noted(images, *args):
    decoded.extend(os.path.basename(path.decode()) for path in images.as_numpy_iterator())
    return scan(images, *args)

  with monkeypatch.context() as patch:
    patch.setattr(file_scan, "scan_images", noted)
    source = load_dataset(
      Config(
        dataset="image_folder",
        data_dir=str(folder),
        train_split="train+test",
        max_undecodable="1",
      )
    )
  return source, decoded


def test_a_second_look_decodes_nothing(photos, monkeypatch):
  first, decoded = look(photos, monkeypatch)
  assert len(decoded) == 12
  second, decoded = look(photos, monkeypatch)
  assert decoded == []
  assert first.bad == second.bad and first.bad[0].startswith("05.png: ")
  assert first.digest == second.digest and not second.one_size
  np.testing.assert_array_equal(first.train.shapes, second.train.shapes)


def test_files_that_changed_or_came_are_looked_at_again(photos, monkeypatch):
  before, _ = look(photos, monkeypatch)
  photograph(photos / "05.png", 50)
  photograph(photos / "12.png", 30)
  (photos / "00.png").unlink()
  source, decoded = look(photos, monkeypatch)
  assert decoded == ["05.png", "12.png"]
  assert source.bad == () and source.train.num_examples == 12
  assert source.digest != before.digest


def test_what_was_seen_before_a_kill_is_known(photos, monkeypatch):
  scan = file_scan.scan_images

  def killed(images, decode, title, keep, seconds, width):
    shapes = scan(images, decode, title, width=width)
    shapes[7:] = -1
    keep(shapes)
    raise KeyboardInterrupt

  monkeypatch.setattr(file_scan, "scan_images", killed)
  with pytest.raises(KeyboardInterrupt):
    load_dataset(Config(dataset="image_folder", data_dir=str(photos)))
  monkeypatch.setattr(file_scan, "scan_images", scan)
  source, decoded = look(photos, monkeypatch)
  bad = ["05.png"]  # what is wrong with it is only asked at the end
  assert decoded == bad + [f"{index:02}.png" for index in range(7, 12)]
  assert len(source.bad) == 1 and "05.png" in source.bad[0]


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_cache_is_made_anew(photos, monkeypatch, content):
  look(photos, monkeypatch)
  path = file_scan.cache_path(str(photos))
  path.write_bytes(path.read_bytes()[:500] if content is None else content)
  source, decoded = look(photos, monkeypatch)
  assert len(decoded) == 12 and len(source.bad) == 1
  assert look(photos, monkeypatch)[1] == []


def test_without_a_place_for_the_cache_it_works_all_the_same(photos, monkeypatch, tmp_path):
  (tmp_path / "file").write_bytes(b"")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  for _ in range(2):
    assert len(look(photos, monkeypatch)[1]) == 12


def test_what_a_missing_library_decided_is_asked_again():
  scan = file_scan.FileScan.of_files(["a.dcm", "b.jpg"], np.array([1, 2]), np.array([3, 4]))
  scan.shapes[:] = 0
  scan.errors = {"a.dcm": f"DICOM needs pydicom: {EXTRA}", "b.jpg": "damaged"}
  scan.forget_circumstances(1000)
  assert scan.shapes[:, 2].tolist() == [-1, 0] and scan.errors == {"b.jpg": "damaged"}
