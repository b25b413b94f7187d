import types

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.errors import UsageError
from conrec_tf.evaluation.supervised_evaluation import supervised_evaluation
from conrec_tf.models import LinearHead, build_model


@pytest.mark.parametrize(
  "ordinal, names",
  [
    (False, {"eval/label_top_1_accuracy", "eval/label_top_5_accuracy"}),
    (True, {"eval/label_top_1_accuracy", "eval/label_quadratic_weighted_kappa"}),
  ],
)
def test_head_is_measured_on_the_eval_split(tiny, monkeypatch, ordinal, names):
  config = Config(**tiny, train_mode="finetune", ordinal_labels=ordinal)
  model, head = build_model(config), LinearHead(7)
  images = np.random.default_rng(0).uniform(size=(40, 24, 24, 1)).astype(np.float32)
  logits = head(model.embed(images)).numpy()
  labels = np.maximum((logits > 0).sum(1) - 1, 0) if ordinal else logits.argmax(1)
  labels[:10] = (labels[:10] + 1) % 7
  monkeypatch.setattr(
    "conrec_tf.evaluation.supervised_evaluation.split_batches",
    lambda *_: [
      (tf.constant(images[i : i + 16]), tf.constant(labels[i : i + 16])) for i in (0, 16, 32)
    ],
  )

  source = types.SimpleNamespace(eval=None, class_names=tuple("abcdefg"))
  metrics = supervised_evaluation(model, head, source, config)
  assert set(metrics) == names
  assert metrics["eval/label_top_1_accuracy"] == 0.75


def test_a_head_that_says_nothing_is_no_perfect_one(tiny, monkeypatch):
  config = Config(**tiny, train_mode="finetune")
  model, head = build_model(config), LinearHead(3)
  images = tf.zeros([4, 24, 24, 1])
  head(model.embed(images))
  head.set_weights([np.full_like(weights, np.inf) for weights in head.get_weights()])
  monkeypatch.setattr(
    "conrec_tf.evaluation.supervised_evaluation.split_batches",
    lambda *_: [(images, tf.constant([0, 1, 2, 0]))],
  )
  split = types.SimpleNamespace(name="test", image_names=np.array(list("abcd"), object))
  source = types.SimpleNamespace(eval=split, class_names=tuple("xyz"))
  with pytest.raises(UsageError, match="finite numbers .* others for 4 of 4 of test, e.g. a"):
    supervised_evaluation(model, head, source, config)
