"""A run of version 0.1.0, made before modules and options were renamed, in the hands of this one.

`fixtures/run_0_1_0.tar.gz` is a finished pre-training of 4 steps, and in `golden.npz` what version
0.1.0 itself made of it: embeddings of 8 test images; losses and the encoder's weights after it had
gone on to step 8.
"""

import csv
import json
import pathlib
import tarfile

from command_line import command
import numpy as np
import pytest
import tensorflow as tf

ARCHIVE = pathlib.Path(__file__).parents[1] / "fixtures/run_0_1_0.tar.gz"


@pytest.fixture
def run(tmp_path):
  """The folder of the run, anew for each test."""
  with tarfile.open(ARCHIVE) as archive:
    archive.extractall(tmp_path / "run", filter="data")
  return tmp_path / "run"


@pytest.fixture
def golden(run):
  return np.load(run / "golden.npz")


def use(run, data_dir, *flags):
  """Runs a command on the run, which must work and name the flags that were renamed."""
  done = command(f"--model_dir={run}", f"--data_dir={data_dir}", *flags)
  assert done.returncode == 0, done.stderr
  assert "--select_on is --select_best_on" in done.stdout
  assert "--repetitions is --num_repeats" in done.stdout
  return done.stdout


@pytest.mark.slow
def test_an_old_run_is_continued(run, data_dir, golden):
  stdout = use(run, data_dir, f"--flagfile={run / 'flags.cfg'}", "--train_steps=8")
  assert "Continuing from step 4" in stdout and "sessions.jsonl is processes.jsonl" in stdout
  assert "from here on images come in the order of this version" in stdout
  reader = tf.train.load_checkpoint(str(run / "checkpoints/ckpt-8"))
  names = sorted(
    name
    for name in reader.get_variable_to_shape_map()
    if name.startswith("model/encoder/") and name.endswith("VARIABLE_VALUE")
  )
  encoder = np.concatenate([reader.get_tensor(name).ravel() for name in names])
  # The same images in another order: near, and not the same.
  assert np.corrcoef(encoder, golden["encoder"])[0, 1] > 0.95
  rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  losses = [row["train/total_loss"] for row in rows if "train/total_loss" in row]
  np.testing.assert_allclose(losses, golden["losses"], rtol=0.3)
  result = json.loads((run / "result.json").read_text())
  assert result["global_step"] == 8
  assert result["eval/best_selected_by"] == "eval/validation_linear_top_1_accuracy"
  processes = [json.loads(line) for line in (run / "processes.jsonl").read_text().splitlines()]
  assert [process["step"] for process in processes] == [0, 4]
  assert not (run / "sessions.jsonl").exists()


def test_an_old_run_is_evaluated(run, data_dir):
  before = json.loads((run / "result.json").read_text())
  use(run, data_dir, "--mode=eval", "--label_fractions=0.5,1.0")
  after = json.loads((run / "result.json").read_text())
  assert [row["repetitions"] for row in after.pop("eval/label_fractions")] == [3, 1]
  assert set(before) <= set(after)
  assert after["eval/linear_top_1_accuracy"] == before["eval/linear_top_1_accuracy"]


def test_an_old_run_embeds(run, data_dir, golden):
  use(run, data_dir, "--mode=embed", "--train_split=train[:4]", "--eval_split=test[:8]")
  folder = run / "embeddings/rectangle_triangle"
  embedding = np.load(folder / "eval-00000-of-00001.npz")["embedding"]
  np.testing.assert_allclose(embedding, golden["embedding"], atol=1e-5)
  with (folder / "index.csv").open() as file:
    assert len(list(csv.DictReader(file))) == 12


def test_embeddings_of_an_old_version_are_continued(run, data_dir):
  flags = ["--mode=embed", "--train_split=train[:4]", "--eval_split=test[:8]"]
  use(run, data_dir, *flags)
  path = run / "embeddings/rectangle_triangle/description.json"
  description = json.loads(path.read_text())
  description["labels"] = description.pop("label_mode")  # as version 0.1.0 called it
  path.write_text(json.dumps(description))
  assert "(0 embedded now" in use(run, data_dir, *flags)


@pytest.mark.slow
def test_an_old_run_is_exported(run, data_dir, golden):
  use(run, data_dir, "--mode=export", "--export_format=saved_model")
  network = tf.saved_model.load(str(run / "saved_model/4"))
  metadata = json.loads((run / "saved_model/4/assets/metadata.json").read_text())
  assert metadata["flags"]["select_best_on"] == "validation"
  assert network(tf.zeros([2, 24, 24, 1])).shape == golden["embedding"][:2].shape


@pytest.mark.slow
def test_an_old_run_is_reported(run, data_dir):
  use(run, data_dir, "--mode=report")
  page = (run / "report/index.html").read_text()
  assert "a processor" in page  # from sessions.jsonl
