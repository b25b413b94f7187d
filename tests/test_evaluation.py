import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
import tensorflow as tf

from conrec_tf import evaluation
from conrec_tf.config import Config, UsageError
from conrec_tf.data.sources import open_source
from conrec_tf.models import build_model


def test_accuracy_is_scikit_learns(rng):
  centres = rng.normal(size=(5, 8))
  train, evaluated = [(centres[labels] + rng.normal(size=(len(labels), 8)), labels)
                      for labels in (rng.integers(0, 5, 200), rng.integers(0, 5, 100))]
  expected = LogisticRegression(max_iter=10000, random_state=0).fit(*train).score(*evaluated)
  assert evaluation.linear_accuracy(train, evaluated) == expected
  assert 0.4 < expected < 1.0


def test_standardising_rescues_nearly_constant_features(rng):
  labels = np.arange(200) % 2
  features = 1.0 + 1e-6 * (labels[:, None] + 0.1 * rng.normal(size=(200, 3)))
  split = (features, labels)
  assert evaluation.linear_accuracy(split, split) < 0.9
  assert evaluation.linear_accuracy(split, split, standardise=True) == 1.0


def test_one_class_only():
  split = (np.eye(4), np.zeros(4, int))
  with pytest.raises(UsageError, match="at least two classes .* Received: 1"):
    evaluation.linear_accuracy(split, split)


def test_no_convergence_is_said(rng, monkeypatch, caplog):
  monkeypatch.setattr(evaluation, "LogisticRegression",
                      lambda **_: LogisticRegression(max_iter=1, random_state=0))
  split = (rng.normal(size=(50, 8)), np.arange(50) % 2)
  with caplog.at_level(logging.WARNING):
    evaluation.linear_accuracy(split, split)
  assert "did not converge" in caplog.text


def test_embeddings_of_a_split(tiny):
  config = Config(**tiny, eval_batch_size=10)
  source = open_source(config)
  model = build_model(config)
  embeddings, labels = evaluation.embed_split(config, model, source, source.eval)
  assert embeddings.shape == (24, 8) and embeddings.dtype == np.float32
  records = list(source.eval.records())
  assert list(labels) == [int(record["label"]) for record in records]
  image = tf.image.resize(source.decode(records[13]["image"]), [24, 24], "bicubic") / 255
  expected = model.embed(tf.clip_by_value(image, 0, 1)[tf.newaxis])[0]
  np.testing.assert_allclose(embeddings[13], expected, atol=1e-6)


def test_linear_evaluation_names(tiny):
  config = Config(**tiny)
  metrics = evaluation.linear_evaluation(config, build_model(config), open_source(config),
                                         standardise=True)
  assert set(metrics) == {"eval/linear_top_1_accuracy", "eval/standardised_linear_top_1_accuracy"}
  assert all(0 <= value <= 1 for value in metrics.values())
