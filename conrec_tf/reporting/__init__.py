"""The report of a run: a page with figures and tables, and TensorBoard."""
