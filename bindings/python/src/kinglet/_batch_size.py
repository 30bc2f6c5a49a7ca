"""Batch sizes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypedDict

from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, own, text
from kinglet._options import choice, integer, lend, new
from kinglet.errors import InvalidArgument
from kinglet.results import BatchSuggestion

__all__ = ["BatchGoal", "SuggestBatchSizeOptions", "suggest"]

BatchGoal: TypeAlias = Literal["throughput", "latency", "memory"]


class SuggestBatchSizeOptions(TypedDict, total=False):
    """Options of `Model.suggest_batch_size`."""

    goal: BatchGoal
    latency_ms: float | None
    memory_bytes: int | None
    skip_calibration: bool
    calibration_file: str | os.PathLike[str] | None
    calibration_ms: int | None
    cancellation: Cancellation | None


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(f"{name}: {value!r} is no number") from None


def _milliseconds(value: Any, name: str) -> int:
    number = integer(value, name, 1)
    if number >= 2**32:
        raise InvalidArgument(f"{name}: {number} is not in 1 to {2**32 - 1}")
    return number


_SETTERS: dict[str, Callable[[Any], Any]] = {
    "goal": lambda value: choice("batch_goal", value, "goal"),
    "latency_ms": lambda value: _number(value, "latency_ms"),
    "memory_bytes": lambda value: integer(value, "memory_bytes", 1),
    "skip_calibration": int,
    "calibration_ms": lambda value: _milliseconds(value, "calibration_ms"),
}


def suggest(
    model: CData, input_tokens: float, input_spread: float, output_tokens: int, beams: int, options: SuggestBatchSizeOptions
) -> BatchSuggestion:
    """See `Model.suggest_batch_size`."""
    workload, c = new("kinglet_workload"), new("kinglet_suggest_batch_size_options")
    workload.input_tokens, workload.input_spread = _number(input_tokens, "input_tokens"), _number(input_spread, "input_spread")
    workload.output_tokens, workload.beams = integer(output_tokens, "output_tokens"), integer(beams, "beams", 1)
    keep = None
    for name, value in options.items():
        if name not in SuggestBatchSizeOptions.__annotations__:
            raise TypeError(f"suggest_batch_size() has no option {name!r}")
        if value is not None and name in _SETTERS:
            setattr(c, name, _SETTERS[name](value))
    if (file := options.get("calibration_file")) is not None:
        keep = lend(c.calibration_file, os.fspath(file), "calibration_file")
    made, view = ffi.new("kinglet_batch_suggestion **"), new("kinglet_batch_suggestion_view")
    run(
        c,
        lambda error: lib.kinglet_model_suggest_batch_size(model, workload, c, made, error),
        options.get("cancellation"),
    )
    del keep
    owner = own(made[0], lib.kinglet_batch_suggestion_free)
    check(lambda error: lib.kinglet_batch_suggestion_read(owner, view, error))
    return BatchSuggestion(
        view.batch_size,
        view.batch_ms,
        view.texts_per_second,
        view.tokens_per_second,
        view.bytes,
        bool(view.within_bound),
        text(view.explanation),
    )
