"""Trains and evaluates ConRec; `python run.py --help` lists every flag."""

from conrec_tf.cli import main

if __name__ == "__main__":
  main()
