import errno
import fcntl
import json
import os
import resource

import pytest

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.run_dir.run_directory import IMAGES, RunDirectory, flagfile, numbered


def test_start_writes_the_configuration(tmp_path):
  config = Config(seed=3)
  RunDirectory(tmp_path / "a" / "run").start(config)
  assert json.loads((tmp_path / "a/run/config.json").read_text()) == config.settings
  lines = (tmp_path / "a/run/flags.cfg").read_text().splitlines()
  assert "--seed=3" in lines and "--use_blur=True" in lines
  assert not any(line.startswith("--model_dir") for line in lines)
  assert sorted(os.listdir(tmp_path / "a/run")) == [".conrec_tf", "config.json", "flags.cfg"]


def test_flagfile_has_every_flag():
  options = Config().settings
  assert len(flagfile(options).splitlines()) == len(options) - 1


def test_another_training_in_the_same_folder_is_refused(tmp_path):
  run = RunDirectory(tmp_path)
  constant = dict(learning_rate_schedule="constant")
  run.start(Config(**constant))
  run.start(Config(**constant, train_epochs=40, log_steps=5))  # longer, same training
  with pytest.raises(
    UsageError,
    match="Received: temperature: 0.2 -> 0.1; seed: 0 -> 1 for|"
    "Received: seed: 0 -> 1; temperature: 0.2 -> 0.1 for",
  ):
    run.start(Config(**constant, seed=1, temperature=0.1))


def test_sizes_that_images_grow_by_count_as_what_they_come_to(tmp_path):
  run = RunDirectory(tmp_path / "run")
  run.start(Config())
  run.start(Config())
  run.start(Config(image_size_schedule="32:0.5,48:0.3"))
  with pytest.raises(UsageError, match="Received: image_size_schedule: 32:0.5,48:0.3 -> empty for"):
    run.start(Config(image_size_schedule=""))
  head = RunDirectory(tmp_path / "head")
  head.start(Config(train_mode="finetune", image_size_schedule=""))  # as it was begun before
  head.start(Config(train_mode="finetune"))


def test_a_run_goes_on_without_what_it_never_read(tmp_path):
  run = RunDirectory(tmp_path)
  run.write("config.json", {**Config().settings, "momentum": 0.8})  # AdamW's, of before
  run.start(Config())
  lars = RunDirectory(tmp_path / "lars")
  lars.start(Config(optimizer="lars", momentum=0.8))
  with pytest.raises(UsageError, match="Received: momentum: 0.8 -> 0.9 for"):
    lars.start(Config(optimizer="lars"))


def test_a_model_dir_that_is_a_file_is_refused(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UsageError, match="model_dir must be a folder .* Received: .*file"):
    RunDirectory(tmp_path / "file").start(Config())


def test_evaluations_are_listed_up_to_a_step(tmp_path):
  run = RunDirectory(tmp_path)
  for step in (0, 5, 10, 100):
    run.write(f"result_{step}.json", {"a": step})
  assert run.evaluations(10) == {0: {"a": 0}, 5: {"a": 5}, 10: {"a": 10}}
  assert run.read("no.json") is None


def test_a_second_training_in_the_folder_is_refused(tmp_path):
  with RunDirectory(tmp_path).locked():
    with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on "):
      with RunDirectory(tmp_path).locked():
        pytest.fail("two at once")
  (tmp_path / "lock").write_text("process 1 on another machine, long dead")
  with RunDirectory(tmp_path).locked():
    assert "dead" not in (tmp_path / "lock").read_text()


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path):
  run = RunDirectory(tmp_path)
  run.write("result.json", {"a": 1})
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))  # bytes in a file
  try:
    with pytest.raises(UsageError, match=r"can be written \(File too large\). Received: .*"):
      run.write("result.json", {"a": "b" * 100})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert run.read("result.json") == {"a": 1} and os.listdir(tmp_path) == ["result.json"]


def test_other_values_of_what_determines_training_are_refused(tmp_path):
  directory = RunDirectory(tmp_path)
  (tmp_path / "config.json").write_text('{"label_mode": "none", "seed": 0, "tpu_name": ""}')
  with pytest.raises(UsageError, match="label_mode: none -> auto"):
    directory.start(Config(local_crops=0, image_size_schedule=""))
  with pytest.raises(UsageError, match="dicom_frames: empty -> middle"):
    directory.start(
      Config(local_crops=0, image_size_schedule="", label_mode="none", dicom_frames="middle")
    )
  directory.start(Config(local_crops=0, image_size_schedule="", label_mode="none"))
  assert directory.read("config.json")["label_mode"] == "none"


def test_labels_that_are_others_are_named(tmp_path):
  directory = RunDirectory(tmp_path)
  directory.start(Config(), "before", ["bright", "dark"])
  directory.write(IMAGES, {"digest": "before", "class_names": ["bright", "dark"]})
  with pytest.raises(UsageError, match="others in .*, with labels a_dark for dark for "):
    directory.start(Config(), "after", ["a_dark", "bright"])
  with pytest.raises(UsageError, match="with labels ordered anew for its own for "):
    directory.start(Config(), "after", ["dark", "bright"])
  with pytest.raises(UsageError, match=r"Received: others in rectangle_triangle for "):
    directory.start(Config(), "after", ["bright", "dark"])
  directory.start(Config(), "before", ["bright", "dark"])


def test_options_of_segmentation_of_another_version_do_not_keep_a_pretraining_from_going_on(
  tmp_path,
):
  settings = Config(model_dir=str(tmp_path)).settings
  other = {"segment_loss": "focal", "scale_jitter": 0.5, "tile_size": 64}  # once a default, say
  RunDirectory(tmp_path).write("config.json", {**settings, **other})
  assert Config.from_settings({**settings, **other}) == Config(model_dir=str(tmp_path))
  RunDirectory(tmp_path).start(Config(model_dir=str(tmp_path)))
  masks = dict(train_mode="segment", dataset="image_folder", data_dir="images")
  segmentation = Config(**masks, segment_loss="focal").settings
  assert Config.from_settings(segmentation).segment_loss == "focal"
  RunDirectory(tmp_path).write("config.json", segmentation)
  with pytest.raises(UsageError, match="segment_loss: focal -> dice"):
    RunDirectory(tmp_path).start(Config(**masks))


def test_copies_of_a_file_manager_are_no_results(tmp_path):
  run = RunDirectory(tmp_path)
  run.write("result_20.json", {"a": 20})
  for name in ("result_20 (1).json", "result_20_copy.json", "result_.json", "result_020.json"):
    (tmp_path / name).write_text('{"a": 1}')
  assert run.evaluations() == {20: {"a": 20}}


def test_no_run_starts_where_another_was_measured(tmp_path):
  RunDirectory(tmp_path).start(Config())
  with pytest.raises(UsageError, match="must not lie in the evaluations of another run"):
    RunDirectory(tmp_path / "evaluations/other-test").start(Config())
  RunDirectory(tmp_path / "run/evaluations/mine").start(Config())


def test_a_copy_of_another_steps_result_does_not_count(tmp_path, caplog):
  run = RunDirectory(tmp_path)
  run.write("result_2.json", {"global_step": 2, "a": 1})
  run.write("result_4.json", {"global_step": 2, "a": 1})
  assert list(run.evaluations()) == [2] and run.result(4) == {}
  assert "result_4.json is of step 2, whatever its name" in caplog.text


def test_what_is_numbered_comes_in_order_and_alone(tmp_path):
  names = ["ckpt-100.index", "ckpt-20.index", "ckpt-20 (1).index", "ckpt-²0.index", "ckpt-.index"]
  for name in [*names, "ckpt-30.index.bak"]:
    (tmp_path / name).touch()
  assert list(numbered(tmp_path, "ckpt-", ".index").values()) == [
    tmp_path / "ckpt-20.index",
    tmp_path / "ckpt-100.index",
  ]
  assert numbered(tmp_path / "none") == {}


@pytest.mark.parametrize(
  "content, reason",
  [
    (b'{"seed": 1', "Expecting"),
    (b"", "Expecting value"),
    (b'{"seed": "\xff"}', "can't decode byte 0xff"),
    (b"[1, 2]", "it holds a list"),
    (b"null", "it holds a NoneType"),
    (b'{"measured_on": 3}', "its measured_on is a int"),
    (b'{"evaluated_with": []}', "its evaluated_with is a list"),
  ],
)
@pytest.mark.parametrize("name", ["config.json", IMAGES, "result_20.json", "description.json"])
def test_a_damaged_json_file_is_one_line(tmp_path, name, content, reason):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UsageError) as caught:
    RunDirectory(tmp_path).read(name)
  message = str(caught.value)
  assert message.startswith(f"{name} must be a JSON file that can be read (")
  assert reason in message and message.endswith(f"Received: {tmp_path / name}")


def test_damaged_rows_are_left_out_with_a_warning(tmp_path, caplog):
  good = [b'{"global_step": 1}\n', b'{"global_step": 4, "a": "\xc3\xa9"}\n']
  bad = [b'{"global_step": 2, "a\n', b'{"a": "\xff"}\n', b"[3]\n", b'{"a": 3}\n', b"\0\0\0\n"]
  (tmp_path / "metrics.jsonl").write_bytes(good[0] + b"".join(bad) + good[1] + b'{"global_step"')
  rows = RunDirectory(tmp_path).rows("metrics.jsonl", "global_step")
  assert rows == [{"global_step": 1}, {"global_step": 4, "a": "é"}]
  assert "5 of 7 lines of" in caplog.text and "the first is line 2" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog, number):
  def no_lock(*_):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, "flock", no_lock)
  with RunDirectory(tmp_path).locked():
    assert not RunDirectory(tmp_path).is_in_use
  assert "The file system has no locks" in caplog.text and str(tmp_path) in caplog.text


def test_a_lock_that_fails_otherwise_is_one_line(tmp_path, monkeypatch):
  def broken(*_):
    raise OSError(errno.EIO, "Input/output error")

  monkeypatch.setattr(fcntl, "flock", broken)
  with pytest.raises(UsageError, match=r"can be written \(Input/output error\)"):
    with RunDirectory(tmp_path).locked():
      pytest.fail("locked")


def test_a_folder_is_in_use_while_it_is_locked(tmp_path):
  run = RunDirectory(tmp_path)
  assert not run.is_in_use
  with run.locked():
    assert run.is_in_use
  assert not run.is_in_use


def test_a_table_may_move_but_not_change_what_it_says(tmp_path):
  """What it says is in the digest, and the names of classes are beside that."""
  directory = RunDirectory(tmp_path)
  folder = dict(dataset="image_folder", data_dir="photos")
  directory.start(Config(**folder, label_table="here.csv"), "digest", ["a", "b"])
  directory.write(IMAGES, {"digest": "digest", "class_names": ["a", "b"]})
  directory.start(Config(**folder, label_table="there.csv"), "digest", ["a", "b"])
  assert directory.read("config.json")["label_table"] == "there.csv"
  with pytest.raises(UsageError, match="Received: others in photos for"):
    directory.start(Config(**folder, label_table="here.csv"), "other", ["a", "b"])
  with pytest.raises(UsageError, match="Received: others in photos, with labels c for b for"):
    directory.start(Config(**folder, label_table="here.csv"), "digest", ["a", "c"])
  masks = dict(train_mode="segment", **folder)
  RunDirectory(tmp_path / "masks").start(Config(**masks, mask_table="a", mask_classes="b"))
  RunDirectory(tmp_path / "masks").start(Config(**masks, mask_table="c", mask_classes="d"))
  # The same command finds its run, whatever else is in the folder.
  names = {Config(**folder, label_table=table).run_directory for table in ("", "a.csv", "b.csv")}
  assert len(names) == 3


def test_the_network_that_training_started_from_may_move_but_not_change(tmp_path):
  directory = RunDirectory(tmp_path)
  directory.start(Config(checkpoint="here"), network="network")
  directory.write(IMAGES, {"network": "network"})
  directory.start(Config(checkpoint="there"), network="network")
  for network in ("", "another"):
    with pytest.raises(UsageError, match="checkpoint: there -> here for"):
      directory.start(Config(checkpoint="here"), network=network)
  directory.start(Config(checkpoint="there"))  # it may be gone


def test_more_steps_are_another_training_where_momentum_follows_a_cosine(tmp_path):
  moco = dict(learning_rate_schedule="constant", contrastive_method="moco")
  RunDirectory(tmp_path / "a").start(Config(**moco, train_steps=2))
  RunDirectory(tmp_path / "a").start(Config(**moco, train_steps=4))
  cosine = dict(**moco, moco_momentum_schedule="cosine")
  RunDirectory(tmp_path / "b").start(Config(**cosine, train_steps=2))
  with pytest.raises(UsageError, match="Received: train_steps: 2 -> 4 for"):
    RunDirectory(tmp_path / "b").start(Config(**cosine, train_steps=4))


def test_what_ends_in_tmp_is_left_alone(tmp_path):
  (tmp_path / "report.tmp").mkdir()  # a training that met such a folder once ended
  (tmp_path / "notes.tmp").touch()
  run = RunDirectory(tmp_path)
  with run.locked():
    run.start(Config())
  assert (tmp_path / "report.tmp").exists() and (tmp_path / "notes.tmp").exists()


@pytest.mark.parametrize(
  "one, several",
  [({}, {"seeds": "0,1"}), ({"train_mode": "finetune"}, {"train_mode": "finetune", "cv_folds": 2})],
)
def test_one_training_and_several_have_folders_of_their_own(tmp_path, one, several):
  kinds = {"one training": Config(**one), "several trainings": Config(**several)}
  for known, other in (list(kinds), list(kinds)[::-1]):
    run = RunDirectory(tmp_path / known)
    run.start(kinds[known])
    run.start(kinds[known])
    with pytest.raises(UsageError, match=rf"new, or the folder of {other}.* that of {known}"):
      run.start(kinds[other])


def test_a_report_of_another_network_than_the_runs_is_refused(tmp_path):
  run = RunDirectory(tmp_path)
  run.start(Config(checkpoint="runs/first"))
  run.check_is_run("report")
  run.check_is_run("report", "runs/first")  # from its flags.cfg
  with pytest.raises(UsageError, match="checkpoint must be left out for mode=report.*runs/second"):
    run.check_is_run("report", "runs/second")
  evaluation = RunDirectory(tmp_path / "evaluation")
  evaluation.start(Config(mode="eval", checkpoint="runs/first"))
  with pytest.raises(
    UsageError, match="the folder of a training, for mode=verdict; --compare_with"
  ):
    evaluation.check_is_run("verdict", "runs/first")
