"""Writes TIFF 6.0 files by the specification, with the tags that are asked for and no others."""

import struct

import numpy as np

SHORT, LONG = 3, 4
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 4, 5, 6, 8
CFA = 32803


def packed(rows, bits, big_endian=False):
  """Returns rows of samples `[n, length]` as bytes; each row begins with a byte of its own."""
  if bits == 16:
    return rows.astype(">u2" if big_endian else "<u2").tobytes()
  digits = (rows[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
  return np.packbits(digits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def plain_tiff(
  samples, bits, photometric, extra=(), planar=False, orientation=1, big_endian=False, tags=None
):
  """Returns a file without compression.

  Args:
    samples: whole numbers `[h, w, C]`, as they are to be stored.
    bits: of each.
    photometric: number of the kind of colours.
    extra: values of ExtraSamples; none: without that tag.
    planar: whether each sample has a plane of its own.
    orientation: value of the tag.
    big_endian: order of bytes.
    tags: `{number: (type, values)}` of further tags.
  """
  order = ">" if big_endian else "<"
  height, width, count = samples.shape
  planes = np.moveaxis(samples, -1, 0) if planar else [samples.reshape(height, -1)]
  strips = [packed(plane.astype(np.int64), bits, big_endian) for plane in planes]
  offsets = 8 + np.cumsum([0, *(len(strip) for strip in strips)])
  entries = {
    256: (LONG, [width]),
    257: (LONG, [height]),
    258: (SHORT, [bits] * count),
    259: (SHORT, [1]),
    262: (SHORT, [photometric]),
    273: (LONG, offsets[:-1].tolist()),
    274: (SHORT, [orientation]),
    277: (SHORT, [count]),
    278: (LONG, [height]),
    279: (LONG, [len(strip) for strip in strips]),
    284: (SHORT, [2 if planar else 1]),
    **({338: (SHORT, list(extra))} if extra else {}),
    **(tags or {}),
  }
  pixels = b"".join(strips) + b"\0" * (int(offsets[-1]) % 2)
  directory = 8 + len(pixels)
  after = directory + 2 + 12 * len(entries) + 4
  listed, values = b"", b""
  for number, (kind, content) in sorted(entries.items()):
    encoded = struct.pack(f"{order}{len(content)}{'H' if kind == SHORT else 'I'}", *content)
    if len(encoded) > 4:
      place = struct.pack(order + "I", after + len(values))
      values += encoded
    else:
      place = encoded.ljust(4, b"\0")
    listed += struct.pack(order + "HHI", number, kind, len(content)) + place
  start = (b"MM" if big_endian else b"II") + struct.pack(order + "HI", 42, directory)
  return start + pixels + struct.pack(order + "H", len(entries)) + listed + bytes(4) + values


def with_colormap(table):
  """Returns the tag of a palette `[3, 2**bits]` of 16 bits."""
  return {320: (SHORT, np.asarray(table).ravel().tolist())}
