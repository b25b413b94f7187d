"""What each --mode does: one module for each."""
