"""What is known of a folder is kept, and no longer believed once a file has changed."""

import contextlib
import functools
import os
import sqlite3

import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.data.files import scan as file_scan
from conrec_tf.data.files.store import Folder
from conrec_tf.data.images.inspection import describe_image
from conrec_tf.data.registry import load_dataset, load_files
from conrec_tf.data.sources import image_files


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
  rng = np.random.default_rng([height, *path.name.encode()])
  Image.fromarray(rng.integers(0, 256, (height, 40, 3), np.uint8)).save(path)


def look(folder, monkeypatch):
  """Opens a folder; returns the source, and the names of the files that were decoded for that."""
  decoded, make = [], image_files.image_describer

  def noted(*limits):
    describe = make(*limits)

    def describer(encoded):
      decoded.append(contents[encoded.numpy()])
      return describe(encoded)

    return describer

  contents = {path.read_bytes(): path.name for path in folder.iterdir()}
  with monkeypatch.context() as patch:
    patch.setattr(image_files, "image_describer", noted)
    source = load_dataset(
      Config(
        dataset="image_folder",
        data_dir=str(folder),
        train_split="train+test",
        max_undecodable="1",
      )
    )
  return source, sorted(decoded)


def test_a_second_look_decodes_nothing(photos, monkeypatch):
  first, decoded = look(photos, monkeypatch)
  assert len(decoded) == 12
  second, decoded = look(photos, monkeypatch)
  assert decoded == []
  assert first.bad == second.bad and first.bad[0].name == "05.png"
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
  save = file_scan.FileScan.save

  def killed(scan, index):
    save(scan, index)
    if scan.is_good.sum() > 1:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(file_scan, "FILES_AT_A_TIME", 7)
    patch.setattr(file_scan, "SECONDS_BETWEEN_SAVES", 0)
    patch.setattr(file_scan.FileScan, "save", killed)
    with pytest.raises(KeyboardInterrupt):
      load_dataset(Config(dataset="image_folder", data_dir=str(photos)))
  source, decoded = look(photos, monkeypatch)
  assert decoded == [f"{index:02}.png" for index in range(8, 12)]
  assert len(source.bad) == 1 and source.bad[0].name == "05.png"


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_cache_is_made_anew(photos, monkeypatch, content):
  look(photos, monkeypatch)
  path = file_scan.cache_path(str(photos))
  path.write_bytes(path.read_bytes()[:500] if content is None else content)
  source, decoded = look(photos, monkeypatch)
  assert len(decoded) == 12 and len(source.bad) == 1
  assert look(photos, monkeypatch)[1] == []


def test_caches_of_the_earlier_format_are_removed_and_nothing_else(photos, monkeypatch):
  folder = file_scan.cache_folder()
  folder.mkdir(parents=True)
  for name in ("folder-00ff.npz", "folder-11ff.npz", "labels-00ff.npy", "frames.npz"):
    (folder / name).write_bytes(b"")
  look(photos, monkeypatch)
  own = file_scan.cache_path(str(photos)).name
  assert sorted(os.listdir(folder)) == sorted([own, "labels-00ff.npy", "frames.npz"])


def test_without_a_place_for_the_cache_it_works_all_the_same(photos, monkeypatch, tmp_path):
  (tmp_path / "file").write_bytes(b"")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  for _ in range(2):
    assert len(look(photos, monkeypatch)[1]) == 12


@pytest.mark.parametrize("is_other", [False, True])
def test_other_decoders_are_asked_again_of_what_failed(photos, monkeypatch, is_other):
  look(photos, monkeypatch)
  if is_other:
    monkeypatch.setattr(file_scan, "decoders", lambda: "pillow 99")
  assert look(photos, monkeypatch)[1] == (["05.png"] if is_other else [])
  assert look(photos, monkeypatch)[1] == []


def test_the_libraries_that_decode_have_versions():
  versions = file_scan.decoders()
  assert all(f"{name} " in versions for name in ("tensorflow", "pillow", "tifffile", "simplejpeg"))


class OnALooseWire(Folder):
  """A folder of which a file can't be read for some time."""

  name, error = "03.png", PermissionError(13, "Permission denied")

  def content(self, name):
    if self.error and name == self.name:
      raise self.error
    return super().content(name)


def scanned(store, names):
  return file_scan.scan_files(store, names, describe_image, 10**6)


@pytest.mark.parametrize(
  "error", [PermissionError(13, "Permission denied"), OSError(5, "I/O error")]
)
def test_why_a_file_could_not_be_read_is_not_kept(photos, error):
  store, names = OnALooseWire(str(photos)), sorted(os.listdir(photos))
  for _ in range(2):
    store.error = error
    scan = scanned(store, names)
    assert scan.errors["03.png"] == error.strerror and not scan.is_good[3]
    store.error = None
    scan = scanned(store, names)
    assert set(scan.errors) == {"05.png"} and scan.is_good[3]
    (photos / "03.png").touch()  # else it is known to be good


def test_a_file_that_is_readable_a_moment_later_is_good(photos, monkeypatch):
  store, names = OnALooseWire(str(photos)), sorted(os.listdir(photos))
  content = store.content

  def failing_once(name):
    try:
      return content(name)
    finally:
      store.error = None

  store.name = "00.png"  # looked at first
  monkeypatch.setattr(store, "content", failing_once)
  assert set(scanned(store, names).errors) == {"05.png"}


def test_a_file_that_may_not_be_read_any_more_is_a_bad_image(photos, monkeypatch):
  first, _ = look(photos, monkeypatch)
  access = os.access
  with monkeypatch.context() as patch:  # the superuser may read everything
    patch.setattr(os, "access", lambda path, mode: "03.png" not in path and access(path, mode))
    names = sorted(os.listdir(photos))
    scan = scanned(OnALooseWire(str(photos)), names)
  assert scan.errors["03.png"] == "Permission denied"
  again, decoded = look(photos, monkeypatch)
  assert decoded == ["03.png"] and again.bad == first.bad and again.digest == first.digest


def test_files_of_one_name_keep_their_order_where_one_cannot_be_read(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  names = ["a/03.png", "b/03.png", "c/03.png"]
  for place, name in enumerate(names):
    (tmp_path / name).parent.mkdir()
    photograph(tmp_path / name, 30 + place)
  orders = []
  for given in (names, names[::-1]):
    store = OnALooseWire(str(tmp_path))
    store.name = "b/03.png"
    scan = scanned(store, list(given))
    assert scan.names[0] == "b/03.png" and not scan.digests[0].any()
    orders.append(scan.names)
  assert orders[0] == orders[1]


def test_two_scans_at_once_both_keep_what_they_found(photos, monkeypatch):
  """The second one begins and ends while the first one looks at a file."""
  names, others = sorted(os.listdir(photos)), []

  def describe(encoded):
    if not others:
      others.append(scanned(Folder(str(photos)), names))
    return describe_image(encoded)

  first = file_scan.scan_files(Folder(str(photos)), names, describe, 10**6)
  assert first.errors == others[0].errors and first.is_good.sum() == others[0].is_good.sum() == 11
  assert look(photos, monkeypatch)[1] == []


def test_what_another_process_has_not_finished_writing_is_as_it_was(photos, monkeypatch):
  look(photos, monkeypatch)
  photograph(photos / "12.png", 30)
  connect = functools.partial(sqlite3.connect, timeout=0.1)
  with contextlib.closing(connect(file_scan.cache_path(str(photos)))) as other:
    other.execute("DELETE FROM images")  # within a transaction that is never committed
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert look(photos, monkeypatch)[1] == ["12.png"]  # which can't be kept now
  assert look(photos, monkeypatch)[1] == ["12.png"]
  assert look(photos, monkeypatch)[1] == []


def test_a_list_of_some_files_forgets_none_of_the_others_but_those_that_are_gone(
  photos, monkeypatch
):
  look(photos, monkeypatch)
  (photos / "00.png").unlink()
  for files in (["01.png"], ["02.png", "03.png"]):
    load_files(Config(dataset="image_folder"), str(photos), files)
  with contextlib.closing(sqlite3.connect(file_scan.cache_path(str(photos)))) as database:
    [[count]] = database.execute("SELECT COUNT(*) FROM images")
  photograph(photos / "00.png", 50)
  assert count == 11 and look(photos, monkeypatch)[1] == ["00.png"]
