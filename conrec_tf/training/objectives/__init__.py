"""The objectives of pre-training, each in a module of its own."""
