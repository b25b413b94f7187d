"""Files that are cut or changed: each is read or named, and none ends anything else."""

import io
import os
import pathlib
import tarfile
import zlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
import tifffile

from conrec_tf.commands.tasks import load_dataset
from conrec_tf.config import Config
from conrec_tf.data.images import formats
from conrec_tf.data.images.bad_image import NO_MEMORY, BadImage, as_bad_image, reason
from conrec_tf.data.images.inspection import describe_image
from conrec_tf.data.images.pixel_values import check_size
from conrec_tf.data.pipeline import evaluation_batches
from conrec_tf.data.summary import failing_images_named, scan_split, warn_of_changed_images
from conrec_tf.errors import UsageError

SEED = 5
VARIANTS = 8  # of each format


def photograph(seed=0, deep=False):
  rows, columns = np.mgrid[0:24, 0:32]
  wave = 0.5 + 0.45 * np.sin(rows[..., np.newaxis] / 9 + seed + np.arange(3)) * np.cos(
    columns[..., np.newaxis] / 11
  )
  return np.round(wave * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)


def saved(image, kind, **options):
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, kind, **options)
  return buffer.getvalue()


def tiff(image, **options):
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, image, photometric="rgb", **options)
  return buffer.getvalue()


def heic(image):
  buffer = io.BytesIO()
  pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(image)).save(buffer, quality=90)
  return buffer.getvalue()


CT = "1.2.840.10008.5.1.4.1.1.2"
REPORT, DIRECTORY = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.1.3.10"


def dicom(pixels=None, kind=CT, **tags):
  """A file of 12 bits, or without pixels."""
  pydicom = pytest.importorskip("pydicom")
  meta = pydicom.dataset.FileMetaDataset()
  meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, "1.2.3"
  dataset = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
  dataset.SOPClassUID, dataset.SOPInstanceUID = kind, "1.2.3"
  if pixels is not None:
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.PixelData = 0, pixels.astype("<u2").tobytes()
  for name, value in tags.items():
    setattr(dataset, name, value)
  buffer = io.BytesIO()
  dataset.save_as(buffer, enforce_file_format=True)
  return buffer.getvalue()


RAMP = np.tile(np.linspace(0, 4095, 64).astype(int), (48, 1))
FORMATS = {
  "png": lambda: saved(photograph(), "PNG"),
  "jpg": lambda: saved(photograph(), "JPEG"),
  "gif": lambda: saved(photograph(), "GIF"),
  "bmp": lambda: saved(photograph(), "BMP"),
  "webp": lambda: saved(photograph(), "WEBP"),
  "jp2": lambda: saved(photograph(), "JPEG2000"),
  "avif": lambda: saved(photograph(), "AVIF"),
  "heic": lambda: heic(photograph()),
  "jxl": lambda: pytest.importorskip("imagecodecs").jpegxl_encode(photograph(), lossless=True),
  "8.deflate.tif": lambda: tiff(photograph(), compression="zlib"),
  "16.deflate.tif": lambda: tiff(photograph(deep=True), compression="zlib"),
  "16.lzw.tif": lambda: tiff(photograph(deep=True), compression="lzw"),
  "8.jpeg.tif": lambda: tiff(photograph(), compression="jpeg"),
  "dcm": lambda: dicom(RAMP, WindowCenter="2048", WindowWidth="4000"),
}


def damaged(data, rng):
  """Yields a file cut at some lengths, and with one byte changed."""
  for number in range(VARIANTS):
    if number % 2:
      yield data[: rng.integers(0, len(data))]
    else:
      place = rng.integers(0, min(len(data), 400) if number % 4 else len(data))
      yield data[:place] + bytes([data[place] ^ rng.integers(1, 256)]) + data[place + 1 :]


def folder(path, files, **values):
  for name, data in files.items():
    target = pathlib.Path(path, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
  return Config(
    **{
      **dict(dataset="image_folder", data_dir=str(path), train_split="train+test"),
      **dict(max_undecodable="100%", max_pixels=1_000_000, image_channels=3),
      **values,
    }
  )


def of_names(source):
  return dict(source.bad)


@pytest.mark.slow
def test_every_damaged_file_is_read_or_named(tmp_path):
  files = {"good.png": saved(photograph(1), "PNG")}
  for number, (kind, write) in enumerate(FORMATS.items()):
    rng = np.random.default_rng([SEED, number])
    for variant, data in enumerate(damaged(write(), rng)):
      files[f"{variant}.{kind}"] = data
  source = load_dataset(folder(tmp_path, files))
  bad = of_names(source)
  assert len(bad) > len(files) // 2 and all(bad.values())
  assert set(bad) | set(source.train.names) == set(files)
  assert not set(bad) & set(source.train.names)
  _, failing = scan_split(source, source.train, "")
  assert failing == {}


class WithoutImagecodecs:
  """What tifffile decompresses deflate with where imagecodecs is missing."""

  def __getitem__(self, _):
    return lambda data, **_: zlib.decompress(data)


@pytest.mark.parametrize("imagecodecs", [True, False])
def test_a_tiff_of_16_bits_that_is_cut_is_a_bad_image(tmp_path, monkeypatch, imagecodecs):
  if not imagecodecs:
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", WithoutImagecodecs())
  data = tiff(photograph(deep=True), compression="zlib", rowsperstrip=4)
  files = {f"{number}.tif": data for number in range(5)} | {"cut.tif": data[: len(data) * 6 // 10]}
  assert list(of_names(load_dataset(folder(tmp_path, files)))) == ["cut.tif"]


@pytest.mark.parametrize(
  "error, expected",
  [
    (ZeroDivisionError("division by zero"), r"damaged \(ZeroDivisionError: division by zero\)"),
    (RecursionError("too deep"), r"damaged \(RecursionError: too deep\)"),
    (EOFError(), r"damaged \(EOFError\)"),
    (MemoryError("Unable to allocate"), NO_MEMORY),
    (PermissionError(13, "Permission denied", "a.png"), "Permission denied"),
    (SystemError("odd\nin two lines"), "odd"),
    (Exception(), "Exception"),
  ],
)
def test_whatever_a_library_raises_is_one_bad_image(monkeypatch, error, expected):
  def fail(*_):
    raise error

  monkeypatch.setattr(formats, "read_by_pillow", fail)
  with pytest.raises(BadImage, match=rf"^{expected}$"):
    formats.read_image(b"whatever", 0, 100)


def test_what_ends_the_process_is_no_damage():
  for error in (KeyboardInterrupt, SystemExit):
    with pytest.raises(error), as_bad_image():
      raise error


def test_a_reason_of_tensorflow_is_without_its_graph():
  with pytest.raises(tf.errors.OpError) as caught:
    tf.io.decode_png(b"\x89PNG\r\n\x1a\n and nothing else")
  assert reason(caught.value).startswith("Invalid PNG")


def test_an_empty_dicom_element_is_an_absent_one():
  plain = formats.read_image(dicom(RAMP), 0, 10**6)
  names = ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "NumberOfFrames")
  for tags in (
    *({name: ""} for name in names),
    dict(WindowCenter="", WindowWidth=""),
    dict(WindowCenter="40"),
    dict(WindowWidth="400", WindowCenter=""),
    dict(ModalityLUTSequence=[], VOILUTSequence=[]),
  ):
    found = formats.read_image(dicom(RAMP, **tags), 0, 10**6)
    np.testing.assert_array_equal(found, plain, str(tags))
  np.testing.assert_array_equal(plain[0, :, 0], np.round(RAMP[0] / 4095 * 65535))
  several = dicom(RAMP, WindowCenter=["2048", ""], WindowWidth=["4000", "1"])
  np.testing.assert_array_equal(
    formats.read_image(several, 0, 10**6),
    formats.read_image(dicom(RAMP, WindowCenter="2048", WindowWidth="4000"), 0, 10**6),
  )


@pytest.mark.parametrize(
  "given, whole",
  [
    (dict(RescaleSlope="2"), dict(RescaleSlope="2", RescaleIntercept="0")),
    (dict(RescaleIntercept="-1000"), dict(RescaleSlope="1", RescaleIntercept="-1000")),
  ],
)
def test_half_a_rescaling_is_completed(given, whole):
  window = dict(WindowCenter="40", WindowWidth="4000")
  for tags in ({}, window):
    np.testing.assert_array_equal(
      formats.read_image(dicom(RAMP, **given, **tags), 0, 10**6),
      formats.read_image(dicom(RAMP, **whole, **tags), 0, 10**6),
    )


def slices_and_others():
  """Slices with and without ending, and what lies beside them on a disk."""
  files = {f"ill/IM{number:04}": dicom(RAMP // (number + 1)) for number in range(4)}
  files |= {f"well/{number}.dcm": dicom(RAMP // (number + 5)) for number in range(4)}
  return files | {
    "DICOMDIR": dicom(kind=DIRECTORY),
    "ill/SR0001": dicom(kind=REPORT, Modality="SR"),
    "ill/state.dcm": dicom(kind="1.2.840.10008.5.1.4.1.1.11.1", Modality="PR"),
    "well/plan.dcm": dicom(kind="1.2.840.10008.5.1.4.1.1.481.3", Modality="RTSTRUCT"),
  }


def test_dicom_without_images_is_passed_over_and_counted(tmp_path, caplog):
  for turn in range(2):  # by decoding, and by what is kept of that
    caplog.clear()
    with caplog.at_level("INFO", "conrec_tf"):
      source = load_dataset(folder(tmp_path, slices_and_others(), max_undecodable="0"))
    assert source.train.num_examples == 8 and source.bad == (), turn
    assert source.class_names == ("ill", "well")
    assert "Passed over 4 DICOM files without images, e.g. DICOMDIR" in caplog.text


def test_dicom_without_images_is_passed_over_in_archives(tmp_path, caplog):
  with tarfile.open(tmp_path / "a.tar", "w") as archive:
    for number, data in enumerate(slices_and_others().values()):
      info = tarfile.TarInfo(f"{number}.dcm")
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
      if number < 8:
        label = tarfile.TarInfo(f"{number}.cls")
        label.size = 1
        archive.addfile(label, io.BytesIO(b"%d" % (number % 2)))
  config = folder(tmp_path, {}, dataset="webdataset", max_undecodable="0")
  with caplog.at_level("INFO", "conrec_tf"):
    source = load_dataset(config)
  assert source.train.num_examples == 8 and source.class_names == ("0", "1")
  assert "Passed over 4 DICOM files without images" in caplog.text


def test_a_slice_that_is_cut_is_a_bad_image_and_no_report(tmp_path):
  data = dicom(RAMP)
  files = {f"{number}.dcm": data for number in range(3)}
  files |= {"a.dcm": data[:400], "b.dcm": data[: len(data) // 2]}
  assert set(of_names(load_dataset(folder(tmp_path, files)))) == {"a.dcm", "b.dcm"}


def test_a_folder_of_bad_files_says_the_first_reason(tmp_path, monkeypatch):
  files = {f"{number}.dcm": dicom(RAMP) for number in range(3)}
  monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
  with pytest.raises(
    UsageError,
    match=r"Received: 3 bad ones in .*, e.g. 0.dcm: DICOM needs pydicom: pip install 'conrec-tf\[f",
  ):
    load_dataset(folder(tmp_path, files))


def photographs(count=6):
  return {f"{number}.png": saved(photograph(number), "PNG") for number in range(count)}


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_file_that_goes_bad_while_it_is_used_is_named(tmp_path, damage):
  source = load_dataset(folder(tmp_path, photographs()))
  path = tmp_path / "3.png"
  path.write_bytes(path.read_bytes()[:50])
  if damage == "gone":
    path.unlink()
  why = "Invalid PNG" if damage == "cut" else "No such file"
  with pytest.raises(
    UsageError, match=rf"must stay as it was when it was opened. Received: 3.png \(.*{why}"
  ):
    with failing_images_named(source):
      list(evaluation_batches(source, source.train.records(), 24, 4))


def test_files_that_are_replaced_while_they_are_used_are_counted(tmp_path, caplog):
  kept, read = (
    load_dataset(folder(tmp_path, photographs(), cache_dataset=cached)) for cached in (True, False)
  )
  path = tmp_path / "3.png"
  content, times = path.read_bytes(), path.stat()
  warn_of_changed_images(read)
  path.write_bytes(content[::-1])  # as many bytes
  os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
  (tmp_path / "5.png").unlink()
  warn_of_changed_images(kept)
  assert "have changed" not in caplog.text
  warn_of_changed_images(read)
  assert f"{tmp_path.name} 2 have changed since it was opened, e.g. 3.png" in caplog.text


def test_an_error_that_is_of_no_image_passes(tmp_path):
  source = load_dataset(folder(tmp_path, photographs()))
  with pytest.raises(tf.errors.InvalidArgumentError):
    with failing_images_named(source):
      tf.debugging.assert_equal(tf.constant(1), 2)


def test_a_damaged_mask_makes_its_image_a_bad_one(tmp_path):
  mask = np.zeros((24, 32), np.uint8)
  mask[8:16, 8:20] = 1
  files = {f"images/{name}": data for name, data in photographs().items()}
  files |= {f"masks/{number}.png": saved(mask, "PNG") for number in range(6)}
  files["masks/2.png"] = files["masks/2.png"][:50]
  values = dict(train_mode="segment", encoder="unet", image_size=24, unet_depth=3)
  source = load_dataset(folder(tmp_path, files, **values))
  assert list(of_names(source)) == ["images/2.png"]
  assert of_names(source)["images/2.png"].startswith("masks/2.png: ")
  assert "images/2.png" not in {*source.train.names, *source.eval.names}
  with pytest.raises(UsageError, match="max_undecodable=0 .* Received: 1, e.g. images/2.png: mas"):
    load_dataset(folder(tmp_path, {}, **values | dict(max_undecodable="0")))


def refused(data):
  with pytest.raises((tf.errors.OpError, BadImage)) as caught:
    describe_image(tf.constant(data))
  return reason(caught.value)


def test_a_gif_whose_codes_are_damaged_is_a_bad_image():
  data, count = saved(photograph(), "GIF"), 0
  for place in range(800, len(data), 25):
    changed = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
    try:
      Image.open(io.BytesIO(changed)).load()
    except OSError as error:
      assert refused(changed) == reason(error)
      count += 1
  assert count


def test_a_jpeg_with_bytes_between_its_tables_is_a_bad_image():
  data = saved(photograph(), "JPEG")
  tables, end = data.index(b"\xff\xc4"), data.rindex(b"\xff\xd9")
  assert "before marker 0xc4" in refused(data[:tables] + b"12345678" + data[tables:])
  describe_image(tf.constant(data[:end] + b"12345678" + data[end:]))  # as some cameras write


def test_a_png_whose_orientation_is_damaged_is_a_bad_image():
  exif = Image.Exif()
  exif[274] = 6
  data = saved(photograph(), "PNG", exif=exif)
  assert describe_image(tf.constant(data)).numpy().tolist() == [32, 24, 3, 8]
  place = data.index(b"eXIf") + 4
  assert "damaged EXIF" in refused(data[:place] + b"x" + data[place + 1 :])


def test_a_tiff_that_does_not_say_what_black_is_is_a_bad_image():
  data = tiff(photograph())
  place = data.index(b"\x06\x01\x03\0")  # the tag's number, 262, and its type
  assert "PhotometricInterpretation" in refused(data[:place] + b"\x05" + data[place + 1 :])


@pytest.mark.parametrize("size", [(0, 48), (36, 0)])
def test_an_image_without_pixels_is_refused(size):
  with pytest.raises(ValueError, match=f"no pixels: {size[0]} x {size[1]}"):
    check_size(*size, 100)
