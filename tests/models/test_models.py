import importlib

import numpy as np
import oracles
import pytest
import tensorflow as tf

from benchmarks.plain import copy_weights, plain_conrec
from conrec_tf.config import Config
from conrec_tf.models import ConRec, build_head, build_model
from conrec_tf.models.conrec import deviations
from conrec_tf.models.heads import ProjectionHead
from conrec_tf.models.normalization import recompute_statistics
from conrec_tf.models.pooling import AttentionPooling, AveragePooling
from conrec_tf.models.precision import mixed_precision_scope
from conrec_tf.models.unet import ConvBlock, UNetDecoder, UNetEncoder


@pytest.fixture(scope="module")
def of_three_levels():
  """Networks by their `representation_levels`, which are only read."""
  values = dict(base_filters=2, unet_depth=3)
  return {
    levels: build_model(Config(**values, representation_levels=levels))
    for levels in ("last", "all", "all_with_deviations")
  }


def test_parameter_counts_of_the_paper():
  model = build_model(Config(base_filters=64, image_channels=3), with_decoder=False)
  assert model.encoder.count_params() == 4_693_056
  assert model.encoder.count_params() + model.pooling.count_params() == 4_867_393


@pytest.mark.parametrize("depth, size", [(2, 24), (4, 32)])
def test_shapes(depth, size):
  config = Config(
    base_filters=2,
    unet_depth=depth,
    image_channels=3,
    image_size=size,
    representation_levels="last",
  )
  model = build_model(config)
  images = tf.zeros([2, size, 2 * size, 3])
  features, skips = model.encoder(images)
  stride = 2 ** (depth - 1)
  assert features.shape == (2, size // stride, 2 * size // stride, 2 * stride)
  assert [skip.shape[1] for skip in skips] == [size // 2**level for level in range(depth - 1)]
  outputs = model(images)
  assert outputs.embedding.shape == (2, 2 * stride)
  assert outputs.projection.shape == (2, 128)
  assert outputs.reconstruction.shape == images.shape
  assert tf.reduce_min(outputs.reconstruction) >= 0 and tf.reduce_max(outputs.reconstruction) <= 1
  np.testing.assert_allclose(model.embed(images), outputs.embedding, atol=1e-6)


@pytest.mark.parametrize(
  "values, built",
  [
    (dict(), {"projection", "reconstruction"}),
    (dict(reconstruction_weight=0.0), {"projection"}),
    (dict(contrastive_weight=0.0), {"reconstruction"}),
  ],
)
def test_only_what_is_needed_is_built(values, built):
  model = build_model(Config(base_filters=2, unet_depth=2, **values))
  outputs = model(tf.zeros([1, 16, 16, 1]))
  assert {
    name for name in ("projection", "reconstruction") if getattr(outputs, name) is not None
  } == built
  # Without a contrastive loss nothing would train a gate.
  assert type(model.pooling) is (AttentionPooling if "projection" in built else AveragePooling)


def test_one_seed_one_network():
  values = dict(base_filters=2, unet_depth=2)
  weights = [build_model(Config(**values, seed=seed)).get_weights() for seed in (1, 1, 2)]
  assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
  assert not all(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_attention_pooling_is_equation_4(rng):
  features = rng.normal(size=(2, 3, 4, 16)).astype(np.float32)
  pooling = AttentionPooling()
  pooled = pooling(features)
  weights = pooling.attention(features)
  assert weights.shape == (2, 3, 4, 1)
  np.testing.assert_allclose(
    pooled, oracles.attention_pooling(features, weights.numpy()), rtol=1e-5, atol=1e-6
  )


def test_dropout_depends_on_the_seed_alone():
  features = tf.random.stateless_uniform([4, 2, 2, 16], [0, 0])
  pooling = AttentionPooling()
  pooling(features)
  call = tf.function(
    lambda seed: pooling.attention(features, training=True, seed=seed), autograph=False
  )
  first = call(tf.constant([0, 1]))
  tf.random.uniform([3])  # moves the global generator
  np.testing.assert_array_equal(call(tf.constant([0, 1])), first)
  assert not np.array_equal(call(tf.constant([0, 2])), first)


@pytest.mark.parametrize("mode, layers", [("none", 0), ("linear", 1), ("nonlinear", 3)])
def test_projection_head(mode, layers):
  head = ProjectionHead(mode, out_dim=5)
  embedding = tf.random.stateless_uniform([6, 8], [0, 0])
  projection = head(embedding, training=True)
  assert len(head.dense) == layers
  assert projection.shape == (6, 5 if layers else 8)
  assert not any("bias" in variable.name for variable in head.variables)
  if layers:
    # The last batch norm scales but doesn't shift: each column averages 0.
    np.testing.assert_allclose(tf.reduce_mean(projection, 0), np.zeros(5), atol=1e-5)
    assert head.batch_norms[-1].beta is None
    assert np.std(head.dense[0].kernel) == pytest.approx(0.01, rel=0.4)


def test_the_network_is_the_plain_one(rng):
  """Values, and gradients in float64, are those of upsampling and concatenating."""
  tf.keras.backend.set_floatx("float64")
  tf.keras.mixed_precision.set_global_policy("float64")
  try:
    values = dict(skip_connections="all", representation_levels="last")
    model = build_model(Config(base_filters=4, attention_dropout=0.0, **values))
    plain = plain_conrec(16, 1, 4)
    for layer in plain.layers:
      if isinstance(layer, tf.keras.layers.Dropout):
        layer.rate = 0.0
    copy_weights(model, plain)
    images = tf.constant(rng.uniform(size=(3, 16, 16, 1)))
    weights = [
      tf.constant(rng.normal(size=output.shape)) for output in plain(images, training=False)
    ]

    def loss_and_gradients(network, training):
      with tf.GradientTape() as tape:
        outputs = network(images, training=training)
        loss = tf.add_n(
          [tf.reduce_sum(weight * output) for weight, output in zip(weights, outputs, strict=True)]
        )
      return outputs, tape.gradient(loss, network.trainable_variables)

    found = {
      training: [loss_and_gradients(network, training) for network in (model, plain)]
      for training in (False, True)
    }
  finally:
    tf.keras.backend.set_floatx("float32")
    tf.keras.mixed_precision.set_global_policy("float32")
  for training, ((ours, gradients), (theirs, expected)) in found.items():
    for a, b in zip(ours, theirs, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-9)
    # The orders differ; sorted by norm, equal sets of gradients are equal.
    norms = [
      sorted(float(tf.norm(g)) for g in part if g.shape.rank != 1) for part in (gradients, expected)
    ]
    np.testing.assert_allclose(*norms, rtol=1e-7)
    # Those of biases before batch norm: known to be 0, and computed.
    for part, least in ((gradients, 1e-300), (expected, 1e-8)):
      assert sum(float(tf.norm(g)) < least for g in part) == (20 if training else 0)


def test_eager_equals_graph(of_three_levels, rng):
  images = rng.uniform(size=(2, 16, 16, 1)).astype(np.float32)
  model = of_three_levels["last"]
  for eager, graph in zip(model(images), tf.function(model, autograph=False)(images), strict=True):
    np.testing.assert_allclose(eager, graph, atol=1e-6)


def test_recomputing_changes_nothing_but_memory(rng):
  images = rng.uniform(size=(4, 16, 16, 1)).astype(np.float32)
  results = []
  for gradient_checkpointing in (False, True):
    model = build_model(
      Config(
        base_filters=2,
        unet_depth=3,
        attention_dropout=0.0,
        representation_levels="last",
        gradient_checkpointing=gradient_checkpointing,
      )
    )

    def step(model=model):
      with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = sum(tf.reduce_sum(output**2) for output in outputs)
      return loss, tape.gradient(loss, model.trainable_variables)

    before, found = model.get_weights(), []
    for run in (step, tf.function(step, autograph=False)):
      model.set_weights(before)
      loss, gradients = run()
      found += [loss, *gradients, *(weight.numpy() for weight in model.non_trainable_variables)]
    results.append(found)
    assert model(images).embedding.shape == (4, 8)
  for plain, recomputed in zip(*results, strict=True):
    np.testing.assert_allclose(recomputed, plain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_attention_that_is_nearly_zero_everywhere_still_averages(rng, precision):
  """In float16 these weights, of 1e-9, would be 0, and the average 0/0."""
  with mixed_precision_scope(precision):
    pooling = AttentionPooling()
    features = rng.uniform(size=[2, 4, 4, 8]).astype(np.float32)
    pooling(features)
  pooling.gate.bias.assign([-20.0])
  pooled = pooling(features)
  assert pooled.dtype == np.float32 and np.all(np.isfinite(pooled))
  np.testing.assert_allclose(pooled, features.mean((1, 2)), atol=0.05)


def test_all_levels_are_averages_shallowest_first_then_the_embedding(of_three_levels, rng):
  images = rng.uniform(size=(2, 16, 16, 1)).astype(np.float32)
  model, plain = of_three_levels["all"], of_three_levels["last"]
  features, skips = model.encoder(images)
  expected = [skip.numpy().mean(axis=(1, 2)) for skip in skips] + [model.pooling(features)]
  np.testing.assert_allclose(
    model.embed(images), np.concatenate(expected, axis=1), rtol=1e-5, atol=1e-6
  )
  np.testing.assert_array_equal(model(images).embedding, model.representation(images))
  np.testing.assert_array_equal(model(images).projection, plain(images).projection)
  assert model(images).projection.shape == (2, 128)
  head = build_head(Config(image_size=24), model, channels=1, outputs=4)
  assert head.dense.kernel.shape == (2 + 4 + 8, 4)


def test_deviations_of_all_levels_come_after_the_embedding(of_three_levels, rng):
  images = rng.uniform(size=(2, 16, 16, 1)).astype(np.float32)
  model, without = of_three_levels["all_with_deviations"], of_three_levels["all"]
  features, skips = model.encoder(images)
  expected = [without.embed(images)] + [
    maps.numpy().std(axis=(1, 2)) for maps in (*skips, features)
  ]
  found = model.embed(images)
  assert found.shape == (2, 2 * (2 + 4 + 8))
  np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-3, atol=2e-4)
  np.testing.assert_array_equal(model(images).embedding, model.representation(images))


def test_the_deviation_of_an_even_map_has_a_gradient():
  level = tf.ones([1, 2, 2, 3])
  with tf.GradientTape() as tape:
    tape.watch(level)
    values = deviations(level)
  np.testing.assert_allclose(values, np.zeros([1, 3]), atol=2e-4)
  np.testing.assert_array_equal(tape.gradient(values, level), np.zeros([1, 2, 2, 3]))


@pytest.mark.parametrize("levels", ["last", "all", "all_with_deviations"])
def test_representations_are_all_that_could_be_evaluated(of_three_levels, rng, levels):
  images = rng.uniform(size=(2, 16, 16, 1)).astype(np.float32)
  model = of_three_levels[levels]
  found = model.representations(images)
  assert list(found) == [
    *(f"level {level}" for level in (1, 2, 3)),
    "embedding",
    "all levels",
    "all levels with deviations",
    *(f"projection {layer}" for layer in (1, 2, 3)),
  ]
  features, skips = model.encoder(images)
  for level, maps in enumerate([*skips, features]):
    averages = maps.numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(found[f"level {level + 1}"], averages, rtol=1e-5, atol=1e-6)
  names = {"last": "embedding", "all": "all levels"}
  taken = found[names.get(levels, "all levels with deviations")]
  np.testing.assert_allclose(taken, model.embed(images), rtol=1e-5)
  for layer in (1, 2, 3):
    np.testing.assert_allclose(
      found[f"projection {layer}"], model.embed(images, layer=layer), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("skip_connections, used", [("all", 3), ("deep", 1), ("none", 0)])
def test_the_decoder_without_shallow_skips(rng, skip_connections, used):
  model = build_model(Config(base_filters=2, skip_connections=skip_connections))
  decoder = model.decoder
  assert len(decoder.skip_blocks) == used
  images = rng.uniform(size=(2, 16, 16, 1)).astype(np.float32)
  features, skips = model.encoder(images)
  for training in (False, True):
    x = features
    for level in (2, 1, 0):
      up, block = decoder.levels[level]
      joined = tf.keras.layers.UpSampling2D()(x)
      if level >= 3 - used:
        skip = decoder.skip_blocks[level - (3 - used)](skips[level], training=training)
        joined = tf.concat([joined, skip], axis=-1)
      x = block(ConvBlock.call(up, joined, training=training), training=training)
    expected = tf.sigmoid(decoder.output_convolution(x))
    reconstruction, _ = decoder(features, skips, training=training)
    np.testing.assert_allclose(reconstruction, expected, atol=1e-5)


def test_clean_images_are_embedded_in_place_of_corrupted_ones(rng):
  model = build_model(Config(base_filters=2, unet_depth=2, representation_levels="last"))
  corrupted, clean = rng.uniform(size=(2, 4, 16, 16, 1)).astype(np.float32)
  both, _ = model.with_maps(corrupted, contrastive_images=clean)
  np.testing.assert_allclose(both.projection, model(clean).projection, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(both.reconstruction, model(corrupted).reconstruction, atol=1e-5)
  # In training both halves are in the statistics: the same as a batch of all.
  whole, _ = model.encoder(np.concatenate([corrupted, clean]), training=True)
  values = dict(training=True, contrastive_images=clean)
  again, _ = model.with_maps(corrupted, seed=tf.constant([0, 0]), **values)
  model.pooling.dropout = 0.0
  without, _ = model.with_maps(corrupted, **values)
  expected = model.pooling(whole[4:], training=True)
  np.testing.assert_allclose(without.embedding, expected, rtol=1e-4, atol=1e-5)
  assert again.embedding.shape == without.embedding.shape


def test_recomputed_statistics_are_the_means_over_batches(rng):
  layer = tf.keras.layers.BatchNormalization(momentum=0.9)
  model = tf.keras.Sequential([layer])
  batches = rng.normal(3.0, 2.0, (5, 50, 4)).astype(np.float32)
  model(batches[0])
  recompute_statistics(model, lambda x: model(x, training=True), batches)
  np.testing.assert_allclose(layer.moving_mean, batches.mean(axis=(0, 1)), rtol=1e-5)
  np.testing.assert_allclose(layer.moving_variance, batches.var(axis=1).mean(axis=0), rtol=1e-4)
  assert layer.momentum == 0.9


def test_weights_are_drawn_part_by_part(of_three_levels):
  """Where this order changes, a seed gives other weights than in earlier versions."""
  config = Config(base_filters=2, unet_depth=3)
  model = of_three_levels["last"]
  sizes = dict(base_filters=2, depth=3)
  tf.keras.utils.set_random_seed(config.seed)
  same = ConRec(
    UNetEncoder(**sizes),
    AttentionPooling(config.attention_dropout),
    ProjectionHead(),
    UNetDecoder(1, **sizes, skip_connections=config.skip_connections),
  )
  features, skips = same.encoder(tf.zeros([1, 8, 8, 1]))
  same.projection_head(same.pooling(features))
  same.decoder(features, skips)
  for name in ("encoder", "pooling", "projection_head", "decoder"):
    for weight, other in zip(
      getattr(model, name).weights, getattr(same, name).weights, strict=True
    ):
      np.testing.assert_array_equal(weight, other, weight.name)


def test_several_networks_do_not_warn_of_retracing(monkeypatch, caplog):
  counting = importlib.import_module(type(tf.function(len)).__module__)
  most = "FREQUENT_TRACING_WARNING_MAX_WARNING_PER_DETECTOR"
  monkeypatch.setattr(counting, most, 100, raising=False)  # whatever was warned of before
  networks = [build_model(Config(image_size=24, base_filters=2, unet_depth=2), 3) for _ in range(3)]
  for network in networks:
    for count in (1, 2):
      assert len(network.embed(tf.zeros([count, 24, 24, 3]))) == count
    assert network.embed.experimental_get_tracing_count() == 2
  assert "retracing" not in caplog.text
