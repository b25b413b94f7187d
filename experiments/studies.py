"""What is tried: datasets, and variations of a recipe, as flags of the command."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Study:
  """Trainings that are compared with each other.

  Attributes:
    about: what is compared, a sentence.
    flags: of all of them, the dataset among them.
    seconds: how long each trains, evaluations and start left out.
    variations: `{name: flags}` that come after.
    seeds: how often each is trained.
  """

  about: str
  flags: tuple[str, ...]
  seconds: int
  variations: dict[str, tuple[str, ...]]
  seeds: tuple[int, ...] = (0, 1, 2)


PAPER = (
  "--optimizer=lars",
  "--learning_rate=0.075",
  "--learning_rate_scaling=sqrt",
  "--learning_rate_schedule=constant",
  "--weight_decay=0.0001",
  "--temperature=0.5",
  "--contrastive_method=nt_xent",
  "--contrastive_inputs=corrupted",
  "--crop_min_area=0.08",
  "--skip_connections=all",
  "--reconstruction_weight=100",
  "--moving_average_decay=0",
  "--representation_levels=all",
  "--standardize_embeddings",
)
START = (
  *PAPER,
  "--optimizer=adamw",
  "--learning_rate=0.001",
  "--learning_rate_scaling=none",
  "--learning_rate_schedule=cosine",
)
CROP = (*START, "--crop_min_area=0.3")
DECOUPLED = ("--contrastive_method=decoupled", "--temperature=0.2")
SEARCH = {
  "paper": PAPER,
  "adamw_cosine": START,
  "crop_0.3": CROP,
  "crop_0.5": (*START, "--crop_min_area=0.5"),
  "lr_0.003": (*CROP, "--learning_rate=0.003"),
  "decoupled": (*CROP, *DECOUPLED),
  "clean": (*CROP, "--contrastive_inputs=clean"),
  "clean_decoupled": (*CROP, *DECOUPLED, "--contrastive_inputs=clean"),
  "reconstruction_400": (*CROP, "--reconstruction_weight=400"),
  "reconstruction_1000": (*CROP, "--reconstruction_weight=1000"),
  "skips_deep": (*CROP, "--skip_connections=deep"),
  "skips_none": (*CROP, "--skip_connections=none"),
  "batch_32": (*CROP, "--train_batch_size=32"),
  "average_0.99": (*CROP, "--moving_average_decay=0.99"),
}
SYNTHETIC = ("--dataset=rectangle_triangle",)
FLOWERS = ("--dataset=oxford_flowers102", "--train_split=train+validation", "--cache_dataset")
STUDIES = {
  "search_synthetic": Study(
    "Variations on Rectangle-Triangle, three minutes each.", SYNTHETIC, 180, SEARCH
  ),
  "search_flowers": Study(
    "The same on Oxford Flowers 102 at 64 pixels, three minutes each.", FLOWERS, 180, SEARCH
  ),
}
