"""What a folder of embeddings or masks was made of and by, so that no two are mixed."""

from collections.abc import Mapping
import hashlib
import pathlib
from typing import Any

from conrec_tf.config import UsageError
from conrec_tf.config.options import current_settings
from conrec_tf.run_dir.pretrained import PretrainedModel, resolve_checkpoint
from conrec_tf.run_dir.run_directory import RunDirectory, io_as_usage_error

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
    absent: values of names that earlier versions didn't write.

  Raises:
    UsageError: the folder holds files of something else, or can't be written.
  """
  directory = RunDirectory(folder)
  before = current_settings(directory.read(DESCRIPTION) or {})
  known = {**(absent or {}), **before}
  changed = [
    f"{name}: {known.get(name)} -> {value}"
    for name, value in description.items()
    if before and known.get(name) != value
  ]
  if changed:
    raise UsageError(f"{folder} must be empty, or hold {what}. Received: {'; '.join(changed)}")
  with io_as_usage_error(folder):
    folder.mkdir(parents=True, exist_ok=True)
  directory.write(DESCRIPTION, description)


def identifying_bytes(pretrained: PretrainedModel) -> bytes:
  """Returns what differs between any two networks on disk."""
  path = pathlib.Path(pretrained.path)
  if pretrained.kind == "checkpoint":
    files = [path.with_name(path.name + ".index")]
  elif path.is_dir():
    files = [path / "variables" / "variables.index"]
    if pretrained.kind == "external":  # it may have no variables
      files = [path / "saved_model.pb", *filter(pathlib.Path.exists, files)]
  else:
    files = [path]
  return b"".join(file.read_bytes() for file in files)


def starting_network(checkpoint: str, encoder_weights: str) -> str:
  """Returns what tells the weights that a training starts from, wherever they lie.

  Args:
    checkpoint, encoder_weights: what the options say.

  Returns:
    A digest; empty where there are none, or they are gone.
  """
  digest = hashlib.sha256()
  try:
    if checkpoint:
      digest.update(identifying_bytes(resolve_checkpoint(checkpoint)))
    elif encoder_weights:
      digest.update(pathlib.Path(encoder_weights).read_bytes())
    else:
      return ""
  except (UsageError, OSError):  # a run that goes on doesn't need them any more
    return ""
  return digest.hexdigest()
