"""Trackers: the rows that they get, whatever stops or fails, and what the libraries are asked."""

import dataclasses
import json
import os
import pathlib
import sys
import types

import pytest

from conrec_tf import commands
from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.reporting.tracking import trackers
from conrec_tf.reporting.tracking.mlflow_tracker import MlflowTracker
from conrec_tf.reporting.tracking.trackers import Feed, check_trackers
from conrec_tf.reporting.tracking.wandb_tracker import WandbTracker
from conrec_tf.run_dir.run_directory import RunDirectory

SETTINGS = {"train_steps": 8, "data_dir": "", **{f"option_{number}": 1 for number in range(150)}}


class Service:
  """A tracker in memory; its server outlives the process."""

  def __init__(self, place="server", keeps_at_once=True):
    self.place, self.keeps_at_once = place, keeps_at_once
    self.address, self.runs, self.fails = "here", {}, False

  def answer(self):
    if self.fails:
      raise ConnectionError("no route to host")

  def open(self, run, name, settings):
    self.answer()
    self.run = run or f"run {len(self.runs)}"
    self.runs.setdefault(self.run, [])
    return self.run

  def log(self, step, numbers):
    self.answer()
    self.runs[self.run].append((step, *numbers))

  def add_files(self, kind, paths, folder):
    self.answer()
    self.runs[self.run].append((kind, *(os.fspath(path.relative_to(folder)) for path in paths)))

  def close(self, is_done):
    self.answer()
    self.runs[self.run].append("done" if is_done else "stopped")


def trained(step):
  return {"global_step": step, "loss": 1.0}


def evaluated(step):
  return {"global_step": step, "eval/rank_me": 2.0}


@pytest.fixture
def directory(tmp_path):
  return RunDirectory(tmp_path)


@pytest.fixture
def service(monkeypatch):
  return served(monkeypatch, Service())


def served(monkeypatch, service):
  """Makes a service the one that trackers open."""
  monkeypatch.setattr(trackers, "open_tracker", lambda name, folder: service)
  return service


def feed(directory, rows=()):
  return Feed("mlflow", directory, SETTINGS, rows)


def test_what_is_trained_again_is_sent_once(directory, service):
  killed = feed(directory)
  for row in (trained(10), evaluated(10), evaluated(0), trained(20), trained(30)):
    killed.log(row)
  # The next process goes on at step 20, with the rows up to there.
  rows = [trained(10), evaluated(10), evaluated(0), trained(20)]
  resumed = feed(directory, rows)
  for row in (trained(30), evaluated(0), trained(40), evaluated(40)):
    resumed.log(row)
  resumed.close(True)
  sent = [(10, "loss"), (10, "eval/rank_me"), (0, "eval/rank_me"), (20, "loss"), (30, "loss")]
  sent += [(40, "loss"), (40, "eval/rank_me"), "done"]
  assert service.runs == {"run 0": sent}


def test_what_a_kill_lost_is_sent_again(directory, monkeypatch):
  service = served(monkeypatch, Service(keeps_at_once=False))
  closed = feed(directory)
  closed.log(trained(10))
  closed.close(False)
  feed(directory, [trained(10)]).log(trained(20))  # and is killed
  service.runs["run 0"].remove((20, "loss"))
  feed(directory, [trained(10), trained(20)]).log(trained(30))
  assert service.runs == {"run 0": [(10, "loss"), "stopped", (20, "loss"), (30, "loss")]}


def test_another_server_gets_a_run_of_its_own_with_all_rows(directory, monkeypatch):
  served(monkeypatch, Service("a"))
  feed(directory).log(trained(10))
  service = served(monkeypatch, Service("b"))
  feed(directory, [trained(10)]).log(trained(20))
  assert service.runs == {"run 0": [(10, "loss"), (20, "loss")]}


def test_a_server_that_is_gone_stops_nothing_and_gets_what_it_lacks_later(
  directory, service, caplog
):
  sent = feed(directory)
  service.fails = True
  with caplog.at_level("WARNING", "conrec_tf"):
    for row in (trained(10), evaluated(10), trained(20)):
      sent.log(row)
  [message] = caplog.messages
  assert message.startswith("tracker=mlflow fails (no route to host); the training goes on")
  service.fails = False
  sent.log(trained(30))  # which isn't tried again at each step
  assert service.runs == {"run 0": []}
  sent.log(evaluated(30))
  lacking = [(10, "loss"), (10, "eval/rank_me"), (20, "loss"), (30, "loss"), (30, "eval/rank_me")]
  assert service.runs == {"run 0": lacking}


def test_a_server_that_comes_late_gets_what_there_is_at_the_end(directory, service):
  service.fails = True
  sent = feed(directory)
  sent.log(trained(10))
  service.fails = False
  (directory.path / "report").mkdir()
  result = {"global_step": 10, "eval/best_rank_me": 2.0}
  sent.finish(result, [])
  assert service.runs == {"run 0": [(10, "loss"), (10, "eval/best_rank_me"), ("report", "report")]}
  again = feed(directory, [trained(10)])
  again.finish(result, [])
  assert service.runs["run 0"][3:] == [("report", "report")]  # and has the numbers


def test_at_the_end_come_best_numbers_report_and_exports(directory, service):
  (directory.path / "report").mkdir()
  directory.write("result.json", {})
  told = feed(directory)
  result = {"global_step": 8, "eval/best_rank_me": 2.0, "eval/best_step": 4, "eval/rank_me": 1.0}
  told.finish(result | {"eval/best_selected_by": "rank_me"}, [directory.path / "onnx" / "8.onnx"])
  told.close(False)
  assert service.runs["run 0"] == [
    (8, "eval/best_rank_me", "eval/best_step"),
    ("report", "report", "result.json"),
    ("network", "onnx/8.onnx"),
    "stopped",
  ]


def test_a_library_that_is_lacking_is_told_before_the_training(monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(UsageError) as error:
    check_trackers(["mlflow", "wandb"])
  assert str(error.value) == (
    "tracker=mlflow,wandb needs: pip install -r requirements-tracking.txt. "
    "Received: no mlflow and no wandb"
  )
  check_trackers([])


class Killed(BaseException):
  """Ends a training as a kill does: nothing is saved."""


def test_a_training_that_is_killed_goes_on_in_the_same_run(quickest, service, monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
  log = service.log

  def killed(step, numbers):
    if step == 4:
      raise Killed
    log(step, numbers)

  options = dict(train_steps=4, checkpoint_steps=2, log_steps=1, export_format="")
  config = Config(**{**quickest, **options}, tracker="mlflow")
  monkeypatch.setattr(service, "log", killed)
  with pytest.raises(Killed):
    commands.run(config)
  monkeypatch.setattr(service, "log", log)
  commands.run(config)  # from step 2 on
  *rows, report, end = service.runs["run 0"]
  rows.remove("stopped")
  assert [step for step, *_ in rows] == [1, 2, 3, 4, 4, 4]
  assert "train/total_loss" in rows[3] and "eval/label_top_1_accuracy" in rows[4]
  assert rows[5][1:] == ("eval/best_label_top_1_accuracy", "eval/best_step")
  assert (report, end) == (("report", "result.json", "config.json", "flags.cfg"), "done")


def fake_mlflow(server):
  """What of MLflow is used, on a dict that is its server; held against MLflow by a slow test."""

  @dataclasses.dataclass
  class Metric:
    key: str
    value: float
    timestamp: int
    step: int

  class MlflowClient:
    def get_experiment_by_name(self, name):
      return types.SimpleNamespace(experiment_id="1") if name in server else None

    def create_experiment(self, name):
      server[name] = {}
      return "1"

    def create_run(self, experiment_id, run_name=None):
      server["run"] = {"name": run_name, "params": {}, "metrics": [], "files": []}
      return types.SimpleNamespace(info=types.SimpleNamespace(run_id="run"))

    def update_run(self, run_id, status=None):
      server[run_id]["status"] = status

    def log_batch(self, run_id, metrics=(), params=()):
      assert len(params) <= 100
      server[run_id]["metrics"] += metrics
      server[run_id]["params"].update(params)

    def log_artifact(self, run_id, local_path, artifact_path=None):
      file = pathlib.Path(local_path)
      assert file.is_file()
      server[run_id]["files"].append(os.path.join(artifact_path or "", file.name))

    def log_artifacts(self, run_id, local_dir, artifact_path=None):
      for file in pathlib.Path(local_dir).iterdir():
        server[run_id]["files"].append(f"{artifact_path}/{file.name}")

    def set_terminated(self, run_id, status=None):
      self.update_run(run_id, status)

    def get_run(self, run_id):
      run = server[run_id]
      return types.SimpleNamespace(
        info=types.SimpleNamespace(run_name=run["name"], status=run["status"]),
        data=types.SimpleNamespace(params=run["params"]),
      )

    def get_metric_history(self, run_id, key):
      return [metric for metric in server[run_id]["metrics"] if metric.key == key]

    def list_artifacts(self, run_id, path):
      names = sorted(set(server[run_id]["files"]))
      return [types.SimpleNamespace(path=name) for name in names if os.path.dirname(name) == path]

  mlflow = types.ModuleType("mlflow")
  mlflow.MlflowClient = MlflowClient
  mlflow.entities = types.SimpleNamespace(Metric=Metric, Param=lambda key, value: (key, value))
  mlflow.get_tracking_uri = lambda: os.environ["MLFLOW_TRACKING_URI"]
  return mlflow


@pytest.fixture(params=["fake", pytest.param("mlflow", marks=pytest.mark.slow)])
def mlflow(request, tmp_path, monkeypatch):
  """MLflow, or what stands for it, with a database of its own."""
  monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
  monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "retinas")
  for name in ("REQUEST_TIMEOUT", "REQUEST_MAX_RETRIES"):
    monkeypatch.setenv(f"MLFLOW_HTTP_{name}", "1")
  monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
  if request.param == "fake":
    monkeypatch.setitem(sys.modules, "mlflow", fake_mlflow({}))
  else:
    monkeypatch.chdir(tmp_path)  # where artifacts go
  return pytest.importorskip("mlflow")


def files_of_a_run(folder):
  """Writes a report and two exports."""
  for name in ("report/index.html", "saved_model/8/saved_model.pb", "onnx/8.onnx", "result.json"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(name)
  return [folder / "report", folder / "result.json"], [
    folder / "saved_model/8",
    folder / "onnx/8.onnx",
  ]


def test_mlflow_keeps_a_run(mlflow, tmp_path):
  report, network = files_of_a_run(tmp_path)
  tracker = MlflowTracker(tmp_path)
  assert tracker.place == f"sqlite:///{tmp_path}/mlflow.db retinas"
  run = tracker.open("", "runs/a", SETTINGS)
  tracker.log(10, {"train/total_loss": 1.5, "learning_rate": 0.1})
  tracker.close(False)
  client = mlflow.MlflowClient()
  assert client.get_run(run).info.status == "KILLED"

  tracker = MlflowTracker(tmp_path)
  assert tracker.open(run, "runs/a", {"train_steps": 16}) == run
  assert client.get_run(run).info.status == "RUNNING"
  tracker.log(0, {"train/total_loss": float("nan")})
  tracker.log(20, {"train/total_loss": 1.25})
  tracker.add_files("report", report, tmp_path)
  tracker.add_files("network", network, tmp_path)
  tracker.close(True)
  kept = client.get_run(run)
  assert (kept.info.run_name, kept.info.status) == ("runs/a", "FINISHED")
  assert kept.data.params == {name: str(value) for name, value in SETTINGS.items()}
  history = client.get_metric_history(run, "train/total_loss")
  assert {metric.step: repr(metric.value) for metric in history} == {
    0: "nan",
    10: "1.5",
    20: "1.25",
  }
  for folder, name in (("report", "index.html"), ("saved_model/8", "saved_model.pb")):
    assert [file.path for file in client.list_artifacts(run, folder)] == [f"{folder}/{name}"]
  assert [file.path for file in client.list_artifacts(run, "onnx")] == ["onnx/8.onnx"]


def fake_wandb(records):
  """What of Weights & Biases is used, noted in a list; held against it by a slow test."""

  class Artifact:
    def __init__(self, name, type):
      self.name, self.type, self.files = name, type, []

    def add_file(self, local_path, name=None):
      self.files.append(name)

    def add_dir(self, local_path, name=None):
      self.files += [f"{name}/{file.name}" for file in pathlib.Path(local_path).iterdir()]

  class Run:
    def __init__(self, id, dir):
      self.id, self.dir, self.url = id, dir, None

    def define_metric(self, name, step_metric=None):
      pass

    def log(self, data):
      records.append(data)

    def log_artifact(self, artifact):
      records.append({"artifact": artifact.name, "type": artifact.type, "files": artifact.files})

    def finish(self, exit_code=None):
      records.append({"exit": exit_code})

  def init(project, id, name, dir, config, allow_val_change, resume, settings):
    records.append({"run": id, "project": project, "name": name, "settings": len(config)})
    files = pathlib.Path(dir, "wandb", f"offline-run-{len(records)}-{id}", "files")
    files.mkdir(parents=True)
    return Run(id, os.fspath(files))

  wandb = types.ModuleType("wandb")
  wandb.init, wandb.Artifact, wandb.Settings = init, Artifact, lambda console: None
  wandb.util = types.SimpleNamespace(generate_id=lambda: "ab12")
  return wandb


def wandb_records(folder):
  """What files of Weights & Biases hold, in the form of `fake_wandb`."""
  from wandb.proto import wandb_internal_pb2
  from wandb.sdk.internal.datastore import DataStore

  records = []
  for path in sorted(folder.rglob("*.wandb"), key=lambda path: path.stat().st_mtime_ns):
    store, record = DataStore(), wandb_internal_pb2.Record()
    store.open_for_scan(os.fspath(path))
    while (data := store.scan_data()) is not None:
      record.ParseFromString(data)
      kind = record.WhichOneof("record_type")
      if kind == "run":
        run = record.run
        settings = sum(not item.key.startswith("_") for item in run.config.update)
        records.append(
          {
            "run": run.run_id,
            "project": run.project,
            "name": run.display_name,
            "settings": settings,
          }
        )
      elif kind == "history":
        items = {item.key or "/".join(item.nested_key): item for item in record.history.item}
        records.append(
          {
            name: json.loads(item.value_json)
            for name, item in items.items()
            if not name.startswith("_")
          }
        )
      elif kind == "artifact":
        files = [content.path for content in record.artifact.manifest.contents]
        artifact = record.artifact
        records.append({"artifact": artifact.name, "type": artifact.type, "files": files})
      elif kind == "exit":
        records.append({"exit": record.exit.exit_code})
  return records


@pytest.mark.parametrize("library", ["fake", pytest.param("wandb", marks=pytest.mark.slow)])
def test_wandb_keeps_a_run_in_files(library, tmp_path, monkeypatch):
  for name, value in (("MODE", "offline"), ("PROJECT", "retinas"), ("SILENT", "true")):
    monkeypatch.setenv(f"WANDB_{name}", value)
  monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
  records = []
  if library == "fake":
    monkeypatch.setitem(sys.modules, "wandb", fake_wandb(records))
  pytest.importorskip("wandb")
  report, network = files_of_a_run(tmp_path)
  tracker = WandbTracker(tmp_path / "trackers")
  assert tracker.place == "offline  retinas"
  run = tracker.open("", "runs/a", SETTINGS)
  assert tracker.address.startswith(str(tmp_path / "trackers"))
  tracker.log(10, {"train/total_loss": 1.5})
  tracker.log(0, {"eval/rank_me": 2.0})
  tracker.close(False)
  kept = set(tmp_path.glob("trackers/wandb/offline-run-*"))
  lost = tmp_path / f"trackers/wandb/offline-run-20261129_120000-{run}"  # of a process that died
  lost.mkdir()
  tracker = WandbTracker(tmp_path / "trackers")
  assert tracker.open(run, "runs/a", SETTINGS) == run
  assert not lost.exists() and all(folder.exists() for folder in kept)
  tracker.add_files("report", report, tmp_path)
  tracker.add_files("network", network, tmp_path)
  tracker.close(True)
  begun = {"run": run, "project": "retinas", "name": "runs/a", "settings": len(SETTINGS)}
  names = ["report/index.html", "result.json"], ["saved_model/8/saved_model.pb", "onnx/8.onnx"]
  found = records or wandb_records(tmp_path)
  for record in found:
    record["files"] = sorted(record.get("files", []))
  assert [{key: value for key, value in record.items() if value != []} for record in found] == [
    begun,
    {"global_step": 10, "train/total_loss": 1.5},
    {"global_step": 0, "eval/rank_me": 2.0},
    {"exit": 1},
    begun,
    {"artifact": f"report-{run}", "type": "report", "files": sorted(names[0])},
    {"artifact": f"network-{run}", "type": "model", "files": sorted(names[1])},
    {"exit": 0},
  ]
