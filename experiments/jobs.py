"""Trainings side by side, each on its share of the cores, with the time that is left."""

from collections.abc import Callable, Sequence
import concurrent.futures
import os
import queue
import time
from typing import Any

from conrec_tf.run_dir.environment import hardware


def on_shares_of_cores(
  work: Callable[[Any, list[int]], str | None], jobs: Sequence[Any], side_by_side: int
) -> None:
  """Does jobs, so many at once, and prints what each says.

  Args:
    work: from a job and the numbers of its cores to a line about it, or None.
    jobs: in the order in which they begin.
    side_by_side: how many run at once.

  Raises:
    Exception: what `work` raised; the jobs that were begun are ended first.
  """
  cores = sorted(os.sched_getaffinity(0))
  share = max(1, len(cores) // side_by_side)
  free: queue.Queue[list[int]] = queue.Queue()
  for place in range(side_by_side):
    free.put([cores[(place * share + index) % len(cores)] for index in range(share)])

  def with_cores(job: Any) -> str | None:
    mine = free.get()
    try:
      return work(job, mine)
    finally:
      free.put(mine)

  began = time.monotonic()
  with concurrent.futures.ThreadPoolExecutor(side_by_side) as pool:
    futures = [pool.submit(with_cores, job) for job in jobs]
    for done, future in enumerate(concurrent.futures.as_completed(futures), start=1):
      line = future.result()
      left = (time.monotonic() - began) / done * (len(jobs) - done) / 60
      if line:
        print(f"{line}; {done} of {len(jobs)}, about {left:.0f} min left", flush=True)


def machine(cores: Sequence[int]) -> dict[str, str]:
  """Returns what a job runs on, by part: processor, GPU, memory and its share of the cores."""
  parts = {part: text for part, text in hardware().items() if part != "system"}
  if len(cores) < int(parts["cores"]):
    parts["cores"] = f"{len(cores)} of {parts['cores']}"
  return parts
