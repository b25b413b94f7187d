"""Writes options.md, the reference of all options, from their definitions.

python docs/generate_options.py
"""

import dataclasses
import pathlib
from typing import get_args

from conrec_tf.config.options.option import explained_choices, shown
from conrec_tf.config.options.table import SECTIONS

PAGE = pathlib.Path(__file__).parent / "options.md"
INTRODUCTION = """\
# Options

Every option is a command-line flag (`--image_size=128`), a line of a flagfile, and an argument of
`conrec_tf.Config`. Names and meanings follow SimCLR's TensorFlow 2 code where it has them. An
option that determines the trained weights can't change while a run goes on; the others can.
This page is made from the definitions by `python docs/generate_options.py`.
"""


def page() -> str:
  """Returns the text of the page."""
  parts = [INTRODUCTION]
  for section in SECTIONS:
    parts.append(f"## {section.__name__}\n\n{section.__doc__}\n")
    for field in dataclasses.fields(section):
      parts.append(_entry(field))
  return "\n".join(parts)


def _entry(field: dataclasses.Field) -> str:
  rules = field.metadata
  default = shown(field.default)
  kind = field.type if get_args(field.type) else field.type.__name__
  facts = [f"`{kind}`", f"default {default if default == 'empty' else f'`{default}`'}"]
  for name, words in (
    ("low", "at least"),
    ("above", "above"),
    ("high", "at most"),
    ("below", "below"),
  ):
    if rules[name] is not None:
      facts.append(f"{words} {rules[name]:g}")
  if rules["changes_training"]:
    facts.append("determines the trained weights")
  choices = [
    f"- {value if value == 'empty' else f'`{value}`'}: {words}"
    for value, words in explained_choices(field)
  ]
  text = "\n".join([rules["help"], *[""] * bool(choices), *choices]).replace("<", "&lt;")
  return f"### `--{field.name}`\n\n{text}\n\n*{'; '.join(facts)}*\n"


if __name__ == "__main__":
  PAGE.write_text(page())
