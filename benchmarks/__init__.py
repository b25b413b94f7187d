"""Scripts that measure; each says in its first lines how it is run."""

import conrec_tf  # noqa: F401  # sees to Keras 2 before TensorFlow is imported
