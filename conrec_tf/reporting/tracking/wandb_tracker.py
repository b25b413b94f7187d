"""Weights & Biases: a run of a project, on its server or in files for later."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any

from conrec_tf.files import remove
from conrec_tf.metrics import GLOBAL_STEP
from conrec_tf.reporting.tracking.tracker import NETWORK, PROJECT

# It tells nobody else what fails, and leaves the terminal to the training.
DEFAULTS = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
CLOSED = "closed"  # marks folders of files that a process wrote to the end
SERVER = "https://api.wandb.ai"


class WandbTracker:
  """Weights & Biases; see `Tracker`.

  It reads WANDB_MODE (`offline` writes files that `wandb sync` sends), WANDB_PROJECT, by default
  conrec_tf, WANDB_ENTITY, WANDB_BASE_URL, WANDB_API_KEY and WANDB_DIR.

  Args:
    folder: where its files go, unless WANDB_DIR says otherwise.
  """

  def __init__(self, folder: pathlib.Path) -> None:
    for name, value in DEFAULTS.items():
      os.environ.setdefault(name, value)
    import wandb

    self._wandb = wandb
    self._folder = os.environ.get("WANDB_DIR", os.fspath(folder))
    self._project = os.environ.get("WANDB_PROJECT", PROJECT)
    self._is_offline = os.environ.get("WANDB_MODE") == "offline"
    self.keeps_at_once = not self._is_offline  # its files are written in large blocks
    server = "offline" if self._is_offline else os.environ.get("WANDB_BASE_URL", SERVER)
    self.place = " ".join([server, os.environ.get("WANDB_ENTITY", ""), self._project])
    self.address = ""
    self._run: Any = None

  def open(self, run: str, name: str, settings: Mapping[str, Any]) -> str:
    """Opens a run; without a server a new folder of files, of the same run."""
    folder = pathlib.Path(self._folder)
    folder.mkdir(parents=True, exist_ok=True)
    if run:
      for part in folder.glob(f"wandb/offline-run-*-{run}"):
        if not (part / CLOSED).exists():
          remove(part)
    self._run = self._wandb.init(
      project=self._project,
      id=run or self._wandb.util.generate_id(),
      name=name,
      dir=self._folder,
      config=dict(settings),
      allow_val_change=True,
      resume=None if self._is_offline else "allow",
      settings=self._wandb.Settings(console="off"),
    )
    # Rows have their step as a number: the untrained network's may come after those of training.
    self._run.define_metric(GLOBAL_STEP)
    self._run.define_metric("*", step_metric=GLOBAL_STEP)
    self.address = (None if self._is_offline else self._run.url) or self._run.dir
    return self._run.id

  def log(self, step: int, numbers: Mapping[str, float]) -> None:
    """Adds a row of metrics, which is sent meanwhile."""
    self._run.log({GLOBAL_STEP: step, **numbers})

  def add_files(self, kind: str, paths: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Adds files and folders as an artifact, of which the service keeps each version."""
    artifact = self._wandb.Artifact(
      f"{kind}-{self._run.id}", type="model" if kind == NETWORK else kind
    )
    for path in paths:
      name = os.fspath(path.relative_to(folder))
      if path.is_dir():
        artifact.add_dir(os.fspath(path), name=name)
      else:
        artifact.add_file(os.fspath(path), name=name)
    self._run.log_artifact(artifact)

  def close(self, is_done: bool) -> None:
    """Waits until all is sent, or written."""
    self._run.finish(exit_code=0 if is_done else 1)
    if self._is_offline:
      pathlib.Path(self._run.dir).with_name(CLOSED).touch()
