"""The precision that the network computes in; weights, losses and statistics are float32."""

from collections.abc import Iterator
import contextlib
import pathlib

import tensorflow as tf

CPU_INFO = pathlib.Path("/proc/cpuinfo")
# Without AMX, Intel's AVX-512 instructions were measured to be slower than float32.
FAST_BFLOAT16 = ({"amx_bf16"}, {"avx512_bf16", "AuthenticAMD"})


def resolve_precision(name: str) -> str:
  """Returns the Keras policy for a value of `mixed_precision`.

  Args:
    name: float32, mixed_bfloat16, mixed_float16, or auto for mixed_bfloat16 where the processor
      computes and is fast in it. On a GPU, where convolutions of float32 are TensorFloat-32, none
      of the others was tried.
  """
  if name != "auto":
    return name
  return "mixed_bfloat16" if _has_fast_bfloat16() else "float32"


@contextlib.contextmanager
def mixed_precision_scope(name: str) -> Iterator[None]:
  """Makes layers built inside follow a Keras policy; float32 leaves Keras as it is."""
  if name == "float32":
    yield
    return
  before = tf.keras.mixed_precision.global_policy()
  tf.keras.mixed_precision.set_global_policy(name)
  try:
    yield
  finally:
    tf.keras.mixed_precision.set_global_policy(before)


def _has_fast_bfloat16() -> bool:
  if tf.config.list_physical_devices("GPU"):
    return False
  words = set(CPU_INFO.read_text().split()) if CPU_INFO.exists() else set()
  return any(needed <= words for needed in FAST_BFLOAT16)
