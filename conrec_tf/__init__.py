"""ConRec in TensorFlow 2: contrastive learning, reconstruction, attention-weighted pooling.

After "Towards Fine-grained Visual Representations by Combining Contrastive
Learning with Image Reconstruction and Attention-weighted Pooling" (Dippel,
Vogler, Höhne, 2021, arXiv 2104.04323).

`pretrain`, `embed` and `ConRecEmbedder` are what most programs need of it, and below them `Config`,
`build_model` and `load_dataset`. They are imported when they are first used, so that importing the
package takes no time. It does one thing: it makes
`tf.keras` Keras 2.
"""

import importlib
from typing import TYPE_CHECKING, Any

from conrec_tf.keras_version import use_keras_2

if TYPE_CHECKING:
  from conrec_tf.commands import pretrain
  from conrec_tf.commands.tasks import load_dataset
  from conrec_tf.config import Config
  from conrec_tf.models import build_model
  from conrec_tf.pretrained.embedder import ConRecEmbedder, embed

__version__ = "0.2.0"
__all__ = [
  "ConRecEmbedder",
  "Config",
  "__version__",
  "build_model",
  "embed",
  "load_dataset",
  "pretrain",
]

_MODULES = {
  "ConRecEmbedder": "conrec_tf.pretrained.embedder",
  "Config": "conrec_tf.config",
  "build_model": "conrec_tf.models",
  "embed": "conrec_tf.pretrained.embedder",
  "load_dataset": "conrec_tf.commands.tasks",
  "pretrain": "conrec_tf.commands",
}


use_keras_2()


def __getattr__(name: str) -> Any:
  if name in _MODULES:
    return getattr(importlib.import_module(_MODULES[name]), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
