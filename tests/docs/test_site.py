"""The documentation as a site."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SEVERAL_NAMES = re.compile(r"^ {4,}\w+(?:, \w+)+: ", re.MULTILINE)
ARGUMENTS = re.compile(r"^ +Args:\n(.*?)(?:\n\n|\"\"\")", re.MULTILINE | re.DOTALL)
LOADED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*\"")


def test_no_page_needs_the_network_to_be_read(tmp_path):
  pytest.importorskip("mkdocs", reason="needs requirements-docs.txt")
  pytest.importorskip("mkdocstrings", reason="needs requirements-docs.txt")
  command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  pages = list(tmp_path.rglob("*.html"))
  assert len(pages) > 10
  for page in pages:
    assert LOADED.findall(page.read_text()) == [], page
  for sheet in tmp_path.rglob("*.css"):
    assert not re.search(r"(?:url\(|@import)[^;)]*https?:", sheet.read_text()), sheet


def test_each_argument_of_a_documented_module_has_an_entry_of_its_own():
  """The documentation isn't built where two names share one."""
  modules = re.findall(
    r"^::: (conrec_tf[\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE
  )
  paths = [ROOT / f"{name.replace('.', '/')}.py" for name in modules]
  assert sum(path.exists() for path in paths) > 30
  for path in filter(pathlib.Path.exists, paths):
    for entries in ARGUMENTS.findall(path.read_text()):
      assert SEVERAL_NAMES.findall(entries) == [], path
