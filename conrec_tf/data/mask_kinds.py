"""Whether a value means the same in all masks of a set, where nobody says what it means."""

from collections.abc import Sequence
import dataclasses
import itertools
import logging

import numpy as np

from conrec_tf.data.mask_files import Mask
from conrec_tf.data.masks import MOST_CLASSES
from conrec_tf.errors import UsageError, listed

logger = logging.getLogger(__name__)

CLEAR_GAP = 32  # between the values of classes, of masks that were saved with losses
BYTE = 255


@dataclasses.dataclass(frozen=True)
class MaskKind:
  """What is known of one mask.

  Attributes:
    name: of the file.
    values: numbers in it, without that of pixels that don't count.
    white: see `Mask`.
    white_is_zero: see `Mask`.
    colours: `{number: 0xrrggbb}` of those in it, where there is a palette.
    is_clear: whether its values are those of classes, as far as one can see.
  """

  name: str
  values: frozenset[int]
  white: int = BYTE
  white_is_zero: bool = False
  colours: dict[int, int] = dataclasses.field(default_factory=dict)
  is_clear: bool = True


def mask_kind(mask: Mask, ignored: int) -> MaskKind:
  """Looks at a mask of numbers; `ignored` is that of pixels that don't count, -1: none."""
  values = np.unique(mask.pixels)
  counted = [value for value in values.tolist() if value != ignored]
  gap = np.diff(counted).min(initial=CLEAR_GAP)
  return MaskKind(
    mask.name,
    frozenset(counted),
    mask.white,
    mask.white_is_zero,
    {} if mask.palette is None else {value: mask.palette_colour(value) for value in counted},
    len(counted) <= MOST_CLASSES and (gap >= CLEAR_GAP or not mask.is_approximate(values)),
  )


def check_kinds(kinds: Sequence[MaskKind]) -> None:
  """Checks that each value is a class, the same one in all masks.

  Raises:
    UsageError: values aren't those of classes but what saving with losses makes of them; palettes
      differ; 0 is white and more than black and white is there; or what is white, or 1, in some
      masks is another number in others.
  """
  _check_values(kinds)
  _check_palettes(kinds)
  _check_white(kinds)
  _check_bits(kinds)


def warn_of_low_bits(masks: Sequence[Mask]) -> None:
  """Warns of numbers of fewer than 8 bits beside others, which programs show stretched."""
  grey = [mask for mask in masks if mask.pixels.ndim == 2 and mask.palette is None]
  low = [mask for mask in grey if mask.white < BYTE]
  if low and len(low) < len(grey):
    other = next(mask for mask in grey if mask.white >= BYTE)
    logger.warning(
      "Masks differ in their bits: numbers count as they are stored, 0 to %d in %s, 0 to %d in %s",
      low[0].white,
      low[0].name,
      other.white,
      other.name,
    )


def _check_values(kinds: Sequence[MaskKind]) -> None:
  values = set[int]()
  for kind in kinds:
    values |= kind.values
    if not kind.is_clear or len(values) > MOST_CLASSES:
      shown = sorted(values if kind.is_clear else kind.values)
      raise UsageError(
        f"masks must hold at most {MOST_CLASSES} values, one for each class, or, saved with losses "
        "as JPEG or made smaller, be given classes by mask_classes, of which the nearest counts. "
        f"Received: {len(shown)} with {kind.name}, {listed([*map(str, shown)])}"
      )


def _check_palettes(kinds: Sequence[MaskKind]) -> None:
  first = dict[int, tuple[int, str]]()
  for kind in kinds:
    for value, colour in kind.colours.items():
      other, name = first.setdefault(value, (colour, kind.name))
      if other != colour:
        raise UsageError(
          "palettes of masks must be alike, or mask_classes say which colours (#rrggbb), or which "
          f"indices whatever their colours, are which class. Received: {value} is #{other:06x} in "
          f"{name} and #{colour:06x} in {kind.name}"
        )


def _check_white(kinds: Sequence[MaskKind]) -> None:
  for kind in kinds:
    if kind.white_is_zero and not kind.values <= {0, kind.white}:
      raise UsageError(
        "masks must store black as 0, or mask_classes say which value is which class, "
        f"{kind.white} that of a stored 0. Received: WhiteIsZero, shown as "
        f"{listed([str(value) for value in sorted(kind.values)])}, in {kind.name}"
      )


def _check_bits(kinds: Sequence[MaskKind]) -> None:
  """Raises UsageError for 0 and 1 beside 0 and 255, or numbers beside the same ones stretched."""
  whites = sorted({kind.white for kind in kinds})
  for low, high in itertools.combinations(whites, 2):
    seen = {
      white: {value: kind.name for kind in kinds if kind.white == white for value in kind.values}
      for white in (low, high)
    }
    for value, name in seen[low].items():
      stretched = round(value * high / low)
      if value and value not in seen[high] and stretched in seen[high]:
        raise _unlike(value, name, stretched, seen[high][stretched])
  ones = [kind.name for kind in kinds if kind.values - {0} == {1}]
  for white in whites:
    full = [kind.name for kind in kinds if kind.values - {0} == {white}]
    if white > 1 and ones and full and not any({1, white} <= kind.values for kind in kinds):
      raise _unlike(1, ones[0], white, full[0])


def _unlike(value: int, name: str, other: int, other_name: str) -> UsageError:
  return UsageError(
    "masks must hold one kind of values, or mask_classes say which are which class: lines of one "
    f"name are one class. Received: {value} in {name}, {other} in {other_name}"
  )
