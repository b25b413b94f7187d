"""The page of the images that are nearest to one."""

import base64
from collections.abc import Sequence
import io
import pathlib

import numpy as np
from PIL import Image

from conrec_tf.explore.page import TEMPLATES
from conrec_tf.files import make_output_folder, write_text


def write_query_page(
  path: pathlib.Path,
  query: tuple[str, np.ndarray],
  found: Sequence[tuple[str, str, float, np.ndarray]],
) -> None:
  """Writes a page with the pictures in it.

  Args:
    path: of the page.
    query: name and picture, uint8 `[h, w, 3]`, of what was looked for.
    found: name, label, distance and picture of each image, the nearest first.

  Raises:
    UsageError: the folder can't be written.
  """
  make_output_folder(path.parent)
  text = TEMPLATES.get_template("query.html.jinja").render(
    title=f"Nearest to {query[0]}",
    query=(query[0], _embedded(query[1])),
    found=[(*words, _embedded(picture)) for *words, picture in found],
  )
  write_text(path, text)


def _embedded(picture: np.ndarray) -> str:
  """Returns a picture as a data URI."""
  buffer = io.BytesIO()
  Image.fromarray(picture).save(buffer, "JPEG", quality=90)
  return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
