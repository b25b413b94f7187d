"""Files in tar archives."""

import io
import shutil
import subprocess
import tarfile

import numpy as np
import pytest

from conrec_tf.data.sources.tar_shards import TarShards, archived_files

BLOCK = tarfile.BLOCKSIZE


def archive(path, files=(), links=(), format=tarfile.DEFAULT_FORMAT):
  """Writes files, (name, content), and links, (name, kind, where to)."""
  with tarfile.open(path, "w", format=format) as tar:
    for name, data in files:
      info = tarfile.TarInfo(name)
      info.size = len(data)
      tar.addfile(info, io.BytesIO(data))
    for name, kind, target in links:
      info = tarfile.TarInfo(name)
      info.type, info.linkname = kind, target
      tar.addfile(info)


def contents(path):
  """Returns `{name: content}` as training reads them, and what is left out."""
  files, others = archived_files(path)
  store = TarShards(str(path), [path], {file.name: (0, file) for file in files})
  return {file.name: store.content(file.name) for file in files}, others


def test_links_are_the_files_that_they_lead_to(tmp_path):
  archive(
    tmp_path / "a.tar",
    [("./x/a.jpg", b"first"), ("b.jpg", b"second")],
    [
      ("x/same.jpg", tarfile.LNKTYPE, "./x/a.jpg"),
      ("x/up.jpg", tarfile.SYMTYPE, "../b.jpg"),
      ("twice.jpg", tarfile.SYMTYPE, "x/up.jpg"),
      ("gone.jpg", tarfile.SYMTYPE, "/elsewhere/b.jpg"),
      ("self.jpg", tarfile.SYMTYPE, "self.jpg"),
      ("folder", tarfile.DIRTYPE, ""),
      ("pipe", tarfile.FIFOTYPE, ""),
    ],
  )
  found, others = contents(tmp_path / "a.tar")
  assert found == {
    "./x/a.jpg": b"first",
    "b.jpg": b"second",
    "x/same.jpg": b"first",
    "x/up.jpg": b"second",
    "twice.jpg": b"second",
  }
  assert others == ["gone.jpg", "self.jpg", "pipe"]


@pytest.mark.skipif(not shutil.which("tar"), reason="no tar")
@pytest.mark.parametrize(
  "options",
  [
    ("--format=gnu",),
    ("--format=posix", "--sparse-version=0.0"),
    ("--format=posix", "--sparse-version=0.1"),
    ("--format=posix", "--sparse-version=1.0"),
  ],
)
def test_sparse_files_are_whole(tmp_path, rng, options):
  expected = {}
  for name, stored in (
    ("some", (3, 9, 30)),
    ("none", ()),
    ("end", (63,)),
    ("many", range(0, 64, 2)),
  ):
    with open(tmp_path / name, "wb") as file:
      file.truncate(64 * 4096 + 5)
      for block in stored:
        file.seek(block * 4096)
        file.write(rng.bytes(4096))
    expected[name] = (tmp_path / name).read_bytes()
  done = subprocess.run(
    ["tar", "-cf", "a.tar", "--sparse", "--hole-detection=raw", *options, *expected],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  if done.returncode:
    pytest.skip(f"not GNU's tar: {done.stderr}")
  if not any(file.pieces is not None for file in archived_files(tmp_path / "a.tar")[0]):
    pytest.skip("no holes in files here")
  found, others = contents(tmp_path / "a.tar")
  assert found == expected and not others


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_cut_archive_is_refused_wherever_it_ends(tmp_path, format):
  path = tmp_path / "a.tar"
  archive(path, [("a.jpg", b"a" * 700), ("b.jpg", b"b" * 100)], format=format)
  whole = path.read_bytes()
  end = 3 * BLOCK + 2 * BLOCK  # a header with two blocks, a header with one
  assert not any(whole[end:])
  for size in (*range(100, end + BLOCK, 100), 3 * BLOCK, end, end + BLOCK - 1):
    path.write_bytes(whole[:size])
    with pytest.raises((tarfile.TarError, ValueError)):
      archived_files(path)
  path.write_bytes(whole[: end + BLOCK])
  assert len(archived_files(path)[0]) == 2


def test_a_damaged_header_and_a_second_archive_are_refused(tmp_path):
  path = tmp_path / "a.tar"
  archive(path, [("a.jpg", b"a" * 700), ("b.jpg", b"b" * 100)])
  whole = path.read_bytes()
  path.write_bytes(whole[: 3 * BLOCK] + b"?" + whole[3 * BLOCK + 1 :])
  with pytest.raises(ValueError, match=f"cut or damaged at byte {3 * BLOCK}"):
    archived_files(path)
  path.write_bytes(whole + whole)
  with pytest.raises(ValueError, match="more follows its end"):
    archived_files(path)


def test_sizes_times_and_places(tmp_path):
  archive(tmp_path / "a.tar", [("a", b"12345"), ("b", b"")])
  files, _ = archived_files(tmp_path / "a.tar")
  store = TarShards("here", [tmp_path / "a.tar"], {file.name: (0, file) for file in files})
  sizes, times = store.stats(["b", "a"])
  assert sizes.tolist() == [0, 5]
  assert times.tolist() == [(tmp_path / "a.tar").stat().st_mtime_ns] * 2
  np.testing.assert_array_equal(store.locations(["a"]), [[0, BLOCK, 5]])
  assert store.read(store.locations(["a"])[0]) == b"12345"
