"""What pre-training learns by: each objective is a module, and a line in the table."""
