"""Damages image files at random and compares what becomes of them with each format's own reader.

    python -m benchmarks.mutate_images --mutations=250
    python -m benchmarks.mutate_images --mutations=20 --kinds=png_8,tiff_8

A small valid file of each kind is changed again and again: one to three bytes, a cut, a piece
doubled or removed, two fields of the header swapped; the checksums of half of the PNG files are
then made right again. Each is looked at and decoded as a folder's images are, in a process of its
kind, so that a library that dies is noticed, and by a reference on the same bytes. An outcome is
`equal`, `refused` (a bad image, in one line), `differs`, `ours alone` (the reference refuses),
`traceback` (any other exception), `death` or `hang`; those of the reference count apart. Prints a
table by kind and a summary as JSON.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import warnings
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402

from conrec_tf.data.images.pixel_values import upright  # noqa: E402

MAX_PIXELS = 1_000_000
SECONDS = 30  # for one image
ROUNDING = {"dicom": 1}  # levels by which two orders of the same sums may differ
PNG_SIGNATURE = 8  # bytes
HEADER = 128  # bytes, most of which fields are


def photograph(deep=False, channels=3):
  """Returns a smooth image with some noise, `[36, 48, channels]`."""
  rows, columns = np.mgrid[0:36, 0:48, 0:channels][:2]
  wave = 0.5 + 0.4 * np.sin(rows / 9 + np.arange(channels)) * np.cos(columns / 11)
  wave += np.random.default_rng(0).normal(0, 0.02, wave.shape)
  image = np.round(wave.clip(0, 1) * (65535 if deep else 255))
  return image.astype(np.uint16 if deep else np.uint8)


def _pillow(kind, image=None, **options):
  buffer = io.BytesIO()
  Image.fromarray(photograph() if image is None else image).save(buffer, kind, **options)
  return buffer.getvalue()


def _palette_png():
  buffer = io.BytesIO()
  Image.fromarray(photograph()).quantize(16).save(buffer, "PNG")
  return buffer.getvalue()


def _turned_png():
  exif = Image.Exif()
  exif[274] = 6
  return _pillow("PNG", photograph(channels=4), exif=exif)


def _tiff(image, **options):
  import tifffile

  buffer = io.BytesIO()
  tifffile.imwrite(buffer, image, photometric="rgb", rowsperstrip=8, **options)
  return buffer.getvalue()


def _jpeg_xl():
  import imagecodecs

  return imagecodecs.jpegxl_encode(photograph(), lossless=True)


def _heic():
  import pillow_heif

  buffer = io.BytesIO()
  pillow_heif.from_pillow(Image.fromarray(photograph())).save(buffer, quality=90)
  return buffer.getvalue()


def dicom(compression=""):
  """Returns a DICOM file of 12 bits with a window; compression is the name of a syntax."""
  import imagecodecs
  from pydicom import uid
  from pydicom.dataset import FileDataset, FileMetaDataset
  from pydicom.encaps import encapsulate

  meta = FileMetaDataset()
  meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = uid.CTImageStorage, "1.2.3"
  data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
  data.SOPClassUID, data.SOPInstanceUID = uid.CTImageStorage, "1.2.3"
  image = photograph(deep=True, channels=1)[..., 0] >> 4
  data.Rows, data.Columns = image.shape
  data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
  data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
  data.RescaleSlope, data.RescaleIntercept = "1", "-1024"
  data.WindowCenter, data.WindowWidth = "1000", "3000"
  data.PixelData = image.astype("<u2").tobytes()
  if compression == "RLELossless":
    data.compress(uid.RLELossless)
  elif compression:
    meta.TransferSyntaxUID = getattr(uid, compression)
    data.PixelData = encapsulate([imagecodecs.ljpeg_encode(image, bitspersample=12)])
    data["PixelData"].VR = "OB"
  buffer = io.BytesIO()
  data.save_as(buffer, enforce_file_format=True)
  return buffer.getvalue()


KINDS = {
  "jpeg": lambda: [_pillow("JPEG", quality=92)],
  "png_8": lambda: [_pillow("PNG"), _palette_png(), _turned_png()],
  "png_16": lambda: [_pillow("PNG", photograph(True, 1)[..., 0])],
  "gif": lambda: [_pillow("GIF")],
  "bmp": lambda: [_pillow("BMP")],
  "webp": lambda: [_pillow("WEBP"), _pillow("WEBP", lossless=True)],
  "avif": lambda: [_pillow("AVIF")],
  "tiff_8": lambda: [_tiff(photograph())],
  "tiff_16": lambda: [_tiff(photograph(True), compression="zlib")],
  "jpeg_2000": lambda: [_pillow("JPEG2000")],
  "jpeg_xl": lambda: [_jpeg_xl()],
  "heic": lambda: [_heic()],
  "dicom": lambda: [dicom(), dicom("RLELossless"), dicom("JPEGLosslessSV1")],
}


def mutated(data, rng):
  """Returns a file with some damage."""
  what = rng.choice(["bytes", "header bytes", "cut", "doubled", "removed", "swapped"])
  if what in ("bytes", "header bytes"):
    changed, end = bytearray(data), len(data) if what == "bytes" else min(HEADER, len(data))
    for place in rng.integers(0, end, rng.integers(1, 4)):
      changed[place] ^= rng.integers(1, 256)
    return bytes(changed)
  if what == "cut":
    return data[: rng.integers(1, len(data))]
  if what == "swapped":
    size = int(rng.choice([1, 2, 4]))
    first, second = np.sort(rng.choice(min(HEADER, len(data) // 2) // size, 2, False)) * size
    fields = [data[at : at + size] for at in (first, second)]
    middle = data[first + size : second]
    return data[:first] + fields[1] + middle + fields[0] + data[second + size :]
  start = int(rng.integers(0, len(data) - 1))
  end = start + int(rng.integers(1, min(64, len(data) - start) + 1))
  return data[:end] + data[start:] if what == "doubled" else data[:start] + data[end:]


def with_checksums(data):
  """Returns a PNG whose chunks have the checksums that their content asks for."""
  parts, place = [data[:PNG_SIGNATURE]], PNG_SIGNATURE
  while place + 12 <= len(data):
    end = place + 8 + int.from_bytes(data[place : place + 4], "big")
    if end + 4 > len(data):
      break
    parts += [data[place:end], zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")]
    place = end + 4
  return b"".join([*parts, data[place:]])


def mutation(kind, files, number, seed):
  """Returns the mutation of a number, the same wherever it is asked for."""
  rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
  data = mutated(files[number % len(files)], rng)
  return with_checksums(data) if kind.startswith("png") and number % 2 else data


def _by_pillow(data):
  with Image.open(io.BytesIO(data)) as file:
    if file.format == "GIF":
      frame = np.asarray(file.convert("RGBA"))
      return frame[..., :3] * (frame[..., 3:] > 0)
    image = ImageOps.exif_transpose(file)
    if image.mode.startswith(("I", "F")):
      return np.asarray(image).astype(np.uint16)[..., np.newaxis]
    is_grey = image.mode in ("1", "L", "LA")
    array = np.asarray(image.convert("L" if is_grey else "RGB"))
    return array[..., np.newaxis] if is_grey else array


def _by_libjpeg(data):
  """With the quick cosine transform that is TensorFlow's; the exact one is up to 7 levels off."""
  import simplejpeg

  with Image.open(io.BytesIO(data)) as file:
    file.load()
    orientation, is_grey = file.getexif().get(274, 1), file.mode == "L"
  kind = {"Gray": "Gray", "CMYK": "CMYK"}.get(simplejpeg.decode_jpeg_header(data)[2], "RGB")
  if kind == "CMYK":
    return _by_pillow(data)
  options = dict(fastdct=True, fastupsample=False, strict=False)
  image = simplejpeg.decode_jpeg(data, "Gray" if is_grey else "RGB", **options)
  return upright(image, orientation)


def _by_tifffile(data):
  import tifffile

  with tifffile.TiffFile(io.BytesIO(data)) as file:
    page = file.pages.first
    image = page.asarray()
    if page.planarconfig == 2 and image.ndim == 3:
      image = np.moveaxis(image, 0, -1)
    image = image if image.ndim == 3 else image[..., np.newaxis]
    name = getattr(page.photometric, "name", "")
    if name not in ("RGB", "MINISBLACK", "MINISWHITE", "PALETTE"):
      return _by_pillow(data)
    if page.bitspersample not in (8, 16):
      largest = 255 if page.bitspersample < 8 else 65535
      image = np.round(image * (largest / (2**page.bitspersample - 1)))
      image = image.astype(np.uint8 if largest == 255 else np.uint16)
    if name == "PALETTE":
      image = np.moveaxis(page.colormap[:, image[..., 0]], 0, -1)
      image = (image >> 8).astype(np.uint8) if page.bitspersample <= 8 else image
    if name == "MINISWHITE":
      image = ~image
    image = image[..., : image.shape[-1] - sum(kind in (1, 2) for kind in page.extrasamples)]
    return upright(image, page.tags.valueof(274, 1))


def _by_imagecodecs(data):
  import imagecodecs

  image = imagecodecs.jpegxl_decode(data)
  image = image if image.ndim == 3 else image[..., np.newaxis]
  return image[..., : image.shape[-1] - (image.shape[-1] in (2, 4))]


def _by_pillow_heif(data):
  import pillow_heif

  return np.asarray(pillow_heif.open_heif(data).to_pillow().convert("RGB"))


def _by_pydicom(data):
  import pydicom
  from pydicom.pixels import apply_modality_lut

  file = pydicom.dcmread(io.BytesIO(data))
  if file.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
    raise NotImplementedError(file.PhotometricInterpretation)
  stored = file.pixel_array
  values = apply_modality_lut(stored, file).astype(np.float64)
  slope, intercept = float(file.get("RescaleSlope", 1)), float(file.get("RescaleIntercept", 0))
  lowest = -(2 ** (file.BitsStored - 1)) if file.PixelRepresentation else 0
  ends = sorted(slope * (lowest + end) + intercept for end in (0, 2**file.BitsStored - 1))
  share = (values - ends[0]) / (ends[1] - ends[0])
  if file.get("WindowWidth"):  # PS3.3 C.11.2.1.2.1
    centre, width = float(file.WindowCenter), float(file.WindowWidth)
    share = (values - (centre - 0.5)) / (width - 1) + 0.5
  share = share.clip(0, 1)
  share = 1 - share if file.PhotometricInterpretation == "MONOCHROME1" else share
  image = np.round(65535 * share).astype(np.uint16)[..., np.newaxis]
  return image if file.BitsStored > 8 else (image >> 8).astype(np.uint8)


REFERENCES = {
  "jpeg": _by_libjpeg,
  "tiff_8": _by_tifffile,
  "tiff_16": _by_tifffile,
  "jpeg_xl": _by_imagecodecs,
  "heic": _by_pillow_heif,
  "dicom": _by_pydicom,
}


def _ours():
  """Returns what decodes a file as a folder's images are, and the class of what it raises."""
  import tensorflow as tf

  from conrec_tf.data.images.decoding import NATIVE, decode_image
  from conrec_tf.data.images.inspection import describe_image

  signature = [tf.TensorSpec([], tf.string)]
  describe = tf.function(lambda data: describe_image(data, MAX_PIXELS), signature, autograph=False)
  functions = {}

  def decode(data):
    _, _, channels, bits = describe(data).numpy()
    key = (int(channels) if channels in (1, 3) else NATIVE, bool(bits > 8))
    if key not in functions:
      options = dict(max_pixels=MAX_PIXELS, as_uint16=key[1], libraries=True)
      functions[key] = tf.function(
        lambda encoded: decode_image(encoded, key[0], **options), signature, autograph=False
      )
    return functions[key](data).numpy()

  return decode, tf.errors.OpError


def distance(ours, reference):
  """Returns the largest difference of two images, or infinity where their shapes differ.

  The high 8 bits count, and all 16 where both have them.
  """
  if ours.shape != reference.shape:
    return float("inf")
  if ours.dtype != reference.dtype:
    ours, reference = (
      image >> 8 if image.dtype == np.uint16 else image for image in (ours, reference)
    )
  return int(np.max(np.abs(ours.astype(np.int64) - reference.astype(np.int64)), initial=0))


def compare(kind, data, decode, errors, say):
  """Returns an outcome, and what is to be said of it.

  Args:
    kind: one of `KINDS`.
    data: the file.
    decode: from bytes to the image.
    errors: class of what refuses a file.
    say: called when ours is done.
  """
  from conrec_tf.data.images.bad_image import reason

  try:
    ours = decode(data)
  except errors as error:
    text = reason(error)
    is_one_line = "\n" not in text and "Traceback" not in text and text
    return ("refused", text) if is_one_line else ("traceback", text)
  except Exception as error:
    return "traceback", repr(error)[:200]
  finally:
    say()
  try:
    reference = REFERENCES.get(kind, _by_pillow)(data)
  except Exception as error:
    return "ours alone", f"{type(error).__name__}: {error}"[:200]
  apart = distance(ours, reference)
  if apart <= ROUNDING.get(kind, 0):
    return "equal", str(apart)
  return "differs", f"by {apart}, {ours.shape} {ours.dtype}, {reference.shape} {reference.dtype}"


def child(kind, first, count, seed, keep):
  """Decodes mutations and prints a line of JSON at each step; -1 is the valid file."""
  warnings.simplefilter("ignore")
  if kind == "heic":
    import pillow_heif

    pillow_heif.register_heif_opener()
  files, (decode, errors) = KINDS[kind](), _ours()
  if first == 0:
    for data in files:
      outcome, why = compare(kind, data, decode, errors, lambda: None)
      if outcome != "equal":
        raise SystemExit(f"the valid {kind} {outcome}: {why}")
  for number in range(first, count):
    data = mutation(kind, files, number, seed)
    print(json.dumps([number, "begin", ""]), flush=True)
    signal.alarm(SECONDS)
    said = compare(
      kind, data, decode, errors, lambda n=number: print(json.dumps([n, "ours", ""]), flush=True)
    )
    signal.alarm(0)
    print(json.dumps([number, *said]), flush=True)
    if keep and said[0] in ("differs", "ours alone", "traceback"):
      path = pathlib.Path(keep, kind, f"{said[0].replace(' ', '_')}_{number}")
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(data)


def mutate(kind, count, seed=0, keep=""):
  """Returns outcomes of a kind, a list of (number, outcome, what is said of it)."""
  outcomes, number = [], 0
  while number < count:
    command = [sys.executable, "-m", "benchmarks.mutate_images", f"--kinds={kind}"]
    command += [f"--mutations={count}", f"--seed={seed}", f"--first={number}", f"--keep={keep}"]
    process = subprocess.run([*command, "--child"], capture_output=True, text=True)
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("[")]
    done = [line for line in lines if line[1] not in ("begin", "ours")]
    outcomes += done
    if process.returncode >= 0:
      if process.returncode or len(outcomes) != count:
        raise RuntimeError(process.stderr[-2000:])
      break
    number, step = lines[-1][:2]
    what = "hang" if process.returncode == -signal.SIGALRM else "death"
    outcomes.append([number, what if step == "begin" else f"{what} of reference", ""])
    number += 1
  return outcomes


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--mutations", type=int, default=250, help="of each kind")
  parser.add_argument("--kinds", default=",".join(KINDS), help="of files, by comma")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--keep", default="", help="folder for files that differ")
  parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
  parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.child:
    child(options.kinds, options.first, options.mutations, options.seed, options.keep)
    return
  summary = {}
  for kind in options.kinds.split(","):
    outcomes = mutate(kind, options.mutations, options.seed, options.keep)
    summary[kind] = dict(collections.Counter(outcome for _, outcome, _ in outcomes))
    print(f"{kind:10}", summary[kind], flush=True)
    for number, outcome, why in outcomes:
      if outcome not in ("equal", "refused"):
        print(f"  {number}: {outcome} {why}", flush=True)
  print(json.dumps(summary))


if __name__ == "__main__":
  main()
