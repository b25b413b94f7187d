"""Trained networks on disk: finds them, reads them, and starts a training from one."""
