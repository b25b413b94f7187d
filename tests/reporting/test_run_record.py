"""What runs beside each other are called."""

import pathlib

import pytest

from conrec_tf.reporting.run_record import last_parts, told_apart


@pytest.mark.parametrize(
  "paths, ends",
  [
    (["/runs/a"], ["a"]),
    (["/runs/a", "/runs/b"], ["a", "b"]),
    (["/runs/a/seed_0", "/runs/a/seed_1"], ["seed_0", "seed_1"]),
    (["/runs/a/seed_0", "/runs/b/seed_0"], ["a/seed_0", "b/seed_0"]),
    (["/x/a/run", "/y/a/run", "/y/b"], ["x/a/run", "y/a/run", "/y/b"]),
    (["/runs/a", "/runs/a", "/runs/b"], ["a", "a", "b"]),
    (["/a", "/b/a"], ["/a", "b/a"]),
  ],
)
def test_folders_are_called_by_as_much_of_their_paths_as_tells_them_apart(paths, ends):
  found = last_parts([pathlib.PurePath(path) for path in paths])
  assert found == ends
  if len(set(paths)) == len(paths):
    names = told_apart(["ConRec"] * len(paths), found)
    assert len(set(names)) == len(paths)
