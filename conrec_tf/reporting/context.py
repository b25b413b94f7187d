"""The material of a report: runs, and a network that is run when needed."""

from collections.abc import Iterator
import dataclasses
import functools
from typing import Protocol

import numpy as np
from sklearn.metrics import confusion_matrix

from conrec_tf.config import Experiment
from conrec_tf.data.dataset import DatasetSource
from conrec_tf.evaluation.probes import Labelled
from conrec_tf.metrics import is_standardised
from conrec_tf.reporting.figures.plot_style import Sheet
from conrec_tf.reporting.inference import ModelInspector, Predictions, kept_predictions
from conrec_tf.reporting.run_record import RunRecord


class Inspector(Protocol):
  """A network that is ready to be run on images for figures."""

  config: Experiment
  eval_source: DatasetSource

  def sheets(self) -> Iterator[Sheet]:
    """Yields title and rows of pictures for TensorBoard."""
    ...


@dataclasses.dataclass
class ReportContext:
  """The material of a report; the network is run when its outputs are first needed.

  Attributes:
    runs: the runs; the first is what the report is about.
    network: the first run's.
  """

  runs: list[RunRecord]
  network: Inspector

  @property
  def inspector(self) -> ModelInspector:
    """The first run's network, which embeds images."""
    assert isinstance(self.network, ModelInspector)
    return self.network

  @functools.cached_property
  def train(self) -> Labelled:
    """Embeddings and labels of the images that a classifier learns from."""
    return self.inspector.embed(self.inspector.train)

  @functools.cached_property
  def test(self) -> Labelled:
    """Embeddings and labels of the images that it is measured on."""
    return self.inspector.embed(self.inspector.test)

  @functools.cached_property
  def predictions(self) -> Predictions:
    """The run's own predictions for the evaluation split, or else the same classifier's anew."""
    run = self.runs[0]
    kept = kept_predictions(run, self.inspector.eval_source)
    standardise = is_standardised(run.metric)
    return kept or self.inspector.predict(self.train, self.test, standardise)

  @functools.cached_property
  def order(self) -> np.ndarray:
    """The index of the test images, int `[N]`, shuffled."""
    seed = self.runs[0].config.seed
    return np.random.default_rng(seed).permutation(self.inspector.test.num_examples)

  @property
  def other_weights(self) -> list[str]:
    """A note where the network that is run isn't the one that the numbers are of."""
    run, network = self.runs[0].step, self.inspector.step
    if network == run:
      return []
    return [f"Drawn with the network of step {network}, the best: that of step {run} is gone."]

  def confusions(self) -> np.ndarray:
    """Returns int `[K, K]`, counts of true by predicted class."""
    found, count = self.predictions, len(self.inspector.class_names)
    return confusion_matrix(found.labels, found.classes, labels=range(count))
