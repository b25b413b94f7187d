"""The page of a verdict, of made-up numbers."""

import json
import pathlib
import re

import pytest

from conrec_tf.config import Config
from conrec_tf.reporting.run_record import RunRecord
from conrec_tf.reporting.verdict_report import (
  differences_table,
  reached_table,
  read_verdict,
  readings_table,
  verdict_section,
  write_verdict_page,
)

SENTENCE = "Worth it: +5.0 points against untrained, +3.0 to +7.0, above the margin of 1, on 9 <."


def difference(amount, against, value, needed=None):
  return {
    "amount": amount,
    "against": against,
    "answer": "worth it",
    "value": value,
    "interval": [value - 0.02, value + 0.02],
    "images_to_decide": needed,
  }


def method(name, trainings, **reached):
  chosen = {
    "representation": "embedding",
    "dimensions": 240,
    "standardised": True,
    "strength": 0.1,
    "validation": 0.5,
  }
  return {
    "name": name,
    "trainings": trainings,
    "reached": reached,
    "chosen_on_held_out_labels": [chosen] * trainings,
  }


def at_step(step, data=None):
  """A run that was measured at a step."""
  settings = dict.fromkeys(("eval_crop", "cv_folds"))
  result = {"global_step": step, "measured_on": data or {}, "evaluated_with": settings}
  return RunRecord(pathlib.Path(), Config(), [], {}, result, None, [])


@pytest.fixture
def result():
  """What `verdict.json` holds of a run of two seeds, against its untrained network."""
  few, every = (
    {"mean": mean, "std": 0.012, "classifiers": count} for mean, count in ((0.25, 5), (0.5, 1))
  )
  return {
    "sentence": SENTENCE,
    "margin": 0.01,
    "comparisons": 1,
    "metric": "eval/linear_top_1_accuracy",
    "amounts": [
      {"amount": "shots_1", "words": "1 image a class", "labels": 102, "answer": "can't be told"},
      {"amount": "fraction_1", "words": "all labels", "labels": 1020, "answer": "worth it"},
    ],
    "methods": [
      method("this run", 2, shots_1=few, fraction_1=every),
      method("supervised from scratch", 0, fraction_1=every),
    ],
    "differences": [
      difference("shots_1", "untrained", -0.003, 12345),
      difference("fraction_1", "untrained", 0.05),
    ],
  }


def test_tables(result):
  assert differences_table(result).rows == [
    ("1 image a class", "untrained", "-0.30", "-2.30 to +1.70", "worth it", "12,345"),
    ("all labels", "untrained", "+5.00", "+3.00 to +7.00", "worth it", ""),
  ]
  assert reached_table(result).rows == [
    ("1 image a class (102)", "25.00 ± 1.20", "", "can't be told"),
    ("all labels (1,020)", "50.00", "50.00", "worth it"),
  ]
  [first, second] = readings_table(result).rows
  assert first == ("this run", "embedding", "standardised", "240", "0.1", "50.00") == second


def test_a_page_is_one_file_with_the_sentence_and_takes_the_place_of_an_earlier_one(
  result, tmp_path
):
  for _ in range(2):
    page = write_verdict_page(tmp_path, result)
  text = page.read_text()
  assert SENTENCE.replace("<", "&lt;") in text
  assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
  assert "another seed" not in text  # of two trainings
  assert (page.parent / "differences.csv").read_text().count("\n") == 3
  result["methods"][0]["trainings"], result["comparisons"] = 1, 3
  text = write_verdict_page(tmp_path, result).read_text()
  assert "how far another seed would be isn't" in text.replace("&#39;", "'")
  assert "the 3 comparisons with one amount of labels" in text
  result["methods"].append(method("another", 3))  # whose seeds tell how far one of ours would be
  text = write_verdict_page(tmp_path, result).read_text()
  assert "in the intervals against supervised from scratch." in text


def test_a_report_tells_the_verdict_on_its_run_or_on_the_seeds_that_it_is_one_of(result, tmp_path):
  run = tmp_path / "several/seed_0"
  (run / "verdict").mkdir(parents=True)
  (run.parent / "verdict").mkdir()
  assert read_verdict(run) is None
  result["methods"][0]["networks"] = ["runs/several/seed_0", "runs/several/seed_1"]
  (run.parent / "verdict/verdict.json").write_text(json.dumps(result))
  assert read_verdict(run) == result and read_verdict(tmp_path / "several/seed_7") is None
  section = verdict_section(read_verdict(run), at_step(7))
  assert section.notes == [SENTENCE] and len(section.table.rows) == 2


def test_a_report_says_of_which_state_a_verdict_is(result):
  noted = {"eval": "digest of 500 images", "class_names": ["a", "b"]}
  result |= {"global_step": 7, "measured_on": noted}
  assert verdict_section(result, at_step(7, noted)).notes == [SENTENCE]
  _, later = verdict_section(result, at_step(9, noted)).notes
  assert "another state than the numbers of this page (step 9 -> 7); --mode=verdict" in later
  _, others = verdict_section(result, at_step(7, noted | {"eval": "of others"})).notes
  assert "(images or labels of the eval split)" in others
