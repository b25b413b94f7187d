"""What CONTRIBUTING.md names is there: paths, modules, functions, classes, constants, options."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("", "conrec_tf", "tests")  # that paths are told from
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
MENTIONS = sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))))
PATH = re.compile(r"[\w.-]*/[\w./-]*|[\w-]+\.(?:py|md|cfg|txt|toml)|\.\w+/\w+")
# A name, perhaps dotted, with a value, a type or arguments after it.
NAME = re.compile(r"(?:--)?([A-Za-z_]\w*(?:\.\w+)*)(?:=.*|: (\w+)|\(.*\))?")
# How something is written, rather than a name of it.
WORDINGS = ("# As the authors", "# Unlike the authors", "[B, H, W, C]", "image_size must be")
HEADINGS = ("Args", "Returns", "Raises")  # of docstrings


def source_files():
  """Yields the path and the syntax tree of each module of the package and of the tests."""
  for folder in ("conrec_tf", "tests"):
    for path in sorted((ROOT / folder).rglob("*.py")):
      yield path, ast.parse(path.read_text())


def names_of(tree):
  """Yields what a module defines, imports and says: names of all levels, arguments, keys."""
  for node in ast.walk(tree):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      yield node.name
    elif isinstance(node, ast.Name):
      yield node.id
    elif isinstance(node, ast.arg | ast.keyword):
      yield node.arg
    elif isinstance(node, ast.Attribute):
      yield node.attr


SOURCES = dict(source_files())
NAMES = {path: set(names_of(tree)) for path, tree in SOURCES.items()}
ALL_NAMES = set.union(*NAMES.values())


def is_path(text):
  """Tells whether a file or folder is at a path, or a file of such a bare name anywhere."""
  if any((ROOT / folder / text).exists() for folder in FOLDERS):
    return True
  return "/" not in text and any(path.name == text for path in SOURCES)


def is_name(text):
  """Tells whether there is a dotted name: a module, and what it defines, or a class's part."""
  *above, last = text.split(".")
  for folder in (ROOT, ROOT / "conrec_tf"):
    path = folder.joinpath(*above, last)
    if path.is_dir() or path.with_suffix(".py").exists():
      return True
  ending = f"/{'/'.join(above)}.py"
  modules = [names for path, names in NAMES.items() if str(path).endswith(ending)]
  if above and modules:
    return any(last in names for names in modules)
  return all(part in ALL_NAMES for part in (*above, last))


def verbs():
  """Returns the verbs of the Makefile."""
  return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("mention", MENTIONS)
def test_what_it_names_is_there(mention):
  if mention in HEADINGS or mention.startswith(WORDINGS):
    return
  if mention == "make" or mention.startswith("make "):
    assert mention == "make" or mention.split()[1] in verbs()
  elif PATH.fullmatch(mention):
    assert is_path(mention)
  else:
    match = NAME.fullmatch(mention)
    assert match and all(is_name(name) for name in match.groups() if name)


@pytest.mark.parametrize("name", ["training.loop.trains", "nt_xents", "losses.nt_xents", "lossy"])
def test_other_names_are_not_there(name):
  assert not is_name(name)


@pytest.mark.parametrize("path", ["training/loops.py", "loops.py", "tests/trainings/"])
def test_other_paths_are_not_there(path):
  assert PATH.fullmatch(path) and not is_path(path)
