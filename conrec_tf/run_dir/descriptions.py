"""What a folder of embeddings or masks was made of and by, so that no two are mixed."""

from collections.abc import Mapping
import hashlib
import os
import pathlib
from typing import Any

from conrec_tf.config import UsageError
from conrec_tf.config.options import current_settings
from conrec_tf.files import io_as_usage_error, remove_leftovers
from conrec_tf.run_dir.pretrained import PretrainedModel
from conrec_tf.run_dir.run_directory import RunDirectory

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
  """Returns the files that an ONNX file names, in whose folder or below it its tensors may lie."""
  content = path.read_bytes() if path.suffix == ".onnx" else b""
  return [
    file
    for file in sorted(path.parent.rglob("*") if content else ())
    if file != path and os.fsencode(file.relative_to(path.parent)) in content and file.is_file()
  ]
