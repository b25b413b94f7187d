import pytest

from conrec_tf.config import Config
from conrec_tf.config.migrations import ADDED, REMOVED, UNNAMED, current_flags, current_settings
from conrec_tf.config.options.table import OPTIONS
from conrec_tf.errors import UsageError


def test_options_that_came_later_stand_for_what_was_done_before():
  assert Config.from_settings({"seed": 4}) == Config(seed=4, local_crops=0, image_size_schedule="")
  assert ADDED.items() <= current_settings({"seed": 4}).items()
  assert current_settings({"cv_fold": "0/5"})["cv_fold"] == "0/5"
  assert current_settings({}) == {}


def test_options_that_are_gone_are_dropped_where_they_changed_nothing():
  assert Config.from_settings({**REMOVED, "seed": 4}) == Config(
    seed=4, local_crops=0, image_size_schedule=""
  )
  with pytest.raises(UsageError, match="tpu_name must be left out .* Received: a$"):
    Config.from_settings({**REMOVED, "tpu_name": "a"})


def test_flags_that_are_gone_are_dropped_where_they_changed_nothing():
  flags = ["--seed=4", "--tpu_name=", "--tpu_zone=a"]
  assert current_flags(flags) == ["--seed=4", "--tpu_zone=a"]


def test_what_is_gone_is_no_option_and_what_came_later_is_one():
  assert not REMOVED.keys() & OPTIONS.keys()
  assert UNNAMED.keys() <= OPTIONS.keys()


def test_default_folders_keep_the_names_that_they_had():
  paper = Config(
    contrastive_method="nt_xent",
    mixed_precision="float32",
    skip_connections="all",
    temperature=0.5,
    reconstruction_weight=100.0,
    optimizer="lars",
    learning_rate=0.075,
    learning_rate_scaling="sqrt",
    learning_rate_schedule="constant",
    crop_min_area=0.08,
    color_jitter_strength=1.0,
    grey_probability=0.2,
    local_crops=0,
    representation_levels="last",
    scaled_decoding=False,
  )
  assert paper.run_directory == "runs/rectangle_triangle-conrec-ea7ffb7b"
  masks = dict(train_mode="segment", dataset="image_folder", data_dir="/images", label_mode="none")
  masks |= dict(color_jitter_strength=1.0, grey_probability=0.2, local_crops=0)  # once defaults
  masks |= dict(representation_levels="all")
  assert Config(**masks).run_directory == "runs/image_folder-segment-94a27769"
