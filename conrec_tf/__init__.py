"""ConRec in TensorFlow 2: contrastive learning, reconstruction, attention-weighted pooling.

After "Towards Fine-grained Visual Representations by Combining Contrastive
Learning with Image Reconstruction and Attention-weighted Pooling" (Dippel,
Vogler, Höhne, 2021, arXiv 2104.04323).
"""

__version__ = "0.1.0"
