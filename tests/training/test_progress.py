import logging
import math
import re
import sys
import time

import pytest

from conrec_tf.config import Config
from conrec_tf.config.options.training import SizePhase
from conrec_tf.losses import loss_of_equal_projections
from conrec_tf.training.progress import ChanceLevelNotice, Progress, duration, hints

CHANCE = 2 * math.log(31)
ROW = {
  "train/total_loss": 12.3456,
  "train/contrast_loss": 7.1234,
  "train/contrast_acc": 0.0812,
  "train/supervised_acc": 0.25,
  "train/reconstruction_loss": 0.05123,
  "images_per_second": 1389.0,
  "data_wait": 0.021,
}


def test_a_file_gets_plain_lines_now_and_then(caplog):
  progress = Progress(0, [SizePhase(200, 64)])
  with caplog.at_level(logging.INFO, "conrec_tf"):
    for step in (100, 101, 200):
      progress.show({"global_step": step, "train/total_loss": 1.23456, "images_per_second": 80.0})
  lines = [record.message for record in caplog.records]
  assert len(lines) == 2  # 101 comes too soon after 100
  assert lines[0].startswith("step 100/200  loss 1.235  80 images/s")
  assert lines[1].endswith("0:00 left")


def test_the_time_left_is_reckoned_without_what_compiling_took(monkeypatch, caplog):
  clock = iter([0.0, 60.0, 80.0, 100.0, 120.0])  # began; 50 steps and compiling; 20 s for 50 each
  monkeypatch.setattr(time, "monotonic", lambda: next(clock))
  progress = Progress(0, [SizePhase(1000, 64)])
  with caplog.at_level(logging.INFO, "conrec_tf"):
    for step in (50, 100, 150):
      progress.show({"global_step": step})
    progress.exclude(20.0)  # an evaluation
    progress.show({"global_step": 150})
  assert [record.message for record in caplog.records] == [
    "step 50/1000",
    "step 100/1000  6:00 left",
    "step 150/1000  5:40 left",
    "step 150/1000  5:40 left",
  ]


def test_the_time_left_is_reckoned_by_pixels_and_anew_for_each_size(monkeypatch, caplog):
  clock = iter([0.0, 9.0, 19.0, 20.0, 100.0, 130.0])
  monkeypatch.setattr(Progress, "SECONDS_BETWEEN_PLAIN_LINES", 0.0)
  monkeypatch.setattr(time, "monotonic", lambda: next(clock))
  progress = Progress(0, [SizePhase(30, 32), SizePhase(50, 64)])
  with caplog.at_level(logging.INFO, "conrec_tf"):
    progress.show({"global_step": 10})  # with tracing
    progress.show({"global_step": 20})  # 1 s a step: 10 more, and 20 of four times the pixels
    progress.begin(30)
    progress.show({"global_step": 40})  # with tracing: as if a pixel took as long as before
    progress.show({"global_step": 45})  # 6 s a step
  assert [record.message for record in caplog.records] == [
    "step 10/50",
    "step 20/50  1:30 left",
    "step 40/50  0:40 left",
    "step 45/50  0:30 left",
  ]


@pytest.mark.parametrize(
  "phases, words", [([(511, 32), (611, 64)], "at most 7:30"), ([(911, 32)], "about 7:30")]
)
def test_a_long_training_says_first_how_long_it_will_take(monkeypatch, caplog, phases, words):
  # Made; the first step and compiling; nine steps in 4.5 s; an evaluation; another step.
  clock = iter([0.0, 30.0, 36.5])
  monkeypatch.setattr(time, "monotonic", lambda: next(clock))
  progress = Progress(0, [SizePhase(*phase) for phase in phases])
  with caplog.at_level(logging.INFO, "conrec_tf"):
    progress.announce(1)
    progress.announce(10)
    progress.exclude(1.5)
    for step in (11, 12):
      progress.announce(step)  # 0.5 s a step: 500, and 100 of four times the pixels
  [record] = caplog.records
  assert f"00 steps will take {words}, and evaluations" in record.message


def test_a_short_training_says_nothing_first(monkeypatch, caplog):
  clock = iter([0.0, 30.0, 35.0])
  monkeypatch.setattr(time, "monotonic", lambda: next(clock))
  progress = Progress(0, [SizePhase(130, 32)])
  with caplog.at_level(logging.INFO, "conrec_tf"):
    for step in (1, 11):
      progress.announce(step)
  assert not caplog.records


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_duration_is_minutes_or_hours(seconds, text):
  assert duration(seconds) == text


@pytest.mark.parametrize(
  "columns, line",
  [
    (
      200,
      "step 12400/62000  loss 12.346  contrast 7.123  acc 0.08  "
      "reconstruction 0.0512  supervised acc 0.25  1389 images/s  data wait 2%  0:00 left",
    ),
    (80, "12400/62000 loss 12.35 acc 0.08 rec 0.051 sup 0.25 1389/s wait 2% 0:00 left"),
    (41, "12400/62000 loss 12.35 wait 2% 0:00 left"),
    (20, "12400/62000 loss 12"),
  ],
)
def test_a_live_line_fits_the_terminal(monkeypatch, capsys, columns, line):
  monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
  monkeypatch.setenv("COLUMNS", str(columns))
  monkeypatch.setattr(time, "monotonic", lambda: 0.0)
  logging.getLogger("conrec_tf").setLevel(logging.INFO)
  try:
    progress = Progress(0, [SizePhase(62000, 64)])
    for step in (12399, 12400, 12401):  # the first of which says nothing of the time left
      progress.show({"global_step": step, **ROW})
    progress.pause()
  finally:
    logging.getLogger("conrec_tf").setLevel(logging.NOTSET)
  written = capsys.readouterr().out
  lines = re.split(r"\r\033\[K|\n", written)
  assert lines[0] == "" and " left" not in lines[1]
  assert lines[2:] == [line, line.replace("12400", "12401"), ""] and len(line) < columns


def rows(loss):
  return [{"global_step": step, "train/contrast_loss": loss} for step in range(10, 101, 10)]


@pytest.mark.parametrize(
  "loss, first_step, said", [(6.9, 0, 1), (6.8, 0, 0), (6.9, 10, 1), (6.9, 20, 0)]
)
def test_a_loss_at_chance_after_a_fifth_is_said_once(caplog, loss, first_step, said):
  notice = ChanceLevelNotice(CHANCE, first_step, last_step=100)
  for row in rows(loss):
    if row["global_step"] > first_step:
      notice(row)
  assert len(caplog.records) == said
  if said:
    assert "6.90 after 20 of 100 steps" in caplog.text and "6.87" in caplog.text


def test_what_is_done_already_is_not_advised(caplog):
  advice = hints(Config())
  assert advice == ["a larger --crop_min_area", "more --train_epochs"]
  paper = hints(Config(optimizer="lars", contrastive_method="nt_xent", crop_min_area=0.6))
  assert "--optimizer=adamw" in paper[0] and "decoupled" in paper[1] and len(paper) == 3
  notice = ChanceLevelNotice(CHANCE, 0, 100, advice)
  notice({"global_step": 20, "train/contrast_loss": 7.0})
  assert caplog.text.rstrip().endswith(", ".join(advice))


def test_other_losses_are_passed_over(caplog):
  notice = ChanceLevelNotice(CHANCE, 0, last_step=10)
  notice({"global_step": 5, "train/reconstruction_loss": 9.0})
  assert not caplog.records


def test_chance_levels():
  assert loss_of_equal_projections("nt_xent", 16) == pytest.approx(2 * math.log(31))
  assert loss_of_equal_projections("decoupled", 16) == pytest.approx(2 * math.log(30))
