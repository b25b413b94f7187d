import dataclasses
import json
import subprocess
import sys

import pytest

from conrec_tf.config import Config
from conrec_tf.config.options.table import ARCHITECTURE_OPTIONS, OPTIONS, SECTIONS
from conrec_tf.config.rules import rules
from conrec_tf.errors import UsageError


@pytest.mark.parametrize(
  "values, message",
  [
    (dict(image_size=50), "image_size must be a multiple of 8 for unet_depth=4. Received: 50"),
    (
      dict(image_size=16),
      "image_size must be at least 21 for corruption=models_genesis. Received: 16",
    ),
    (
      dict(contrastive_weight=0.0, reconstruction_weight=0.0),
      "contrastive_weight or reconstruction_weight must be positive without a teacher. "
      "Received: 0 and 0",
    ),
    (
      dict(dataset="image_folder", data_dir="photos", model_dir="./photos/"),
      "model_dir must be another folder than data_dir, among whose images it would write. "
      "Received: ./photos/",
    ),
    (dict(temperature=0.0), "temperature must be above 0.0. Received: 0.0"),
    (dict(temperature=float("nan")), "temperature must be above 0.0. Received: nan"),
    (dict(learning_rate=float("inf")), "learning_rate must be finite. Received: inf"),
    (dict(attention_dropout=1.0), "attention_dropout must be below 1.0. Received: 1.0"),
    (dict(train_batch_size=1), "train_batch_size must be at least 2. Received: 1"),
    (dict(seed=-1), "seed must be at least 0. Received: -1"),
    (dict(pooling="max"), "pooling must be one of attention, average. Received: 'max'"),
    (dict(image_channels=2), "image_channels must be one of 0, 1, 3. Received: 2"),
    (dict(train_epochs=1.5), "train_epochs must be of type int. Received: 1.5"),
    (dict(use_blur=1), "use_blur must be of type bool. Received: 1"),
    (
      dict(reconstruction_loss="ssim", image_size=8, corruption="none"),
      "image_size must be at least 11 for reconstruction_loss=ssim. Received: 8",
    ),
    (
      dict(
        reconstruction_loss="ssim",
        multi_level_reconstruction_weight=1.0,
        unet_depth=4,
        image_size=40,
      ),
      "image_size must be at least 44 for reconstruction_loss=ssim with "
      "multi_level_reconstruction_weight and unet_depth=4. Received: 40",
    ),
    (
      dict(image_size_schedule="32:0.5,36:0.3"),
      "each size of image_size_schedule must be a multiple of 8 for unet_depth=4. Received: 36",
    ),
    (
      dict(image_size_schedule="16:0.5"),
      "each size of image_size_schedule must be at least 21 for corruption=models_genesis. "
      "Received: 16",
    ),
    (
      dict(eval_image_size=36),
      "eval_image_size must be a multiple of 8 for unet_depth=4. Received: 36",
    ),
    (dict(eval_image_size=4), "eval_image_size must be 0 or at least 8. Received: 4"),
    (
      dict(eval_image_size=96, train_mode="segment", dataset="image_folder"),
      "eval_image_size must be 0 for train_mode=segment. Received: 96",
    ),
    (
      dict(eval_crops=2, train_mode="segment", dataset="image_folder"),
      "eval_crops must be 1 for train_mode=segment. Received: 2",
    ),
    *(
      (
        dict(image_size_schedule=text),
        "image_size_schedule must be sizes from 8 pixels, each with the share of the steps that "
        "it takes, separated by commas, e.g. 32:0.5,48:0.3, and leave steps for image_size. "
        f"Received: {text}",
      )
      for text in (
        *("32", "32:0.5,48", "32:0.5,48:0.5", "32:0.0", "32:nan", "half:0.5", "8:0.5,4:0.25"),
        ",".join(["32:0.1"] * 10),
      )
    ),
    (
      dict(mode="export", export_format=" ,"),
      "export_format must be one or more of saved_model, onnx, tflite for mode=export. "
      "Received: none",
    ),
    (
      dict(eval_dataset="npz", eval_data_dir="gs://bucket/photos.npz"),
      "eval_data_dir must be a path for eval_dataset=npz; mount buckets, e.g. by rclone or "
      "gcsfuse. Received: gs://bucket/photos.npz",
    ),
    (
      dict(label_fractions="0.1", cv_folds=5),
      "label_fractions must be empty with cv_folds; it is measured on eval_split. Received: 0.1",
    ),
    (
      dict(label_fractions="0.1", train_mode="finetune"),
      "label_fractions must be empty for train_mode=finetune; it is for linear evaluation. "
      "Received: 0.1",
    ),
    (
      dict(few_shots="1,two"),
      "few_shots must be whole numbers from 1, separated by commas. Received: 1,two",
    ),
    (
      dict(sweep_representations=True, cv_folds=5),
      "sweep_representations must be false with cv_folds; it is measured on eval_split. "
      "Received: True",
    ),
    (
      dict(mode="predict", train_mode="segment", dataset="image_folder"),
      "mode must be segment for a network of train_mode=segment, whose classes are of pixels. "
      "Received: predict",
    ),
    (
      dict(mode="embed", seeds="0,1"),
      "seeds must be empty for mode=embed, which is of one training; those of several seeds lie in "
      "seed_<n> of their model_dir. Received: 0,1",
    ),
    (
      dict(train_mode="finetune", cv_folds=5, seeds="0,1"),
      "seeds must be empty for finetuning with cv_folds. Received: 0,1",
    ),
    (
      dict(dataset="npz", label_mode="folders"),
      "label_mode must be auto or none unless dataset is image_folder. Received: folders",
    ),
    (
      dict(train_mode="segment", dataset="image_folder", label_columns="a,b"),
      "label_columns must be empty for train_mode=segment. Received: a,b",
    ),
    (
      dict(train_mode="finetune", checkpoint="a", encoder="resnet50", encoder_weights="b.h5"),
      "encoder_weights must be empty with a checkpoint, which has its own. Received: b.h5",
    ),
    (
      dict(lineareval_while_pretraining=True, ft_proj_selector=1),
      "ft_proj_selector must be 0 with lineareval_while_pretraining, whose head learns from the "
      "representation. Received: 1",
    ),
    (
      dict(encoder="densenet121", reconstruction_weight=0.0, gradient_checkpointing=True),
      "gradient_checkpointing must be left out for encoder=densenet121. Received: True",
    ),
    *(
      (
        dict(contrastive_weight=0.0, ft_proj_selector=layer),
        "ft_proj_selector must be 0 without a contrastive loss, as there is no projection head. "
        f"Received: {layer}",
      )
      for layer in (1, -1)
    ),
    (
      dict(train_label_fraction=0.1),
      "train_label_fraction must be 1 unless train_mode is finetune. Received: 0.1",
    ),
    (
      dict(mode="verdict", train_mode="finetune"),
      "train_mode must be pretrain for mode=verdict, which asks what pre-training was worth. "
      "Received: finetune",
    ),
    (
      dict(mode="verdict", cv_folds=5),
      "cv_folds must be 0 for mode=verdict, which measures on eval_split. Received: 5",
    ),
    (
      dict(select_best_on="validation", train_mode="finetune"),
      "select_best_on must be evaluation for train_mode=finetune. Received: validation",
    ),
    (
      dict(eval_train_split="train[:9]"),
      "eval_train_split must be left out without eval_dataset, whose it is. Received: train[:9]",
    ),
    (
      dict(eval_test_split="validation"),
      "eval_test_split must be left out without eval_dataset, whose it is. Received: validation",
    ),
  ],
)
def test_bad_values_are_refused_in_one_line(values, message):
  with pytest.raises(UsageError) as caught:
    Config(**values)
  assert str(caught.value) == message


SEGMENTS = dict(train_mode="segment", dataset="image_folder", data_dir="photos")
SIMCLR = dict(reconstruction_weight=0.0, corruption="none")


@pytest.mark.parametrize(
  "values, name, unless",
  [
    (dict(seeds="0,1", seed=5), "seed", "with seeds, of which each training has one"),
    (dict(momentum=0.8), "momentum", "unless optimizer is lars or momentum"),
    (dict(fine_tune_after_block=4), "fine_tune_after_block", "for train_mode=pretrain"),
    (
      dict(supervised_augmentation="zoom"),
      "supervised_augmentation",
      "unless train_mode=finetune",
    ),
    (
      dict(zero_init_logits_layer=True),
      "zero_init_logits_layer",
      "unless train_mode=finetune or lineareval_while_pretraining",
    ),
    (
      dict(train_mode="finetune", lineareval_while_pretraining=True),
      "lineareval_while_pretraining",
      "for train_mode=finetune",
    ),
    (
      dict(**SIMCLR, contrastive_inputs="clean"),
      "contrastive_inputs",
      "unless corrupted views are contrasted",
    ),
    (
      dict(contrastive_weight=0.0, contrastive_inputs="clean"),
      "contrastive_inputs",
      "unless corrupted views are contrasted",
    ),
    (
      dict(**SIMCLR, reconstruction_loss="huber"),
      "reconstruction_loss",
      "unless images are reconstructed",
    ),
    (
      dict(**SIMCLR, encoder="densenet121", unet_depth=5),
      "unet_depth",
      "for encoder=densenet121",
    ),
    (dict(**SEGMENTS, segment_from="encoder"), "segment_from", "without a checkpoint"),
    (
      dict(**SEGMENTS, eval_crop="center"),
      "eval_crop",
      "for train_mode=segment, which measures whole images",
    ),
    *(
      (
        {"dataset": dataset, name: "other"},
        name,
        "unless dataset or eval_dataset is parquet or of TensorFlow Datasets",
      )
      for dataset in ("image_folder", "npz", "webdataset")
      for name in ("image_key", "label_key")
    ),
  ],
)
def test_what_a_training_does_not_read_is_refused_there_alone(values, name, unless):
  with pytest.raises(UsageError) as caught:
    Config(**values)
  received = values[name]
  assert str(caught.value) == f"{name} must be left out {unless}. Received: {received}"
  Config(**values, mode="report")  # of a run of before


@pytest.mark.parametrize(
  "values",
  [
    dict(optimizer="lars", momentum=0.8),
    dict(lineareval_while_pretraining=True, zero_init_logits_layer=True),
    dict(train_mode="finetune", fine_tune_after_block=4, supervised_augmentation="zoom"),
    dict(**SEGMENTS, fine_tune_after_block=2, checkpoint="runs/a", segment_from="encoder"),
    dict(dataset="npz", label_mode="none"),
    dict(dataset="image_folder", eval_dataset="oxford_flowers102", label_key="species"),
    dict(dataset="parquet", image_key="photo", label_key="species"),
  ],
)
def test_what_a_training_reads_is_taken(values):
  Config(**values)


@pytest.mark.parametrize("train_mode", ["pretrain", "finetune", "segment"])
def test_what_was_received_is_said_or_of_the_option_that_a_rule_begins_with(train_mode):
  for rule in rules(Config(train_mode=train_mode, dataset="image_folder", data_dir="a")):
    assert len(rule) == 3 or rule[1].split()[0] in OPTIONS, rule


def test_what_the_recipe_shares_with_the_paper():
  config = Config()
  values = dict(
    contrastive_weight=1.0,
    weight_decay=1e-4,
    momentum=0.9,
    train_batch_size=16,
    unet_depth=4,
    attention_dropout=0.5,
    batch_norm_decay=0.9,
    proj_out_dim=128,
    num_proj_layers=3,
  )
  assert {name: getattr(config, name) for name in values} == values


@pytest.mark.parametrize(
  "values, method",
  [
    (dict(), "conrec"),
    (dict(pooling="average"), "conrec_ga_pool"),
    (dict(reconstruction_weight=0.0, corruption="none", pooling="average"), "simclr"),
    (dict(reconstruction_weight=0.0, corruption="none"), "simclr_attention"),
    (dict(contrastive_weight=0.0), "reconstruction"),
  ],
)
def test_method_follows_from_the_options(values, method):
  assert Config(**values).method == method


def test_default_model_dir_is_a_function_of_what_determines_training():
  name = Config().run_directory
  assert name.startswith("runs/rectangle_triangle-conrec-")
  assert Config(eval_split="train", log_steps=3).run_directory == name
  assert Config(train_epochs=99).run_directory != name  # the cosine ends elsewhere
  constant = dict(learning_rate_schedule="constant")
  longer = Config(**constant, train_epochs=99)
  assert longer.run_directory == Config(**constant).run_directory
  assert Config(seed=1).run_directory != name
  assert Config(model_dir="here").run_directory == "here"


@pytest.mark.parametrize(
  "values, depends",
  [
    (dict(), True),
    (dict(learning_rate_schedule="constant"), False),
    (dict(learning_rate_schedule="constant", warmup_epochs=3.0), False),
    (dict(learning_rate_schedule="constant", contrastive_method="moco"), False),
    (
      dict(
        learning_rate_schedule="constant",
        contrastive_method="moco",
        moco_momentum_schedule="cosine",
      ),
      True,
    ),
    (dict(learning_rate_schedule="constant", image_size_schedule="32:0.5"), True),
  ],
)
def test_a_run_is_the_same_with_more_steps_unless_something_follows_the_whole(values, depends):
  config, longer = Config(**values), Config(**values, train_steps=99)
  assert config.depends_on_length == depends
  assert (config.training_fingerprint != longer.training_fingerprint) == depends


def test_momentum_that_follows_a_cosine_leaves_the_default_model_dir_as_it_was():
  values = dict(
    learning_rate_schedule="constant", contrastive_method="moco", moco_momentum_schedule="cosine"
  )
  values |= dict(local_crops=0, color_jitter_strength=1.0, grey_probability=0.2)  # once defaults
  values |= dict(representation_levels="all")
  assert Config(**values).run_directory == "runs/rectangle_triangle-conrec-b3d67138"
  assert Config(**values, train_steps=99).run_directory == Config(**values).run_directory


@pytest.mark.parametrize(
  "first, again",
  [
    (dict(image_size_schedule="32:0.5,48:0.3"), dict(image_size_schedule=" 32: 0.50,048:.3")),
    (
      dict(dataset="image_folder", train_mode="segment", class_weights="1,2.5"),
      dict(dataset="image_folder", train_mode="segment", class_weights=(1.0, 2.50)),
    ),
    (dict(label_order="none,mild"), dict(label_order="none, mild")),
  ],
)
def test_a_list_that_is_written_otherwise_makes_the_same_run(first, again):
  first, again = Config(**first), Config(**again)
  assert first.run_directory == again.run_directory
  assert first.training_fingerprint == again.training_fingerprint


def test_sizes_end_after_their_shares_of_the_steps():
  config = Config(image_size_schedule=" 32:0.5 ,48:0.25", image_size=64)
  assert config.size_phases(10) == [(5, 32), (8, 48), (10, 64)]
  assert config.size_phases(1) == [(0, 32), (0, 48), (1, 64)]  # the last size has a step
  assert Config(image_size_schedule="").size_phases(7) == [(7, 64)]
  assert config.run_directory != Config().run_directory


@pytest.mark.parametrize(
  "options, sizes",
  [
    (dict(), (32, 48, 64)),
    (dict(image_size=224), (112, 168, 224)),
    (dict(image_size=112, unet_depth=5), (48, 80, 112)),  # multiples of 16
    (dict(image_size=48), (32, 48)),
    (dict(image_size=32), (32,)),
    (dict(encoder="resnet50", image_size=128), (64, 96, 128)),
    (dict(learning_rate_schedule="constant"), (64,)),
    (dict(train_mode="finetune"), (64,)),
    (dict(train_mode="segment", dataset="image_folder", data_dir="eyes"), (64,)),
    (dict(reconstruction_loss="ssim"), (32, 48, 64)),
    (dict(reconstruction_loss="ssim", multi_level_reconstruction_weight=1.0, image_size=96), (96,)),
  ],
)
def test_images_grow_by_themselves_where_sizes_and_training_allow(options, sizes):
  assert Config(**options).training_sizes == sizes


def test_images_that_grow_by_themselves_make_the_same_run_as_when_asked_to():
  asked, unasked = Config(image_size_schedule="32:0.5,48:0.3"), Config()
  assert asked.size_phases(1000) == unasked.size_phases(1000)
  assert asked.run_directory == unasked.run_directory


def test_smaller_images_are_embedded_than_could_be_learnt_from():
  with pytest.raises(UsageError, match="at least 21 for corruption=models_genesis"):
    Config(image_size=16)
  assert Config(image_size=16, mode="embed").image_size == 16


def test_architecture_options_describe_a_network():
  assert set(ARCHITECTURE_OPTIONS) == {
    "encoder",
    "base_filters",
    "unet_depth",
    "pooling",
    "proj_head_mode",
    "num_proj_layers",
    "proj_out_dim",
    "ft_proj_selector",
    "batch_norm_decay",
    "attention_dropout",
    "contrastive_weight",
    "reconstruction_weight",
    "corruption",
    "image_size",
    "eval_image_size",
    "eval_crops",
    "image_bits",
    "dicom_window",
    "dicom_frames",
    "scaled_decoding",
    "image_channels",
    "representation_levels",
    "skip_connections",
  }


def test_sections_make_up_the_config():
  names = [field.name for section in SECTIONS for field in dataclasses.fields(section)]
  assert names == [field.name for field in dataclasses.fields(Config)] == list(OPTIONS)
  assert all(section.__doc__ for section in SECTIONS)
  json.dumps(Config().settings)


def test_config_imports_no_library():
  code = "import sys, conrec_tf.config; print({'tensorflow', 'absl', 'numpy'} & set(sys.modules))"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "set()"


def test_the_home_folder_is_that_of_the_shell(monkeypatch):
  monkeypatch.setenv("HOME", "/home/someone")
  config = Config(
    model_dir="~/runs/a",
    data_dir="~/tfds",
    checkpoint="~/b",
    compare_with="~/c, ~/d,e~",
    mode="embed",
  )
  assert (config.model_dir, config.run_directory) == ("/home/someone/runs/a",) * 2
  assert config.data_dir == "/home/someone/tfds" and config.checkpoint == "/home/someone/b"
  assert config.compare_with == ("/home/someone/c", "/home/someone/d", "e~")


def test_what_a_run_says_of_evaluation_that_no_longer_applies_does_not_keep_it_from_being_shown():
  settings = dict(label_fractions="0.1", cv_folds=5, mode="report")
  assert Config.from_settings(settings).cv_folds == 5


@pytest.mark.parametrize("name", ["a*", "a[1]", "a?", "a\\b"])
def test_what_tensorflow_takes_for_patterns_is_no_folder(name):
  with pytest.raises(UsageError, match=r"model_dir must not contain any of \* \? \[ \] \\, which"):
    Config(model_dir=f"runs/{name}")


@pytest.mark.parametrize("mode", ["segment", "embed"])
def test_what_a_run_says_of_masks_does_not_keep_it_from_images_of_a_folder(mode):
  stored = dict(train_mode="segment", dataset="oxford_iiit_pet", mask_key="mask")
  assert Config(**{**stored, "dataset": "image_folder"}, mode=mode).mask_key == "mask"
  with pytest.raises(UsageError, match="mask_key must be left out for dataset=image_folder"):
    Config(**{**stored, "dataset": "image_folder"})


def test_trainings_of_seeds_and_folds_have_folders_of_their_own():
  config = Config(seeds="3,5", model_dir="runs/a")
  one = config.of_seed(5, "seed_5")
  assert (one.seed, one.seeds, one.model_dir) == (5, (), "runs/a/seed_5")
  config = Config(train_mode="finetune", cv_folds=4, seed=7, model_dir="runs/a")
  one = config.of_fold(2, 3)
  assert (one.seed, one.cv_folds, one.cv_fold) == (9, 0, "3/4")
  assert one.model_dir == "runs/a/repetition_2_fold_3"


def test_a_supervised_training_beside_a_run_has_its_network_and_the_labels_that_measure_it():
  config = Config(
    mode="verdict",
    dataset="npz",
    data_dir="all.npz",
    label_mode="none",
    eval_dataset="npz",
    eval_data_dir="few.npz",
    eval_test_split="test",
    image_size=32,
    base_filters=8,
    contrastive_method="moco",
    moving_average_decay=0.9,
    local_crops=2,
    learning_rate=0.01,
    external_scaling="bytes",
    few_shots="1",
    seed=3,
    model_dir="runs/a",
  )
  one = config.from_scratch("verdict/b", 70, False, 0.1, 12)
  assert (one.method, one.mode, one.model_dir) == (
    "supervised_unet",
    "train_then_eval",
    "runs/a/verdict/b",
  )
  assert (one.data_dir, one.label_mode, one.eval_split) == ("few.npz", "auto", "test")
  assert (one.image_size, one.base_filters, one.learning_rate, one.seed) == (32, 8, 0.01, 3)
  assert (one.train_steps, one.eval_crop, one.eval_dataset) == (70, "none", "")
  assert (one.train_label_fraction, one.train_batch_size) == (0.1, 12)
  plain = Config(mode="verdict", train_epochs=9, model_dir="runs/a").from_scratch(
    "b", 5, True, 1.0, 99
  )
  assert (plain.dataset, plain.train_steps, plain.eval_crop) == ("rectangle_triangle", 5, "center")


@pytest.mark.parametrize(
  "values, pooling",
  [
    (dict(), "attention"),
    (dict(contrastive_weight=0.0), "average"),
    (dict(pooling="average"), "average"),
  ],
)
def test_a_training_from_scratch_pools_as_the_run_does(values, pooling):
  config = Config(mode="verdict", model_dir="runs/a", **values)
  one = config.from_scratch("b", 5, True, 1.0, 99)
  assert (one.pooling, one.has_attention) == (pooling, config.has_attention)


def test_the_same_run_looked_at_otherwise_keeps_its_folder():
  config = Config(seed=4)
  settled = config.in_precision("mixed_bfloat16")
  assert settled.mixed_precision == "mixed_bfloat16"
  assert settled.run_directory == config.run_directory
  assert config.to_report() == Config(seed=4, mode="report")
  embedding = Config(mode="embed", cache_dataset=True).to_embed(16)
  assert (embedding.eval_batch_size, embedding.cache_dataset) == (16, False)
  plain = Config(lineareval_while_pretraining=True).with_given_weights()
  assert plain == Config()
