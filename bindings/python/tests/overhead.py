"""Measures what Python adds to a call of the C library: python overhead.py MODEL.

The same texts go through `Model.embed` and through kinglet_model_embed_arrow with arguments that were made before.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from kinglet import Model
from kinglet._library import ffi, lib, null
from kinglet._options import new
from kinglet._texts import Packed


def times_of(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """The 10th percentile of the time of each call in microseconds, taken in turns: other work on the machine counts little."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            started = time.thread_time()
            call()
            taken.append(1e6 * (time.thread_time() - started))
    return [float(np.percentile(taken[rounds // 10 :], 10)) for taken in times]


def main() -> None:
    """Prints the times for one text and for 32."""
    model = Model.load(sys.argv[1], precision="int8", threads=1)
    for count, rounds in [(1, 1000), (32, 100)]:
        texts = ["The small bird sings near the river, and it is not hard to see the fox."] * count
        packed = Packed(texts, "texts")
        given, buffer = packed.arrow_texts(), new("kinglet_embedding_buffer")
        out = np.empty((count, model.embedding_dimension), np.float32)
        buffer.dimension, buffer.values, buffer.capacity = out.shape[1], ffi.cast("float *", out.ctypes.data), out.size
        handle = model._handle()

        def direct(handle: object = handle, given: object = given, buffer: object = buffer) -> object:
            return lib.kinglet_model_embed_arrow(handle, given, null, buffer, null)

        def through(texts: list[str] = texts) -> object:
            return model.embed(texts)

        c, python = times_of([direct, through], rounds)
        print(f"{count} texts: C {c:.1f} µs, Python {python:.1f} µs: {python - c:+.1f} µs, {100 * (python / c - 1):+.2f} %")


if __name__ == "__main__":
    main()
