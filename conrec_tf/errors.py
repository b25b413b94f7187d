"""Errors that the user can solve, and how exceptions and names become one line."""

from collections.abc import Iterator, Sequence
import contextlib
import re

NAMES_SHOWN = 10


class UsageError(ValueError):
  """A problem that the user can solve; its message is one line and ends with what was received."""


def short_message(error: BaseException) -> str:
  """Returns what an exception says, in a few words and on one line."""
  line = (str(error).strip().splitlines() or [type(error).__name__])[0]
  if hasattr(error, "node_def"):  # TensorFlow says "{{node}} path; reason [Op:name]"
    line = re.sub(r" \[Op:\w+\]$", "", line.rsplit("; ", 1)[-1])
  return getattr(error, "strerror", None) or line


@contextlib.contextmanager
def as_usage_error(expected: str, received: object, *kinds: type[Exception]) -> Iterator[None]:
  """Turns exceptions of some kinds from inside into a `UsageError`, which says why in brackets.

  Args:
    expected: what must be, in words.
    received: what was.
  """
  try:
    yield
  except UsageError:
    raise
  except kinds as error:
    raise UsageError(f"{expected} ({short_message(error)}). Received: {received}") from error


def listed(names: Sequence[str]) -> str:
  """Returns the first names in a line, with dots where there are more."""
  return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
