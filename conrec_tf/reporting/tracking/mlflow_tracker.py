"""MLflow: a run of an experiment, in its database or on a server."""

from collections.abc import Mapping, Sequence
import logging
import os
import pathlib
import time
from typing import Any

from conrec_tf.reporting.tracking.tracker import PROJECT

# A training doesn't wait for a server as long as MLflow would, which is minutes; and it tells
# nobody else what it is used for.
DEFAULTS = {
  "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds
  "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
  "MLFLOW_DISABLE_TELEMETRY": "true",
}
MOST_SETTINGS = 100  # of one request


class MlflowTracker:
  """MLflow; see `Tracker`.

  It reads MLFLOW_TRACKING_URI, by default `mlflow.db` in the working directory, and
  MLFLOW_EXPERIMENT_NAME, by default conrec_tf.

  Args:
    folder: of its own; nothing is left there.
  """

  keeps_at_once = True

  def __init__(self, folder: pathlib.Path) -> None:
    for name, value in DEFAULTS.items():
      os.environ.setdefault(name, value)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # which tells of tables that it makes
    self._mlflow = mlflow
    self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    self.place = f"{mlflow.get_tracking_uri()} {self._experiment}"
    self.address = self._run = ""

  def open(self, run: str, name: str, settings: Mapping[str, Any]) -> str:
    """Opens a run; MLflow keeps the settings of its first process alone."""
    self._client = self._mlflow.MlflowClient()
    self._run = run or self._new_run(name, settings)
    self._client.update_run(self._run, status="RUNNING")
    self.address = f"{self.place}, run {self._run}"
    return self._run

  def _new_run(self, name: str, settings: Mapping[str, Any]) -> str:
    known = self._client.get_experiment_by_name(self._experiment)
    experiment = known.experiment_id if known else self._client.create_experiment(self._experiment)
    run = self._client.create_run(experiment, run_name=name).info.run_id
    params = [self._mlflow.entities.Param(key, str(value)) for key, value in settings.items()]
    for first in range(0, len(params), MOST_SETTINGS):
      self._client.log_batch(run, params=params[first : first + MOST_SETTINGS])
    return run

  def log(self, step: int, numbers: Mapping[str, float]) -> None:
    """Adds a row of metrics."""
    now = int(1000 * time.time())
    metrics = [
      self._mlflow.entities.Metric(name, value, now, step) for name, value in numbers.items()
    ]
    self._client.log_batch(self._run, metrics=metrics)

  def add_files(self, kind: str, paths: Sequence[pathlib.Path], folder: pathlib.Path) -> None:
    """Adds files and folders to the artifacts of the run, by their names."""
    for path in paths:
      place = path.relative_to(folder)
      if path.is_dir():
        self._client.log_artifacts(self._run, os.fspath(path), os.fspath(place))
      else:
        above = os.fspath(place.parent) if len(place.parts) > 1 else None
        self._client.log_artifact(self._run, os.fspath(path), above)

  def close(self, is_done: bool) -> None:
    """Says whether the run is done."""
    self._client.set_terminated(self._run, "FINISHED" if is_done else "KILLED")
