"""NIfTI volumes: which slices, turned how, and which values are black and white."""

import gzip

import numpy as np
import pytest

from conrec_tf.data.images.bad_image import BadImage, as_bad_image
from conrec_tf.data.images.formats import open_frames, read_image

nibabel = pytest.importorskip("nibabel")

VOLUME = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def nifti(array, kind=nibabel.Nifti1Image, **header):
  """Returns a file of an array as it is, whatever its header says more."""
  image = kind(array, np.eye(4), dtype=array.dtype)
  for name, value in header.items():
    image.header[name] = value
  return image.to_bytes()


def slices(data, window="", max_pixels=1000):
  frames = as_bad_image()(open_frames)(data, max_pixels, window)
  return np.stack([frames.read(place) for place in range(frames.count)])


def test_slices_lie_along_the_last_axis_and_fill_the_range_of_the_volume():
  found = slices(nifti(VOLUME))
  assert found.shape == (4, 2, 3, 1) and found.dtype == np.uint16
  expected = np.round(np.moveaxis(VOLUME, -1, 0) / 23 * 65535)
  np.testing.assert_array_equal(found[..., 0], expected)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
def test_versions_byte_orders_and_compression_are_read_alike(kind, order):
  data = nifti(VOLUME.astype(f"{order}i2"), kind)
  np.testing.assert_array_equal(slices(data), slices(nifti(VOLUME)))
  np.testing.assert_array_equal(slices(gzip.compress(data)), slices(data))


def test_values_are_rescaled_before_a_window_or_the_files_own_range_is_shown():
  # 0, 2, ..., 46 minus 10; black is 0, white is 20.
  image = nibabel.Nifti1Image(VOLUME, np.eye(4), dtype=np.int16)
  image.header.set_slope_inter(1, 0)
  data = bytearray(image.to_bytes())
  data[112:120] = np.array([2, -10], "<f4").tobytes()
  expected = np.round(np.clip((2.0 * VOLUME - 10) / 20, 0, 1) * 65535)
  np.testing.assert_array_equal(slices(bytes(data), "10,20")[..., 0], np.moveaxis(expected, -1, 0))
  data[124:132] = np.array([20, 0], "<f4").tobytes()  # cal_max, cal_min
  np.testing.assert_array_equal(slices(bytes(data))[..., 0], np.moveaxis(expected, -1, 0))
  assert slices(bytes(data), "0,40").max() == 65535
  shares = nifti(VOLUME.astype(np.float32) / 1000)
  expected = np.round(np.clip((np.moveaxis(VOLUME, -1, 0) - 5) / 10, 0, 1) * 65535)
  np.testing.assert_allclose(slices(shares, "0.01,0.01")[..., 0], expected, atol=1)


def test_bytes_stay_as_they_are_unless_a_range_is_given():
  volume = VOLUME.astype(np.uint8)
  found = slices(nifti(volume))
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found[..., 0], np.moveaxis(volume, -1, 0))
  shown = slices(nifti(volume, cal_min=3, cal_max=13))[..., 0]
  expected = np.round(np.clip((volume - 3.0) / 10, 0, 1) * 255)
  np.testing.assert_array_equal(shown, np.moveaxis(expected, -1, 0))


def test_bytes_that_are_rescaled_fill_the_range_of_the_volume():
  """As SPM's maps of tissue, whose bytes are 255 times probabilities."""
  volume = VOLUME.astype(np.uint8)  # 0 to 23
  data = bytearray(nifti(volume))
  data[112:120] = np.array([1 / 255, 0], "<f4").tobytes()  # scl_slope, scl_inter
  found = slices(bytes(data))
  assert found.dtype == np.uint8
  expected = np.round(np.moveaxis(volume, -1, 0) / 23 * 255)
  np.testing.assert_array_equal(found[..., 0], expected)


def test_what_is_not_finite_does_not_count_and_a_flat_volume_is_black():
  volume = VOLUME.astype(np.float32)
  volume[0, 0, 0], volume[0, 0, 1], volume[1, 2, 3] = np.nan, -np.inf, np.inf
  found = slices(nifti(volume))[..., 0]  # from 2 to 22
  assert found[0, 0, 0] == found[1, 0, 0] == 0 and found[3, 1, 2] == 65535
  assert found[0, 1, 0] == round((12 - 2) / 20 * 65535)
  assert not slices(nifti(np.full([2, 2, 2], 7, np.int16))).any()


def test_rgb_is_three_channels():
  volume = np.zeros([2, 3, 4], RGB)
  volume["R"], volume["B"] = VOLUME, 2 * VOLUME
  found = slices(nifti(volume))
  np.testing.assert_array_equal(found[1], np.stack([VOLUME, 0 * VOLUME, 2 * VOLUME], -1)[:, :, 1])
  assert found.dtype == np.uint8


def test_a_file_of_two_axes_is_one_image_and_a_fourth_axis_may_have_length_one():
  image = read_image(nifti(VOLUME[:, :, 0].astype(np.uint8)), 12, 1000)
  np.testing.assert_array_equal(image[..., 0], VOLUME[:, :, 0])
  one = nifti(VOLUME[..., np.newaxis])
  np.testing.assert_array_equal(slices(one), slices(nifti(VOLUME)))
  with pytest.raises(BadImage, match="4 axes, 2x3x4x5; save one volume a file"):
    read_image(nifti(np.zeros([2, 3, 4, 5], np.int16)), 0, 1000, frames="middle")


def test_a_volume_without_a_choice_is_refused_by_its_slices_and_the_flag():
  with pytest.raises(BadImage, match=r"4 slices; .*--dicom_frames=middle.*--dicom_frames=all"):
    read_image(nifti(VOLUME), 0, 1000)
  middle = read_image(gzip.compress(nifti(VOLUME)), 12, 1000, frames="middle")
  np.testing.assert_array_equal(middle, slices(nifti(VOLUME))[2])  # not stretched once more


@pytest.mark.parametrize(
  "data, why",
  [
    (nifti(VOLUME.astype(np.complex64)), "complex64 have no known range"),
    (nifti(VOLUME), "more than 5 pixels"),
    (gzip.compress(nifti(VOLUME)), "more than 5 pixels"),
    (gzip.compress(b"another file"), "no NIfTI file"),
  ],
)
def test_what_cannot_be_read_is_a_bad_image(data, why):
  with pytest.raises(BadImage, match=why):
    slices(data, max_pixels=5 if "pixels" in why else 1000)


def test_damage_within_is_noticed():
  packed = bytearray(gzip.compress(nifti(VOLUME), compresslevel=0))
  packed[-20] ^= 1  # within the values, which nothing but the checksum knows
  for data in (bytes(packed), gzip.compress(nifti(VOLUME))[:-30], nifti(VOLUME)[:-1]):
    with pytest.raises(BadImage):
      read_image(data, 0, 1000, frames="middle")
