"""The trained representation as a SavedModel that needs TensorFlow alone."""

import os
import shutil
import tempfile

import tensorflow as tf

from conrec_tf.runs import writing


def representation(model, channels, layer=0):
  """Encoder and pooling as an object after TensorFlow Hub's reusable SavedModel convention.

  Args:
    model: a built `ConRec`.
    channels: channels of the images.
    layer: as of `ConRec.represent`.

  Returns:
    root: a trackable object, callable as `(images, training=False)`: float32 `[B, H, W, C]` in
    [0, 1], H and W any multiples of the network's stride, to float32 `[B, F]`. It has the
    `variables`, `trainable_variables` and `regularization_losses` of just what the output
    depends on.
    signatures: `serving_default`, the call with training=False.
  """
  images = tf.TensorSpec([None, None, None, channels], tf.float32, name="images")

  @tf.function
  def embed(images, training=False):
    return model.represent(images, training=training, layer=layer)

  parts = [model.encoder, model.pooling] + ([model.projection_head] if layer else [])
  root = tf.train.Checkpoint()
  root.__call__ = embed
  root.variables = [variable for part in parts for variable in part.variables]
  root.trainable_variables = [
      variable for part in parts for variable in part.trainable_variables]
  root.regularization_losses = []
  embed.get_concrete_function(images, True)
  return root, {"serving_default": embed.get_concrete_function(images, False)}


def export_saved_model(model, channels, path, layer=0, class_names=()):
  """Writes a SavedModel to a folder, whole or not at all.

  Args:
    model: a built `ConRec`.
    channels: channels of the images.
    path: `pathlib.Path`; what is there is replaced.
    layer: as of `ConRec.represent`.
    class_names: kept beside the network as `assets/class_names.txt`, one a line.
  """
  temporary = path.with_name(path.name + ".tmp")
  shutil.rmtree(temporary, ignore_errors=True)
  root, signatures = representation(model, channels, layer)
  with writing(path.parent, tf.errors.OpError), tempfile.TemporaryDirectory() as folder:
    if class_names:
      names = os.path.join(folder, "class_names.txt")
      with open(names, "w") as file:
        file.write("\n".join(class_names) + "\n")
      root.class_names = tf.saved_model.Asset(names)
    tf.saved_model.save(root, os.fspath(temporary), signatures=signatures)
    shutil.rmtree(path, ignore_errors=True)
    os.replace(temporary, path)
