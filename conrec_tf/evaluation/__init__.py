"""What frozen embeddings are worth: linear evaluation and other classifiers."""
