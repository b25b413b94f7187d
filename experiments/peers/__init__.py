"""Another trainer in the same minutes; see `experiments.peers.__main__`."""
