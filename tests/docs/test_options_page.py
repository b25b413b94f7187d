"""The reference of all options is that of the present options."""

import pathlib
import runpy

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def test_the_page_of_options_is_current():
  page = runpy.run_path(str(DOCS / "generate_options.py"))["page"]()
  assert (DOCS / "options.md").read_text() == page, "run: python docs/generate_options.py"
