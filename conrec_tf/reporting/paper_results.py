"""The paper's numbers (Dippel, Vogler, Höhne, 2021, arXiv 2104.04323), and the names in it."""

from typing import NamedTuple

from conrec_tf.metrics import (
  EVAL,
  KAPPA,
  LABEL_ACCURACY,
  LABEL_KAPPA,
  LINEAR_ACCURACY,
  STANDARDISED,
)

METHODS = {
  "simclr": "SimCLR",
  "simclr_attention": "SimCLR-attention",
  "reconstruction": "Reconstruction",
  "conrec_ga_pool": "ConRec with GA pool",
  "conrec": "ConRec",
  "densenet121_imagenet": "DenseNet121, ImageNet",
  "supervised_unet": "U-net, supervised",
  "supervised_densenet121": "DenseNet121, supervised",
  "finetune": "Supervised head",
  "segment": "Segmentation",
}


class Published(NamedTuple):
  """The paper's numbers on a dataset.

  Attributes:
    pixels: height and width of the images.
    epochs: of pre-training.
    numbers: in %, by method.
    metric: what is measured, of raw embeddings.
  """

  pixels: int
  epochs: int
  numbers: dict[str, float]
  metric: str = LINEAR_ACCURACY

  def is_measured_by(self, metric: str) -> bool:
    """Returns whether a number of a run, of either reading or by a head, is of the same kind."""
    by_head = LABEL_KAPPA if self.metric == KAPPA else LABEL_ACCURACY
    return metric.replace(STANDARDISED, EVAL) in (self.metric, by_head)


RESULTS = {
  # Table 1.
  "rectangle_triangle": Published(
    128,
    1000,
    dict(simclr=85.6, simclr_attention=90.4, reconstruction=91.8, conrec_ga_pool=93.4, conrec=96.4),
  ),
  # Table 1.
  "circles_square": Published(
    128,
    1000,
    dict(
      simclr=99.5, simclr_attention=99.5, reconstruction=86.47, conrec_ga_pool=99.5, conrec=98.75
    ),
  ),
  # Table 2.
  "aptos2019": Published(
    224,
    1200,
    dict(
      simclr=85.72,
      simclr_attention=86.06,
      conrec=89.44,
      densenet121_imagenet=86.7,
      supervised_unet=82.11,
      supervised_densenet121=64.53,
    ),
    KAPPA,
  ),
  # Table 2; DenseNet121's ImageNet holds images like these.
  "oxford_flowers102": Published(
    224,
    2700,
    dict(
      simclr=86.01,
      simclr_attention=88.37,
      conrec=90.29,
      densenet121_imagenet=92.97,
      supervised_unet=81.54,
      supervised_densenet121=82.03,
    ),
  ),
  # Table 2; DenseNet121's ImageNet holds these dogs.
  "stanford_dogs": Published(
    224,
    1200,
    dict(
      simclr=43.96,
      simclr_attention=50.31,
      conrec=49.57,
      densenet121_imagenet=88.07,
      supervised_unet=55.2,
      supervised_densenet121=57.63,
    ),
  ),
}
