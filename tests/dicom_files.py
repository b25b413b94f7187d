"""DICOM files made of arrays."""

import io

import numpy as np
import pytest


def dicom(array, photometric="MONOCHROME2", bits=12, syntax="", compressed=None, **tags):
  """Returns a file of one frame, explicit little endian unless a transfer syntax is named.

  Args:
    array: integers `[h, w]` or `[h, w, C]`.
    photometric: what its values are.
    bits: how many of them are stored.
    syntax: pydicom's name of a transfer syntax.
    compressed: the frame as that syntax has it, if it compresses.
    tags: other elements, by keyword.
  """
  pydicom = pytest.importorskip("pydicom")
  meta = pydicom.dataset.FileMetaDataset()
  meta.TransferSyntaxUID = getattr(pydicom.uid, syntax or "ExplicitVRLittleEndian")
  meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
  meta.MediaStorageSOPInstanceUID = "1.2.3"
  dataset = pydicom.dataset.Dataset()
  dataset.file_meta = meta
  dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
  dataset.Rows, dataset.Columns = array.shape[:2]
  dataset.SamplesPerPixel = 1 if array.ndim == 2 else array.shape[2]
  if array.ndim > 2:
    dataset.PlanarConfiguration = 0
  dataset.PhotometricInterpretation = photometric
  dataset.BitsAllocated = 8 * array.itemsize
  dataset.BitsStored, dataset.HighBit = bits, bits - 1
  dataset.PixelRepresentation = int(array.dtype.kind == "i")
  if compressed is None:
    dataset.PixelData = array.tobytes()
  else:
    dataset.PixelData = pydicom.encaps.encapsulate([compressed])
    dataset["PixelData"].VR = "OB"
  for name, value in tags.items():
    setattr(dataset, name, value)
  buffer = io.BytesIO()
  pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
  return buffer.getvalue()


def item(**tags):
  """Returns a sequence of one item."""
  pydicom = pytest.importorskip("pydicom")
  dataset = pydicom.dataset.Dataset()
  for name, value in tags.items():
    setattr(dataset, name, value)
  return pydicom.sequence.Sequence([dataset])


def items(*sequences):
  """Joins sequences."""
  pydicom = pytest.importorskip("pydicom")
  return pydicom.sequence.Sequence([dataset for sequence in sequences for dataset in sequence])


def lookup_table(entries, first=0, bits=16):
  """Returns a sequence of one lookup table, whose first entry is for `first`."""
  count = len(entries) % 2**16
  sequence = item(LUTDescriptor=[count, first, bits], LUTData=np.asarray(entries, "<u2").tobytes())
  sequence[0]["LUTDescriptor"].VR = "SS" if first < 0 else "US"
  sequence[0]["LUTData"].VR = "OW"
  return sequence
