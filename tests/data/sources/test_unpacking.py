"""Files of several images: their frames as images, the groups that they make, what is kept."""

import gzip
import logging
import os
import sys

from dicom_files import dicom
import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.data.files import scan as file_scan
from conrec_tf.data.images.formats import read_image
from conrec_tf.data.registry import load_dataset
from conrec_tf.data.sources import unpacking
from conrec_tf.data.splits import with_fold_held_out
from conrec_tf.data.summary import summarize
from conrec_tf.errors import UsageError

nibabel = pytest.importorskip("nibabel")

FRAMES = np.arange(5 * 6 * 8, dtype=np.uint16).reshape(5, 6, 8) * 17


@pytest.fixture
def scans(tmp_path, monkeypatch):
  """An empty folder, with a cache of its own."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  folder = tmp_path / "scans"
  folder.mkdir()
  return folder


def series(frames=FRAMES, **tags):
  """Returns a DICOM file of several frames, 12 bits."""
  return dicom(frames[0], NumberOfFrames=str(len(frames)), PixelData=frames.tobytes(), **tags)


def volume(seed, count=6):
  """Returns a compressed NIfTI file of random slices 16x16."""
  values = np.random.default_rng(seed).integers(0, 256, (16, 16, count), np.uint8)
  return gzip.compress(nibabel.Nifti1Image(values, np.eye(4)).to_bytes())


def opened(folder, frames="all", split="all", **values):
  values = dict(dataset="image_folder", data_dir=str(folder), label_mode="none") | values
  values.setdefault("eval_split", "all")
  return load_dataset(Config(**values, dicom_frames=frames, train_split=split))


def images(source):
  return {
    str(name): source.decode(record["image"]).numpy()
    for name, record in zip(source.train.names, source.train.records(), strict=True)
  }


@pytest.fixture
def unpacked(monkeypatch):
  """Names of the files that are unpacked from now on."""
  names, unpack = [], unpacking._unpack

  def noted(config, path, *args):
    names.append(os.path.basename(path))
    return unpack(config, path, *args)

  monkeypatch.setattr(unpacking, "_unpack", noted)
  return names


@pytest.mark.parametrize("bits", [0, 12])
def test_frames_of_dicom_are_what_each_is_alone_in_the_order_of_space(scans, bits):
  (scans / "scan.dcm").write_bytes(series())
  (scans / "one.dcm").write_bytes(dicom(FRAMES[0]))
  found = images(opened(scans, image_bits=bits))
  assert list(found) == ["one.dcm", *(f"scan.dcm/{number:04}" for number in range(5))]
  for number, frame in enumerate(FRAMES):
    alone = read_image(dicom(frame), 0, 1000)
    np.testing.assert_array_equal(found[f"scan.dcm/{number:04}"], alone)
    np.testing.assert_array_equal(alone[..., 0], np.round(frame / 4095 * 65535))


def test_frames_in_colour_of_16_bits_are_kept(scans):
  colours = np.arange(2 * 4 * 4 * 3, dtype=np.uint16).reshape(2, 4, 4, 3) * 600
  data = dicom(colours[0], "RGB", 16, NumberOfFrames="2", PixelData=colours.tobytes())
  (scans / "scan.dcm").write_bytes(data)
  found = images(opened(scans, image_bits=12))
  np.testing.assert_array_equal(found["scan.dcm/0001"], colours[1])


def test_each_frame_has_its_own_window_and_the_next_ones_none_of_it(scans):
  from dicom_files import item, items

  pydicom = pytest.importorskip("pydicom")

  def group(**window):
    return (
      item(FrameVOILUTSequence=item(**window))
      if window
      else pydicom.sequence.Sequence([pydicom.dataset.Dataset()])
    )

  groups = items(group(WindowCenter=100, WindowWidth=50), group(), group())
  (scans / "scan.dcm").write_bytes(series(FRAMES[:3], PerFrameFunctionalGroupsSequence=groups))
  found = images(opened(scans))
  alone = [read_image(dicom(frame), 0, 1000) for frame in FRAMES[:3]]
  assert (found["scan.dcm/0000"] != alone[0]).any()
  np.testing.assert_array_equal(found["scan.dcm/0001"], alone[1])
  np.testing.assert_array_equal(found["scan.dcm/0002"], alone[2])


def test_slices_of_nifti_are_images_or_the_middle_one_is(scans):
  values = np.arange(16 * 16 * 5, dtype=np.uint16).reshape(16, 16, 5)
  (scans / "scan.nii").write_bytes(nibabel.Nifti1Image(values, np.eye(4)).to_bytes())
  white = 16 * 16 * 5 - 1
  found = images(opened(scans, image_bits=12))
  assert list(found) == [f"scan.nii/{number:04}" for number in range(5)]
  for number, image in enumerate(found.values()):
    np.testing.assert_array_equal(image[..., 0], np.round(values[..., number] / white * 65535))
  [(name, image)] = images(opened(scans, "middle")).items()
  assert name == "scan.nii"
  np.testing.assert_array_equal(image, found["scan.nii/0002"])
  windowed = images(opened(scans, dicom_window="50,100"))
  expected = np.round(np.clip(values[..., 0] / 100, 0, 1) * 65535)
  np.testing.assert_array_equal(windowed["scan.nii/0000"][..., 0], expected)


def test_without_the_flag_volumes_are_bad_images_that_name_it(scans):
  (scans / "scan.nii.gz").write_bytes(volume(0))
  with pytest.raises(UsageError, match=r"scan.nii.gz: 6 slices; .*--dicom_frames=all"):
    opened(scans, "")


def test_frames_of_a_file_are_one_group_that_no_hold_out_separates(scans, caplog):
  for label in "ab":
    (scans / label).mkdir()
    for number in range(10):
      (scans / label / f"{number}.nii.gz").write_bytes(volume(number + 10 * (label == "b")))
  with caplog.at_level(logging.INFO):
    source = opened(scans, split="train", eval_split="test", label_mode="auto")
  assert "20 files of several images are 120 images" in caplog.text
  sides = [set(map(str, split.groups)) for split in (source.train, source.eval)]
  assert not sides[0] & sides[1] and [len(side) for side in sides] == [16, 4]
  assert source.train.num_examples == 96 and source.eval.num_examples == 24
  for split in (source.train, source.eval):
    for name, group, label in zip(split.names, split.groups, split.labels(), strict=True):
      assert name.startswith(f"{group}/") and source.class_names[label] == group[0]
  fold = with_fold_held_out(opened(scans, label_mode="auto"), 1, 4)
  assert not set(fold.train.groups) & set(fold.eval.groups)


def test_groups_of_a_table_come_before_those_of_files(scans, tmp_path):
  table = ["image,label,group"]
  for number in range(12):
    (scans / f"{number}.nii.gz").write_bytes(volume(number, 2))
    table.append(f"{number},{'ab'[number % 2]},patient {number // 2}")
  (tmp_path / "table.csv").write_text("\n".join(table))
  source = opened(scans, label_mode="auto", label_table=str(tmp_path / "table.csv"))
  assert set(source.train.groups) == {f"patient {number}" for number in range(6)}
  group = dict(zip(source.train.names, source.train.groups, strict=True))
  assert group["7.nii.gz/0001"] == "patient 3"


def test_files_of_one_name_keep_their_slices_together(scans):
  for patient in ("p1", "p2"):
    (scans / patient).mkdir()
    (scans / patient / "scan.nii.gz").write_bytes(volume(int(patient[1]), 3))
  names = list(images(opened(scans)))
  assert [name.rpartition("/")[0] for name in names] in (
    ["p1/scan.nii.gz"] * 3 + ["p2/scan.nii.gz"] * 3,
    ["p2/scan.nii.gz"] * 3 + ["p1/scan.nii.gz"] * 3,
  )
  (scans / "p1").rename(scans / "q1")
  assert [name.replace("q1", "p1") for name in images(opened(scans))] == names


def test_a_second_start_unpacks_what_changed_alone(scans, unpacked):
  for number in range(3):
    (scans / f"{number}.nii.gz").write_bytes(volume(number, 2))
  (scans / "single.dcm").write_bytes(dicom(FRAMES[0]))
  first = opened(scans)
  assert sorted(unpacked) == ["0.nii.gz", "1.nii.gz", "2.nii.gz", "single.dcm"]
  unpacked.clear()
  again = opened(scans)
  assert unpacked == [] and again.digest == first.digest
  np.testing.assert_array_equal(again.train.content, first.train.content)
  (scans / "1.nii.gz").write_bytes(volume(7, 3))
  changed = opened(scans)
  assert unpacked == ["1.nii.gz"] and changed.digest != first.digest
  assert changed.train.num_examples == first.train.num_examples + 1
  expected = images(opened(scans))
  np.testing.assert_array_equal(images(changed)["1.nii.gz/0002"], expected["1.nii.gz/0002"])
  assert (expected["1.nii.gz/0000"] != images(opened(scans))["0.nii.gz/0000"]).any()


def copies(scans):
  [folder] = (scans.parent / "cache" / "conrec_tf").glob("frames-*")
  return [path for path in folder.iterdir() if path.is_dir()]


def test_what_was_made_of_files_that_are_gone_or_changed_is_removed(scans, unpacked):
  for number in range(3):
    (scans / f"{number}.nii.gz").write_bytes(volume(number, 2))
  opened(scans)
  assert len(copies(scans)) == 3
  (scans / "0.nii.gz").unlink()
  (scans / "1.nii.gz").write_bytes(volume(5, 4))
  opened(scans)
  assert sorted(len(list(folder.iterdir())) for folder in copies(scans)) == [2, 4]
  next(copies(scans)[0].iterdir()).unlink()  # as programs that tidy up may
  unpacked.clear()
  assert opened(scans).bad == () and len(unpacked) == 1


@pytest.mark.parametrize("kind", ["cut", "dicom", "nothing", "four axes"])
def test_a_damaged_volume_is_one_bad_image_that_is_named_and_not_tried_again(scans, unpacked, kind):
  (scans / "good.nii.gz").write_bytes(volume(0))
  name, content = {
    "cut": ("bad.nii.gz", volume(1)[:-100]),
    "nothing": ("bad.nii", b""),
    "dicom": ("bad.dcm", series()[:-400]),
    "four axes": ("bad.nii", nibabel.Nifti1Image(np.zeros([2] * 4, "u1"), np.eye(4)).to_bytes()),
  }[kind]
  (scans / name).write_bytes(content)
  source = opened(scans)
  assert [file.name for file in source.bad] == [name]
  assert source.train.without_stand_ins.num_examples == 6 and len(images(source)) == 6
  unpacked.clear()
  assert opened(scans).bad == source.bad
  assert unpacked in ([], [name])  # what couldn't be read may be readable now
  (scans / name).write_bytes(volume(3) if "nii" in name else series())
  assert not opened(scans).bad


def test_a_volume_that_cannot_be_read_for_some_time_is_tried_again(scans, monkeypatch):
  (scans / "a.nii.gz").write_bytes(volume(0, 1))

  def lost(*args):
    raise OSError(5, "I/O error")

  with monkeypatch.context() as patch:
    patch.setattr(unpacking, "open_frames", lost)
    with pytest.raises(UsageError, match="a.nii.gz: I/O error"):
      opened(scans)
  assert list(images(opened(scans))) == ["a.nii.gz"]


def test_without_what_reads_them_volumes_are_bad_images_that_name_it(scans, monkeypatch):
  (scans / "a.nii.gz").write_bytes(volume(0))
  (scans / "b.dcm").write_bytes(series())
  with monkeypatch.context() as patch:
    for name in ("nibabel", "pydicom", "conrec_tf.data.images.dicom"):
      patch.setitem(sys.modules, name, None)
    patch.delattr("conrec_tf.data.images.dicom", raising=False)
    with pytest.raises(UsageError, match=r"a.nii.gz: NIfTI needs nibabel: pip install .*formats"):
      opened(scans)
  monkeypatch.setattr(unpacking, "decoders", lambda: "more")
  monkeypatch.setattr(file_scan, "decoders", lambda: "more")
  assert len(images(opened(scans))) == 6 + 5


def test_too_many_pixels_are_told_before_decoding(scans):
  (scans / "a.nii.gz").write_bytes(volume(0))
  with pytest.raises(UsageError, match=r"a.nii.gz: more than 100 pixels \(--max_pixels\)"):
    opened(scans, max_pixels=100)
  assert len(images(opened(scans))) == 6


def test_a_kill_while_unpacking_leaves_no_half_of_a_volume(scans, monkeypatch, unpacked):
  for number in range(2):
    (scans / f"{number}.nii.gz").write_bytes(volume(number))
  encoded, calls = unpacking._encoded, []

  def killed(image):
    calls.append(image)
    if len(calls) > 8:
      raise KeyboardInterrupt
    return encoded(image)

  with monkeypatch.context() as patch:
    patch.setattr(unpacking, "_encoded", killed)
    with pytest.raises(KeyboardInterrupt):
      opened(scans)
  assert len(copies(scans)) == 1
  unpacked.clear()
  assert len(images(opened(scans))) == 12 and len(unpacked) == 1


def test_a_cache_that_cannot_be_written_is_said(scans, tmp_path, monkeypatch):
  (scans / "a.nii.gz").write_bytes(volume(0))
  (tmp_path / "file").write_bytes(b"")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  with pytest.raises(UsageError, match="XDG_CACHE_HOME must be a folder that can be written"):
    opened(scans)


def test_other_images_stay_as_they_were(scans):
  for number in range(12):
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(scans / f"{number}.png")
  plain, source = opened(scans, ""), opened(scans)
  assert source.digest == plain.digest and source.train.groups is None
  np.testing.assert_array_equal(source.train.names, plain.train.names)


def test_formats_are_those_of_the_files(scans):
  for number in range(2):
    (scans / f"{number}.nii.gz").write_bytes(volume(number, 4))
  source = opened(scans)
  assert summarize(source.train, source).formats == {".nii.gz": 8}


@pytest.mark.parametrize(
  "values",
  [
    dict(dataset="webdataset", data_dir="x"),
    dict(dataset="image_folder", data_dir="x", train_mode="segment"),
    dict(dataset="image_folder", data_dir="x", mode="segment"),
  ],
)
def test_all_frames_are_refused_where_masks_or_archives_are_read(values):
  with pytest.raises(UsageError, match="dicom_frames must be middle or empty .* Received: all"):
    Config(**values, dicom_frames="all")
