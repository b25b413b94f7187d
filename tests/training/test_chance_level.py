import math

import pytest

from conrec_tf.config import Config
from conrec_tf.losses import loss_of_equal_projections
from conrec_tf.training.chance_level import ChanceLevelNotice, hints

CHANCE = 2 * math.log(31)


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
