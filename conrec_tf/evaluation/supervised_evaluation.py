"""What a supervised head reaches on the evaluation split."""

import numpy as np

from conrec_tf.data.dataset import DatasetSource
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.evaluation import metric_names, probes
from conrec_tf.models import ConRec, LinearHead


def supervised_evaluation(
  model: ConRec,
  head: LinearHead,
  source: DatasetSource,
  *,
  image_size: int,
  batch_size: int,
  layer: int,
  ordinal: bool = False,
) -> dict[str, float]:
  """Measures a supervised head on the evaluation split of its dataset.

  Args:
    model: the network.
    head: the head on it.
    source: the dataset, with labels.
    image_size: height and width that the network works at, pixels.
    batch_size: images of a batch.
    layer: what the head sees; see `ConRec.representation`.
    ordinal: whether classes are grades, and logits their cumulative bits.

  Returns:
    `{name: number}`: top-1 and top-5 accuracy in [0, 1], or for grades accuracy and
    quadratic weighted kappa.
  """
  batches = evaluation_batches(source, source.eval, image_size, batch_size)
  rows = [(head(model.embed(images, layer=layer)), label) for images, label in batches]
  logits, labels = (np.concatenate(column) for column in zip(*rows))
  if ordinal:
    grades = probes.decode_bits(1.0 / (1.0 + np.exp(-logits)))
    return {
      metric_names.LABEL_ACCURACY: float(np.mean(grades == labels)),
      metric_names.LABEL_KAPPA: probes.quadratic_weighted_kappa(
        labels, grades, len(source.class_names)
      ),
    }
  classes = np.arange(logits.shape[1])
  accuracies = probes.top_k_accuracies(logits, classes, labels, ks=(1, 5))
  return {f"eval/label_top_{k}_accuracy": value for k, value in accuracies.items()}
