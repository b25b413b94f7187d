"""A dataclass field that is an option: default, explanation, range."""

import dataclasses


def option(
  default, help, *, choices=None, low=None, high=None, above=None, below=None, changes_training=True
):
  """A dataclass field that carries its own explanation and range.

  Args:
    default: the default; its type is the field's type.
    help: one line for `--help`.
    choices: the allowed values, for an enumeration.
    low, high: inclusive bounds.
    above, below: exclusive bounds.
    changes_training: whether another value leads to other trained weights.
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
    ),
  )
