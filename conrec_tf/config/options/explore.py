"""Options of the page about embedded images."""

from conrec_tf.config.options.option import section, setting


@section
class Explore:
  """Looking at embedded images, with mode=explore."""

  query: str = setting(
    "",
    "Image file whose nearest images are looked for, in place of the page about all of them; with "
    "dicom_frames the middle one of a file with several.",
    path=True,
    before="",
  )
  num_clusters: int = setting(
    0,
    "Groups of images to look for; 0: as many as there are classes, without labels by the number "
    "of images, at most 50.",
    low=0,
    before=0,
  )
  label_next: int = setting(100, "Images to choose that are worth a label next.", low=0, before=100)
