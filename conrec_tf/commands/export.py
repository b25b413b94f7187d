"""`--mode=export`: a trained network for use elsewhere."""

from conrec_tf.config import Config
from conrec_tf.export.export import check_formats, export_network
from conrec_tf.pretrained.find import pretrained_network
from conrec_tf.run_dir.run_directory import RunDirectory


def run(config: Config) -> None:
  """Exports the network of `--checkpoint`, or the one in `model_dir`, to `model_dir`."""
  check_formats(config.export_formats)
  directory = config.run_directory
  pretrained = pretrained_network(config.checkpoint, directory, config.export_checkpoint)
  export_network(config, pretrained, RunDirectory(directory))
