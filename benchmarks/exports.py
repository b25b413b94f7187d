"""What `--mode=export` wrote, runtime beside runtime: size, rate, difference.

    python -m benchmarks.exports --model_dir=runs/flowers

The SavedModel, ONNX and TensorFlow Lite files of one run embed the same batch in turn, each on
all cores; medians and the median of the rounds' ratios to the SavedModel. Write the files first:
`python run.py --mode=export --model_dir=runs/flowers --export_format=saved_model,onnx,tflite`.
Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import tensorflow as tf  # noqa: E402

from conrec_tf.export.onnx_tflite import tflite_interpreter  # noqa: E402


def saved_model(path):
  """A function from images to embeddings, as are those below."""
  network = tf.saved_model.load(os.fspath(path))
  return lambda images: network(images).numpy()


def onnx(path):
  session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
  return lambda images: session.run(["embedding"], {"images": images})[0]


def tflite(path, shape):
  interpreter = tflite_interpreter(path, num_threads=os.cpu_count())
  [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
  interpreter.resize_tensor_input(taken["index"], shape)
  interpreter.allocate_tensors()

  def run(images):
    interpreter.set_tensor(taken["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(given["index"])

  return run


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model_dir", required=True, type=pathlib.Path)
  parser.add_argument("--batch", type=int, default=64, help="images a call")
  parser.add_argument("--rounds", type=int, default=9)
  args = parser.parse_args()
  exported = max((args.model_dir / "saved_model").glob("*[0-9]"), key=lambda path: int(path.name))
  metadata = json.loads((exported / "assets/metadata.json").read_text())
  shape = [args.batch, metadata["image_size"], metadata["image_size"], metadata["channels"]]
  images = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
  step = exported.name
  runtimes = {"saved_model": (exported, saved_model(exported))}
  for path in (
    args.model_dir / f"onnx/{step}.onnx",
    args.model_dir / f"tflite/{step}.tflite",
    args.model_dir / f"tflite/{step}_dynamic_range.tflite",
  ):
    if path.exists():
      runtimes[path.name] = (path, onnx(path) if path.suffix == ".onnx" else tflite(path, shape))
  embeddings = {name: run(images) for name, (_, run) in runtimes.items()}
  seconds = {name: [] for name in runtimes}
  for _ in range(args.rounds):
    for name, (_, run) in runtimes.items():
      began = time.perf_counter()
      run(images)
      seconds[name].append(time.perf_counter() - began)
  expected = embeddings["saved_model"]
  print(
    f"{'images ' + 'x'.join(map(str, shape)):32}{'kB':>8}{'images/s':>10}{'ratio':>8}"
    f"{'difference':>12}"
  )
  for name, (path, _) in runtimes.items():
    size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
    ratio = statistics.median(
      a / b for a, b in zip(seconds["saved_model"], seconds[name], strict=True)
    )
    difference = np.max(np.abs(embeddings[name] - expected))
    print(
      f"{name:32}{size / 1000:8.0f}{args.batch / statistics.median(seconds[name]):10.0f}"
      f"{ratio:8.2f}{difference:12.1e}"
    )


if __name__ == "__main__":
  main()
