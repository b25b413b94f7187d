"""Values of options of the losses that exclude each other."""

from collections.abc import Iterator

from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.table import Options


def objective_rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`."""
  moco = config.contrastive_method == "moco"
  yield (
    config.is_pretraining
    and (config.trains or not config.checkpoint)
    and not (config.contrastive_weight or config.reconstruction_weight or config.teacher),
    "contrastive_weight or reconstruction_weight must be positive without a teacher",
    "0 and 0",
  )
  yield (
    moco and config.mode == "eval" and config.checkpoint and config.is_pretraining,
    "contrastive_method must be nt_xent or decoupled to evaluate a checkpoint, which has no second "
    "network",
  )
  yield (
    moco and config.proj_head_mode == "none",
    "proj_head_mode must be linear or nonlinear for contrastive_method=moco",
  )
  yield (
    config.moco_queue_length % (2 * config.train_batch_size),
    f"moco_queue_length must be a multiple of {2 * config.train_batch_size}, twice "
    "train_batch_size",
  )
  yield (
    config.export_weights == "momentum"
    and config.trains
    and not (moco and config.contrastive_weight and config.is_pretraining),
    "export_weights must be trained unless contrastive_method=moco",
  )
  yield from left_out(
    config,
    ("moco_momentum", "moco_momentum_schedule", "moco_queue_length"),
    moco and config.contrastive_weight,
    "unless contrastive_method=moco",
  )
  yield (
    config.local_crops not in (0, Options.local_crops)
    and not (config.is_pretraining and config.contrastive_weight),
    "local_crops must be 0 or left out unless a training has a contrastive loss",
  )
  yield from left_out(
    config,
    ("local_crop_size", "local_crop_min_area", "local_crop_max_area", "local_crop_weight"),
    config.is_pretraining and "local_crops" in config.objectives,
    "unless there are local_crops",
  )
  yield (
    config.local_crop_min_area >= config.local_crop_max_area,  # of one share no crop has the pixels
    "local_crop_min_area must be below local_crop_max_area",
    f"{config.local_crop_min_area} and {config.local_crop_max_area}",
  )
  yield from _teacher_rules(config)
  reconstructs = config.is_pretraining and config.reconstruction_weight
  yield (
    config.log_gradient_conflict and not (reconstructs and config.contrastive_weight),
    "log_gradient_conflict must be false unless images are contrasted and reconstructed",
    "true",
  )
  yield (
    config.adversarial_weight and not reconstructs,
    "adversarial_weight must be 0 where nothing is reconstructed",
  )
  yield from left_out(
    config,
    ("adversarial_loss", "adversarial_start_step", "discriminator_learning_rate"),
    config.adversarial_weight,
    "unless adversarial_weight is positive",
  )
  yield (
    config.multi_level_reconstruction_weight and not (reconstructs and config.decoder_levels > 1),
    "multi_level_reconstruction_weight must be 0 unless images are reconstructed in three levels "
    "or more",
  )
  contrasts = config.is_pretraining and config.contrastive_weight and not moco
  yield (
    config.multi_level_contrastive_weight and not (contrasts and config.can_decode),
    "multi_level_contrastive_weight must be 0 unless an encoder with skip connections learns by "
    "nt_xent or decoupled",
  )
  yield (
    config.moving_average_decay and not config.is_pretraining and config.opens_training_data,
    f"moving_average_decay must be 0 for train_mode={config.train_mode}",
  )


def _teacher_rules(config: Options) -> Iterator[Rule]:
  yield from left_out(
    config, ("teacher",), config.is_pretraining, f"for train_mode={config.train_mode}"
  )
  yield from left_out(
    config,
    ("teacher_weight", "teacher_relation_weight", "teacher_views", "teacher_image_size"),
    config.teacher,
    "unless there is a teacher",
  )
  yield (
    config.teacher and not (config.teacher_weight or config.teacher_relation_weight),
    "teacher_weight or teacher_relation_weight must be positive, with a teacher",
    "0 and 0",
  )
  yield (
    config.teacher and config.window_size and not config.teacher_views,
    "teacher_views must be true with window_size, whose views show little of an image",
    "false",
  )
  yield (
    config.teacher_views and config.jit_compile,
    "teacher_views must be false with jit_compile, which compiles no network of a file",
    "true",
  )
