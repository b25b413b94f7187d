"""The network of the paper in the plain Keras form, as the thing to compare with."""

import tensorflow as tf

layers = tf.keras.layers


def plain_conrec(image_size, channels, base_filters, depth=4, dtype=None):
  """Upsample, concatenate, 3x3 convolution: a functional model with three outputs.

  Returns:
    `tf.keras.Model` from `[B, H, W, C]` to (embedding, projection, reconstruction), its layers
    made in the order in which `ConRec` holds its own.
  """
  images = layers.Input([image_size, image_size, channels])
  filters = [base_filters * 2**level for level in range(depth)]
  x, skips = images, []
  for level, width in enumerate(filters):
    if level:
      skips.append(x)
      x = layers.MaxPool2D(dtype=dtype)(x)
    for _ in range(2):
      x = _block(x, width, 3, dtype)
  features = x

  gate = layers.Dropout(0.5, dtype=dtype)(features)
  for divisor in (2, 4, 8):
    gate = _block(gate, filters[-1] // divisor, 1, dtype, momentum=0.99, epsilon=1e-3)
  gate = layers.Conv2D(1, 1, activation="sigmoid", dtype=dtype)(gate)
  pool = layers.GlobalAveragePooling2D(dtype=dtype)
  embedding = layers.Lambda(lambda pair: pair[0] / pair[1], dtype=dtype)(
    [pool(layers.Multiply(dtype=dtype)([features, gate])), pool(gate)]
  )

  projection = embedding
  for layer, width in enumerate([filters[-1], filters[-1], 128]):
    projection = layers.Dense(width, use_bias=False, dtype=dtype)(projection)
    projection = layers.BatchNormalization(
      momentum=0.9, epsilon=1e-5, center=layer < 2, dtype=dtype
    )(projection)
    if layer < 2:
      projection = layers.ReLU(dtype=dtype)(projection)

  for width, skip in reversed(list(zip(filters, skips, strict=False))):
    skip = _block(skip, width, 1, dtype)
    x = layers.Concatenate(dtype=dtype)([layers.UpSampling2D(dtype=dtype)(x), skip])
    for _ in range(2):
      x = _block(x, width, 3, dtype)
  reconstruction = layers.Conv2D(channels, 1, activation="sigmoid", dtype=dtype)(x)
  return tf.keras.Model(images, [embedding, projection, reconstruction])


def copy_weights(model, plain):
  """Gives a plain model the weights of a `ConRec`.

  Args:
    model: built `ConRec` with attention, projection head and decoder.
    plain: what `plain_conrec` returned.
  """
  blocks = [block for level in model.encoder.levels for block in level]
  blocks += model.pooling.blocks
  of_ours = [part for block in blocks for part in (block.convolution, block.batch_norm)]
  of_ours += [model.pooling.gate]
  of_ours += [
    part
    for pair in zip(model.projection_head.dense, model.projection_head.batch_norms, strict=True)
    for part in pair
  ]
  decoder = model.decoder
  for skip_block, level in reversed(list(zip(decoder.skip_blocks, decoder.levels, strict=True))):
    of_ours += [
      part for block in (skip_block, *level) for part in (block.convolution, block.batch_norm)
    ]
  of_ours += [decoder.output_convolution]
  theirs = sorted((layer for layer in plain.layers if layer.weights), key=_creation)
  kinds = {}
  for layer in theirs:
    kinds.setdefault(type(layer), []).append(layer)
  for ours in of_ours:
    kinds[type(ours)].pop(0).set_weights(ours.get_weights())
  assert not any(kinds.values())


def _block(x, width, kernel_size, dtype, momentum=0.9, epsilon=1e-5):
  x = layers.Conv2D(width, kernel_size, padding="same", dtype=dtype)(x)
  x = layers.BatchNormalization(momentum=momentum, epsilon=epsilon, dtype=dtype)(x)
  return layers.ReLU(dtype=dtype)(x)


def _creation(layer):
  """Position by the number that Keras puts into a layer's name."""
  number = layer.name.rsplit("_", 1)[-1]
  return int(number) if number.isdigit() else 0
