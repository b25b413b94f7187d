"""Bad images: whatever a library that decodes a file raises, in a few words."""

from collections.abc import Iterator
import contextlib
import re

NO_MEMORY = "not enough memory to decode it"
LONGEST_REASON = 200  # characters
# What Python itself raises in a library that doesn't look at what it reads.
MISHAPS = (
  *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError),
  *(NameError, RecursionError, TypeError),
)


class BadImage(ValueError):
  """A file that can't be decoded; its message is one line and says why."""


@contextlib.contextmanager
def as_bad_image() -> Iterator[None]:
  """Turns any exception of a library within into a `BadImage`; a context or a decorator.

  Libraries have no common class for a damaged file. What ends the process, as Ctrl-C does, passes.
  """
  try:
    yield
  except BadImage:
    raise
  except Exception as error:
    raise BadImage(reason(error)) from error


def reason(error: Exception) -> str:
  """Returns in a few words and on one line why a file can't be decoded.

  The error is a library's, or TensorFlow's, which a `BadImage` may have gone through.
  """
  if isinstance(error, MemoryError):
    return NO_MEMORY
  message = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
  message = message.rpartition(f"{BadImage.__name__}: ")[2].strip().partition("\n")[0]
  # Not what TensorFlow says of its graph and the path, nor a stream in memory, which nobody knows.
  message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name:.*$| <_io[^>]*>", "", message)
  message = re.sub(r"^\s*/.*?; ", "", message)
  message = re.sub(r"^\s*assertion failed: \[(.*?)\].*", r"\1", message)  # of a graph
  message = "".join(letter if letter.isprintable() else " " for letter in message)
  message = " ".join(message.split()).rstrip(". ")[:LONGEST_REASON]
  kind = type(error).__name__
  if isinstance(error, MISHAPS):
    return f"damaged ({kind}: {message})" if message else f"damaged ({kind})"
  return message or kind
