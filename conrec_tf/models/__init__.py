"""The networks of the paper as Keras model subclasses."""

from conrec_tf.models.conrec import ConRec, Outputs, build_head, build_model

__all__ = ["ConRec", "Outputs", "build_head", "build_model"]
