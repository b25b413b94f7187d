"""Embedded TFDS builders; importing them registers their names with TFDS."""

from conrec_tf.data.builders.aptos2019 import Aptos2019
from conrec_tf.data.builders.circles_square import CirclesSquare
from conrec_tf.data.builders.rectangle_triangle import RectangleTriangle

__all__ = ["Aptos2019", "CirclesSquare", "RectangleTriangle"]
