"""From the command line to a `Config`: one absl flag per option."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import logging
import os
import pathlib
import sys
import tempfile
import textwrap
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from absl.logging import converter

from conrec_tf.config import Config
from conrec_tf.config.config import OF_EVAL_DATASET
from conrec_tf.config.migrations import current_flags, current_settings, settings_before
from conrec_tf.config.options.data import OF_FILES, are_of_a_kind
from conrec_tf.config.options.option import explained_choices, shown, written
from conrec_tf.config.options.table import OPTIONS, SECTIONS
from conrec_tf.errors import UsageError
from conrec_tf.output import TerminalFormatter, outlive_readers
from conrec_tf.pretrained.find import network_values, said_beside
from conrec_tf.run_dir.run_directory import RunDirectory
from conrec_tf.training.preemption import Preempted

FLAGS = flags.FLAGS

MODES_OF_A_RUN = ("eval", "report", "verdict", "embed", "explore", "predict", "segment", "export")
READS_LABELS = ("eval", "verdict", "embed", "explore")  # of whatever data_dir they are given
# What a run says of the data that it learns from, and of no other: for images to predict.
OF_OTHER_IMAGES = {
  **{
    name: OPTIONS[name].default
    for name in (*OF_FILES, *OF_EVAL_DATASET, "label_order", "ordinal_labels")
  },
  **dict.fromkeys(("train_split", "eval_split"), "all"),
  "label_mode": "auto",
}
PRESETS = pathlib.Path(__file__).parent / "presets"
NO_TPU = "--strategy, for GPUs and processors; TPUs are not supported"
USE_INSTEAD = {
  "resnet_depth": "--unet_depth",
  "width_multiplier": "--base_filters",
  "sk_ratio": "--base_filters; a U-net has no selective kernels",
  "se_ratio": "--base_filters; a U-net has no squeeze-and-excitation",
  "labels": "--label_mode",
  "select_on": "--select_best_on",
  "repetitions": "--num_repeats",
  "folds": "--cv_folds",
  "max_bad_images": "--max_undecodable",
  "recompute": "--gradient_checkpointing",
  **dict.fromkeys(("use_tpu", "tpu_name", "tpu_zone", "gcp_project"), NO_TPU),
}

INTRODUCTION = """\
ConRec: image representations without labels, from a contrastive loss, image
reconstruction and attention-weighted pooling.

  {program} --mode=train_then_eval
  {program} --mode=train_then_eval --dataset=oxford_flowers102 --train_epochs=100
  {program} --flagfile=rectangle_triangle.cfg --flagfile=simclr.cfg
  {program} --flagfile=<model_dir>/flags.cfg --model_dir=<another folder>
  {program} --mode=eval --model_dir=<model_dir> --label_fractions=0.01,0.1,1.0
  {program} --mode=report --model_dir=<model_dir> --compare_with=<another model_dir>
  {program} --mode=verdict --model_dir=<model_dir> --compare_with=<another network>
  {program} --train_mode=finetune --checkpoint=<model_dir> --fine_tune_after_block=4
  {program} --mode=embed --model_dir=<model_dir> --dataset=image_folder --data_dir=photos
  {program} --mode=explore --model_dir=<model_dir> --dataset=image_folder --data_dir=photos
  {program} --mode=predict --model_dir=<model_dir> --dataset=image_folder --data_dir=photos
  {program} --mode=export --model_dir=<model_dir> --export_format=onnx,tflite

Given twice, a flag takes its last value: flags after a --flagfile change what it says.
"""
FLAGFILES = "A --flagfile is a path, or the name of a preset with .cfg behind it:"


def main() -> None:
  """Parses the command line, does what `--mode` says and ends the process.

  A `UsageError` becomes one line on stderr and exit code 1.
  """
  outlive_readers()
  define_by_type: dict[Any, Callable[..., Any]] = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
  }
  for section in SECTIONS:
    for field in dataclasses.fields(section):
      define = define_by_type.get(field.type, flags.DEFINE_string)  # text of lists too
      define(field.name, written(field.default), _explained(field), module_name=section.__name__)
  app.run(lambda argv: _report_errors(_run, argv), flags_parser=_parse)


def help_text() -> str:
  """Returns what `--help` prints."""
  script = os.path.basename(sys.argv[0])
  program = {"conrec": "conrec", "__main__.py": "python -m conrec_tf"}.get(script, "python run.py")
  names = ", ".join(name.removesuffix(".cfg") for name in presets())
  known = textwrap.fill(f"{FLAGFILES} {names}.", width=88, subsequent_indent="  ")
  parts = [INTRODUCTION.format(program=program), known, ""]
  for section in SECTIONS:
    parts.append(f"{section.__name__}: {section.__doc__}")
    for field in dataclasses.fields(section):
      text = f"--{field.name}: {field.metadata['help']}"
      text += f" (default: {shown(field.default)})"
      parts.append(textwrap.fill(text, width=88, initial_indent="  ", subsequent_indent="      "))
      parts += [
        textwrap.fill(f"{value}: {words}", 88, initial_indent=" " * 6, subsequent_indent=" " * 10)
        for value, words in explained_choices(field)
      ]
    parts.append("")
  parts.append("--helpfull shows absl's own flags too, such as --flagfile and --verbosity.")
  return "\n".join(parts)


def _explained(field: dataclasses.Field) -> str:
  """Returns what `--helpfull` says of an option."""
  choices = [f"{value}: {words}" for value, words in explained_choices(field)]
  return " ".join([field.metadata["help"], "; ".join(choices)]).strip()


def presets() -> dict[str, pathlib.Path]:
  """Returns the flagfiles that come with the package, `{name: path}`, e.g. simclr.cfg."""
  return {path.name: path for path in sorted(PRESETS.glob("*.cfg"))}


def _parse(argv: list[str]) -> list[str]:
  """Parses flags as absl does, with errors in one line and our own `--help`."""
  if {"--help", "-help", "--helpshort", "-h", "-?"} & set(argv[1:]):
    print(help_text(), flush=True)
    sys.exit(1)  # as absl does
  return _report_errors(_parse_flags, argv)


def _parse_flags(argv: list[str]) -> list[str]:
  try:
    # What is in flagfiles is put in their place, as absl reads them.
    arguments = FLAGS.read_flags_from_files(_with_preset_paths(argv[1:]))
    rest = FLAGS([argv[0], *current_flags(arguments)])
  except flags.UnrecognizedFlagError as error:
    instead = USE_INSTEAD.get(error.flagname.removeprefix("no"))
    raise UsageError(f"{str(error).strip()}" + (f" Use {instead}." if instead else "")) from error
  except flags.CantOpenFlagFileError as error:
    file: Any = error.__context__  # the error of the system, with the name
    raise UsageError(
      "flagfile must be a file that can be read or, on the command line, the name of a preset such "
      f"as simclr.cfg ({file.strerror}). Received: {file.filename}"
    ) from error
  except flags.Error as error:
    raise UsageError(" ".join(str(error).split())) from error
  except UnicodeDecodeError as error:
    raise UsageError(
      f"flagfile must be text in UTF-8. Received: {error.object[error.start :][:20]!r} in one"
    ) from error
  if len(rest) > 1:
    raise UsageError(f"arguments must be flags such as --mode=train. Received: {rest[1]}")
  for name, value in _values_of_run().items():
    if name in OPTIONS and not FLAGS[name].present:
      FLAGS[name].value = value
  _config()
  return rest


def _with_preset_paths(arguments: list[str]) -> list[str]:
  """Replaces the name of a preset after `--flagfile` by its path, where there is no such file."""
  known, replaced = presets(), []
  for place, argument in enumerate(arguments):
    flag, equals, name = argument.rpartition("=")
    follows = place and arguments[place - 1] in ("--flagfile", "-flagfile")
    if (flag in ("--flagfile", "-flagfile") or follows) and not os.path.exists(name):
      argument = f"{flag}{equals}{known.get(name, name)}"
    replaced.append(argument)
  return replaced


def _values_of_run() -> dict[str, Any]:
  """Returns what a run or a network says of itself, for what the command line leaves open."""
  mode = str(FLAGS.mode)
  checkpoint, model_dir = (os.path.expanduser(path) for path in (FLAGS.checkpoint, FLAGS.model_dir))
  run = RunDirectory(model_dir)
  raw = run.settings if model_dir else {}
  stored = current_settings(raw)
  values = settings_before(raw)
  checks = mode == "check_data" and not FLAGS["dataset"].present  # what the run learns from
  if mode in MODES_OF_A_RUN or checks:
    values = {**stored, "seeds": ""} if stored and checks else dict(stored)
    _check_table(mode, stored)
    own_data = stored.get("dataset", Config.dataset)
    if FLAGS["dataset"].present and not are_of_a_kind(FLAGS.dataset, own_data):
      values["data_dir"] = ""
    if stored.get("mode") != "eval":  # else it is what was evaluated
      values["checkpoint"] = ""  # where it began
    channels = run.images.get("channels")
    if mode in ("embed", "explore", "predict") and channels in (1, 3):
      values["image_channels"] = channels
    if mode == "predict" and (FLAGS["dataset"].present or FLAGS["data_dir"].present):
      values |= OF_OTHER_IMAGES
  given = {name: FLAGS[name].value for name in OPTIONS if FLAGS[name].present}
  if mode == "eval" and {"eval_split", "eval_test_split"} & given.keys():
    values["cv_fold"] = ""  # with which a part of the train split is measured
    if stored.get("train_mode") != "finetune":  # else it is the folder of several trainings
      values["cv_folds"] = 0
  if checkpoint and mode != "check_data":
    asked = str(given.get("train_mode", ""))
    values |= network_values(checkpoint, mode, run if model_dir else None, asked)
  return said_beside(values, given)


def _check_table(mode: str, stored: dict[str, Any]) -> None:
  """Raises UsageError where the labels of a run's images would be those of others called alike."""
  table = stored.get("label_table")
  if not table or mode not in READS_LABELS or FLAGS["label_table"].present:
    return
  paths = [stored.get("data_dir", ""), os.path.expanduser(FLAGS.data_dir)]
  if FLAGS["data_dir"].present and len(set(map(os.path.realpath, paths))) > 1:
    raise UsageError(
      "label_table must be named anew, or left out (--label_table=), for another data_dir than "
      f"the run's. Received: {table} of the run for {FLAGS.data_dir}"
    )


def _config() -> Config:
  """Returns the `Config` that the parsed flags describe."""
  values: dict[str, Any] = {name: FLAGS[name].value for name in OPTIONS}
  return Config(**values)


def _run(argv: list[str]) -> None:
  del argv
  _set_up_logging()
  config = _config()
  with _without_notices():
    from conrec_tf import commands  # TensorFlow is imported only when there is work for it

    command = commands.command(config)
  command(config)


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
  """Keeps TensorFlow's notices at its start from the terminal, unless TF_CPP_MIN_LOG_LEVEL is set.

  Some are written by C++ before it reads that variable. Where an import fails they are shown.
  """
  if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
    yield
    return
  os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
  sys.stderr.flush()
  terminal = os.dup(2)
  with tempfile.TemporaryFile() as notices:
    os.dup2(notices.fileno(), 2)
    try:
      yield
    except ImportError:
      notices.seek(0)
      os.write(terminal, notices.read())
      raise
    finally:
      sys.stderr.flush()
      os.dup2(terminal, 2)
      os.close(terminal)


def _set_up_logging() -> None:
  logger = logging.getLogger("conrec_tf")
  handler = logging.StreamHandler(sys.stdout)
  if sys.stdout.isatty():  # the live line of a training gives way, and is drawn again below
    handler.setFormatter(TerminalFormatter())
  logger.addHandler(handler)
  logger.propagate = False
  logger.setLevel(converter.absl_to_standard(FLAGS.verbosity))
  if FLAGS.verbosity < 1:  # the libraries' own notes only when asked for
    absl_logging.set_verbosity(absl_logging.ERROR)


def _report_errors(function: Callable[..., Any], *args: Any) -> Any:
  """Calls a function; a problem that the user can solve ends the process with one line."""
  try:
    return function(*args)
  except UsageError as error:
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(1)
  except Preempted as preempted:
    print(
      f"Stopped by {preempted} after step {preempted.step}; the same command continues.",
      file=sys.stderr,
    )
    sys.exit(128 + preempted.signum)
  except KeyboardInterrupt:
    print("Interrupted; the same command continues from the last checkpoint.", file=sys.stderr)
    sys.exit(130)
