"""Values of options of the network that exclude each other."""

from collections.abc import Iterator

from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.table import Options
from conrec_tf.config.rules.objective import SHORTEST_SIDE_FOR_SSIM

SHORTEST_SIDE_FOR_CORRUPTION = 21
SHORTEST_SIDE_FOR_DENSENET = 32


def network_rules(config: Options) -> Iterator[Rule]:
  """Yields (whether it is wrong, what is expected, what was received)."""
  stride = 2 ** (config.unet_depth - 1)
  unet, size = config.encoder == "unet", config.image_size
  layers = {"none": 0, "linear": 1, "nonlinear": config.num_proj_layers}[config.proj_head_mode]
  yield (
    unet and size % stride,
    f"image_size must be a multiple of {stride} for unet_depth={config.unet_depth}",
    size,
  )
  for applies, least, name in (
    (config.encoder == "densenet121", SHORTEST_SIDE_FOR_DENSENET, "encoder=densenet121"),
    (
      config.opens_training_data and config.is_pretraining and config.corruption != "none",
      SHORTEST_SIDE_FOR_CORRUPTION,
      f"corruption={config.corruption}",
    ),
    (
      config.opens_training_data and config.reconstruction_loss == "ssim",
      SHORTEST_SIDE_FOR_SSIM,
      "reconstruction_loss=ssim",
    ),
  ):
    yield applies and size < least, f"image_size must be at least {least} for {name}", size
  yield (
    config.encoder != "densenet121" and config.encoder_weights,
    f"encoder_weights must be empty for encoder={config.encoder}",
    config.encoder_weights,
  )
  yield (
    not unet and config.is_pretraining and config.reconstruction_weight,
    f"reconstruction_weight must be 0 for encoder={config.encoder}, which has no decoder",
    config.reconstruction_weight,
  )
  external = config.encoder == "external"
  yield (
    external and not (config.checkpoint and config.mode in ("eval", "embed", "report")),
    "checkpoint must be a network of this package, unless mode is eval or embed",
    config.checkpoint or "nothing, with encoder=external",
  )
  yield (
    external and config.ft_proj_selector,
    "ft_proj_selector must be 0 for an external network",
    config.ft_proj_selector,
  )
  yield from left_out(
    config,
    ("external_scaling", "external_output"),
    external,
    "unless checkpoint is somebody else's network",
  )
  yield (
    config.fine_tune_after_block > config.encoder_blocks,
    f"fine_tune_after_block must be at most {config.encoder_blocks}, the encoder's blocks",
    config.fine_tune_after_block,
  )
  yield (
    config.ft_proj_selector > layers,
    f"ft_proj_selector must be at most {layers}, the layers of the projection head",
    config.ft_proj_selector,
  )
  yield (
    config.checkpoint and config.encoder_weights and config.is_pretraining,
    "encoder_weights must be empty with a checkpoint, which has its own",
    config.encoder_weights,
  )
