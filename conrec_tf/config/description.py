"""Options that describe something beside the run that they are of."""

from typing import Any

from conrec_tf.config.config import Config
from conrec_tf.config.options.table import OPTIONS

# What says something of the files that training learns from, and of no others.
OF_FILES = ("label_table", "label_columns", "drop_duplicates")


class Description(Config):
  """Options of another network, or of other data: they make no run.

  Each value is checked on its own, but none against another: what one run may not ask for together
  is no fault of values that come from several.
  """

  def _check_together(self) -> None:
    pass


class EvaluationData(Description):
  """Options of `eval_dataset`, under the names that those of the training data have."""

  @classmethod
  def of(cls, config: Config, channels: int) -> "EvaluationData":
    """Returns what a run says of its evaluation set.

    Args:
      config: the options of the run.
      channels: that images are converted to, or 0 for what they have.
    """
    data_dir = config.eval_data_dir or config.data_dir
    own = (config.dataset, config.data_dir) == (config.eval_dataset, data_dir)
    values: dict[str, Any] = {name: getattr(config, name) for name in OPTIONS}
    return cls(
      **values
      | {name: OPTIONS[name].default for name in OF_FILES if not own}
      | dict(
        dataset=config.eval_dataset,
        data_dir=data_dir,
        train_split=config.eval_train_split,
        eval_split=config.eval_test_split or config.eval_split,
        label_mode="auto",
        image_channels=channels,
      )
    )
