"""Makes options and sections of them: dataclass fields with explanations and checked ranges."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Any, TypeVar, dataclass_transform, get_args

from conrec_tf.errors import UsageError

Section = TypeVar("Section")
# Of values that exclude each other: whether it is wrong, what is expected, and what was received
# where that isn't the value of the option that the words for what is expected begin with.
Rule = tuple[Any, str] | tuple[Any, str, Any]


def left_out(config: Any, names: Sequence[str], needed: Any, unless: str) -> Iterator[Rule]:
  """Yields rules that options are at their defaults unless they are needed.

  When that is, `unless` says in messages.
  """
  for name in names:
    default = config.__dataclass_fields__[name].default
    yield getattr(config, name) != default and not needed, f"{name} must be left out {unless}"


def option(
  default: str | int | float | bool | tuple[Any, ...],
  help: str,
  *,
  choices: Mapping[Any, str] | None = None,
  low: float | None = None,
  high: float | None = None,
  above: float | None = None,
  below: float | None = None,
  changes_training: bool = True,
  architecture: bool = False,
  path: bool = False,
  by_content: bool = False,
  before: str | int | float | bool | None = None,
  item: Callable[[str], Any] | None = None,
) -> Any:
  """Returns a dataclass field that carries its explanation and range as metadata.

  Args:
    default: the default value; its type is the type of the field, and of a list a tuple.
    help: one or two sentences for `--help`.
    choices: the allowed values of an enumeration, and what each means, in a few words.
    low, high: inclusive bounds; those of a list are of each of its items, as are its choices.
    above, below: exclusive bounds.
    changes_training: whether another value leads to other trained weights.
    architecture: whether the value belongs to the description of a trained network: its layers,
      and what it takes and gives.
    path: whether the value is a path, or several, of which ~ is expanded.
    by_content: whether the value is the path of what a run knows by a digest, so that it may move,
      but not change: a table that says something of the images, a teacher.
    before: of an option that came later, the value that stands for what runs did without it.
    item: of a list, what reads the text of an item; None: its type.
  """
  return dataclasses.field(
    default=default,
    metadata=dict(
      help=help,
      choices=choices,
      low=low,
      high=high,
      above=above,
      below=below,
      changes_training=changes_training,
      architecture=architecture,
      path=path,
      by_content=by_content,
      before=before,
      item=item,
    ),
  )


# An option of which trained weights don't depend, and one that is a share.
setting = functools.partial(option, changes_training=False)
share = functools.partial(option, low=0.0, high=1.0)


@dataclass_transform(frozen_default=True)
def section(fields: type[Any]) -> type[Any]:
  """Makes a class a part of `Config`: fields alone, for `Config` makes the methods of them all.

  Methods of each section would only slow the import.
  """
  return dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)(fields)


def section_with(kind: type[Section], options: Any, **changes: Any) -> Section:
  """Makes a section of the values of another one, or of `Config`, with changes; none is checked."""
  values = object.__new__(kind)
  for field in dataclasses.fields(kind):  # type: ignore[arg-type]
    value = changes.get(field.name, getattr(options, field.name))
    object.__setattr__(values, field.name, value)
  return values


def explained_choices(field: dataclasses.Field) -> list[tuple[str, str]]:
  """Returns the allowed values of an enumeration and what each means; nothing for other options."""
  choices = field.metadata["choices"] or {}
  return [(shown(value), words) for value, words in choices.items()]


def read(field: dataclasses.Field, value: Any) -> Any:
  """Returns the value of an option, of a list from a text with commas between.

  Texts that mean the same give the same value, so that one run isn't taken for two. One that can't
  be read stays as it is, for `check_range` to refuse.
  """
  items = get_args(field.type)[:1]
  if not items or not isinstance(value, str):
    return value
  kind = field.metadata["item"] or (_number if items[0] is float else items[0])
  try:
    return tuple(kind(text.strip()) for text in value.split(",") if text.strip())
  except ValueError:
    return value


def _number(text: str) -> float:
  number = float(text)
  return int(number) if number.is_integer() else number  # written as 1, be it 1 or 1.0


def written(value: Any) -> Any:
  """Returns a value as flags and files have it: a list as a text with commas between."""
  return ",".join(map(str, value)) if isinstance(value, tuple | list) else value


def shown(value: Any) -> str:
  """Returns a value for help and messages."""
  return "empty" if value in ("", ()) else str(written(value))


def meaning(field: dataclasses.Field, value: Any) -> str:
  """Returns the explanation of an option and, of an enumeration, that of a value."""
  name = shown(value)
  chosen = [f"{name}: {words}." for choice, words in explained_choices(field) if choice == name]
  return " ".join([field.metadata["help"], *chosen])


def check_range(field: dataclasses.Field, value: Any) -> None:
  """Checks the type and the range of a value.

  Raises:
    UsageError: the value isn't of the field's type, or out of its range.
  """
  items = get_args(field.type)[:1]
  if not items:
    expected, received = _expected(field, field.type, value), repr(value)
  elif not isinstance(value, tuple) or any(_expected(field, items[0], item) for item in value):
    expected, received = _expected_items(field, items[0]), written(value)
  else:
    return
  if expected:
    raise UsageError(f"{field.name} must be {expected}. Received: {received}")


def _expected_items(field: dataclasses.Field, wanted: type) -> str:
  rules = field.metadata
  if rules["choices"] is not None:
    return "made of " + ", ".join(rules["choices"])
  words = {int: "whole numbers", float: "numbers", str: "texts"}[wanted]
  for name, limit in (("low", "from"), ("above", "above"), ("high", "and up to")):
    words += f" {limit} {rules[name]:g}" if rules[name] is not None else ""
  return f"{words}, separated by commas"


def _expected(field: dataclasses.Field, wanted: Any, value: Any) -> str | None:
  """Returns what a value of a type should be, in words, where it isn't."""
  rules = field.metadata
  if wanted is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  expected = None
  if type(value) is not wanted:
    expected = f"of type {getattr(wanted, '__name__', wanted)}"
  elif rules["choices"] is not None and value not in rules["choices"]:
    expected = "one of " + ", ".join(name for name, _ in explained_choices(field))
  elif rules["low"] is not None and not value >= rules["low"]:
    expected = f"at least {rules['low']}"
  elif rules["high"] is not None and not value <= rules["high"]:
    expected = f"at most {rules['high']}"
  elif rules["above"] is not None and not value > rules["above"]:
    expected = f"above {rules['above']}"
  elif rules["below"] is not None and not value < rules["below"]:
    expected = f"below {rules['below']}"
  elif value in (float("inf"), float("-inf")):
    expected = "finite"
  return expected
