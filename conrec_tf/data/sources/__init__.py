"""Where datasets come from: one module for each kind of storage."""
