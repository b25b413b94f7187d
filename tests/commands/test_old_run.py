"""A run of an earlier state of the package in the hands of this one.

`fixtures/old_run.tar.gz` is a finished pre-training of 4 steps on `x_train` below, with what that
state itself made of it: embeddings and, in `golden.npz`, losses and weights of two more steps.
"""

import json
import pathlib
import tarfile

from command_line import command
import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config.migrations import ADDED, REMOVED
from conrec_tf.config.options.table import OPTIONS

ARCHIVE = pathlib.Path(__file__).parents[1] / "fixtures/old_run.tar.gz"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
  """The archive that the run began with: its two classes differ a little in brightness."""
  draw, arrays = np.random.RandomState(0), {}  # whose numbers are the same for ever
  for name, count in (("train", 24), ("test", 12)):
    labels = np.arange(count) % 2
    light = 40 * labels + draw.randint(0, 80, count)
    noise = draw.randint(0, 128, [count, 24, 24, 1])
    arrays["x_" + name] = (noise + light[:, None, None, None]).astype(np.uint8)
    arrays["y_" + name] = labels
  path = tmp_path_factory.mktemp("images") / "images.npz"
  np.savez(path, **arrays)
  return path


@pytest.fixture
def run(tmp_path):
  """The folder of the run, anew for each test."""
  with tarfile.open(ARCHIVE) as archive:
    archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
    archive.extractall(tmp_path / "run")
  return tmp_path / "run"


def use(run, images, *flags):
  """Runs a command on the run, which must work."""
  done = command(*flags, f"--model_dir={run}", f"--data_dir={images}")
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_an_old_run_lacks_what_came_later_and_states_what_is_gone(run):
  stated = json.loads((run / "config.json").read_text()).keys()
  assert stated - OPTIONS.keys() == REMOVED.keys() and OPTIONS.keys() - stated == ADDED.keys()


def test_an_old_run_goes_on_as_it_would_have_then(run, images):
  flags = [f"--flagfile={run / 'flags.cfg'}", "--mode=train", "--train_steps=6"]
  assert "Continuing from step 4" in use(run, images, *flags)
  golden = np.load(run / "golden.npz")
  reader = tf.train.load_checkpoint(str(run / "checkpoints/ckpt-6"))
  names = sorted(
    name
    for name in reader.get_variable_to_shape_map()
    if name.startswith("model/") and name.endswith("VARIABLE_VALUE")
  )
  weights = np.concatenate([reader.get_tensor(name).ravel() for name in names])
  np.testing.assert_allclose(weights, golden["weights"], rtol=1e-3, atol=1e-4)
  rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  losses = [row["train/total_loss"] for row in rows if "train/total_loss" in row]
  np.testing.assert_allclose(losses, golden["losses"], rtol=1e-4)
  processes = [json.loads(line) for line in (run / "processes.jsonl").read_text().splitlines()]
  assert [process["step"] for process in processes] == [0, 4]


def test_an_old_run_is_evaluated(run, images):
  before = json.loads((run / "result.json").read_text())
  use(run, images, "--mode=eval", "--label_fractions=0.5,1.0", "--num_repeats=2")
  after = json.loads((run / "result.json").read_text())
  assert [row["repetitions"] for row in after["eval/label_fractions"]] == [2, 1]
  assert before.keys() <= after.keys()
  assert after["eval/linear_top_1_accuracy"] == before["eval/linear_top_1_accuracy"] == 0.75


def test_embeddings_of_an_old_run_are_completed(run, images):
  path = run / "embeddings/images/eval-00000-of-00001.npz"
  with np.load(path) as archive:
    then = dict(archive)
  path.unlink()
  assert "36 images" in (stdout := use(run, images, "--mode=embed"))
  assert "(12 embedded now" in stdout and "is of an earlier version" in stdout
  with np.load(path) as archive:
    np.testing.assert_allclose(archive["embedding"], then["embedding"], atol=1e-5)
    np.testing.assert_array_equal(archive["label"], then["label"])
