"""One option of a run: a dataclass field with its explanation and range."""

import dataclasses
from typing import Any


def option(
  default: str | int | float | bool,
  help: str,
  *,
  choices: tuple[str | int, ...] | None = None,
  low: float | None = None,
  high: float | None = None,
  above: float | None = None,
  below: float | None = None,
  changes_training: bool = True,
  architecture: bool = False,
  path: bool = False,
  renamed_from: str | None = None,
  previously: str | int | float | bool | None = None,
) -> Any:
  """Returns a dataclass field that carries its explanation and range as metadata.

  Args:
    default: the default value; its type is the type of the field.
    help: one or two sentences for `--help`.
    choices: the allowed values of an enumeration.
    low, high: inclusive bounds.
    above, below: exclusive bounds.
    changes_training: whether another value leads to other trained weights.
    architecture: whether the value belongs to the description of a trained network: its layers,
      and what it takes and gives.
    path: whether the value is a path, or several with commas between, of which ~ is expanded.
    renamed_from: the name that the option had in an earlier version. It stays a flag for one
      release, and settings of earlier runs are read under it.
    previously: of an option that earlier versions lacked, the value that stands for what they did.
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
      renamed_from=renamed_from,
      previously=previously,
    ),
  )
