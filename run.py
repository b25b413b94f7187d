"""Trains and evaluates ConRec; `python run.py --help` lists every flag."""

from conrec_tf import cli


def run(config):
  from conrec_tf.commands import modes  # TensorFlow is imported only when there is work for it

  modes.run(config)


if __name__ == "__main__":
  cli.main(run)
