"""The networks of the paper as Keras model subclasses."""

from conrec_tf.models.build import build_head, build_model
from conrec_tf.models.conrec import ConRec, FeatureLevels, Outputs
from conrec_tf.models.heads import LinearHead

__all__ = ["ConRec", "FeatureLevels", "LinearHead", "Outputs", "build_head", "build_model"]
