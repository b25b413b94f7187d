"""One device, several devices, several machines."""
