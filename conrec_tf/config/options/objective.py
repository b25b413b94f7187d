"""Options of what the network learns by: the losses."""

from conrec_tf.config.options.option import option, section, share


@section
class Objective:
  """Loss = contrastive_weight * contrast + reconstruction_weight * reconstruction, and more."""

  contrastive_weight: float = option(
    1.0, "Weight of the contrastive loss; 0 builds no projection head.", low=0.0, architecture=True
  )
  contrastive_method: str = option(
    "decoupled",
    "The contrastive loss.",
    choices={
      "nt_xent": "NT-Xent (the paper)",
      "decoupled": (
        "without the pair itself in the denominator, so that gradients don't vanish in small "
        "batches (arXiv 2110.06848)"
      ),
      "moco": (
        "momentum contrast: a second network that follows the first makes what is compared with "
        "(arXiv 2003.04297, 2104.02057)"
      ),
    },
  )
  moco_momentum: float = share(0.99, "Share of moco's second network that stays at a step.")
  moco_momentum_schedule: str = option(
    "constant",
    "Schedule of moco_momentum.",
    choices={
      "constant": "it stays",
      "cosine": "it goes to 1 over the training, which then can't go on for longer",
    },
  )
  moco_queue_length: int = option(
    0,
    "Projections of earlier batches that moco compares with, a multiple of twice the batch; 0: "
    "those of the batch's other images.",
    low=0,
  )
  contrastive_inputs: str = option(
    "corrupted",
    "Views that the contrastive loss compares.",
    choices={
      "corrupted": "the corrupted views (the paper)",
      "clean": "the clean ones, which the encoder then sees beside them: twice its work in a step",
    },
  )
  reconstruction_weight: float = option(
    300.0,
    "Weight of the reconstruction loss (the paper's alpha, 100 there); 0 builds no decoder.",
    low=0.0,
    architecture=True,
  )
  reconstruction_loss: str = option(
    "mse",
    "Loss of the reconstruction.",
    choices={
      "mse": "squared error per pixel",
      "huber": "Huber loss per pixel",
      "ssim": "1 - SSIM",
    },
  )
  multi_level_contrastive_weight: float = option(
    0.0,
    "Weight of the mean contrastive loss of the encoder's shallower levels too, each pooled by "
    "average, with a projection head of its own (after arXiv 2301.00772); 0: of the embedding "
    "alone.",
    low=0.0,
  )
  multi_level_reconstruction_weight: float = option(
    0.0,
    "Weight of the mean reconstruction loss of the decoder's inner levels too, each at its own "
    "resolution (after arXiv 2301.00772); 0: of the last alone.",
    low=0.0,
  )
  local_crops: int = option(
    4,
    "Small crops of each image that are compared with the views of all images, beside those, where "
    "there is a contrastive loss; 0: none (multi-crop, arXiv 2006.09882).",
    low=0,
    high=64,
    before=0,
  )
  local_crop_size: int = option(
    32,
    "Height and width of local crops, a multiple of 2^(unet_depth - 1).",
    low=4,
    before=32,
  )
  local_crop_min_area: float = option(
    0.08,
    "Smallest share of an image's area that a local crop shows.",
    above=0.0,
    high=1.0,
    before=0.08,
  )
  local_crop_max_area: float = option(
    0.5,
    "Largest share of an image's area that a local crop shows.",
    above=0.0,
    high=1.0,
    before=0.5,
  )
  local_crop_weight: float = option(
    2.0,
    "Weight of the contrastive loss of local crops.",
    above=0.0,
    before=2.0,
  )
  teacher: str = option(
    "",
    "Somebody else's network whose vectors of an image the embedding learns to match: a SavedModel "
    "or an ONNX file, called as external_scaling and external_output say. Empty: none.",
    path=True,
    by_content=True,
    before="",
  )
  teacher_weight: float = option(
    1.0,
    "Weight of 1 - cosine of the teacher's vector and what a linear head makes of the embedding.",
    low=0.0,
    before=1.0,
  )
  teacher_relation_weight: float = option(
    0.0,
    "Weight of what distances and angles among a batch's embeddings differ by from those among the "
    "teacher's vectors (RKD, arXiv 1904.05068; 25 there).",
    low=0.0,
    before=0.0,
  )
  teacher_views: bool = option(
    False,
    "The teacher sees each clean view in the step itself; else each image once, whole, before the "
    "training.",
    before=False,
  )
  teacher_image_size: int = option(
    0,
    "Height and width of the images that the teacher sees. 0: what its file says, or image_size "
    "where it takes any.",
    low=0,
    before=0,
  )
  adversarial_weight: float = option(
    0.0,
    "Weight of a discriminator's judgement of the reconstruction, patch by patch (arXiv "
    "1611.07004); 0 builds none.",
    low=0.0,
  )
  adversarial_loss: str = option(
    "least_squares",
    "Loss of the discriminator.",
    choices={
      "least_squares": "by least squares (arXiv 1611.04076)",
      "hinge": "by a hinge (arXiv 1705.02894)",
    },
  )
  adversarial_start_step: int = option(
    0,
    "The step from which the discriminator's judgement counts; it learns from the first.",
    low=0,
  )
  discriminator_learning_rate: float = option(
    0.0002, "Learning rate of the discriminator's Adam.", above=0.0
  )
  temperature: float = option(0.2, "Temperature of the contrastive loss. Paper: 0.5.", above=0.0)
  lineareval_while_pretraining: bool = option(
    False, "Train a supervised head beside pre-training; no gradient reaches the network."
  )
  hidden_norm: bool = option(True, "Normalise projections to unit length before NT-Xent.")

  @property
  def objectives(self) -> tuple[str, ...]:
    """The names of what pre-training learns by, each that of a module of `training/objectives/`.

    Their losses are added up in this order; another one changes the last bits of weights.
    """
    moco = self.contrastive_method == "moco"
    weights = {
      "contrastive": not moco and self.contrastive_weight,
      "momentum_contrast": moco and self.contrastive_weight,
      "reconstruction": self.reconstruction_weight,
      "levels": self.multi_level_contrastive_weight or self.multi_level_reconstruction_weight,
      "adversarial": self.adversarial_weight,
      "local_crops": self.local_crops and self.contrastive_weight,
      "teacher": self.teacher,
    }
    return tuple(name for name, weight in weights.items() if weight)
