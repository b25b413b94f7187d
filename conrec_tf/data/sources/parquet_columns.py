"""Finds the columns of image and label in Parquet files, and reads labels.

The library `datasets` writes the kinds of its columns into the schema's metadata, as JSON under
`huggingface`: `info.features` is `{column: {"_type": "Image"}}`, `{"_type": "ClassLabel", "names":
[...]}`, or a list of such, `{"_type": "List" or "Sequence", "feature": {...}}` or `[{...}]`.
"""

from collections.abc import Mapping, Sequence
import json
from typing import Any, NamedTuple

from conrec_tf.config import Data
from conrec_tf.data.files.labels import label_text, value_text
from conrec_tf.data.files.layout import Label
from conrec_tf.errors import UsageError, listed

NO_LABEL = ""
USUAL_LABELS = ("label", "labels")


class Columns(NamedTuple):
  """Columns of a Parquet file by its schema.

  Attributes:
    images, labels: names of columns that may be those.
    class_names: `{column: names of its classes, in their order}`, where they are stated.
    others: names of all other columns.
  """

  images: list[str]
  labels: list[str]
  class_names: dict[str, tuple[str, ...]]
  others: list[str]


class Chosen(NamedTuple):
  """The columns of a dataset.

  Attributes:
    image: name of the image.
    label: name of the label; empty without labels.
    class_names: of the label, in their order; empty where they aren't stated.
  """

  image: str
  label: str
  class_names: tuple[str, ...]


def columns_of(schema: Any) -> Columns:
  """Returns what a `pyarrow.Schema` says; columns of a stated kind come before others by name."""
  features = _features(schema.metadata or {})
  names = {name: _class_names(feature) for name, feature in features.items()}
  class_names = {name: found for name, found in names.items() if found and name in schema.names}
  images = [name for name in schema.names if _kind(features.get(name)) == "Image"]
  if not images:
    images = [field.name for field in schema if _holds_images(field.type)]
  labels = list(class_names) or [name for name in USUAL_LABELS if name in schema.names]
  others = [name for name in schema.names if name not in (*images, *labels)]
  return Columns(images, labels, class_names, others)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
  """Returns `{column: its kind}` as `datasets` states it; nothing where it doesn't."""
  try:
    features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
  except (ValueError, KeyError, TypeError):
    return {}
  return features if isinstance(features, dict) else {}


def _kind(feature: Any) -> str:
  return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _class_names(feature: Any) -> tuple[str, ...]:
  """Returns the names of the classes of a column, or of the lists in it."""
  if isinstance(feature, list) and len(feature) == 1:
    return _class_names(feature[0])
  if _kind(feature) in ("List", "LargeList", "Sequence"):
    return _class_names(feature.get("feature"))
  if _kind(feature) == "ClassLabel":
    return tuple(label_text(str(name)) for name in feature.get("names") or ())
  return ()


def _holds_images(kind: Any) -> bool:
  """Returns whether values of an Arrow type may be encoded images."""
  from pyarrow import types

  if types.is_struct(kind):
    return kind.get_field_index("bytes") >= 0 and _holds_images(kind.field("bytes").type)
  return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def chosen_columns(data: Data, columns: Columns, path: str) -> Chosen:
  """Returns the columns that are meant: those that options name, or the only ones of a kind.

  Without a column that may be a label, and nothing else beside images, there are no labels.

  Raises:
    UsageError: there is none, or several; `path` is of one of the files.
  """
  image = _chosen(data, "image", columns.images, columns, path)
  if data.label_mode == "none" or not (columns.labels or columns.others):
    return Chosen(image, "", ())
  label = _chosen(data, "label", columns.labels, columns, path)
  names = columns.class_names.get(label, ())
  if len(set(names)) < len(names):
    raise UsageError(f"{label} must have classes of different names. Received: {path}")
  return Chosen(image, label, names)


def _chosen(data: Data, what: str, candidates: Sequence[str], columns: Columns, path: str) -> str:
  option = f"{what}_key"
  key = getattr(data, option)
  known = {*columns.images} if what == "image" else {*columns.labels, *columns.others}
  if key in known:
    return key
  is_given = key != what and data.names_must_fit
  if len(candidates) == 1 and not is_given:
    return candidates[0]
  everything = [*columns.images, *columns.labels, *columns.others]
  unlabelled = " (or --label_mode=none)" if what == "label" else ""
  raise UsageError(
    f"{option} must name the column of the {what}{unlabelled}, of "
    f"{', '.join(candidates or everything) or 'none'}. Received: {key}, for {path}"
  )


def labels_of(values: Sequence[Any], class_names: Sequence[str], where: str) -> list[Label]:
  """Returns labels as text, `NO_LABEL` for null, -1 and nothing, or tuples of several.

  Args:
    values: of the column.
    class_names: of numbers, or empty where the values are the names.
    where: they come from, for messages.

  Raises:
    UsageError: a value is no label, or a list of several is none or names one twice.
  """
  if not any(isinstance(value, list) for value in values):
    return [_label(value, class_names, where, row) for row, value in enumerate(values)]
  found = list[Label]()
  for row, value in enumerate(values):
    if not isinstance(value, list):
      raise _wrong("a list of labels, empty where it has none", value, where, row)
    texts = [_label(each, class_names, where, row) for each in value]
    if NO_LABEL in texts or len(set(texts)) < len(texts):
      raise _wrong("a list of labels, each once and by name or number", value, where, row)
    found.append(tuple(sorted(texts)))
  return found


def _label(value: Any, class_names: Sequence[str], where: str, row: int) -> str:
  if value is None or value == -1 or value != value:
    return NO_LABEL
  if not class_names:
    text = label_text(value.strip()) if isinstance(value, str) else value_text(value)
    if text is None or isinstance(value, float) and not value.is_integer():
      raise _wrong("text or a whole number for a label", value, where, row)
    return text
  if not isinstance(value, int) or not 0 <= value < len(class_names):
    raise _wrong(f"a label from 0 to {len(class_names) - 1}", value, where, row)
  return class_names[value]


def _wrong(what: str, value: Any, where: str, row: int) -> UsageError:
  shown = listed([repr(each) for each in value]) if isinstance(value, list) else repr(value)
  return UsageError(
    f"data_dir must give each image {what}. Received: "
    f"{f'[{shown}]' if isinstance(value, list) else shown} in row {row} of {where}"
  )
