"""Output goes on when nobody reads it any more."""

import logging
import os
import sys

import pytest
from tqdm import tqdm

from conrec_tf.output import LastingOutput, TerminalFormatter, outlive_readers, progress_bar


def closed_pipe():
  reading, writing = os.pipe()
  os.close(reading)
  return writing


def closed_terminal():
  ours, theirs = os.openpty()
  os.close(ours)
  return theirs


@pytest.fixture(params=[closed_pipe, closed_terminal])
def unread(request):
  """A descriptor that fails when it is written to."""
  descriptor = request.param()
  with pytest.raises(OSError, match="Input/output error|Broken pipe"):
    os.write(descriptor, b"a")
  yield descriptor
  os.close(descriptor)


def test_a_descriptor_that_nobody_reads_leads_to_nowhere(unread):
  output = LastingOutput(unread)
  assert output.write(b"abc") == 3
  assert os.write(unread, b"by a library") == 12
  assert not output.isatty()


def test_output_that_is_read_arrives():
  reading, writing = os.pipe()
  assert LastingOutput(writing).write(b"abc") == 3
  assert os.read(reading, 10) == b"abc"
  os.close(reading)
  os.close(writing)


def test_a_full_disk_is_still_an_error():
  descriptor = os.open("/dev/full", os.O_WRONLY)
  with pytest.raises(OSError, match="No space left"):
    LastingOutput(descriptor).write(b"abc")
  os.close(descriptor)


def test_prints_bars_and_logs_go_on(unread, monkeypatch, capfd):
  streams = [open(os.dup(unread), "w", buffering=1) for _ in range(2)]
  monkeypatch.setattr(sys, "stdout", streams[0])
  monkeypatch.setattr(sys, "stderr", streams[1])
  outlive_readers()
  logger = logging.getLogger("of a test")
  logger.propagate = False
  handler = logging.StreamHandler(sys.stdout)
  logger.handlers = [handler]
  handler.handleError = lambda record: pytest.fail("logging fails")
  for _ in range(2):
    print("a line", flush=True)
    print("a line", file=sys.stderr)
    logger.warning("a line")
    assert list(tqdm(range(3), file=sys.stderr, disable=False)) == [0, 1, 2]
  for stream in (sys.stdout, sys.stderr):
    stream.close()


def test_streams_are_made_to_last_once(monkeypatch):
  reading, writing = os.pipe()
  stream = open(writing, "w")
  monkeypatch.setattr(sys, "stdout", stream)
  outlive_readers()
  lasting = sys.stdout
  outlive_readers()
  assert sys.stdout is lasting
  print("größer", flush=True)
  assert os.read(reading, 10) == "größer\n".encode()
  os.close(reading)
  stream.close()


def test_a_progress_bar_counts_what_passes_and_shows_nothing_beside_a_terminal(capsys):
  assert list(progress_bar("Reading", "files", 3, iter("abc"))) == ["a", "b", "c"]
  with progress_bar("Reading", "files", 2) as bar:
    bar.update()
  assert capsys.readouterr() == ("", "")


def test_lines_of_a_log_break_between_words_as_wide_as_the_terminal(monkeypatch):
  monkeypatch.setenv("COLUMNS", "21")
  path = "/a/path/longer-than-a-row/result.json"
  text = f"one line of some words\n  indented\n\nResults in {path}, and more"
  record = logging.LogRecord("name", logging.INFO, "file", 1, "%s", (text,), None)
  assert TerminalFormatter().format(record) == (
    f"\r\033[Kone line of some\n  words\n  indented\n\nResults in\n  {path},\n  and more"
  )


def test_a_terminal_of_one_column_has_a_word_in_each_row(monkeypatch):
  monkeypatch.setenv("COLUMNS", "1")
  record = logging.LogRecord("name", logging.INFO, "file", 1, "two words", None, None)
  assert TerminalFormatter().format(record) == "\r\033[Ktwo\n  words"
