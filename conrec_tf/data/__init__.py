"""Datasets, and the input pipeline from a record on disk to a batch of augmented views."""
