import multiprocessing
import os
import resource
import signal
import time

import pytest

from conrec_tf import files
from conrec_tf.errors import UsageError
from conrec_tf.files import (
  csv_text,
  io_as_usage_error,
  is_output_folder,
  is_temporary,
  make_output_folder,
  remove_leftovers,
  replacing,
  write_bytes,
  write_text,
)


def names(folder):
  return sorted(os.listdir(folder))


def killed(function, *args):
  """Runs a function in a process that is killed in it, or that kills itself."""
  process = multiprocessing.get_context("fork").Process(target=function, args=args)
  process.start()
  process.join()
  assert process.exitcode == -signal.SIGKILL


def die(*_):
  os.kill(os.getpid(), signal.SIGKILL)


def write_folder(path, text, end=lambda: None):
  with replacing(path) as temporary:
    temporary.mkdir()
    (temporary / "page").write_text(text)
    end()


def write_half_a_file(path):
  with replacing(path) as temporary:
    temporary.write_text("half")
    die()


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / "a.json"
  write_text(path, "Größe\n")
  assert path.read_bytes() == "Größe\n".encode()
  with pytest.raises(ZeroDivisionError):
    with replacing(path) as temporary:
      temporary.write_text("half")
      assert path.read_text() == "Größe\n"
      raise ZeroDivisionError
  assert path.read_text() == "Größe\n" and names(tmp_path) == ["a.json"]


def test_a_text_keeps_bytes_that_are_not_utf8(tmp_path):
  write_text(tmp_path / "flags.cfg", os.fsdecode(b"--data_dir=caf\xe9"))
  assert (tmp_path / "flags.cfg").read_bytes() == b"--data_dir=caf\xe9"


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
  write_bytes(tmp_path / ("a" * 251 + ".png"), b"1")
  assert names(tmp_path) == ["a" * 251 + ".png"]


def test_a_folder_is_replaced_by_another(tmp_path):
  write_folder(tmp_path / "report", "first")
  (tmp_path / "report" / "old").touch()
  write_folder(tmp_path / "report", "second")
  assert names(tmp_path) == ["report"] and names(tmp_path / "report") == ["page"]
  assert (tmp_path / "report/page").read_text() == "second"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
  write_text(tmp_path / "result.json", "1")
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))  # bytes in a file
  try:
    with pytest.raises(UsageError, match=r"can be written \(File too large\). Received: .*"):
      write_text(tmp_path / "result.json", "1" * 100)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert (tmp_path / "result.json").read_text() == "1" and names(tmp_path) == ["result.json"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
  killed(write_folder, tmp_path / "report", "half", die)
  killed(write_half_a_file, tmp_path / "a")
  assert len(names(tmp_path)) == 2 and all(map(is_temporary, names(tmp_path)))
  remove_leftovers(tmp_path)
  assert names(tmp_path) == []


def test_what_a_user_or_a_living_process_writes_stays(tmp_path):
  mine = ["notes.tmp", "report.tmp", "a.123.tmp", "template", ".conrec_tf", "x.old"]
  for name in mine:
    (tmp_path / name).touch()
  with replacing(tmp_path / "a") as temporary:
    temporary.touch()
    remove_leftovers(tmp_path)
    assert temporary.exists()
  assert names(tmp_path) == sorted([*mine, "a"])


def test_a_leftover_is_known_where_its_process_has_a_number_that_is_used_again(tmp_path):
  leftover = tmp_path / f".conrec_tf.{os.getpid()}.1.0.{files._machine()}"
  leftover.touch()
  remove_leftovers(tmp_path)
  assert not leftover.exists()


def test_what_another_machine_writes_is_left_to_it_for_a_day(tmp_path):
  fresh, old = (tmp_path / f".conrec_tf.{number}.1.0.elsewhere-1" for number in (1, 2))
  fresh.touch()
  old.mkdir()
  day_before_yesterday = time.time() - 2 * 24 * 60 * 60
  os.utime(old, (day_before_yesterday, day_before_yesterday))
  remove_leftovers(tmp_path)
  assert names(tmp_path) == [fresh.name]


@pytest.mark.parametrize("call", [1, 2])
def test_a_kill_while_a_folder_is_replaced_loses_neither(tmp_path, monkeypatch, call):
  path = tmp_path / "20"
  write_folder(path, "first")
  calls, replace = [], os.replace

  def replace_or_die(*args):
    calls.append(args)
    if len(calls) == call:
      die()
    replace(*args)

  monkeypatch.setattr(os, "replace", replace_or_die)
  killed(write_folder, path, "second")
  monkeypatch.undo()
  remove_leftovers(tmp_path)
  assert names(tmp_path) == ["20"] and (path / "page").read_text() == "first"


def test_a_kill_after_a_folder_was_replaced_leaves_the_new_one(tmp_path, monkeypatch):
  path = tmp_path / "20"
  write_folder(path, "first")
  monkeypatch.setattr(files, "remove", die)
  killed(write_folder, path, "second")
  monkeypatch.undo()
  assert names(tmp_path) == ["20", "20.conrec_tf-before"]
  remove_leftovers(tmp_path)
  assert names(tmp_path) == ["20"] and (path / "page").read_text() == "second"


def test_leftovers_of_no_folder_are_none(tmp_path):
  remove_leftovers(tmp_path / "none")


def test_an_error_of_the_system_is_one_line(tmp_path):
  with pytest.raises(UsageError, match=r"can be written \(No such file or directory\). Rec"):
    with io_as_usage_error(tmp_path):
      (tmp_path / "none").read_text()


def test_a_folder_of_output_is_known_by_its_mark_or_by_the_settings_of_a_run(tmp_path):
  assert not is_output_folder(tmp_path) and not is_output_folder(tmp_path / "none")
  for content, ours in (
    (b'{"model_dir": "runs/a", "train_mode": "pretrain"}', True),
    (b'{"model_type": "bert"}', False),
    (b'["model_dir", "train_mode"]', False),
    (b'{"model_dir"', False),
    (b"\xff", False),
  ):
    (tmp_path / "config.json").write_bytes(content)
    assert is_output_folder(tmp_path) == ours
  make_output_folder(tmp_path / "runs" / "a")
  assert is_output_folder(tmp_path / "runs" / "a") and not is_output_folder(tmp_path / "runs")


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path):
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "photo.jpg").touch()
  with pytest.raises(UsageError, match="must not hold a folder data of somebody else"):
    with replacing(tmp_path / "data", "page"):
      pytest.fail("replaced")
  (tmp_path / "data" / "page").touch()
  with replacing(tmp_path / "data", "page") as temporary:
    temporary.mkdir()
  assert names(tmp_path / "data") == []


def test_rows_are_comma_separated_with_quotes_where_they_are_needed():
  assert csv_text([("image", "label"), ("a.png", 'a, "b"')]) == 'image,label\na.png,"a, ""b"""\n'
