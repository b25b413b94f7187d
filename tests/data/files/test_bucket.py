"""Buckets: what is copied, when, and what a cut leaves. The bucket is fsspec's, in memory."""

import json
import os
import pathlib

import fsspec
from fsspec.implementations.memory import MemoryFileSystem
import kinds_of_data
import pytest

from conrec_tf.config import Config
from conrec_tf.data.files.bucket import local_copy
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError

ADDRESS = "memory://photos"


@pytest.fixture
def bucket(monkeypatch, tmp_path):
  """A file system with an empty bucket, and a list of what was read of it; the cache is empty."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  system = fsspec.filesystem("memory")
  system.store.clear()
  read, get_file = [], MemoryFileSystem.get_file

  def noted(self, remote, local, **kwargs):
    read.append(remote.removeprefix("/photos/"))
    return get_file(self, remote, local, **kwargs)

  monkeypatch.setattr(MemoryFileSystem, "get_file", noted)
  system.read = read
  yield system
  system.store.clear()


def put(system, files):
  for name, content in files.items():
    system.pipe_file(f"/photos/{name}", content)


def contents(folder):
  """`{name: bytes}` of the files below a folder."""
  files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
  return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


FILES = {"a/1.png": b"one", "a/2.png": b"two", "b/3.png": b"three"}


def test_only_what_has_changed_is_copied_again(bucket):
  put(bucket, FILES)
  path = local_copy(ADDRESS)
  assert contents(path) == FILES and sorted(bucket.read) == sorted(FILES)
  bucket.read.clear()
  assert local_copy(ADDRESS) == path and not bucket.read
  put(bucket, {"a/1.png": b"ONE", "c/4.png": b""})  # of the same size, but written later
  bucket.rm("/photos/b/3.png")
  assert local_copy(ADDRESS) == path
  assert contents(path) == {"a/1.png": b"ONE", "a/2.png": b"two", "c/4.png": b""}
  assert sorted(bucket.read) == ["a/1.png", "c/4.png"]


def test_what_was_cut_off_goes_on_with_what_is_lacking(bucket, monkeypatch):
  put(bucket, FILES)
  get_file = MemoryFileSystem.get_file

  def cut(self, remote, local, **kwargs):
    if remote.endswith("2.png"):
      pathlib.Path(local).write_bytes(b"t")
      raise ConnectionError("the line is cut")
    get_file(self, remote, local, **kwargs)

  with monkeypatch.context() as patch:
    patch.setattr(MemoryFileSystem, "get_file", cut)
    with pytest.raises(UsageError) as error:
      local_copy(ADDRESS)
  assert "(the line is cut); what was copied stays" in str(error.value)
  assert f"Received: {ADDRESS}" in str(error.value)
  copied = set(bucket.read)
  assert copied <= {"a/1.png", "b/3.png"}
  bucket.read.clear()
  path = local_copy(ADDRESS)
  assert sorted(bucket.read) == sorted(FILES.keys() - copied) and contents(path) == FILES


def test_a_copy_that_is_damaged_or_not_noted_to_the_end_is_made_again(bucket):
  put(bucket, FILES)
  path = pathlib.Path(local_copy(ADDRESS))
  (path / "a/1.png").write_bytes(b"o")
  (path / "b/3.png").unlink()
  [notes] = path.parent.glob("*.jsonl")
  lines = notes.read_text().splitlines()
  noted = {json.loads(line)[0] for line in lines}
  assert noted == set(FILES)
  notes.write_text("\n".join(lines) + '\n["a/2.p')
  bucket.read.clear()
  assert contents(local_copy(ADDRESS)) == FILES
  assert sorted(bucket.read) == ["a/1.png", "b/3.png"]


def test_a_file_that_comes_short_is_no_copy(bucket, monkeypatch):
  put(bucket, FILES)
  short = lambda self, remote, local, **kwargs: pathlib.Path(local).write_bytes(b"t")
  monkeypatch.setattr(MemoryFileSystem, "get_file", short)
  with pytest.raises(UsageError, match=r"\(1 of \d bytes of ./\d.png came\)"):
    local_copy(ADDRESS)


def test_patterns_and_single_files_are_copied_alone(bucket):
  put(bucket, {f"{name}.tar": name.encode() for name in ("train-0", "train-1", "train-2", "test")})
  path = local_copy(f"{ADDRESS}/train-{{0..1}}.tar")
  assert os.path.basename(path) == "train-{0..1}.tar"
  assert set(contents(os.path.dirname(path))) == {"train-0.tar", "train-1.tar"}
  path = local_copy(f"{ADDRESS}/test.tar")
  assert pathlib.Path(path).read_bytes() == b"test"


@pytest.mark.parametrize(
  "address, expected",
  [
    (ADDRESS, "data_dir must hold files"),
    ("nowhere://photos", "pip install -r requirements-buckets.txt (Protocol not known: nowhere)"),
  ],
)
def test_what_is_not_there_is_said(bucket, address, expected):
  with pytest.raises(UsageError) as error:
    local_copy(address)
  assert expected in str(error.value)


def test_a_name_that_leads_elsewhere_is_refused(bucket, monkeypatch):
  put(bucket, FILES)
  found = {"/photos/../../evil.png": {"size": 1, "type": "file"}}
  monkeypatch.setattr(MemoryFileSystem, "find", lambda *args, **kwargs: found)
  with pytest.raises(UsageError, match=r"without '\.\.'"):
    local_copy(ADDRESS)


@pytest.mark.parametrize("kind", ["image_folder", "webdataset", "parquet"])
def test_a_bucket_is_the_data_set_that_a_folder_is(bucket, tmp_path, monkeypatch, kind):
  (tmp_path / "data").mkdir()
  values = kinds_of_data.write(kind, tmp_path / "data", monkeypatch)
  own = load_dataset(Config(**values))
  root = pathlib.Path(values["data_dir"])
  if not root.is_dir():
    root = root.parent
  put(bucket, contents(root))
  source = load_dataset(Config(**{**values, "data_dir": ADDRESS}))
  assert source.digest == own.digest and source.class_names == own.class_names
  assert source.name == "photos"  # after which folders of embeddings are called
