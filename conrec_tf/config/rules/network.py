"""Values of options of the network that exclude each other."""

from collections.abc import Iterator
import math

from conrec_tf.config.options.encoders import KERAS_ENCODERS, KERAS_STRIDE
from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.table import OPTIONS, Options

CALLS = ("eval", "embed", "explore", "predict")  # modes that somebody else's network is for
SHORTEST_SIDE = OPTIONS["image_size"].metadata["low"]
SHORTEST_SIDE_FOR_SSIM = 11
SHORTEST_SIDE_FOR_CORRUPTION = 21


def network_rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`."""
  layers = {"none": 0, "linear": 1, "nonlinear": config.num_proj_layers}[config.proj_head_mode]
  yield from _size_rules(config)
  yield (
    config.encoder in ("unet", "external") and config.encoder_weights,
    f"encoder_weights must be empty for encoder={config.encoder}",
  )
  yield (
    config.encoder_weights == "imagenet" and config.encoder in KERAS_ENCODERS,
    "encoder_weights must be the path of a file, as nothing is downloaded for "
    f"encoder={config.encoder}",
  )
  yield from left_out(
    config,
    ("unet_depth", "gradient_checkpointing"),
    config.encoder not in KERAS_ENCODERS,
    f"for encoder={config.encoder}",
  )
  yield from left_out(
    config, ("gradient_checkpointing",), config.encoder != "densenet121", "for encoder=densenet121"
  )
  yield (
    not config.can_decode and config.is_pretraining and config.reconstruction_weight,
    f"reconstruction_weight must be 0 for encoder={config.encoder}, which has no decoder",
  )
  external = config.encoder == "external"
  yield (
    external and not (config.checkpoint and config.mode in (*CALLS, "report", "check_data")),
    f"checkpoint must be a network of this package, unless mode is one of {', '.join(CALLS)}",
    config.checkpoint or "nothing, with encoder=external",
  )
  yield external and config.ft_proj_selector, "ft_proj_selector must be 0 for an external network"
  yield from left_out(
    config,
    ("external_scaling", "external_output"),
    external or config.teacher or config.mode == "verdict",
    "unless checkpoint or teacher is somebody else's network",
  )
  yield (
    config.fine_tune_after_block > config.encoder_blocks,
    f"fine_tune_after_block must be at most {config.encoder_blocks}, the encoder's blocks",
  )
  yield (
    config.ft_proj_selector > layers,
    f"ft_proj_selector must be at most {layers}, the layers of the projection head",
  )
  yield (
    config.ft_proj_selector
    and config.lineareval_while_pretraining
    and config.is_pretraining
    and config.trains,
    "ft_proj_selector must be 0 with lineareval_while_pretraining, whose head learns from the "
    "representation",
  )
  yield (
    config.ft_proj_selector and config.is_pretraining and not config.contrastive_weight,
    "ft_proj_selector must be 0 without a contrastive loss, as there is no projection head",
  )
  yield (
    config.checkpoint and config.encoder_weights and (config.is_pretraining or config.trains),
    "encoder_weights must be empty with a checkpoint, which has its own",
  )


def _size_rules(config: Options) -> Iterator[Rule]:
  shares = [share for _, share in config.size_shares]
  yield (
    any(size < SHORTEST_SIDE for size in config.training_sizes)
    or not all(0 < share < 1 for share in shares)
    or math.fsum(shares) >= 1,
    f"image_size_schedule must be sizes from {SHORTEST_SIDE} pixels, each with the share of the "
    "steps that it takes, separated by commas, e.g. 32:0.5,48:0.3, and leave steps for image_size",
  )
  yield (
    config.evaluation_size < SHORTEST_SIDE,
    f"eval_image_size must be 0 or at least {SHORTEST_SIDE}",
  )
  stride = 2**config.decoder_levels
  first = [("each size of image_size_schedule", size) for size in config.training_sizes[:-1]]
  whole = [("image_size", config.image_size), *first, ("eval_image_size", config.evaluation_size)]
  cropped = config.is_pretraining and "local_crops" in config.objectives
  local = [("local_crop_size", config.local_crop_size)] if cropped else []
  for name, size in (*whole, *local):
    yield (
      config.encoder == "unet" and size % stride,
      f"{name} must be a multiple of {stride} for unet_depth={config.unet_depth}",
      size,
    )
    yield (
      config.encoder in KERAS_ENCODERS and config.decoder_skips and size % stride,
      f"{name} must be a multiple of {stride} for encoder={config.encoder} with a decoder",
      size,
    )
    yield (
      config.encoder not in ("unet", "external") and size < KERAS_STRIDE,
      f"{name} must be at least {KERAS_STRIDE} for encoder={config.encoder}",
      size,
    )
  for name, size in whole:
    for applies, least, what in _least_sizes(config):
      yield applies and size < least, f"{name} must be at least {least} for {what}", size


def _least_sizes(config: Options) -> Iterator[tuple[bool, int, str]]:
  """Yields (whether it applies, the smallest height and width, for what)."""
  if not config.opens_training_data:
    return
  yield (
    config.is_pretraining and config.corruption != "none",
    SHORTEST_SIDE_FOR_CORRUPTION,
    f"corruption={config.corruption}",
  )
  ssim, unet = config.reconstruction_loss == "ssim", config.encoder == "unet"
  yield ssim, SHORTEST_SIDE_FOR_SSIM, "reconstruction_loss=ssim"
  yield (
    ssim and bool(config.multi_level_reconstruction_weight),
    SHORTEST_SIDE_FOR_SSIM * 2 ** (config.decoder_levels - 1),  # for the smallest inner level
    "reconstruction_loss=ssim with multi_level_reconstruction_weight and "
    + (f"unet_depth={config.unet_depth}" if unet else f"encoder={config.encoder}"),
  )
