"""Times a function, as in `benchmarks`: the median of many calls."""

import statistics
import time


def milliseconds(function, calls):
  """Returns the median time of a call, after two that may compile."""
  times = []
  for number in range(calls + 2):
    began = time.perf_counter()
    function()
    if number >= 2:
      times.append(time.perf_counter() - began)
  return 1000 * statistics.median(times)
