"""The files of a run: checkpoints, results, logs, records of what numbers were measured on."""
