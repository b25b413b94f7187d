"""What contradicts what: values of options that exclude each other."""
