"""`python -m conrec_tf`: the command line."""

from conrec_tf.cli import main

if __name__ == "__main__":
  main()
