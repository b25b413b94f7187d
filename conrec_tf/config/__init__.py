"""Every option of a run, its range, and what contradicts what."""

from conrec_tf.config.config import Config
from conrec_tf.config.description import Description, EvaluationData

__all__ = ["Config", "Description", "EvaluationData"]
