"""Slow, obvious NumPy versions of what the package computes quickly."""

import colorsys

import numpy as np
import scipy.special


def algorithm_1(projections, temperature):
  """Algorithm 1 of SimCLR, loop by loop; `[2B, D]` view-major; the mean over 2B rows."""
  count = len(projections)
  half = count // 2

  def similarity(i, j):
    a, b = projections[i].astype(np.float64), projections[j].astype(np.float64)
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

  def loss(i, j):
    others = sum(np.exp(similarity(i, k) / temperature) for k in range(count) if k != i)
    return -np.log(np.exp(similarity(i, j) / temperature) / others)

  return sum(loss(k, k + half) + loss(k + half, k) for k in range(half)) / count


def lars(weight, gradient, velocity, rate, momentum, decay, trust_coefficient):
  """One LARS step in float64."""
  gradient = gradient + decay * weight
  trust = 1.0
  if trust_coefficient is not None:
    weight_norm = np.sqrt((weight**2).sum())
    gradient_norm = np.sqrt((gradient**2).sum())
    if weight_norm > 0 and gradient_norm > 0:
      trust = trust_coefficient * weight_norm / gradient_norm
  velocity = momentum * velocity + rate * trust * gradient
  return weight - velocity, velocity


def change_hsv(image, change):
  """Applies `change(h, s, v)` to every pixel of `[H, W, 3]`."""
  result = np.empty_like(image)
  for index in np.ndindex(image.shape[:2]):
    result[index] = colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*image[index])))
  return result


def blur(image, sigma):
  """Gaussian blur over the whole window of H // 10 pixels made odd, zeros outside."""
  height, width, channels = image.shape
  reach = height // 10 // 2
  offsets = np.arange(-reach, reach + 1)
  kernel = np.exp(-(offsets**2) / (2.0 * sigma**2))
  kernel /= kernel.sum()
  padded = np.zeros((height + 2 * reach, width + 2 * reach, channels))
  padded[reach : reach + height, reach : reach + width] = image
  result = np.zeros_like(image)
  for y in range(height):
    for x in range(width):
      window = padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
      result[y, x] = np.einsum("ij,ijc->c", np.outer(kernel, kernel), window)
  return result


def bezier_map(image, first, second, falls, points=100000):
  """Interpolates along a polyline of 100,000 points of the cubic Bezier curve."""
  t = np.linspace(0.0, 1.0, points)[:, None]
  corner = np.ones(2)
  curve = 3 * t * (1 - t) ** 2 * first + 3 * t**2 * (1 - t) * second + t**3 * corner
  x, y = curve[:, 0], curve[:, 1]
  return np.interp(image, x, y[::-1] if falls else y)


def shuffle_blocks(image, boxes, keys):
  """Box after box, pixel after pixel, reading the original."""
  result, used = image.copy(), 0
  for top, left, bottom, right in boxes:
    pixels = [(y, x) for y in range(top, bottom) for x in range(left, right)]
    order = np.argsort(keys[used : used + len(pixels)], kind="stable")
    for pixel, source in zip(pixels, order, strict=True):
      result[pixel] = image[pixels[source]]
    used += len(pixels)
  return result


def attention_pooling(features, weights):
  """Equation 4: mean(A * phi) / mean(A), location by location."""
  batch, height, width, channels = features.shape
  result = np.zeros((batch, channels))
  for b in range(batch):
    above, below = np.zeros(channels), 0.0
    for y in range(height):
      for x in range(width):
        above += weights[b, y, x, 0] * features[b, y, x]
        below += weights[b, y, x, 0]
    result[b] = above / below
  return result


def slow_segmentation_loss(logits, classes, kind, weights, dice_weight=1.0, gamma=2.0):
  """The loss of segmentation, pixel by pixel, in float64."""
  logs = scipy.special.log_softmax(np.float64(logits), axis=-1)
  total = counted = 0.0
  both, made, true = np.zeros([3, len(weights)])
  for place in np.ndindex(classes.shape):
    label = classes[place]
    if label >= len(weights):
      continue
    share = np.exp(logs[place])
    modulation = (1 - share[label]) ** gamma if kind == "focal" else 1.0
    total -= weights[label] * modulation * logs[place][label]
    counted += weights[label]
    made += share
    true[label] += 1
    both[label] += share[label]
  pixels = total / counted if counted else 0.0
  dice = np.sum(weights * (1 - (2 * both + 1) / (made + true + 1))) / np.sum(weights)
  return {"dice": dice, "cross_entropy_dice": pixels + dice_weight * dice}.get(kind, pixels)
