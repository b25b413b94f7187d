"""A peer beside the default recipe: how long ours took, which try was best, the table."""

import json

import pytest

from conrec_tf.metrics import IMAGES_PER_SECOND, UNTRAINED_STRONGEST
from experiments.peers import __main__ as peers
from experiments.table import VALIDATION, below_mark


@pytest.fixture
def keep(tmp_path, monkeypatch):
  """Writes what a training reached, as `keep(method, tried, seed, accuracy)`."""
  monkeypatch.setattr(peers, "FOLDER", tmp_path)

  def written(method, tried, seed, accuracy, held_out=0.0):
    result = dict.fromkeys(peers.READINGS, accuracy)
    result |= {VALIDATION: held_out, UNTRAINED_STRONGEST: 0.3}
    about = {"seconds": 600.0, "images": 20400}
    peers.keep("ten minutes", method, tried, seed, result, about)

  return written


def test_seconds_of_a_training_leave_out_that_the_first_steps_are_traced():
  paces = [(50, 10.0), (100, 80.0), (120, 160.0)]
  rows = [{"global_step": step, IMAGES_PER_SECOND: pace} for step, pace in paces]
  rows.insert(1, {"global_step": 60, "eval/knn_accuracy": 0.5})
  assert peers.training_seconds(rows) == pytest.approx(16 * (50 / 80 + 50 / 80 + 20 / 160))


def test_the_best_try_is_chosen_by_held_out_labels_once_all_are_there(keep):
  for tried, test, held_out in zip(peers.TRIES[:2], (0.3, 0.1), (0.1, 0.2), strict=True):
    keep("dino", tried, 0, test, held_out)
  assert peers.best("ten minutes", "dino") is None
  keep("dino", peers.TRIES[2], 0, 0.9, 0.15)
  assert peers.best("ten minutes", "dino") == peers.TRIES[1]
  assert peers.best("ten minutes", "simclr") is None


def test_what_is_done_is_not_trained_again(keep, monkeypatch):
  trained = []
  monkeypatch.setattr(peers, "train_ours", lambda *job: trained.append(("conrec", job[1])))
  monkeypatch.setattr(peers, "train_peer", lambda *job: trained.append((job[1], job[3])))
  keep("conrec", peers.DEFAULTS, 0, 0.5)
  keep("dino", peers.DEFAULTS, 1, 0.5)
  args = peers.parser().parse_args(
    ["--minutes=ten minutes", "--methods=dino", "--seeds=0,1", "--no-tune"]
  )
  peers.train_missing(args)
  assert trained == [
    ("untrained", 0),
    ("recomputed", 0),
    ("dino", 0),
    ("conrec", 1),
    ("untrained", 1),
    ("recomputed", 1),
  ]


def test_the_table_has_the_strongest_untrained_and_what_each_reached(keep):
  for seed, accuracy in ((0, 0.5), (1, 0.6)):
    keep("conrec", peers.DEFAULTS, seed, accuracy)
  keep("untrained", peers.DEFAULTS, 0, 0.1)
  keep("recomputed", peers.DEFAULTS, 0, 0.2)
  for tried in peers.TRIES:
    keep("dino", tried, 0, 0.25, tried[0] / 100)
  assert peers.table().splitlines()[2:] == [
    "| **10.0 minutes** |  |  |  |  |  |  |",
    "| untrained ResNet-18, at its strongest |  |  |  | 20.0 |  | 1 |",
    "| untrained U-net, at its strongest |  |  |  | 30.0 ± 0.0 |  | 2 |",
    "| LightlyTrain, DINO, batch 64, rate x 1 | 10 | 34 | 25.0 | 25.0 | 25.0 | 1 |",
    "| ConRec, the default recipe | 10 | 34 | 55.0 ± 7.1 | 55.0 ± 7.1 | 55.0 ± 7.1 | 2 |",
  ]


def test_a_table_replaces_the_one_below_its_mark():
  page = "above\n<!-- table: a -->\n| old |\n| old |\nbelow\n<!-- table: b -->\nend\n"
  assert below_mark(page, "a", "| new |\n") == page.replace("| old |\n| old |\n", "| new |\n")
  assert below_mark(page, "b", "| new |\n").endswith("<!-- table: b -->\n| new |\nend\n")
  assert below_mark(page, "c", "| new |\n") == page


def test_results_say_what_made_them(keep, tmp_path):
  keep("simclr", (32, 3), 1, 0.5)
  content = json.loads((tmp_path / "ten_minutes_simclr_32_3_1.json").read_text())
  assert content["batch_and_rate"] == [32, 3] and content["machine"]["cores"]
  assert "tensorflow" in content["versions"]
