"""The parts of a report: what each shows, and of which images."""

import dataclasses
import functools
import pathlib

import numpy as np
from sklearn.neighbors import NearestNeighbors

from conrec_tf.evaluation import probes
from conrec_tf.reporting.figures import class_figures, curves, image_grids
from conrec_tf.reporting.figures.embedding_map import embedding_map
from conrec_tf.reporting.inference import ModelInspector
from conrec_tf.reporting.tables import Table, class_table
from conrec_tf.run_dir.run_directory import write_text

ATTENDED = 12
RECONSTRUCTED = 2
QUERIES = 6
NEIGHBOURS = 4
EXTREMES = 2
MOST_CLASSES = 6
NO_CLASSES = "The data has no classes, so that nothing is said about them."


@dataclasses.dataclass
class Section:
  """A part of the page.

  Attributes:
    title: its heading.
    pictures: `Picture`s.
    notes: words on what isn't there, or must be known.
    small: whether pictures may stand three in a row.
    table, details: `Table`s beside and below the pictures, or None, with their titles.
  """

  title: str
  pictures: list = dataclasses.field(default_factory=list)
  notes: list = dataclasses.field(default_factory=list)
  small: bool = False
  table: Table | None = None
  table_title: str = ""
  details: Table | None = None
  details_title: str = ""


@dataclasses.dataclass
class ReportContext:
  """What there is to draw from; what the network says is asked for when it is first needed.

  Attributes:
    runs: `RunRecord`s; the first is what the report is about.
    names: of the runs.
    epochs: steps of an epoch, by run.
    network: `ModelInspector` of the first run.
    folder: where to write.
  """

  runs: list
  names: list
  epochs: list
  network: ModelInspector
  folder: pathlib.Path

  @functools.cached_property
  def train(self):
    """Embeddings and labels of what a classifier learns from."""
    return self.network.embed(self.network.train)

  @functools.cached_property
  def measured(self):
    """Embeddings and labels of what is measured."""
    return self.network.embed(self.network.measured)

  @functools.cached_property
  def predictions(self):
    """`Predictions` on what is measured."""
    return self.network.predict(self.train, self.measured)

  @functools.cached_property
  def order(self):
    """The measured images, shuffled."""
    seed = self.runs[0].config.seed
    return np.random.default_rng(seed).permutation(self.network.measured.num_examples)

  def confusions(self):
    """Counts of true by predicted class: the run's own where it left them."""
    found, stored = self.predictions, self.runs[0].confusions
    if stored is not None:
      return np.array(stored)
    scores = np.eye(len(self.network.class_names))[found.classes]
    columns = np.arange(len(self.network.class_names))
    return probes.confusions(scores, columns, found.labels, len(columns))


def training_section(context):
  """Losses, learning rate, speed."""
  pictures = curves.training_curves(context.runs, context.names, context.folder)
  return Section("Training", pictures, small=True) if pictures else None


def accuracy_section(context):
  """Accuracy over epochs and labels."""
  pictures = [
    curves.accuracy_over_epochs(context.runs, context.names, context.epochs, context.folder)
  ]
  by_labels = curves.label_fractions(context.runs, context.names, context.folder)
  if by_labels or not context.network.class_names or not context.runs[0].config.is_pretraining:
    return Section("Evaluations", pictures + [by_labels] * bool(by_labels))
  return Section(
    "Evaluations",
    pictures,
    [
      "Accuracy over the share of labels wasn't measured. --mode=eval "
      "--label_fractions=0.01,0.1,0.25,0.5,1.0 measures it."
    ],
  )


def inputs_section(context):
  """What the decoder makes of corrupted images, and what the pooling looks at."""
  network, section = context.network, Section("What it sees")
  images = network.images(network.measured, context.order[:ATTENDED])
  if network.has_decoder:
    targets = images[:RECONSTRUCTED]
    section.pictures.append(
      image_grids.reconstructions(targets, network.reconstruct(targets), context.folder)
    )
  else:
    section.notes.append("No reconstructions: this network has no decoder.")
  if network.has_attention:
    section.pictures.append(
      image_grids.attention_maps(images, network.attention(images), context.folder)
    )
  else:
    section.notes.append(
      "No attention maps: this network pools by average, where all places count alike."
    )
  return section


def classes_section(context):
  """Confusions and accuracy by class."""
  network = context.network
  if not network.class_names:
    return Section("Classes", notes=[NO_CLASSES])
  counts = context.confusions()
  rows = class_figures.class_accuracies(counts, network.class_names)
  details = class_table(rows)
  write_text(context.folder / "class_accuracy.csv", details.csv())
  return Section(
    "Classes",
    [
      class_figures.confusion_matrix(
        counts, network.class_names, context.predictions.classifier, context.folder
      ),
      class_figures.class_accuracy(rows, context.folder),
      _extremes(context, rows),
    ],
    _share_of_images(network),
    table_title="Most confused",
    table=Table(
      ("true class", "taken for", "images", "share"),
      [
        (*(name.replace("_", " ") for name in pair[:2]), str(pair[2]), f"{pair[3]:.0%}")
        for pair in class_figures.confused_pairs(counts, network.class_names)
      ],
      texts=2,
    ),
    details_title="Accuracy of every class",
    details=details,
  )


def _share_of_images(network):
  """A note where not all images are looked at."""
  looked, there = network.measured.num_examples, network.eval_source.eval.num_examples
  return (
    []
    if looked == there or network.config.cv_folds
    else [
      f"Strongest, weakest and neighbouring images are looked for among {looked} random ones of "
      f"the {there} of the evaluation split; counts are of all."
    ]
  )


def embeddings_section(context):
  """A map of the embeddings, and nearest neighbours."""
  network, seed = context.network, context.runs[0].config.seed
  (train, train_labels), (measured, labels) = context.train, context.measured
  picture = embedding_map(measured, labels, network.class_names, seed, context.folder)
  queries = context.order[:QUERIES]
  search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), metric="cosine").fit(train)
  distances, nearest = search.kneighbors(measured[queries])
  near = network.images(network.train, nearest.ravel()).reshape(
    *nearest.shape, *network.images(network.measured, queries[:1]).shape[1:]
  )
  names = np.array(network.class_names or [""], object)
  rows = [
    (
      image,
      None if labels is None else names[labels[query]],
      [
        (
          near[place, rank],
          1.0 - distances[place, rank],
          None if labels is None else names[train_labels[index]],
        )
        for rank, index in enumerate(nearest[place])
      ],
    )
    for place, (query, image) in enumerate(zip(queries, network.images(network.measured, queries)))
  ]
  return Section(
    "Embeddings", [picture, image_grids.neighbours(rows, labels is not None, context.folder)]
  )


def _extremes(context, accuracies):
  """The picture of the strongest and the weakest images of classes."""
  network, found, rows = context.network, context.predictions, []
  for number, name, _, share in _ends(accuracies):
    members = np.flatnonzero(found.labels == number)
    members = members[np.argsort(-found.true_class_probability[members], kind="stable")]
    take = min(EXTREMES, len(members) // 2 or 1)
    chosen = np.concatenate([members[:take], members[take:][-take:]])
    images = network.images(network.measured, chosen)
    weights = network.attention(images) if network.has_attention else [None] * len(images)
    said = [
      None if found.classes[index] == number else network.class_names[found.classes[index]]
      for index in chosen
    ]
    rows.append(
      (name, share, list(zip(images, weights, found.true_class_probability[chosen], said)))
    )
  return image_grids.extremes(rows, len(accuracies), context.folder, network.has_attention)


def _ends(accuracies):
  """All classes if they are few, else the most and the least accurate."""
  if len(accuracies) <= MOST_CLASSES:
    return accuracies
  ranked = sorted(accuracies, key=lambda row: -row[3])
  return ranked[: MOST_CLASSES // 2] + ranked[-(MOST_CLASSES // 2) :]


# In the order of the page.
SECTIONS = {
  "accuracy": accuracy_section,
  "what it sees": inputs_section,
  "training curves": training_section,
  "classes": classes_section,
  "embeddings": embeddings_section,
}
