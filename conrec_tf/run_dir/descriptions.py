"""What a folder of embeddings or masks was made of and by, so that no two are mixed."""

from collections.abc import Mapping
import hashlib
import logging
import os
import pathlib
from typing import Any

from conrec_tf.config.migrations import current_settings
from conrec_tf.errors import UsageError
from conrec_tf.files import io_as_usage_error, remove_leftovers
from conrec_tf.run_dir.measurement import changed_words
from conrec_tf.run_dir.pretrained import PretrainedModel, resolve_checkpoint
from conrec_tf.run_dir.run_directory import RunDirectory

logger = logging.getLogger(__name__)

DESCRIPTION = "description.json"


def write_description(
  folder: pathlib.Path,
  description: Mapping[str, Any],
  what: str,
  absent: Mapping[str, Any] | None = None,
) -> None:
  """Writes what a folder's files are made of, or checks that those in it are of the same.

  Args:
    folder: created if it isn't there.
    description: `{name: value}`.
    what: the files, for messages.
    absent: values of names that earlier versions didn't write, which count as these.

  Raises:
    UsageError: the folder holds files of something else, or can't be written.
  """
  directory = RunDirectory(folder)
  before = current_settings(directory.read(DESCRIPTION) or {})
  known = {**(absent or {}), **before}
  if before and not (absent or {}).keys() <= before.keys():
    logger.info(
      "%s is of an earlier version, which noted less: what it lacks counts as it is now", folder
    )
  changed = changed_words({**dict.fromkeys(description), **known} if before else {}, description)
  if changed:
    raise UsageError(f"{folder} must be empty, or hold {what}. Received: {'; '.join(changed)}")
  with io_as_usage_error(folder):
    folder.mkdir(parents=True, exist_ok=True)
  remove_leftovers(folder)
  directory.write(DESCRIPTION, description)


def network_digest(pretrained: PretrainedModel) -> str:
  """Returns what differs between any two networks on disk; of ONNX, the files beside it too."""
  path = pathlib.Path(pretrained.path)
  if pretrained.kind == "checkpoint":
    files = [path.with_name(path.name + ".index")]
  elif path.is_dir():
    files = [path / "variables" / "variables.index"]
    if pretrained.kind == "external":  # it may have no variables
      files = [path / "saved_model.pb", *filter(pathlib.Path.exists, files)]
  else:
    files = [path, *_external_data(path)]
  digest = hashlib.sha256()
  for file in files:
    digest.update(file.read_bytes())
  return digest.hexdigest()


def _external_data(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files beside an ONNX file that it names: they may hold its tensors."""
  if path.suffix != ".onnx":
    return []
  content, found = path.read_bytes(), list[pathlib.Path]()
  for beside in sorted(path.parent.iterdir()):
    if beside != path and os.fsencode(beside.name) in content:
      found += filter(pathlib.Path.is_file, sorted(beside.rglob("*")) or [beside])
  return found


def starting_network(checkpoint: str, encoder_weights: str) -> str:
  """Returns what tells the weights that a training starts from, wherever they lie.

  Args:
    checkpoint, encoder_weights: what the options say.

  Returns:
    A digest; empty where there are none, or they are gone.
  """
  try:
    if checkpoint:
      return network_digest(resolve_checkpoint(checkpoint))
    if encoder_weights:
      return hashlib.sha256(pathlib.Path(encoder_weights).read_bytes()).hexdigest()
  except (UsageError, OSError):  # a run that goes on doesn't need them any more
    pass
  return ""
