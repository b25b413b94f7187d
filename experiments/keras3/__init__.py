"""The network once in Keras 3, to see what a port would take; see docs/keras3.md."""
