"""Runs the command on random images that TFDS takes for Stanford Dogs."""

import sys
from unittest import mock

import tensorflow_datasets as tfds

import run

EXAMPLES = 24


def write_metadata(data_dir):
  """What a prepared Stanford Dogs of 24 images a split would say of itself."""
  builder = tfds.builder("stanford_dogs", data_dir=data_dir)
  template = tfds.core.ShardedFileTemplate(
    data_dir=builder.data_dir, dataset_name="stanford_dogs", filetype_suffix="tfrecord"
  )
  builder.info.set_splits(
    tfds.core.splits.SplitDict(
      [
        tfds.core.SplitInfo(
          name=name, shard_lengths=[EXAMPLES], num_bytes=EXAMPLES * 1000, filename_template=template
        )
        for name in ("train", "test")
      ]
    )
  )
  builder.data_path.mkdir(parents=True)
  builder.info.write_to_directory(builder.data_path)


if __name__ == "__main__":
  data_dir = next(flag.split("=", 1)[1] for flag in sys.argv if flag.startswith("--data_dir="))
  write_metadata(data_dir)
  no_files = mock.patch("conrec_tf.data.sources.tfds_files.check_files")  # there are none
  with no_files, tfds.testing.mock_data(num_examples=EXAMPLES, data_dir=data_dir):
    run.main()
