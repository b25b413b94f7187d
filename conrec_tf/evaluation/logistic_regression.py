"""The classifier of linear evaluation: scikit-learn's objective, reached faster."""

import dataclasses
import warnings

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import validate_data
import tensorflow as tf

CERTAIN = 1e6  # a logit whose probability is 1 in any precision; below 0: 0


@dataclasses.dataclass(frozen=True, eq=False)
class LinearClassifier:
  """Logistic regression that has learnt, of classes that exclude each other or of single ones.

  Attributes:
    weights: float `[F, K]`.
    bias: float `[K]`; `-CERTAIN` of a class that was never seen.
    mean, deviation: float `[F]`, what embeddings are standardised by; 0 and 1 of raw ones.
    excludes: whether the K outputs are of one class each, of which an image has one; else each is
      the probability of a label, or of a bit of a grade.
  """

  weights: np.ndarray
  bias: np.ndarray
  mean: np.ndarray
  deviation: np.ndarray
  excludes: bool

  def standardised(self, embeddings: np.ndarray) -> np.ndarray:
    """Returns embeddings `[N, F]` as the weights take them, in their own precision."""
    scaled = np.array(embeddings)
    scaled -= self.mean
    scaled /= self.deviation
    return scaled

  def logits(self, embeddings: np.ndarray) -> np.ndarray:
    """Returns float64 `[N, K]` of embeddings float `[N, F]`."""
    return self.standardised(embeddings) @ self.weights.astype(np.float64) + self.bias

  def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
    """Returns float64 `[N, K]` of embeddings float `[N, F]`."""
    logits = self.logits(embeddings)
    return softmax(logits, axis=1) if self.excludes else expit(logits)


class RotatedLogisticRegression(LogisticRegression):
  """Scikit-learn's logistic regression, same objective, by a better-conditioned route.

  Embeddings vary a lot in a few directions, hardly in most, and around a mean that is far
  from 0. L-BFGS as scikit-learn runs it takes many hundreds of steps on such features, and
  more than half of its work is to undo the mean. Here it works on other coordinates of the
  same problem,

      C * sum of cross entropies + 0.5 * sum of squared weights, intercepts free,

  with three changes, none of which moves the minimum. The features are centred, which the
  free intercepts absorb. They are rotated onto their principal axes, which leaves the sum of
  squares as it is. And each weight is measured in units of 1 / sqrt(curvature), with the
  curvature that the objective has when every example is given the class frequencies: there
  the weights of a class then have the unit matrix as their Hessian.

  The heavy arithmetic is in the dtype of the features, as in scikit-learn, and TensorFlow's,
  which is at home on more processors than NumPy's. It stays on the CPU: GPUs round the factors
  of float32 products to 10 bits.

  Args:
    C: weight of the cross entropies, as of `LogisticRegression`.
    tol: the solver stops at a step that lessens the objective by less than this share of it.
      It then lies within some 1e-4 of the minimum, mostly below where `LogisticRegression`
      with its default tolerance stops.
    max_iter: steps after which it gives up, with a `ConvergenceWarning`.
  """

  def __init__(self, C: float = 1.0, tol: float = 1e-6, max_iter: int = 10000) -> None:
    super().__init__(C=C, tol=tol, max_iter=max_iter)

  def fit(self, X: np.ndarray, y: np.ndarray) -> "RotatedLogisticRegression":
    """Learns from features `[N, F]` and labels `[N]` of K >= 2 classes.

    Sets `classes_`, `coef_`, `intercept_` and `n_iter_` as `LogisticRegression` does: K rows
    of weights, or one row if K = 2, where the first class has logit 0.
    """
    X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
    self.classes_, targets, counts = np.unique(y, return_inverse=True, return_counts=True)
    examples = len(y)
    # In double precision: means may be many times the spread.
    doubles = X.astype(np.float64)
    rotation = PCA(svd_solver="covariance_eigh").fit(doubles)
    centred = (doubles - rotation.mean_).astype(X.dtype)
    with tf.device("CPU:0"):
      rotated = tf.matmul(centred, rotation.components_.T.astype(X.dtype))
      features = tf.pad(rotated, [[0, 0], [0, 1]], constant_values=1.0)
    squares = np.append((examples - 1) * rotation.explained_variance_, examples)
    penalty = np.append(np.ones(rotation.n_components_), 0.0)[:, np.newaxis]

    free = slice(1 if len(counts) == 2 else 0, None)  # the classes that have weights
    shares = counts[free] / examples
    scale = 1.0 / np.sqrt(penalty + self.C * np.outer(squares, shares * (1.0 - shares)))

    without = [[0, 0], [len(counts) - scale.shape[1], 0]]  # logits that are 0

    def objective(position: np.ndarray) -> tuple[float, np.ndarray]:
      """Returns the objective and its gradient, by example, at scaled weights `[(F' + 1) * K']`."""
      weights = scale * position.reshape(scale.shape)
      with tf.device("CPU:0"):
        logits = tf.pad(tf.matmul(features, weights.astype(X.dtype)), without)
        losses, residuals = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
          features=logits, labels=targets
        )
        slopes = tf.matmul(features, residuals[:, free], transpose_a=True).numpy()
      value = self.C * losses.numpy().sum(dtype=np.float64) + 0.5 * np.sum(penalty * weights**2)
      gradient = scale * (self.C * slopes + penalty * weights)
      return value / examples, gradient.ravel() / examples

    start = np.zeros(scale.shape)
    start[-1] = np.log(counts / counts[0])[free]
    # A gradient below 1e-6 is little but rounding in single precision.
    result = minimize(
      objective,
      (start / scale).ravel(),
      jac=True,
      method="L-BFGS-B",
      options={
        "maxiter": self.max_iter,
        "maxfun": 50 * self.max_iter,
        "maxls": 50,
        "ftol": self.tol,
        "gtol": 1e-6,
      },
    )
    if not result.success:
      warnings.warn(result.message, ConvergenceWarning, stacklevel=2)
    weights = scale * result.x.reshape(scale.shape)
    self.coef_ = weights[:-1].T @ rotation.components_
    self.intercept_ = weights[-1] - self.coef_ @ rotation.mean_
    self.n_iter_ = np.array([result.nit], np.int32)
    return self
