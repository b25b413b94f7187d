"""Who may know whom, read from the imports."""

import ast
import pathlib

import pytest

import conrec_tf

PACKAGE = pathlib.Path(conrec_tf.__file__).parent
LEVELS = [
    {"knob"},
    {"devices"},
    {"knobs"},
    {"config", "logistic_regression", "signals", "machine", "replicas", "data.choices"},
    {"runs", "original"},
    {"stored"},
    {"losses", "optimizers", "strategy", "workers", "data.views", "data.supervised",
     "data.corruption", "models.normalization", "models.unet", "models.pooling",
     "models.precision", "models.heads", "models.baselines", "models.conrec", "probes"},
    {"data.builders", "data.builders.rectangle_triangle", "data.builders.circles_square",
     "data.builders.aptos2019"},
    {"data.splits", "data.decoding", "models", "updates"},
    {"data.tfds_source", "data.image_folder", "data.npz", "data.inspection", "progress"},
    {"data.sources"},
    {"data.pipeline", "checkpoints", "training"},
    {"pretrain", "finetune", "evaluation", "saved_model", "conversions", "embedding", "results"},
    {"jobs", "export"},
    {"reporting", "reporting.paper", "reporting.style"},
    {"reporting.record", "reporting.network", "reporting.curves", "reporting.classes",
     "reporting.sights", "reporting.embedding_map"},
    {"reporting.tables", "reporting.projector"},
    {"reporting.sections", "reporting.page", "reporting.board"},
    {"reporting.report"},
    {"trainer"},
    {"modes"},
    {"cli"},
]


def modules():
  for path in PACKAGE.rglob("*.py"):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    yield ".".join(part for part in parts if part != "__init__"), path


def imports(path):
  """Full names of everything that a file imports."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = dict(modules())


@pytest.mark.parametrize("name", sorted(name for name in FILES if name not in ("", "data")))
def test_imports_go_downwards(name):
  level = next(index for index, names in enumerate(LEVELS) if name in names)
  for imported in imports(FILES[name]):
    short = imported.removeprefix("conrec_tf.")
    if imported != short and short in FILES and short != "data":
      below = next(index for index, names in enumerate(LEVELS) if short in names)
      same_package = short.split(".")[0] == name.split(".")[0]
      assert below < level or (below == level and same_package), f"{name} imports {short}"


def test_data_models_and_losses_are_strangers():
  for name, path in FILES.items():
    area = name.split(".")[0]
    forbidden = dict(data=("models", "losses"), models=("data", "losses"),
                     losses=("data", "models")).get(area, ())
    for imported in imports(path):
      assert not imported.startswith(tuple(f"conrec_tf.{other}" for other in forbidden)), name


def test_only_the_command_line_knows_absl():
  users = {name for name, path in FILES.items()
           if any(imported.startswith("absl") for imported in imports(path))}
  assert users == {"cli"}


def test_rooms_are_small():
  for name, path in FILES.items():
    assert len(path.read_text().splitlines()) <= 250, name
