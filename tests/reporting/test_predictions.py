"""The predictions that a report speaks of, by a network that is a few numbers of its images."""

import types

import numpy as np
import pytest
import tensorflow as tf

from conrec_tf.config import Config
from conrec_tf.data.dataset import DatasetSource, Split
from conrec_tf.data.records import InMemory
from conrec_tf.evaluation import probes
from conrec_tf.evaluation.label_kinds import Classes, Grades
from conrec_tf.metrics import GLOBAL_STEP, best_key, scaling_prefix
from conrec_tf.reporting import inference, sections, tables
from conrec_tf.reporting.context import ReportContext
from conrec_tf.reporting.figures.plot_style import rc_style
from conrec_tf.reporting.inference import ModelInspector, kept_predictions
from conrec_tf.reporting.run_record import RunRecord
from conrec_tf.run_dir.predictions_file import read_predictions, write_predictions
from conrec_tf.run_dir.run_directory import RunDirectory

STEP = 5
SCALES = np.array([10.0, 0.05, 0.03, 1.0], np.float32)  # so that raw and standardised differ


def embed(images, *, layer=0):
  """Returns the values of four pixels at different scales."""
  return SCALES * images[:, 0, :4, 0]


def source_of(train_labels, labels, class_names=("a", "b", "c"), names=None):
  """Makes a dataset of noise, whose pixels say a little of the label."""
  rng = np.random.default_rng(0)

  def split(name, labels, names=None):
    images = rng.integers(0, 256, (len(labels), 24, 24, 1))
    images[:, 0, 1:3, 0] = (images[:, 0, 1:3, 0] + 60 * np.array(labels)[:, np.newaxis]) // 2
    columns = {"image": images.clip(0, 255).astype(np.uint8), "label": np.array(labels, np.int64)}
    return Split(name, InMemory(columns), labels=lambda: columns["label"], names=names)

  return DatasetSource(
    "noise",
    split("train", train_labels),
    split("test", labels, names),
    decode=tf.identity,
    channels=1,
    one_size=True,
    class_names=tuple(class_names),
  )


@pytest.fixture
def report(tmp_path):
  """Makes a `ReportContext` of a run that kept predictions or not, and whose weights are `embed`.

  Columns are those of the kept file, or None; by default, what the run's evaluation found.
  """

  def made(source, columns="measured", standardise=True, **values):
    config = Config(image_size=24, dataset="npz", data_dir="x", **values)
    model = types.SimpleNamespace(embed=embed, pooling=None, decoder=None)
    inspector = ModelInspector(config, source, model, None, STEP)
    if columns == "measured":
      kind = (Grades if config.ordinal_labels else Classes)(len(source.class_names))
      parts = [
        (embed(np.array([row["image"] / 255 for row in split.records()])), label_of(split))
        for split in (source.train, source.eval)
      ]
      columns = kind.predictions(kind.outputs(parts[0], parts[1][0], standardise), parts[1][1])
    directory = RunDirectory(tmp_path)
    if columns:
      names = source.eval.names
      images = range(source.eval.num_examples) if names is None else names
      write_predictions(directory, STEP, {"image": images, **columns})
    best = best_key(
      scaling_prefix(standardise)
      + ("quadratic_weighted_kappa" if config.ordinal_labels else "linear_top_1_accuracy")
    )
    best = best if not standardise else "eval/best_standardised_linear_top_1_accuracy"
    result = {GLOBAL_STEP: STEP, best: 0.5}
    run = RunRecord(tmp_path, config, [], {}, result, read_predictions(directory, STEP), [])
    return ReportContext([run], inspector)

  return made


def label_of(split):
  return np.array([int(row["label"]) for row in split.records()])


def columns_of(labels, predictions, true_class_probability=None):
  """Returns what a run keeps, with probabilities that come to mind."""
  labels, predictions = np.array(labels), np.array(predictions)
  if true_class_probability is None:
    true_class_probability = np.where(labels == predictions, 0.9, 0.05)
  return {
    "label": labels,
    "prediction": predictions,
    "probability": np.full(len(labels), 0.9),
    "true_class_probability": np.array(true_class_probability, float),
  }


def drawn_classes(context, monkeypatch):
  """Draws the section of classes; returns it, and the rows of its strongest and weakest images."""
  shown = []
  draw = sections.image_grids.extremes

  def extremes(rows, *arguments):
    shown.extend(rows)
    return draw(rows, *arguments)

  monkeypatch.setattr(sections.image_grids, "extremes", extremes)
  with rc_style():
    return sections.classes_section(context), shown


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("ordinal", [True, False])
def test_predictions_made_anew_are_those_that_the_number_is_of(rng, report, standardise, ordinal):
  source = source_of(rng.integers(0, 3, 90), rng.integers(0, 3, 60))
  context = report(source, standardise=standardise, ordinal_labels=ordinal)
  kept = kept_predictions(context.runs[0], source)
  parts = context.train, context.test
  anew, other = (context.inspector.predict(*parts, by) for by in (standardise, not standardise))
  np.testing.assert_array_equal(anew.classes, kept.classes)
  np.testing.assert_allclose(anew.true_class_probability, kept.true_class_probability, atol=1e-4)
  assert np.mean(other.classes == kept.classes) < 1.0
  assert (
    kept.is_kept and not anew.is_kept and anew.classifier == kept.classifier != other.classifier
  )


def test_confusions_and_images_come_from_the_predictions_of_the_run(rng, report, monkeypatch):
  labels = np.arange(30) % 3
  source = source_of(rng.integers(0, 3, 30), labels)
  said = np.where(labels == 1, 2, labels)  # all b are taken for c
  said[:2] = 1, 0  # and one a for b, one b for a
  probability = np.linspace(0.0, 0.4, 30) + 0.5 * (said == labels)
  context = report(source, columns_of(labels, said, probability))
  section, shown = drawn_classes(context, monkeypatch)
  np.testing.assert_array_equal(context.confusions(), [[9, 1, 0], [1, 0, 9], [0, 0, 10]])
  assert not section.notes
  assert "linear evaluation of standardised embeddings" in section.pictures[0].text
  for number, (name, share, images) in enumerate(shown):
    assert name == "abc"[number] and share == pytest.approx([0.9, 0.0, 1.0][number])
    members = np.flatnonzero(labels == number)
    ranked = members[np.argsort(-probability[members])]
    for (image, _, worth, instead), place in zip(images, [*ranked[:2], *ranked[-2:]], strict=True):
      assert worth == pytest.approx(probability[place], abs=1e-6)
      assert instead == (None if said[place] == number else "abc"[said[place]])
      expected = next(iter(source.eval.records().skip(int(place))))["image"] / 255
      np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize(
  "change",
  [
    lambda columns: columns | {"label": (columns["label"] + 1) % 3},
    lambda columns: columns | {"prediction": columns["prediction"] + 3},
    lambda columns: {name: columns[name] for name in ("label", "prediction", "probability")},
    lambda columns: None,
  ],
  ids=["other labels", "other classes", "an earlier version's", "none"],
)
def test_what_is_kept_of_something_else_is_not_shown(rng, report, monkeypatch, change):
  labels = np.arange(30) % 3
  source = source_of(rng.integers(0, 3, 30), labels)
  context = report(source, change(columns_of(labels, labels)))
  section, shown = drawn_classes(context, monkeypatch)
  assert not context.predictions.is_kept and len(shown) == 3
  assert np.trace(context.confusions()) == np.sum(context.predictions.classes == labels) < 30
  [note] = section.notes
  assert "anew, with the weights of step 5" in note and "--mode=eval keeps them" in note


def test_kept_predictions_find_their_images_by_name(rng, report):
  labels = np.arange(12) % 3
  names = np.array([f"photo {number}.png" for number in rng.permutation(12)], object)
  source = source_of(rng.integers(0, 3, 30), labels, names=names)
  order = np.arange(12)[::-1][:10]  # some, in another order
  context = report(source, None)
  columns = columns_of(labels[order], labels[order])
  write_predictions(RunDirectory(context.runs[0].path), STEP, {"image": names[order], **columns})
  run = context.runs[0]
  kept = read_predictions(RunDirectory(context.runs[0].path), STEP)
  run = RunRecord(run.path, run.config, [], {}, run.result, kept, [])
  np.testing.assert_array_equal(kept_predictions(run, source).index, order)
  other = source_of([0, 1, 2], labels, names=np.array([f"other {name}" for name in names], object))
  assert kept_predictions(run, other) is None


@pytest.mark.parametrize("kept", [True, False])
def test_a_rare_class_may_miss_from_what_is_looked_at(rng, report, monkeypatch, kept):
  monkeypatch.setattr(inference, "MOST_IMAGES", 12)
  labels = np.array([0, 1] * 20 + [2])  # the last one isn't among 12 random ones
  source = source_of([0, 1, 2] * 20, labels)
  assert 2 not in label_of(ModelInspector(Config(), source, None, None, STEP).test)
  context = report(source, columns_of(labels, labels) if kept else None)
  section, shown = drawn_classes(context, monkeypatch)
  assert [row[0] for row in shown] == (["a", "b", "c"] if kept else ["a", "b"])
  assert context.confusions().sum() == (41 if kept else 12)
  assert bool(section.notes) != kept
  assert kept or "learnt from 12 images and measured on 12" in section.notes[0]
  with rc_style():
    [note] = sections.embeddings_section(context).notes
  assert "12 random ones of the 41 images" in note and "12 of the 60 training images" in note


ODD_NAMES = ("$x^$", "", "_", "<b>&\n\t", "名" * 90, "a" * 300)
MANY = tuple(f"class {number}" for number in range(60))


@pytest.mark.parametrize(
  "labels, said, names",
  [
    pytest.param([0, 1, 2] * 4, [0, 1, 2] * 4, "abc", id="all right", marks=pytest.mark.slow),
    pytest.param([0, 1, 2] * 4, [1, 2, 0] * 4, "abc", id="all wrong", marks=pytest.mark.slow),
    pytest.param([0, 1] * 4, [0, 2] * 4, "abc", id="a class is missing", marks=pytest.mark.slow),
    pytest.param([1] * 5, [1, 1, 1, 0, 2], "abc", id="one class alone", marks=pytest.mark.slow),
    pytest.param([2], [0], "abc", id="one image"),
    pytest.param(range(6), [1, 0, 3, 2, 4, 4], ODD_NAMES, id="odd names", marks=pytest.mark.slow),
    pytest.param(range(60), [*range(1, 60), 0], MANY, id="many", marks=pytest.mark.slow),
  ],
)
def test_odd_but_valid_data_is_drawn(rng, report, monkeypatch, tmp_path, labels, said, names):
  source = source_of(rng.integers(0, len(names), 120), labels, names)
  context = report(source, columns_of(labels, said))
  section, shown = drawn_classes(context, monkeypatch)
  assert len(section.pictures) == 3
  assert sum(int(row[2]) for row in section.details.rows) == len(labels)
  assert len(shown) == min(len(set(labels)), sections.MOST_CLASSES)
  with rc_style():
    section.save(tmp_path)
    assert all((tmp_path / f"{each.name}.png").stat().st_size > 1000 for each in section.pictures)
    assert len(sections.embeddings_section(context).pictures) == 2


def test_of_several_folds_one_is_shown_and_said_to_be(rng, report, monkeypatch):
  labels = rng.integers(0, 3, 40)
  context = report(source_of(labels, [0]), columns_of([0], [0]), cv_folds=4)
  section, _ = drawn_classes(context, monkeypatch)
  assert context.confusions().sum() == 10
  assert "the mean over 4 folds, and this is one" in section.notes[0]


def test_weights_of_another_step_are_said_to_be(report):
  context = report(source_of([0, 1, 2], [0]), None)
  assert context.other_weights == []
  context.inspector.step = 3
  [note] = context.other_weights
  assert "the network of step 3, the best: that of step 5 is gone" in note


@pytest.mark.parametrize("standardised", [True, False])
def test_tables_say_which_classifier_their_numbers_are_of(tmp_path, standardised):
  """Of a run that was evaluated on its way and has no best network yet."""
  config = Config(standardize_embeddings=standardised)
  result = {
    GLOBAL_STEP: STEP,
    "eval/linear_top_1_accuracy": 0.25,
    "eval/standardised_linear_top_1_accuracy": 0.5,
  }
  run = RunRecord(tmp_path, config, [], {}, result, None, [])
  table = tables.methods_table([run])
  [row] = [row for row in table.rows if row[0] == "ConRec"]
  column = table.header.index("last (standardised, %)" if standardised else "last (%)")
  assert row[column] == ("50.00" if standardised else "25.00")


@pytest.mark.parametrize(
  "values, key, has_paper",
  [
    (dict(), "linear_top_1_accuracy", True),
    (dict(label_mode="none"), "total_loss", False),
    (dict(eval_dataset="oxford_flowers102"), "linear_top_1_accuracy", False),
    (dict(dataset="aptos2019"), "linear_top_1_accuracy", False),
    (dict(dataset="aptos2019", ordinal_labels=True), "quadratic_weighted_kappa", True),
  ],
)
def test_the_papers_numbers_stand_beside_those_of_the_same_measure_alone(
  tmp_path, values, key, has_paper
):
  config = Config(**{"dataset": "rectangle_triangle", "standardize_embeddings": False, **values})
  run = RunRecord(tmp_path, config, [], {}, {GLOBAL_STEP: STEP, f"eval/{key}": 0.5}, None, [])
  table = tables.methods_table([run])
  assert run.metric == f"eval/{key}"
  assert any(name.startswith("paper") for name in table.header) == has_paper


def test_the_probability_of_a_grade_is_what_two_bits_differ_by():
  bits = np.array([[1.0, 0.9, 0.3], [1.0, 0.2, 0.4], [0.8, 0.1, 0.1]])
  for grades, expected in (
    ([1, 1, 2], [0.6, 0.2, 0.1]),
    ([0, 2, 0], [0.1, 0.2, 0.9]),  # of bits that rise, in order: 0.6, 0.2 and 0.2
    ([2, 0, 1], [0.3, 0.6, 0.0]),
  ):
    found = probes.grade_probabilities(bits, np.array(grades))
    np.testing.assert_allclose(found, expected, atol=1e-12)
