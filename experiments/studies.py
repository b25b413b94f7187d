"""What is tried: datasets, and variations of a recipe, as flags of the command."""

from collections.abc import Mapping
import dataclasses

BATCH = "--train_batch_size="
USUAL_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Study:
  """Trainings on the same number of images, or for the same time, that are compared.

  Attributes:
    about: what is compared, a sentence.
    flags: of all of them, the dataset among them.
    steps: how many batches of 16 images each trains on.
    variations: `{name: flags}` that come after.
    seeds: how often each is trained.
    eval_every_epochs: how often it is evaluated on the way; 0: at the end.
    equal_seconds: whether variations whose steps take longer take fewer of them; how long they
      take is measured by `experiments.costs`.
    elsewhere: `{name: (study, variation)}` of variations that another study trains to the same
      weights, so that they aren't trained here.
  """

  about: str
  flags: tuple[str, ...]
  steps: int
  variations: dict[str, tuple[str, ...]]
  seeds: tuple[int, ...] = (0,)
  eval_every_epochs: int = 0
  equal_seconds: bool = False
  elsewhere: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

  def command(self, variation: str, cost: float = 1.0) -> tuple[str, ...]:
    """Returns the flags of a variation; it takes fewer steps if its batches are larger.

    Args:
      variation: its name.
      cost: the seconds of its steps, relative to those of the study's first.
    """
    flags = (*self.flags, *self.variations[variation])
    batches = [int(flag.removeprefix(BATCH)) for flag in flags if flag.startswith(BATCH)]
    steps = self.steps * USUAL_BATCH // (batches or [USUAL_BATCH])[-1]
    steps = round(steps / cost) if self.equal_seconds else steps
    return (*flags, f"--train_steps={steps}")


# The paper's values, and defaults when the first studies were made, whose results don't state them.
ONCE_DEFAULTS = (
  "--color_jitter_strength=1",
  "--grey_probability=0.2",
  "--local_crops=0",
  "--image_size_schedule=",
)
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
  *ONCE_DEFAULTS,
)
ADAMW = (
  *PAPER,
  "--optimizer=adamw",
  "--learning_rate=0.001",
  "--learning_rate_scaling=none",
  "--learning_rate_schedule=cosine",
  "--crop_min_area=0.3",
)
AVERAGE = "--pooling=average"
NO_RECONSTRUCTION = ("--corruption=none", "--reconstruction_weight=0")
SIMCLR = (AVERAGE, *NO_RECONSTRUCTION)
PUBLISHED = (*PAPER, "--representation_levels=last")
DECOUPLED = (*ADAMW, "--contrastive_method=decoupled", "--temperature=0.2")
BOTH = (*DECOUPLED, "--contrastive_inputs=clean")
SEARCH = {
  "paper": PAPER,
  "adamw": ADAMW,
  "decoupled": DECOUPLED,
  "clean": (*ADAMW, "--contrastive_inputs=clean"),
  "clean_decoupled": BOTH,
  "clean_decoupled_temperature_0.1": (*BOTH, "--temperature=0.1"),
  "clean_decoupled_rate_0.003": (*BOTH, "--learning_rate=0.003"),
  "clean_decoupled_crop_0.15": (*BOTH, "--crop_min_area=0.15"),
  "clean_decoupled_crop_0.5": (*BOTH, "--crop_min_area=0.5"),
  "clean_decoupled_reconstruction_10": (*BOTH, "--reconstruction_weight=10"),
  "clean_decoupled_reconstruction_1000": (*BOTH, "--reconstruction_weight=1000"),
  "clean_decoupled_skips_deep": (*BOTH, "--skip_connections=deep"),
  "clean_decoupled_skips_none": (*BOTH, "--skip_connections=none"),
  "clean_decoupled_batch_32": (*BOTH, "--train_batch_size=32"),
  "clean_decoupled_batch_64": (*BOTH, "--train_batch_size=64", "--learning_rate=0.002"),
  "clean_decoupled_average_0.99": (*BOTH, "--moving_average_decay=0.99"),
  "clean_decoupled_no_dropout": (*BOTH, "--attention_dropout=0"),
}
# The default recipe until views were compared (`VIEWS`); "default" in the studies made until then.
FORMER = (*DECOUPLED, "--skip_connections=deep", "--reconstruction_weight=300")
METHODS = {
  "default": FORMER,
  "adamw": ADAMW,
  "adamw_reconstruction_1000": (*ADAMW, "--reconstruction_weight=1000"),
  "clean_decoupled_reconstruction_1000": (*BOTH, "--reconstruction_weight=1000"),
  "simclr": (*ADAMW, *SIMCLR),
  "simclr_attention": (*ADAMW, *NO_RECONSTRUCTION),
  "reconstruction": (*ADAMW, AVERAGE, "--contrastive_weight=0"),
}
LABELS = "--label_fractions=0.01,0.1,0.25,0.5,1.0"


def systems(recipe: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
  """Returns the systems of the paper's Table 1 under a recipe, which is ConRec's."""
  return {
    "conrec": recipe,
    "conrec_ga_pool": (*recipe, AVERAGE),
    "reconstruction": (*recipe, AVERAGE, "--contrastive_weight=0", "--local_crops=0"),
    "simclr_attention": (*recipe, *NO_RECONSTRUCTION),
    "simclr": (*recipe, *SIMCLR),
  }


SYNTHETIC = ("--dataset=rectangle_triangle",)
CIRCLES = ("--dataset=circles_square",)
HOUR = 5952
SMALL = (*FORMER, "--image_size=32", "--base_filters=8")
SETTINGS = {
  "default": SMALL,
  "temperature_0.05": (*SMALL, "--temperature=0.05"),
  "temperature_1": (*SMALL, "--temperature=1"),
  "rate_0.0001": (*SMALL, "--learning_rate=0.0001"),
  "rate_0.01": (*SMALL, "--learning_rate=0.01"),
  "reconstruction_10": (*SMALL, "--reconstruction_weight=10"),
  "crop_0.9": (*SMALL, "--crop_min_area=0.9"),
  "no_color": (*SMALL, "--color_jitter_strength=0", "--blur_probability=0"),
}
OPTIONS = {
  "default": FORMER,
  "moco": (*FORMER, "--contrastive_method=moco"),
  "moco_queue_512": (*FORMER, "--contrastive_method=moco", "--moco_queue_length=512"),
  "levels_contrast": (*FORMER, "--multi_level_contrastive_weight=1"),
  "levels_reconstruction": (*FORMER, "--multi_level_reconstruction_weight=300"),
  "adversarial_0.1": (*FORMER, "--adversarial_weight=0.1"),
  "adversarial_1": (*FORMER, "--adversarial_weight=1"),
}
BFLOAT16 = "--mixed_precision=mixed_bfloat16"
GENTLE = ("--color_jitter_strength=0.3", "--grey_probability=0")
CROPS = ("--local_crops=4",)
GROWING = "--image_size_schedule=32:0.5,48:0.3"
DEFAULT = (*FORMER, *GENTLE, *CROPS, "--representation_levels=all_with_deviations")
GROWN = (*DEFAULT, GROWING)
KERAS_ENCODERS = ("mobilenetv3small", "efficientnetb0", "resnet50")
VIEWS = {
  "former_default": FORMER,
  "all_three": DEFAULT,
  "all_three_size_schedule": GROWN,
  "reconstruction_30": (*GROWN, "--reconstruction_weight=30"),
  "simclr": (*DEFAULT, *SIMCLR),
}
TINY = (*FORMER, "--image_size=48", "--base_filters=8", BFLOAT16)
CONFLICT = {
  "conrec": TINY,
  "simclr": (*TINY, *SIMCLR),
  "simclr_corrupted": (*TINY, AVERAGE, "--reconstruction_weight=0"),
}
WATCHED = (*TINY, "--log_gradient_conflict", "--log_steps=10")
WARM = {
  "scratch": FORMER,
  "warm": (*FORMER, "--checkpoint=networks/oxford_flowers102_64px"),
}
TEACHER = ("--teacher=runs/teachers/efficientnet_lite0.onnx", "--external_scaling=unit")
TEACHER_ALONE = (
  *GROWN,
  *TEACHER,
  "--contrastive_weight=0",
  "--local_crops=0",
  *NO_RECONSTRUCTION,
)
LARGE_CROPS = (*TEACHER_ALONE, "--weight_decay=0.05", "--crop_min_area=0.6")
TAUGHT = {
  "default": GROWN,
  "teacher_alone": TEACHER_ALONE,
  "teacher_alone_crop_0.6": LARGE_CROPS,
  "teacher_alone_crop_0.6_jitter_0.1": (*LARGE_CROPS, "--color_jitter_strength=0.1"),
  "teacher_alone_crop_0.8": (*LARGE_CROPS, "--crop_min_area=0.8"),
  "teacher_10": (*GROWN, *TEACHER, "--teacher_weight=10"),
}
PAPER_SCALE = (BFLOAT16, "--jit_compile", "--image_size=128", "--base_filters=64")
SYSTEMS_OF_TABLE_1 = {"conrec": PUBLISHED, "simclr": (*PUBLISHED, *SIMCLR)}
FLOWERS = ("--dataset=oxford_flowers102", "--train_split=train+validation", "--cache_dataset")
STUDIES = {
  "default_synthetic": Study(
    "The default recipe on Rectangle-Triangle, as long as the bare command trains.",
    SYNTHETIC,
    2170,
    {"default": FORMER},
    (0, 1, 2),
  ),
  "default_flowers": Study(
    "The default recipe on Oxford Flowers 102, as long as 1,060 steps with all skips take.",
    FLOWERS,
    1325,
    {"default": FORMER},
  ),
  "search_synthetic": Study("Variations on Rectangle-Triangle.", SYNTHETIC, 1060, SEARCH),
  "search_flowers": Study("The same on Oxford Flowers 102.", FLOWERS, 1060, SEARCH),
  "methods_flowers": Study(
    "ConRec and what it is made of, on Oxford Flowers 102, ten times as long.",
    FLOWERS,
    10600,
    METHODS,
    (0, 1, 2),
  ),
  "systems_flowers": Study(
    "The systems of the paper's Table 1 under the former default recipe on Oxford Flowers 102, "
    "each for the time that 3,000 of ConRec's steps take: half an hour on two cores with AVX2.",
    FLOWERS,
    3000,
    systems(FORMER),
    (0, 1, 2),
    equal_seconds=True,
  ),
  "systems_synthetic": Study(
    "The same systems on Rectangle-Triangle, each for the time that 2,170 of ConRec's steps take, "
    "as many as the bare command.",
    (*SYNTHETIC, LABELS),
    2170,
    systems(FORMER),
    (0, 1, 2),
    eval_every_epochs=7,
    equal_seconds=True,
  ),
  "systems_circles": Study(
    "The same on Circles-Square.",
    (*CIRCLES, LABELS),
    2170,
    systems(FORMER),
    (0, 1, 2),
    eval_every_epochs=10,
    equal_seconds=True,
  ),
  "recipe_flowers": Study(
    "The systems of the paper's Table 1 under the default recipe, its images growing, on Oxford "
    "Flowers 102, each for the time that 3,000 of ConRec's steps take in bfloat16.",
    (*FLOWERS, BFLOAT16, LABELS),
    3000,
    systems(GROWN),
    (0, 1, 2),
    eval_every_epochs=8,
    equal_seconds=True,
  ),
  "recipe_synthetic": Study(
    "The same systems on Rectangle-Triangle, each for the time that 2,170 of ConRec's steps take, "
    "as many as the bare command.",
    (*SYNTHETIC, BFLOAT16, LABELS),
    2170,
    systems(GROWN),
    (0, 1, 2),
    eval_every_epochs=7,
    equal_seconds=True,
  ),
  "recipe_circles": Study(
    "The same on Circles-Square.",
    (*CIRCLES, BFLOAT16, LABELS),
    2170,
    systems(GROWN),
    (0, 1, 2),
    eval_every_epochs=10,
    equal_seconds=True,
  ),
  "paper_synthetic": Study(
    "ConRec and SimCLR under the paper's settings on Rectangle-Triangle, 1,000 epochs as in the "
    "paper, but at 64 pixels and with 16 filters.",
    SYNTHETIC,
    62000,
    SYSTEMS_OF_TABLE_1,
    eval_every_epochs=200,
  ),
  "paper_scale": Study(
    "ConRec and SimCLR as in the paper on Rectangle-Triangle, 1,000 epochs at 128 pixels and with "
    "64 filters, in bfloat16, compiled where there is a GPU, which it needs: in parts, with "
    "`--part_seconds`.",
    (*SYNTHETIC, *PAPER_SCALE),
    62000,
    SYSTEMS_OF_TABLE_1,
    eval_every_epochs=20,
  ),
  "paper_scale_circles": Study(
    "The same on Circles-Square.",
    (*CIRCLES, *PAPER_SCALE),
    62000,
    SYSTEMS_OF_TABLE_1,
    eval_every_epochs=20,
  ),
  "half_hour_flowers": Study(
    "The default recipe on Oxford Flowers 102 for half an hour on two cores that are fast in "
    "bfloat16, reckoned at 0.091 s a step.",
    (*FLOWERS, BFLOAT16),
    19700,
    {"default": FORMER},
    (0, 1, 2),
  ),
  "long_synthetic": Study(
    "Rectangle-Triangle, ten times as long.",
    SYNTHETIC,
    10600,
    {"adamw": ADAMW, "decoupled_skips_deep": (*DECOUPLED, "--skip_connections=deep")},
    (0, 1, 2),
  ),
  "long_circles": Study(
    "Circles-Square, ten times as long.", CIRCLES, 10600, {"adamw": ADAMW}, (0, 1, 2)
  ),
  "hour_synthetic": Study(
    "The default recipe on Rectangle-Triangle for an hour on two cores with AVX2, 0.6 s a step, "
    "and what it has reached after each ten minutes.",
    SYNTHETIC,
    HOUR,
    {"default": FORMER},
    eval_every_epochs=16,
  ),
  "hour_circles": Study(
    "The same on Circles-Square.", CIRCLES, HOUR, {"default": FORMER}, eval_every_epochs=16
  ),
  "options_synthetic": Study(
    "What the paper left as future work, beside the default recipe on Rectangle-Triangle, each for "
    "the time that 1,060 of its steps take.",
    SYNTHETIC,
    1060,
    OPTIONS,
    (0, 1, 2),
    equal_seconds=True,
  ),
  "options_flowers": Study(
    "The same on Oxford Flowers 102, measured on 2,000 test images.",
    (*FLOWERS, "--eval_split=test[:2000]"),
    1060,
    OPTIONS,
    (0, 1, 2),
    equal_seconds=True,
  ),
  "conflict_circles": Study(
    "What ConRec loses to contrast alone on Circles-Square, at 48 pixels and 8 filters, in "
    "bfloat16.",
    CIRCLES,
    1200,
    CONFLICT,
    (0, 1, 2),
    equal_seconds=True,
  ),
  "conflict_circles_steps": Study(
    "Contrast alone for as many steps as ConRec there, in half its time.",
    CIRCLES,
    1200,
    {name: CONFLICT[name] for name in ("simclr", "simclr_corrupted")},
    (0, 1, 2),
  ),
  "gradients": Study(
    "Whether the gradients of ConRec's two losses agree, by level of the encoder, on a dataset "
    "where it is behind contrast alone and on one where it isn't.",
    (),
    1200,
    {
      "circles_square": (*CIRCLES, *WATCHED),
      "rectangle_triangle": (*SYNTHETIC, *WATCHED),
    },
  ),
  "adversarial_synthetic": Study(
    "The adversarial loss on Rectangle-Triangle for as many steps as the default takes in "
    "options_synthetic, to see whether it sharpens.",
    SYNTHETIC,
    1060,
    {
      "adversarial_1": (*FORMER, "--adversarial_weight=1"),
      "adversarial_10": (*FORMER, "--adversarial_weight=10"),
    },
  ),
  "views_flowers": Study(
    "What views are compared and what is read, on Oxford Flowers 102, each for a fifth of "
    "the time that 10,600 of the default's steps take in bfloat16.",
    (*FLOWERS, BFLOAT16),
    2120,
    VIEWS,
    (0, 1, 2),
    equal_seconds=True,
  ),
  "views_synthetic": Study(
    "The same on Rectangle-Triangle, each for the time of the bare command.",
    (*SYNTHETIC, BFLOAT16),
    2170,
    VIEWS,
    (0, 1, 2),
    equal_seconds=True,
  ),
  "long_views_flowers": Study(
    "The default recipe on Oxford Flowers 102, with images that grow and without, each for the "
    "time that 10,600 of the former default's steps take in bfloat16.",
    (*FLOWERS, BFLOAT16),
    10600,
    VIEWS,
    (0, 1, 2),
    equal_seconds=True,
  ),
  "views_circles": Study(
    "ConRec and SimCLR under the default recipe on Circles-Square, SimCLR for the time that 2,170 "
    "of ConRec's steps take.",
    (*CIRCLES, BFLOAT16),
    2170,
    {
      "conrec": DEFAULT,
      "simclr": (*DEFAULT, *SIMCLR),
      "simclr_corrupted": (*DEFAULT, AVERAGE, "--reconstruction_weight=0"),
      "conrec_clean": (*DEFAULT, "--contrastive_inputs=clean"),
      "reconstruction_30": (*DEFAULT, "--reconstruction_weight=30"),
    },
    (0, 1, 2),
    equal_seconds=True,
  ),
  "teacher_flowers": Study(
    "The default recipe on Oxford Flowers 102, its images growing, with a network that learnt on "
    "ImageNet (`python -m experiments.peers.teacher`) as a teacher, beside the other losses and in "
    "their place, each for the time that 3,000 of the default's steps take.",
    (*FLOWERS, BFLOAT16),
    3000,
    TAUGHT,
    (0, 1, 2),
    equal_seconds=True,
    elsewhere={"default": ("recipe_flowers", "conrec")},
  ),
  "teacher_flowers17": Study(
    "The same teacher in the place of the other losses on Oxford 17 Flowers, a folder of "
    "photographs (`--images`), for the time that 1,500 of the default's steps take.",
    ("--dataset=image_folder", BFLOAT16),
    1500,
    {name: TAUGHT[name] for name in ("default", "teacher_alone_crop_0.6")},
    (0, 1, 2),
    equal_seconds=True,
  ),
  "encoders_flowers": Study(
    "Encoders that Keras has, with random weights, in the place of the U-net's under the default "
    "recipe without images that grow, on Oxford Flowers 102, each for the time that 2,120 of the "
    "U-net's steps take.",
    (*FLOWERS, BFLOAT16),
    2120,
    {"unet": DEFAULT} | {name: (*DEFAULT, f"--encoder={name}") for name in KERAS_ENCODERS},
    (0, 1, 2),
    equal_seconds=True,
  ),
  "warm_flowers17": Study(
    "Ten epochs on Oxford 17 Flowers, a folder of photographs (`--images`), from random weights "
    "and from the network that ships, which learnt on Oxford Flowers 102.",
    ("--dataset=image_folder",),
    10 * (952 // USUAL_BATCH),
    WARM,
    (0, 1, 2),
  ),
  "label_free": Study(
    "ConRec at 32 pixels and 8 filters with other settings, to see whether measures without labels "
    "put them in the order of their accuracies (`python -m experiments.label_free`).",
    SYNTHETIC,
    600,
    SETTINGS,
  ),
}
