"""Options that a training doesn't read beside others."""

from collections.abc import Iterator

from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.table import Options

WITHOUT_KEYS = ("image_folder", "npz", "webdataset")


def unread(config: Options) -> list[tuple[tuple[str, ...], str]]:
  """Returns options that change nothing in a training, and beside what: `(names, unless ...)`."""
  finetunes, segments = config.is_finetuning, config.is_segmenting
  contrasts_corrupted = config.contrastive_weight and config.corruption != "none"
  datasets = {config.dataset, config.eval_dataset or config.dataset}
  table: tuple[tuple[tuple[str, ...], object, str], ...] = (
    (("seed",), not config.seeds, "with seeds, of which each training has one"),
    (
      ("momentum",),
      config.optimizer in ("lars", "momentum"),
      "unless optimizer is lars or momentum",
    ),
    (("fine_tune_after_block",), not config.is_pretraining, "for train_mode=pretrain"),
    (("supervised_augmentation",), finetunes, "unless train_mode=finetune"),
    (
      ("zero_init_logits_layer",),
      config.has_supervised_head and not segments,
      "unless train_mode=finetune or lineareval_while_pretraining",
    ),
    (("lineareval_while_pretraining",), not finetunes, "for train_mode=finetune"),
    (
      ("contrastive_inputs",),
      contrasts_corrupted or not config.is_pretraining,
      "unless corrupted views are contrasted",
    ),
    (
      ("reconstruction_loss",),
      config.reconstruction_weight or not config.is_pretraining,
      "unless images are reconstructed",
    ),
    (("unet_depth",), config.encoder != "densenet121", "for encoder=densenet121"),
    (("segment_from",), config.checkpoint or not segments, "without a checkpoint"),
    (("eval_crop",), not segments, "for train_mode=segment, which measures whole images"),
    (
      ("image_key", "label_key"),
      datasets - {*WITHOUT_KEYS},
      "unless dataset or eval_dataset is parquet or of TensorFlow Datasets",
    ),
  )
  return [(names, unless) for names, is_read, unless in table if not is_read]


def unread_rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`.

  Runs of earlier states may have them: commands that look at a run pass them over.
  """
  for names, unless in unread(config):
    yield from left_out(config, names, not config.trains, unless)
