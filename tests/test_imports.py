"""Which package may import which, read from the source: one level for each package."""

import ast
import pathlib

import pytest

import conrec_tf

PACKAGE = pathlib.Path(conrec_tf.__file__).parent
# A package imports from levels before its own, and from itself; those of one level are strangers.
LEVELS = (
  {"errors", "keras_version", "metrics", "output"},
  {"files"},
  {"config"},
  {"distribute"},
  {"losses", "models", "data"},
  {"evaluation"},
  {"run_dir"},
  {"pretrained"},
  {"training"},
  {"export", "reporting"},
  {"explore", "segmentation"},
  {"commands"},
  {"cli"},
)
ROOMS_OF_DATA = ("images", "files", "sources")  # each knows those before it
TOP = {"__init__", "__main__"}  # they import what they offer, where it is asked for
LONGEST_MODULE = 400  # lines
MOST_NAMES = 14  # modules and packages of a folder; at the top there are more
MOST_NAMES_AT_THE_TOP = 20
# Functions take the section of options that they read; but for what `--mode` runs, which hands each
# its own, these take all.
TAKES_ALL_OPTIONS = {
  "run_dir.run_directory.start": "writes them all down",
  "run_dir.run_directory.check_training": "compares all that determines a training",
  "run_dir.results_place.results_place": "compares all that a result depends on with a run's",
  "commands.__init__.run": "chooses the command",
  "commands.__init__.command": "chooses the command",
  "commands.embed.opened": "makes the options of a pass over images",
  "commands.embed.opened_images": "makes them, for images alone",
  "commands.evaluate.evaluate_network": "writes them down where a network is measured",
  "commands.evaluator.__init__": "hands them to trackers and exports",
  "commands.export.export_network": "an export states them where the network doesn't",
  "commands.several._trainings": "makes the options of each training",
  "commands.tasks.portable_network": "stands in for what the network doesn't state",
  "commands.train.train_and_evaluate": "is the command, of several trainings too",
  "commands.train._start": "writes them all down",
  "commands.verdict.__init__": "makes the options of trainings from scratch",
}


def modules():
  """Yields the dotted name and the path of each module of the package."""
  for path in sorted(PACKAGE.rglob("*.py")):
    yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), path


def imports(path):
  """Full names of everything that a file imports, inside functions too."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = dict(modules())


def level_of(package):
  """The number of a package's level."""
  return next(number for number, packages in enumerate(LEVELS) if package in packages)


@pytest.mark.parametrize("name", [name for name in FILES if name not in TOP])
def test_a_package_imports_only_from_levels_below(name):
  package = name.split(".")[0]
  for imported in imports(FILES[name]):
    root, _, rest = imported.partition(".")
    other = rest.split(".")[0]
    if root == "conrec_tf" and other not in (package, "__version__"):
      assert level_of(other) < level_of(package), f"{name} imports {imported}"


@pytest.mark.parametrize("place", range(len(ROOMS_OF_DATA)))
def test_a_room_of_data_imports_only_from_rooms_before(place):
  later = tuple(f"conrec_tf.data.{room}." for room in ROOMS_OF_DATA[place + 1 :])
  for path in sorted((PACKAGE / "data" / ROOMS_OF_DATA[place]).glob("*.py")):
    for imported in imports(path):
      assert not f"{imported}.".startswith(later), f"{path.name} imports {imported}"


def test_only_tasks_and_the_command_know_segmentation():
  users = {
    name
    for name, path in FILES.items()
    if any(imported.startswith("conrec_tf.segmentation") for imported in imports(path))
  }
  others = {name for name in users if not name.startswith("segmentation")}
  assert others == {"commands.tasks", "commands.segment"}


def test_only_the_command_line_reads_flags():
  users = {
    name
    for name, path in FILES.items()
    if any(imported.startswith("absl") for imported in imports(path))
  }
  assert users == {"cli"}


def test_few_functions_take_all_options():
  takers = {
    f"{name}.{node.name}"
    for name, path in FILES.items()
    if not name.startswith("config.")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef)
    for argument in (*node.args.args, *node.args.kwonlyargs)
    if argument.annotation and ast.unparse(argument.annotation).strip("'\"") == "Config"
  }
  commands = {
    name for name in FILES if name.startswith("commands.") and name != "commands.__init__"
  }
  assert takers - {f"{name}.run" for name in commands} == set(TAKES_ALL_OPTIONS)


def test_no_folder_holds_too_much():
  for folder in {PACKAGE, *(path.parent for path in FILES.values())}:
    names = {
      path.stem for path in folder.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
    }
    most = MOST_NAMES_AT_THE_TOP if folder == PACKAGE else MOST_NAMES
    assert len(names - {"__init__", "__main__", "__pycache__"}) <= most, folder


def test_modules_are_short():
  lengths = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
  assert {name for name, count in lengths.items() if count > LONGEST_MODULE} == set()
