"""Embedded TFDS builders; importing them registers their names with TFDS."""

from conrec_tf.data.builders.rectangle_triangle import RectangleTriangle

__all__ = ["RectangleTriangle"]
