"""Opens datasets, with one module for each kind of storage."""
