"""Options of what computes."""

from conrec_tf.config.option import option, section


@section
class Devices:
  """What computes; the weights are the same on any, up to rounding."""

  strategy: str = option(
    "one_device",
    "The first GPU, or the CPU without one; several GPUs of this machine "
    "(mirrored); those of several machines (multi_worker_mirrored), by the same command on each "
    "with TF_CONFIG as TensorFlow documents it; or a TPU.",
    choices=("one_device", "mirrored", "multi_worker_mirrored", "tpu"),
    changes_training=False,
  )
  devices: str = option(
    "",
    "Which GPUs, e.g. 0,1, for one_device and mirrored. Empty: the first, or all.",
    changes_training=False,
  )
  tpu_name: str = option(
    "", "Name or address of the TPU; local on a TPU's own machine.", changes_training=False
  )
  tpu_zone: str = option(
    "", "Zone of the TPU, where it isn't this machine's.", changes_training=False
  )
  gcp_project: str = option(
    "", "Project of the TPU, where it isn't this machine's.", changes_training=False
  )
