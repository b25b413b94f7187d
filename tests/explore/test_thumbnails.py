import numpy as np
from PIL import Image

from conrec_tf.explore.thumbnails import ACROSS, IN_A_FILE, SIDE, write_sprites


def test_each_thumbnail_lies_in_its_slot(tmp_path):
  """Of 298 images, of greys of their own, in a mixed order."""
  rng = np.random.default_rng(0)
  slots = rng.permutation(298)
  images = (np.full([SIDE, SIDE, 3], number % 250, np.uint8) for number in range(298))
  write_sprites(tmp_path, slots, images)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.jpg", "00001.jpg"]
  for number in (0, 123, 297):
    file, place = divmod(int(slots[number]), IN_A_FILE)
    sheet = np.asarray(Image.open(tmp_path / f"{file:05}.jpg"))
    assert sheet.shape == (SIDE * ACROSS, SIDE * ACROSS, 3)
    top, left = SIDE * (place // ACROSS), SIDE * (place % ACROSS)
    np.testing.assert_allclose(
      sheet[top : top + SIDE, left : left + SIDE].mean(), number % 250, atol=1
    )
