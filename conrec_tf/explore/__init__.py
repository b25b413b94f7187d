"""Embeddings of a dataset looked at as a whole: what lies near what, and what lies alone."""
