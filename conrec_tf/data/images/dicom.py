"""DICOM files: what a viewer shows of their pixels. Imported only where pydicom is installed."""

from collections.abc import Sequence
import contextlib
import io
import logging
from typing import Any
import warnings

import numpy as np
import pydicom
from pydicom import pixels
from pydicom.dataset import Dataset

from conrec_tf.data.images import dicom_codecs
from conrec_tf.data.images.frames import Frames
from conrec_tf.data.images.pixel_values import check_size, converted, filled_range

RESCALING = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")
WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
# What a file may have without a value, which is as if it hadn't.
MAY_BE_EMPTY = (
  *("NumberOfFrames", "PhotometricInterpretation", "PixelRepresentation", "PlanarConfiguration"),
  *RESCALING,
  *WINDOW,
)
# Of enhanced objects, which sequence of a functional group holds what.
GROUPED = {"PixelValueTransformationSequence": RESCALING, "FrameVOILUTSequence": WINDOW}
# How pydicom begins to say that none of several libraries can decode, or could.
NO_LIBRARY, NONE_CAN = "all plugins are missing", "exceptions were raised by all"
# It logs what it raises, with a traceback, and what it remarks on, without the file's name.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
dicom_codecs.register()

Table = tuple[int, np.ndarray]  # the value that its first entry is for, and the entries `[N]`


def open_frames(data: bytes, max_pixels: int, window: str) -> Frames:
  """Opens a file whose images are what a viewer shows: rescaled, windowed, inverted where it says.

  The lowest value is black or, inverted, white. Without a window, `centre,width`, in the file or
  given, the range is all that the stored bits can hold, so that it is the same for all files of a
  scanner.

  Raises:
    Exception: of many kinds, also in reading a frame, where pydicom can't read it, there are no
      pixels, or values whose meaning isn't known.
  """
  dataset = _without_empty_elements(pydicom.dcmread(io.BytesIO(data)))
  if "Rows" not in dataset:
    raise ValueError("no pixels in it")
  check_size(dataset.Rows, dataset.Columns, max_pixels)
  if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
    raise ValueError("floats have no known range; save 8 or 16 bits a channel")
  if "PixelData" not in dataset:
    raise ValueError("no pixels in it, or cut off")
  count = number_of_frames(dataset)
  own = [dataset[name] for name in (*RESCALING, *WINDOW) if name in dataset]

  def read(frame: int) -> np.ndarray:
    for name in (*RESCALING, *WINDOW):  # of which another frame may have taken its own
      dataset.pop(name, None)
    for element in own:
      dataset.add(element)
    return _frame(dataset, frame, count, window)

  return Frames(count, read)


def frames_of_file(path: str) -> int:
  """Returns how many frames a file says it has, 0 where it can't be read."""
  with contextlib.suppress(Exception), warnings.catch_warnings():  # pydicom raises of many kinds
    warnings.simplefilter("ignore")
    tags = ["NumberOfFrames"]
    return number_of_frames(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags))
  return 0


def number_of_frames(dataset: Dataset) -> int:
  """Returns how many frames a file says it has."""
  return int(dataset.get("NumberOfFrames", 1) or 1)


def _frame(dataset: Dataset, frame: int, count: int, window: str) -> np.ndarray:
  """Decodes one of so many frames; see `open_frames`."""
  samples, bits = int(dataset.SamplesPerPixel), int(dataset.BitsStored)
  if samples not in (1, 3):
    raise ValueError(f"{samples} channels of {dataset.PhotometricInterpretation}; save RGB")
  _take_functional_groups(dataset, frame)
  stored, photometric = _decoded(dataset, frame if count > 1 else None)
  if photometric == "PALETTE COLOR":
    return _colors(dataset, stored)
  if samples == 3:
    if photometric != "RGB" or stored.dtype.kind != "u":
      raise ValueError(f"3 channels of {photometric}, {stored.dtype}; save RGB")
    return _of_bits(stored, 2**bits - 1, bits)
  if photometric not in ("MONOCHROME1", "MONOCHROME2"):
    raise ValueError(f"1 channel of {photometric}; save MONOCHROME2")
  values, low, high = _shown(dataset, stored, window)
  if photometric == "MONOCHROME1":
    values = low + high - values
  return _of_bits((values - low)[..., np.newaxis], high - low, bits)


def _of_bits(image: np.ndarray, largest: float, bits: int) -> np.ndarray:
  """Stretches values from 0 to `largest` over 16 bits, or 8 where no more are stored."""
  image = filled_range(image, largest)
  return image if bits > 8 else converted(image, 0, as_uint16=False)


def _without_empty_elements(dataset: Dataset) -> Dataset:
  """Removes elements without a value, and completes or removes what is left of a pair."""
  for name in MAY_BE_EMPTY:
    if name in dataset and _first(dataset[name].value) in (None, ""):
      del dataset[name]
  if ("WindowCenter" in dataset) != ("WindowWidth" in dataset):
    del dataset["WindowCenter" if "WindowCenter" in dataset else "WindowWidth"]
  if "VOILUTFunction" in dataset and "WindowCenter" not in dataset:
    del dataset["VOILUTFunction"]
  if ("RescaleSlope" in dataset) != ("RescaleIntercept" in dataset):
    dataset.RescaleSlope = dataset.get("RescaleSlope", 1)
    dataset.RescaleIntercept = dataset.get("RescaleIntercept", 0)
  return dataset


def _first(value: Any) -> Any:
  """Returns a value, or the first of several; None of an empty list."""
  if isinstance(value, str | bytes) or not isinstance(value, Sequence):
    return value
  return value[0] if len(value) else None


def _take_functional_groups(dataset: Dataset, frame: int) -> None:
  """Lets what enhanced objects say of all frames, then of this one, replace the file's own.

  PS3.3 C.7.6.16; pydicom looks at the file's own alone.
  """
  for groups, index in (
    ("SharedFunctionalGroupsSequence", 0),
    ("PerFrameFunctionalGroupsSequence", frame),
  ):
    items = dataset.get(groups) or []
    for sequence, names in GROUPED.items() if index < len(items) else ():
      group = _without_empty_elements((items[index].get(sequence) or [Dataset()])[0])
      if not any(name in group for name in names):
        continue
      for name in names:
        dataset.pop(name, None)
        if name in group:
          dataset[name] = group[name]


def _decoded(dataset: Dataset, frame: int | None) -> tuple[np.ndarray, str]:
  """Decodes a frame, or the only one for None.

  Returns:
    Stored values, integers `[h, w]` or `[h, w, C]`, and what they are now, `RGB` where the file
    has YBR.

  Raises:
    Exception: of many kinds, where it is damaged, nothing that is installed decodes it, or there
      are more frames than it says.
  """
  syntax = dataset.file_meta.TransferSyntaxUID
  bits = int(dataset.BitsStored)
  high_bit = int(dataset.get("HighBit", bits - 1))
  # PS3.5 8.1.1: before 2014 the bits that are used could lie anywhere; pydicom takes the low ones.
  is_shifted = high_bit >= bits and not (syntax.is_encapsulated and "RLE" not in syntax.name)
  options: dict[str, Any] = {"correct_unused_bits": not is_shifted}
  try:
    values, properties = pixels.get_decoder(syntax).as_array(dataset, index=frame, **options)
  except RuntimeError as error:
    if NO_LIBRARY in str(error) or NONE_CAN in str(error):
      reasons = " ".join(str(error).partition("\n")[2].split())
      raise ValueError(f"{syntax.name} isn't decoded: {reasons}") from error
    raise
  if values.ndim != 2 + (dataset.SamplesPerPixel > 1):
    raise ValueError(f"{len(values)} frames, where it says 1")
  if is_shifted:
    allocated = 8 * values.itemsize
    if high_bit >= allocated:
      raise ValueError(f"high bit {high_bit} of {allocated} bits")
    values = (values << (allocated - 1 - high_bit)) >> (allocated - bits)
  return values, str(properties["photometric_interpretation"])


def _shown(dataset: Dataset, stored: np.ndarray, window: str) -> tuple[np.ndarray, float, float]:
  """Returns values to show, and what is black and what is white among them."""
  slope, intercept = 1.0, 0.0
  if "ModalityLUTSequence" in dataset:
    for name in ("RescaleSlope", "RescaleIntercept"):
      dataset.pop(name, None)
    item = dataset.ModalityLUTSequence[0]
    rescaled = _looked_up(stored, _table(item.LUTDescriptor, item.LUTData, dataset))
    limits = np.array([0, 2.0 ** int(item.LUTDescriptor[2]) - 1])
  else:
    rescaled = pixels.apply_modality_lut(stored, dataset)
    slope = float(dataset.get("RescaleSlope", slope))
    intercept = float(dataset.get("RescaleIntercept", intercept))
    bits = int(dataset.BitsStored)
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    limits = np.array([lowest, lowest + 2**bits - 1], np.float64)
    limits = np.sort(limits * slope + intercept)
  rescaled, (low, high) = rescaled.astype(np.float64), limits
  if not 0 < high - low < np.inf:
    raise ValueError(f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g} leave no range")
  if window:
    centre, width = (float(number) for number in window.split(","))
    return rescaled, centre - width / 2, centre + width / 2
  if "VOILUTSequence" in dataset:
    item = dataset.VOILUTSequence[0]
    first, entries = _table(item.LUTDescriptor, item.LUTData, dataset)
    if low < 0 and first >= 2**15:
      first -= 2**16  # a negative number that was read as an unsigned one
    shown = _looked_up(rescaled.astype(np.int64), (first, entries)).astype(np.float64)
    return shown, 0.0, 2.0 ** int(item.LUTDescriptor[2]) - 1
  if "WindowWidth" in dataset:
    shown = pixels.apply_windowing(rescaled, dataset)
    # For a negative slope pydicom's range runs downwards, so that the window would be inverted.
    return (low + high - shown if slope < 0 else shown), low, high
  return rescaled, low, high


def _colors(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
  """Looks up a palette, uint8 or uint16 as its entries are, `[h, w, 3]`; alpha is dropped."""
  descriptor = dataset.RedPaletteColorLookupTableDescriptor
  names = [f"{name}PaletteColorLookupTable" for name in ("Red", "Green", "Blue")]
  if names[0] + "Data" not in dataset:  # in segments
    if descriptor[2] == 8 and not 0 < descriptor[0] <= 256:
      raise ValueError(f"a segmented palette of 8 bits and {descriptor[0] or 2**16} entries")
    return pixels.apply_color_lut(stored, dataset)[..., :3]
  tables = [
    _table(dataset[name + "Descriptor"].value, dataset[name + "Data"].value, dataset)
    for name in names
  ]
  image = np.stack([_looked_up(stored, table) for table in tables], -1)
  # Entries of 8 bits may lie in words of 16 (PS3.3 C.7.6.3.1.5).
  is_8_bit = descriptor[2] == 8 and all(entries.max() < 256 for _, entries in tables)
  return image.astype(np.uint8) if is_8_bit else image


def _table(descriptor: Sequence[int], data: Any, dataset: Dataset) -> Table:
  """Returns a lookup table, PS3.3 C.11.1.1.1.

  Args:
    descriptor: the number of entries, where 0 stands for 65536, the value that the first one is
      for, the bits of an entry.
    data: bytes in the file's order, or numbers of 16 bits; one or two entries in 16 bits.
  """
  count = descriptor[0] or 2**16
  if isinstance(data, bytes):
    little = dataset.file_meta.TransferSyntaxUID.is_little_endian
    words = np.frombuffer(data + bytes(len(data) % 2), "<u2" if little else ">u2").astype("<u2")
  else:
    words = np.atleast_1d(np.asarray(data)).astype("<u2")
  is_packed = count > 1 and 2 * len(words) in (count, count + 1)
  entries = words.view(np.uint8) if is_packed else words
  if len(entries) < count:
    raise ValueError(f"{len(entries)} entries of a lookup table of {count}")
  return descriptor[1], entries[:count]


def _looked_up(values: np.ndarray, table: Table) -> np.ndarray:
  """Looks integers up in a table, whose first and last entry stand for what is beyond it."""
  first, entries = table
  return entries[np.clip(values.astype(np.int64) - first, 0, len(entries) - 1)]
