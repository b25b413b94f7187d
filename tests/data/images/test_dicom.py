"""Values of DICOM files against what the standard, PS3.3, says of them by hand."""

import io
import pathlib

from dicom_files import dicom, item, items, lookup_table
import numpy as np
from PIL import Image
import pytest

from conrec_tf.config import Config
from conrec_tf.data.images.bad_image import BadImage
from conrec_tf.data.images.formats import holds_no_image, is_dicom, read_image
from conrec_tf.data.registry import load_dataset
from conrec_tf.errors import UsageError

pydicom = pytest.importorskip("pydicom")
imagecodecs = pytest.importorskip("imagecodecs")

RNG = np.random.default_rng(0)
RAMP = np.tile(np.arange(4096, dtype=np.uint16), (2, 1))  # of 12 bits
SMALL = np.array([[0, 1000, 2000, 4095]], np.uint16)
COLORS = RNG.integers(0, 256, (16, 24, 3), np.uint8)
PIXELS = Config.max_pixels


def read(data, window="", frames=""):
  return read_image(data, 0, PIXELS, window, frames)


def shown(data, window="", frames=""):
  """What the network gets of a grey file, as shares of white."""
  image = read(data, window, frames)
  return image[..., 0] / np.iinfo(image.dtype).max


def windowed(units, centre, width):
  """The standard's function LINEAR, C.11.2.1.2.1."""
  return np.clip((units - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def rescaling(slope, intercept):
  return item(PixelValueTransformationSequence=item(RescaleSlope=slope, RescaleIntercept=intercept))


def window_of(centre, width, **tags):
  return item(FrameVOILUTSequence=item(WindowCenter=centre, WindowWidth=width, **tags))


def both(rescaling, window):
  """One group with what two have."""
  return item(
    PixelValueTransformationSequence=rescaling[0].PixelValueTransformationSequence,
    FrameVOILUTSequence=window[0].FrameVOILUTSequence,
  )


def test_without_a_window_the_range_is_that_of_the_bits():
  np.testing.assert_allclose(shown(dicom(RAMP)), RAMP / 4095, atol=1e-5)
  np.testing.assert_allclose(shown(dicom(RAMP, "MONOCHROME1")), 1 - RAMP / 4095, atol=1e-5)
  rescaled = dicom(RAMP, RescaleSlope="2", RescaleIntercept="-1024")
  np.testing.assert_allclose(shown(rescaled), RAMP / 4095, atol=1e-5)
  signed = dicom(RAMP.astype(np.int16) - 2048)
  np.testing.assert_allclose(shown(signed), RAMP / 4095, atol=1e-5)
  eight = dicom((RAMP // 16).astype(np.uint8), bits=8)
  np.testing.assert_array_equal(read(eight)[..., 0], RAMP // 16)


@pytest.mark.parametrize(
  "dtype, bits", [("u1", 8), ("i1", 8), ("u1", 6), ("u2", 16), ("i2", 16), ("u2", 10), ("u4", 32)]
)
def test_stored_bits_fill_the_range(dtype, bits):
  lowest = -(2 ** (bits - 1)) if dtype[0] == "i" else 0
  values = np.array([[lowest, lowest + 2 ** (bits - 2), lowest + 2**bits - 1]], dtype)
  image = read(dicom(values, bits=bits))
  assert image.dtype == (np.uint8 if bits <= 8 else np.uint16)
  expected = np.array([0, 2 ** (bits - 2) / (2**bits - 1), 1])
  np.testing.assert_allclose(image[0, :, 0] / np.iinfo(image.dtype).max, expected, atol=4e-3)


def test_windows_of_hounsfield_units():
  units = RAMP.astype(float) - 1024
  tags = dict(RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="40", WindowWidth="400")
  data = dicom(RAMP, **tags)
  expected = windowed(units, 40, 400)
  np.testing.assert_allclose(shown(data), expected, atol=1e-5)
  np.testing.assert_allclose(
    shown(data, "-600,1500"), np.clip((units + 1350) / 1500, 0, 1), atol=1e-5
  )
  np.testing.assert_allclose(shown(dicom(RAMP, "MONOCHROME1", **tags)), 1 - expected, atol=1e-5)
  several = dicom(RAMP, WindowCenter=["40", "300"], WindowWidth=["400", "2000"])
  np.testing.assert_allclose(shown(several), windowed(RAMP, 40, 400), atol=1e-5)


@pytest.mark.parametrize("slope, intercept", [(-1, 0), (-0.5, 1000), (-2, -300)])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_a_negative_slope_turns_the_values_once(slope, intercept, photometric):
  """White is the highest rescaled value, which is the lowest that is stored."""
  tags = dict(RescaleSlope=str(slope), RescaleIntercept=str(intercept))
  units = slope * RAMP.astype(float) + intercept
  centre, width = units.mean(), 1000
  turn = (lambda share: 1 - share) if photometric == "MONOCHROME1" else (lambda share: share)
  found = shown(dicom(RAMP, photometric, **tags))
  np.testing.assert_allclose(found, turn(1 - RAMP / 4095), atol=1e-5)
  window = dict(WindowCenter=str(centre), WindowWidth=str(width))
  expected = turn(windowed(units, centre, width))
  np.testing.assert_allclose(shown(dicom(RAMP, photometric, **tags, **window)), expected, atol=1e-5)
  given = turn(np.clip((units - centre) / width + 0.5, 0, 1))
  found = shown(dicom(RAMP, photometric, **tags), f"{centre},{width}")
  np.testing.assert_allclose(found, given, atol=1e-5)
  sigmoid = shown(dicom(RAMP, photometric, **tags, **window, VOILUTFunction="SIGMOID"))
  expected = turn(1 / (1 + np.exp(-4 * (units - centre) / width)))
  np.testing.assert_allclose(sigmoid, expected, atol=1e-5)


def test_functions_of_a_window():
  """C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, of 1000 and 2000 in a window of 1500 and 1001."""
  tags = dict(WindowCenter="1500", WindowWidth="1001")
  found = {
    name: shown(dicom(SMALL, **tags, **({"VOILUTFunction": name} if name else {})))[0, 1:3]
    for name in ("", "LINEAR", "LINEAR_EXACT", "SIGMOID")
  }
  np.testing.assert_allclose(found["LINEAR"], [0.0005, 1], atol=1e-5)
  np.testing.assert_array_equal(found[""], found["LINEAR"])
  np.testing.assert_allclose(found["LINEAR_EXACT"], [0.0004995, 0.9995005], atol=1e-5)
  tail = 1 / (1 + np.exp(2000 / 1001))
  np.testing.assert_allclose(found["SIGMOID"], [tail, 1 - tail], atol=1e-5)
  with pytest.raises(BadImage, match="Unsupported .*VOI LUT Function value 'CUBIC'"):
    read(dicom(SMALL, **tags, VOILUTFunction="CUBIC"))


def test_a_slope_of_nothing_is_refused():
  with pytest.raises(BadImage, match="RescaleSlope 0 and RescaleIntercept 5 leave no range"):
    read(dicom(SMALL, RescaleSlope="0", RescaleIntercept="5"))


def test_padding_is_dark():
  """C.7.5.1.1.2: its value lies where its photometric interpretation has black."""
  padded = np.array([[-2000, -1000, 0, 1000]], np.int16)
  tags = dict(bits=16, WindowCenter="0", WindowWidth="2000")
  assert shown(dicom(padded, PixelPaddingValue=-2000, **tags))[0, 0] == 0
  padded = np.array([[4095, 0, 1000, 2000]], np.uint16)
  tags = dict(WindowCenter="1000", WindowWidth="2000")
  assert shown(dicom(padded, "MONOCHROME1", PixelPaddingValue=4095, **tags))[0, 0] == 0


@pytest.mark.parametrize("groups", ["Shared", "PerFrame"])
def test_functional_groups_of_one_frame_are_looked_into(groups):
  units = RAMP.astype(float) - 1024
  name = f"{groups}FunctionalGroupsSequence"
  expected = windowed(units, 40, 400)
  both_of_them = both(rescaling("1", "-1024"), window_of("40", "400"))
  np.testing.assert_allclose(shown(dicom(RAMP, **{name: both_of_them})), expected, atol=1e-5)
  turned = both(rescaling("-1", "1024"), window_of("-40", "400", VOILUTFunction="LINEAR_EXACT"))
  np.testing.assert_allclose(
    shown(dicom(RAMP, NumberOfFrames="1", **{name: turned})),
    np.clip((-units + 40) / 400 + 0.5, 0, 1),
    atol=1e-5,
  )


def test_functional_groups_go_before_the_files_own_where_they_have_something():
  own = dict(RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="40", WindowWidth="400")
  units = RAMP.astype(float) - 1024
  window = dicom(RAMP, **own, SharedFunctionalGroupsSequence=window_of("300", "1000"))
  np.testing.assert_allclose(shown(window), windowed(units, 300, 1000), atol=1e-5)
  slope = dicom(RAMP, **own, PerFrameFunctionalGroupsSequence=rescaling("2", "0"))
  np.testing.assert_allclose(shown(slope), windowed(2.0 * RAMP, 40, 400), atol=1e-5)
  for empty in (item(FrameVOILUTSequence=item(VOILUTFunction="SIGMOID")), window_of("", "")):
    data = dicom(RAMP, **own, SharedFunctionalGroupsSequence=empty)
    np.testing.assert_allclose(shown(data), windowed(units, 40, 400), atol=1e-5)


def test_the_groups_of_a_frame_go_before_those_of_all():
  groups = dict(
    SharedFunctionalGroupsSequence=both(rescaling("1", "-1024"), window_of("40", "400")),
    PerFrameFunctionalGroupsSequence=window_of("300", "1000"),
  )
  expected = windowed(RAMP.astype(float) - 1024, 300, 1000)
  np.testing.assert_allclose(shown(dicom(RAMP, **groups)), expected, atol=1e-5)
  lut = np.linspace(65535, 0, 4096)  # which a window of the group replaces
  own = dict(VOILUTSequence=lookup_table(lut))
  np.testing.assert_allclose(shown(dicom(RAMP, **groups, **own)), expected, atol=1e-5)
  np.testing.assert_allclose(shown(dicom(RAMP, **own)), 1 - RAMP / 4095, atol=1e-4)


def test_lookup_tables_of_the_modality_and_of_display():
  modality = lookup_table(np.arange(100, 104), first=1000, bits=12)
  found = shown(dicom(SMALL, ModalityLUTSequence=modality))
  np.testing.assert_allclose(found[0] * 4095, [100, 100, 103, 103], atol=0.1)
  negative = lookup_table(np.arange(0, 4000, 10), first=-200, bits=12)
  signed = np.array([[-300, -200, -190, 500]], np.int16)
  found = shown(dicom(signed, VOILUTSequence=negative))
  np.testing.assert_allclose(found[0] * 4095, [0, 0, 100, 3990], atol=0.1)


def test_a_table_of_8_bits_may_have_more_than_256_entries():
  table = lookup_table(np.arange(4096) // 16, bits=8)
  found = shown(dicom(RAMP, VOILUTSequence=table))
  np.testing.assert_allclose(found, RAMP // 16 / 255, atol=1e-4)
  packed = lookup_table(np.arange(2048), bits=8)
  packed[0].LUTDescriptor = [4096, 0, 8]
  packed[0].LUTData = (np.arange(4096) // 16).astype(np.uint8).tobytes()
  np.testing.assert_array_equal(shown(dicom(RAMP, VOILUTSequence=packed)), found)


def test_a_first_value_that_was_written_as_unsigned_is_negative_where_values_are():
  table = lookup_table(np.arange(4096), first=2**16 - 1024, bits=12)
  tags = dict(RescaleSlope="1", RescaleIntercept="-1024", VOILUTSequence=table)
  np.testing.assert_allclose(shown(dicom(RAMP, **tags)), RAMP / 4095, atol=1e-4)


def test_a_table_without_all_its_entries_is_refused():
  table = lookup_table(np.arange(100))
  table[0].LUTDescriptor = [4096, 0, 16]
  with pytest.raises(BadImage, match="100 entries of a lookup table of 4096"):
    read(dicom(RAMP, VOILUTSequence=table))


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "RLELossless"])
def test_bits_beyond_those_that_are_stored_are_no_values(syntax):
  """Overlays lay there, in the high ones or the low ones (PS3.5 8.1.1)."""
  high = RAMP | (RNG.integers(0, 16, RAMP.shape, np.uint16) << 12)
  low = (RAMP << 4) | RNG.integers(0, 16, RAMP.shape, np.uint16)
  signed = ((RAMP.astype(np.int16) - 2048) << 4) | RNG.integers(0, 16, RAMP.shape, np.int16)
  for array, high_bit in ((high, 11), (low, 15), (signed, 15)):
    compressed = None
    if syntax == "RLELossless":
      plain = pydicom.dcmread(io.BytesIO(dicom(array, bits=16)))
      plain.compress(pydicom.uid.RLELossless)
      compressed = next(pydicom.encaps.generate_frames(plain.PixelData, number_of_frames=1))
    data = dicom(array, syntax=syntax, compressed=compressed, HighBit=high_bit)
    np.testing.assert_allclose(shown(data), RAMP / 4095, atol=1e-5)


def palette(tables, descriptor):
  names = ("Red", "Green", "Blue")
  return {f"{name}PaletteColorLookupTableDescriptor": descriptor for name in names} | {
    f"{name}PaletteColorLookupTableData": table for name, table in zip(names, tables, strict=True)
  }


def test_palettes_of_16_bits():
  colors = RNG.integers(0, 2**16, (3, 256), np.uint16)
  indices = RNG.integers(0, 256, (20, 30), np.uint8)
  tags = palette([table.tobytes() for table in colors], [256, 0, 16])
  found = read(dicom(indices, "PALETTE COLOR", 8, **tags))
  np.testing.assert_array_equal(found, np.moveaxis(colors[:, indices], 0, -1))
  tags = palette([table[:50].tobytes() for table in colors], [50, 100, 16])
  found = read(dicom(indices, "PALETTE COLOR", 8, **tags))
  places = np.clip(indices.astype(int) - 100, 0, 49)
  np.testing.assert_array_equal(found, np.moveaxis(colors[:, places], 0, -1))


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("dtype, count", [(np.uint8, 256), (np.uint8, 255), (np.uint16, 1000)])
def test_palettes_of_8_bits(dtype, count, words):
  """Entries are packed, or lie in words of 16 bits each, C.7.6.3.1.5."""
  colors = RNG.integers(0, 256, (3, count), np.uint8)
  indices = RNG.integers(0, count, (20, 30), dtype)
  entries = colors.astype("<u2") if words else colors
  data = [table.tobytes() + bytes(table.nbytes % 2) for table in entries]
  bits = 8 * np.dtype(dtype).itemsize
  found = read(dicom(indices, "PALETTE COLOR", bits, **palette(data, [count, 0, 8])))
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, np.moveaxis(colors[:, indices], 0, -1))


def test_palettes_in_segments():
  """C.7.9.2: a discrete segment of one entry, then a linear one up to the last."""
  names = ("Red", "Green", "Blue")
  ends = dict(zip(names, (60000, 30000, 255), strict=True))
  tags = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names} | {
    f"Segmented{name}PaletteColorLookupTableData": np.array([0, 1, 0, 1, 255, end], "<u2").tobytes()
    for name, end in ends.items()
  }
  indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
  found = read(dicom(indices, "PALETTE COLOR", 8, **tags))
  expected = np.stack([indices * (end / 255) for end in ends.values()], -1)
  np.testing.assert_allclose(found, expected, atol=0.51)


def test_colours_by_pixel_and_by_plane():
  np.testing.assert_array_equal(read(dicom(COLORS, "RGB", 8)), COLORS)
  planes = np.moveaxis(COLORS, -1, 0).tobytes()
  data = dicom(COLORS, "RGB", 8, PixelData=planes, PlanarConfiguration=1)
  np.testing.assert_array_equal(read(data), COLORS)


@pytest.mark.parametrize("dtype, bits", [(np.uint16, 16), (np.uint16, 12), (np.uint32, 32)])
def test_colours_of_more_bits_fill_16(dtype, bits):
  values = np.array([[[0, 2**bits - 1, 2 ** (bits - 1)]]], dtype)
  np.testing.assert_allclose(read(dicom(values, "RGB", bits)), [[[0, 65535, 32768]]], atol=8)


def test_luminance_and_chrominance_become_rgb():
  """C.7.6.3.1.2: red, green, blue and grey of full saturation, as the standard's matrix has it."""
  rgb = np.array([[[254, 0, 0], [0, 255, 1], [0, 0, 254], [128, 128, 128]]], np.uint8)
  ybr = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107], [128, 128, 128]]], np.uint8)
  np.testing.assert_allclose(read(dicom(ybr, "YBR_FULL", 8)).astype(int), rgb, atol=2)
  planes = np.moveaxis(ybr, -1, 0).tobytes()
  data = dicom(ybr, "YBR_FULL", 8, PixelData=planes, PlanarConfiguration=1)
  np.testing.assert_allclose(read(data).astype(int), rgb, atol=2)
  pairs = np.repeat(ybr, 2, axis=1)  # two pixels of one colour: Y Y Cb Cr
  halved = np.stack([ybr[0, :, 0], ybr[0, :, 0], ybr[0, :, 1], ybr[0, :, 2]], -1).tobytes()
  data = dicom(pairs, "YBR_FULL_422", 8, PixelData=halved)
  np.testing.assert_allclose(read(data).astype(int), np.repeat(rgb, 2, axis=1), atol=2)


@pytest.mark.parametrize("kind", ["YBR_RCT", "YBR_ICT", "YBR_FULL", "YBR_FULL_422"])
def test_compressed_colours_become_rgb(kind):
  smooth = np.kron(RNG.integers(0, 256, (2, 3, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
  if kind in ("YBR_RCT", "YBR_ICT"):
    options = dict(format="JPEG2000", mct=1, no_jp2=True, irreversible=kind == "YBR_ICT")
    syntax = "JPEG2000" if kind == "YBR_ICT" else "JPEG2000Lossless"
  else:
    options = dict(format="JPEG", quality=100, subsampling="4:2:2" if kind[-3:] == "422" else 0)
    syntax = "JPEGBaseline8Bit"
  buffer = io.BytesIO()
  Image.fromarray(smooth).save(buffer, **options)
  found = read(dicom(smooth, kind, 8, syntax=syntax, compressed=buffer.getvalue()))
  expected = np.asarray(Image.open(buffer).convert("RGB"), int)
  difference = np.abs(found.astype(int) - expected)
  assert difference.max() <= {"YBR_RCT": 0, "YBR_ICT": 2}.get(kind, 3)


@pytest.mark.parametrize(
  "array, photometric, message",
  [
    (np.zeros([4, 6, 4], np.uint8), "ARGB", "ARGB"),
    (np.zeros([4, 6, 4], np.uint8), "CMYK", "CMYK"),
    (COLORS, "YBR_PARTIAL_422", "YBR_PARTIAL_422"),
    (COLORS, "HSV", "HSV"),
    (COLORS[..., 0], "RGB", "RGB"),
  ],
)
def test_other_colours_are_refused(array, photometric, message):
  with pytest.raises(BadImage, match=message):
    read(dicom(array, photometric, 8))


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(NumberOfFrames="2"), r"2 frames; save one image a file, .*\(--dicom_frames=middle\)"),
    (dict(PixelData=b"12"), "(?i)bytes|length"),
    (dict(PixelData=RAMP.tobytes() * 3), "3 frames, where it says 1"),
    (dict(Rows=60000, Columns=60000), "more than"),
  ],
)
def test_files_that_are_refused(change, message):
  with pytest.raises(BadImage, match=message):
    read(dicom(RAMP, **change))


@pytest.mark.parametrize("count, middle", [(2, 1), (3, 1), (30, 15)])
def test_the_middle_of_several_frames(count, middle):
  frames = np.stack([np.full_like(SMALL, 100 * number) for number in range(count)])
  groups = items(*(window_of(str(1000 + number), "2000") for number in range(count)))
  tags = dict(NumberOfFrames=str(count), PixelData=frames.tobytes())
  with pytest.raises(BadImage, match=f"{count} frames"):
    read(dicom(SMALL, **tags))
  found = shown(dicom(SMALL, **tags), frames="middle")
  np.testing.assert_allclose(found, np.full(SMALL.shape, 100 * middle / 4095), atol=1e-5)
  grouped = dicom(SMALL, **tags, PerFrameFunctionalGroupsSequence=groups)
  expected = windowed(np.full(SMALL.shape, 100.0 * middle), 1000 + middle, 2000)
  np.testing.assert_allclose(shown(grouped, frames="middle"), expected, atol=1e-5)


def test_the_middle_of_compressed_frames_in_colour():
  frames = RNG.integers(0, 256, (5, 16, 24, 3), np.uint8)
  plain = pydicom.dcmread(
    io.BytesIO(dicom(COLORS, "RGB", 8, NumberOfFrames="5", PixelData=frames.tobytes()))
  )
  plain.compress(pydicom.uid.RLELossless)
  buffer = io.BytesIO()
  pydicom.dcmwrite(buffer, plain)
  np.testing.assert_array_equal(read(buffer.getvalue(), frames="middle"), frames[2])
  one = dicom(COLORS, "RGB", 8)
  np.testing.assert_array_equal(read(one, frames="middle"), read(one))


def test_what_is_known_of_a_folder_is_kept_for_each_choice_of_frames(tmp_path):
  stack = np.stack([SMALL] * 3)
  for number in range(11):
    data = dicom(SMALL, NumberOfFrames="3", PixelData=(stack + number).tobytes())
    (tmp_path / f"{number}.dcm").write_bytes(data)
  values = dict(dataset="image_folder", data_dir=str(tmp_path))
  with pytest.raises(UsageError, match="11 bad ones .* 3 frames"):
    load_dataset(Config(**values))
  source = load_dataset(Config(**values, dicom_frames="middle", train_split="train+test"))
  assert source.train.num_examples == 11
  for record in source.train.records():
    assert source.decode(record["image"]).shape == (*SMALL.shape, 1)
  with pytest.raises(UsageError, match="11 bad ones .* 3 frames"):
    load_dataset(Config(**values))


def test_a_window_that_is_given_takes_the_place_of_one_that_is_none(tmp_path):
  """Of parameter maps a file's own may be narrower than 1, which the standard forbids."""
  tags = dict(RescaleSlope="0.001", RescaleIntercept="0", WindowCenter="1", WindowWidth="0.5")
  for number in range(11):
    (tmp_path / f"{number}.dcm").write_bytes(dicom(RAMP, **tags))
  values = dict(dataset="image_folder", data_dir=str(tmp_path))
  with pytest.raises(UsageError, match="Window Width must be greater than or equal to 1"):
    load_dataset(Config(**values))
  source = load_dataset(Config(**values, dicom_window="1,0.5"))
  assert not source.bad
  for record in source.train.records():
    found = source.decode(record["image"]).numpy()[..., 0] / 65535
    np.testing.assert_allclose(found, np.clip((RAMP / 1000 - 0.75) / 0.5, 0, 1), atol=1e-4)


@pytest.mark.parametrize("photometric, shade", [("MONOCHROME2", "black"), ("MONOCHROME1", "white")])
@pytest.mark.parametrize("frames", ["", "all"])
def test_dark_and_white_ones_are_told_of_their_window_which_bits_are_not(
  tmp_path, caplog, photometric, shade, frames
):
  stack = np.stack([RAMP] * 2)
  tags = dict(NumberOfFrames="2", PixelData=stack.tobytes()) if frames else {}
  data = dicom(RAMP, photometric, 16, **tags)  # 12 bits in 16, where the file says 16
  for number in range(11):
    (tmp_path / f"{number}.dcm").write_bytes(data)
  values = dict(dataset="image_folder", data_dir=str(tmp_path), dicom_frames=frames)
  for more in ({}, dict(image_bits=12)):
    caplog.clear()
    load_dataset(Config(**values, **more))
    assert f"almost {shade}" in caplog.text and "--image_bits" not in caplog.text
    assert "or by --dicom_window=centre,width" in caplog.text
  caplog.clear()
  load_dataset(Config(**values, dicom_window="2048,4096"))
  assert "almost" not in caplog.text


LOSSLESS = {
  "12 bits": (RAMP, 12),
  "12 bits with a sign": (RAMP.astype(np.int16) - 2048, 12),
  "16 bits": (RAMP * 16, 16),
  "8 bits": (COLORS[..., 0], 8),
}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("syntax", ["JPEGLSLossless", "JPEGLossless", "JPEGLosslessSV1"])
def test_lossless_jpeg_of_archives(syntax, kind):
  array, bits = LOSSLESS[kind]
  stored = np.ascontiguousarray(array).view(f"u{array.itemsize}")
  if syntax == "JPEGLSLossless":
    compressed = imagecodecs.jpegls_encode(stored)
  else:
    compressed = imagecodecs.ljpeg_encode(stored & (2**bits - 1), bitspersample=bits)
  data = dicom(array, bits=bits, syntax=syntax, compressed=compressed)
  np.testing.assert_array_equal(read(data), read(dicom(array, bits=bits)))


def test_colours_in_jpeg_ls():
  compressed = imagecodecs.jpegls_encode(COLORS)
  for tags in ({}, dict(PlanarConfiguration=1)):
    data = dicom(COLORS, "RGB", 8, syntax="JPEGLSLossless", compressed=compressed, **tags)
    np.testing.assert_array_equal(read(data), COLORS)


def test_a_frame_of_another_size_than_its_file_says_is_refused():
  compressed = imagecodecs.jpegls_encode(np.zeros([60, 70], np.uint8))
  data = dicom(COLORS[..., 0], bits=8, syntax="JPEGLSLossless", compressed=compressed)
  with pytest.raises(BadImage, match=r"\(60, 70\) pixels, where its file says \(16, 24\)"):
    read(data)


@pytest.mark.parametrize("syntax", ["JPEGLSLossless", "JPEGLosslessSV1"])
def test_a_frame_without_its_end_is_refused(syntax):
  encode = dict(JPEGLSLossless=imagecodecs.jpegls_encode, JPEGLosslessSV1=imagecodecs.ljpeg_encode)
  compressed = bytes(encode[syntax](COLORS[..., 0].copy()))
  compressed = compressed[: len(compressed) // 2]
  with pytest.raises(BadImage, match="imagecodecs: cut off"):
    read(dicom(COLORS[..., 0], bits=8, syntax=syntax, compressed=compressed))


def test_what_decodes_a_compression_is_named(caplog):
  data = dicom(COLORS[..., 0], bits=8, syntax="JPEG2000", compressed=b"\xff\x4f\xff\x51")
  with pytest.raises(BadImage, match="JPEG 2000 .* isn't decoded: pillow: .*"):
    read(data)
  assert not caplog.text


def by_pydicom(data):
  """What pydicom's helpers show of a file of one frame, as shares of white."""
  dataset = pydicom.dcmread(io.BytesIO(data))
  stored = dataset.pixel_array
  if dataset.PhotometricInterpretation == "PALETTE COLOR":
    return pydicom.pixels.apply_color_lut(stored, dataset) / 65535
  if stored.ndim == 3:
    return stored / (2**dataset.BitsStored - 1)
  values = pydicom.pixels.apply_voi_lut(pydicom.pixels.apply_modality_lut(stored, dataset), dataset)
  lowest = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
  limits = np.array([lowest, lowest + 2**dataset.BitsStored - 1], float)
  limits = limits * dataset.get("RescaleSlope", 1) + dataset.get("RescaleIntercept", 0)
  share = ((values - limits[0]) / np.ptp(limits))[..., np.newaxis]
  return 1 - share if dataset.PhotometricInterpretation == "MONOCHROME1" else share


def test_pydicoms_own_files_are_read_as_its_helpers_do_or_refused_in_words():
  read_ones, refused, others = {}, {}, set()
  folder = pathlib.Path(pydicom.data.__file__).parent / "test_files"
  for path in sorted(path for path in folder.rglob("*") if path.is_file()):
    data = path.read_bytes()
    if not is_dicom(data) or holds_no_image(data):
      others.add(path.name)
      continue
    try:
      image = read(data)
    except BadImage as error:
      refused[path.name] = str(error)
      continue
    assert image.dtype in (np.uint8, np.uint16) and image.shape[2] in (1, 3)
    white = np.iinfo(image.dtype).max
    expected = by_pydicom(data)
    np.testing.assert_allclose(image / white, expected, atol=1 / white, err_msg=str(path))
    read_ones[path.name] = image
  assert len(read_ones) >= 50 and {"CT_small.dcm", "examples_palette.dcm"} <= set(read_ones)
  assert "DICOMDIR" in others and "rtplan.dcm" in others
  assert not [reason for reason in refused.values() if "damaged (" in reason]
