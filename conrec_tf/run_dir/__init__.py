"""The files of a run: checkpoints, results, logs, and trained networks on disk."""
