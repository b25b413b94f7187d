"""What a run learned: a page with pictures and tables, and TensorBoard."""
