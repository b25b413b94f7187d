"""Datasets that only tests use."""
