"""Evaluation of frozen embeddings: classifiers, measures and comparisons."""
