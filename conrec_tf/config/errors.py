"""Errors that the user can solve, and how an exception becomes one line."""

import re


class UsageError(ValueError):
  """A problem that the user can solve; its message is one line and ends with what was received."""


def short_message(error: BaseException) -> str:
  """Returns what an exception says, in a few words and on one line."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  # TensorFlow says "{{node}} path; reason [Op:name]".
  return getattr(error, "strerror", None) or re.sub(
    r" \[Op:\w+\]$", "", lines[0].rsplit("; ", 1)[-1]
  )
