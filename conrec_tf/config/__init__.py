"""Every option of a run, its range, and what contradicts what."""

from conrec_tf.config.config import Config
from conrec_tf.config.description import Description, EvaluationData
from conrec_tf.config.errors import UsageError, listed, short_message

__all__ = ["Config", "Description", "EvaluationData", "UsageError", "listed", "short_message"]
