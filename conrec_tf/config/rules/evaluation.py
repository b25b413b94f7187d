"""Values of options of evaluation that exclude each other."""

from collections.abc import Iterator

from conrec_tf.config.options.option import Rule, left_out
from conrec_tf.config.options.table import Options


def evaluation_rules(config: Options) -> Iterator[Rule]:
  """Yields what is wrong and what is expected instead; see `Rule`."""
  yield (
    config.seeds and len(set(config.seeds)) < max(2, len(config.seeds)),
    "seeds must be at least two different numbers from 0, separated by commas",
  )
  yield (
    config.seeds and config.mode not in ("train_then_eval", "report", "verdict"),
    f"seeds must be empty for mode={config.mode}, which is of one training; those of several seeds "
    "lie in seed_<n> of their model_dir",
  )
  yield (
    config.seeds and config.cv_folds and not config.is_pretraining,
    "seeds must be empty for finetuning with cv_folds",
  )
  yield config.cv_folds == 1, "cv_folds must be 0 or at least 2"
  number, count = config.fold
  yield (
    config.cv_fold
    and (count < 2 or number >= count or not config.is_finetuning or bool(config.cv_folds)),
    "cv_fold must be a fold from 0 and how many there are, e.g. 0/5, for train_mode=finetune "
    "without cv_folds",
  )
  yield (
    config.train_label_fraction != 1 and not config.is_finetuning,
    "train_label_fraction must be 1 unless train_mode is finetune",
  )
  yield (
    config.eval_dataset and not config.is_pretraining,
    f"eval_dataset must be empty for train_mode={config.train_mode}",
  )
  if config.mode == "verdict":
    yield (
      not config.is_pretraining,
      "train_mode must be pretrain for mode=verdict, which asks what pre-training was worth",
    )
    yield (
      config.cv_folds,
      "cv_folds must be 0 for mode=verdict, which measures on eval_split",
    )
  if config.mode not in ("train", "train_then_eval", "eval"):
    return
  for name, nothing in (
    ("label_fractions", "empty"),
    ("few_shots", "empty"),
    ("sweep_representations", "false"),
  ):
    value = getattr(config, name)
    yield (
      value and not config.is_pretraining,
      f"{name} must be {nothing} for train_mode={config.train_mode}; it is for linear evaluation",
    )
    yield (
      value and config.cv_folds,
      f"{name} must be {nothing} with cv_folds; it is measured on eval_split",
    )
  if not config.is_pretraining:
    yield (
      config.select_best_on != "evaluation",
      f"select_best_on must be evaluation for train_mode={config.train_mode}",
    )
  yield from left_out(
    config,
    ("eval_data_dir", "eval_train_split", "eval_test_split"),
    config.eval_dataset,
    "without eval_dataset, whose it is",
  )
