"""The training loop and the steps that it runs."""
