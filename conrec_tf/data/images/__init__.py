"""One image: from a file's bytes to pixels."""
