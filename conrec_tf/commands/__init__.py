"""One module for each `--mode`, with a function `run(config)`."""

from collections.abc import Callable
import importlib
import os
from typing import TYPE_CHECKING, Any

from conrec_tf.config import Config
from conrec_tf.config.migrations import settings_before

if TYPE_CHECKING:
  from conrec_tf.pretrained.run import Run

# Names of modules, so that a command imports only what it needs.
COMMANDS = {
  "train": "train",
  "train_then_eval": "train",
  "eval": "evaluate",
  "report": "report",
  "verdict": "verdict",
  "embed": "embed",
  "explore": "explore",
  "predict": "predict",
  "export": "export",
  "segment": "segment",
  "check_data": "check_data",
}


def run(config: Config) -> None:
  """Does what `config.mode` says; see `command`."""
  command(config)(config)


def command(config: Config) -> Callable[[Config], None]:
  """Imports what does what `config.mode` says, TensorFlow with it, and sets up the devices.

  Returns:
    A function of the config. It raises a `UsageError` for what the user can put right, and
    `Preempted` when a signal came; what was trained is saved then.

  Raises:
    UsageError: there is no such device.
  """
  from conrec_tf.distribute.strategy import enough_memory, set_up_devices

  set_up_devices(config.devices, config.deterministic)
  name = COMMANDS[config.mode]
  if name == "train" and config.is_of_several:
    name = "several"
  return enough_memory()(importlib.import_module(f"conrec_tf.commands.{name}").run)


def pretrain(
  images: str | os.PathLike[str], out: str | os.PathLike[str] = "", **options: Any
) -> "Run":
  """Pre-trains a network, evaluates it where there are labels, and exports it.

  The same call goes on where one was interrupted, and is done at once where it is finished.

  Args:
    images: a folder of images, an npz archive, or what else `data_dir` says of `dataset`.
    out: the folder of the run; empty: see `model_dir`.
    **options: of `Config`. With a `checkpoint`, those that describe the network are its own unless
      given.

  Returns:
    The run, which takes the place of its path, and knows its `result` and its `network`.

  Raises:
    UsageError: something that the user can put right.
    Preempted: a signal came; what was trained is saved.
  """
  from conrec_tf.pretrained.find import network_values, said_beside
  from conrec_tf.pretrained.run import Run
  from conrec_tf.run_dir.run_directory import RunDirectory

  path = os.fspath(images)
  values: dict[str, Any] = {
    "mode": "train_then_eval",
    "dataset": "npz" if path.endswith(".npz") else "image_folder",
    "data_dir": path,
    "model_dir": os.fspath(out),
    **options,
  }
  # What is no path is refused by `Config`.
  start, folder = (
    os.path.expanduser(path) if isinstance(path, str | os.PathLike) else ""
    for path in (values.get("checkpoint", ""), values["model_dir"])
  )
  directory = RunDirectory(folder) if folder else None
  own = settings_before(directory.settings if directory else {})
  if start:
    own |= said_beside(network_values(start, "train", directory), options)
    values["checkpoint"] = start
  values = own | values
  config = Config(**values)
  run(config)
  return Run(config.run_directory)
