"""The trained network for other programs: SavedModel, ONNX, TensorFlow Lite."""
