"""One module for each `--mode`, with a function `run(config)`."""

from collections.abc import Callable
import importlib

from conrec_tf.config import Config

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
  from conrec_tf.distribute.strategy import set_up_devices

  set_up_devices(config.devices, config.deterministic)
  name = COMMANDS[config.mode]
  if name == "train" and (config.seeds or config.cv_folds and not config.is_pretraining):
    name = "several"
  return importlib.import_module(f"conrec_tf.commands.{name}").run
