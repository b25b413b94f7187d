"""Values of options that exclude each other."""

from collections.abc import Iterator

from conrec_tf.config.options.option import Rule
from conrec_tf.config.options.table import Options
from conrec_tf.config.rules.data import data_rules
from conrec_tf.config.rules.evaluation import evaluation_rules
from conrec_tf.config.rules.network import network_rules
from conrec_tf.config.rules.objective import objective_rules
from conrec_tf.config.rules.run import run_rules
from conrec_tf.config.rules.segmentation import segmentation_rules
from conrec_tf.config.rules.unread import unread_rules


def rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`."""
  yield from network_rules(config)
  yield from objective_rules(config)
  yield from data_rules(config)
  yield from evaluation_rules(config)
  yield from segmentation_rules(config)
  yield from run_rules(config)
  yield from unread_rules(config)
