"""Options that describe something beside the run that they are of."""

from conrec_tf.config.config import Config


class Description(Config):
  """Options of another network, or of other data: they make no run.

  Each value is checked on its own, but none against another: what one run may not ask for together
  is no fault of values that come from several.
  """

  def _check_together(self) -> None:
    pass
