"""What a folder of embeddings or masks was made of and by, so that no two are mixed."""

from collections.abc import Mapping
import logging
import pathlib
from typing import Any

from conrec_tf.config.migrations import current_settings
from conrec_tf.errors import UsageError
from conrec_tf.files import io_as_usage_error, remove_leftovers
from conrec_tf.run_dir.measurement import changed_words
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
