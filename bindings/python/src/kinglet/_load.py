"""Loading and quantizing: calls with progress and a log."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from kinglet import errors
from kinglet._call import Cancellation, run
from kinglet._library import CData, call_back, ffi, immortal, lib, own, text
from kinglet._options import choice, integer, lend, name_of, new, tristate
from kinglet._texts import strs
from kinglet.errors import InvalidArgument

__all__ = ["Log", "LogLevel", "Progress", "SchedulerOptions", "load", "quantize"]

LogLevel: TypeAlias = Literal["error", "warning", "info", "debug"]
# Receives the part that is done, from 0 to 1; False cancels.
Progress: TypeAlias = Callable[[float], Any]
# Receives the level and the message.
Log: TypeAlias = Callable[[str, str], None]

_logger = logging.getLogger("kinglet")
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


def _to_logging(level: str, message: str) -> None:
    _logger.log(_LEVELS[level], "%s", message)


# The log functions of models that live, by the number that C passes back.
_logs: dict[int, Log] = {}
_numbers = itertools.count(1)


@immortal
@ffi.callback("void(void *, const kinglet_log_record *)")  # type: ignore[untyped-decorator]
def _on_log(user_data: CData, record: CData) -> None:
    log = _logs.get(int(ffi.cast("uintptr_t", user_data)))
    if log is not None:
        level, message = name_of("log_level", record.level), text(record.message)
        call_back(lambda: log(level, message))


@immortal
@ffi.callback("void(void *)")  # type: ignore[untyped-decorator]
def _on_log_release(user_data: CData, logs: dict[int, Log] = _logs, cast: Callable[[str, CData], CData] = ffi.cast) -> None:
    logs.pop(int(cast("uintptr_t", user_data)), None)


class _Report:
    """The progress callback of one call, and what it raised."""

    def __init__(self, function: Progress) -> None:
        self.function, self.raised = function, None
        self.handle = ffi.new_handle(self)

    function: Progress
    raised: BaseException | None


@ffi.callback("uint32_t(void *, const kinglet_progress *)")  # type: ignore[untyped-decorator]
def _on_progress(user_data: CData, progress: CData) -> int:
    report: _Report = ffi.from_handle(user_data)
    answer = [1]

    def work() -> None:
        try:
            answer[0] = 0 if report.function(progress.fraction) is False else 1
        except BaseException as error:
            report.raised, answer[0] = error, 0

    call_back(work)
    return answer[0]


def _run(
    options: CData, work: Callable[[CData], int], progress: Progress | None, cancellation: Cancellation | None
) -> None:
    """Runs a call that reports progress; an exception of the callback ends it and comes out of it."""
    report = None if progress is None else _Report(progress)
    if report is not None:
        options.progress, options.progress_user_data = _on_progress, report.handle
    try:
        run(options, work, cancellation)
    except errors.Cancelled:
        if report is not None and report.raised is not None:
            raise report.raised from None
        raise


def _path(value: str | os.PathLike[str], name: str) -> tuple[CData, Any]:
    string = ffi.new("kinglet_str *")
    return string, lend(string, os.fspath(value), name)


class SchedulerOptions(TypedDict, total=False):
    """How concurrent calls share a model; kinglet_scheduler_options in the C header has the details. What is left out has its default."""

    max_tokens: int
    max_sequences: int
    max_wait_us: int
    queue_length: int
    queue_bytes: int
    requests: int


def _scheduler(settings: SchedulerOptions) -> CData:
    made = new("kinglet_scheduler_options")
    for name, value in settings.items():
        if name not in SchedulerOptions.__annotations__:
            raise TypeError(f"scheduler: has no option {name!r}")
        number = integer(value, f"scheduler[{name!r}]")
        if name != "queue_bytes" and number >= 2**32:
            raise errors.InvalidArgument(f"scheduler[{name!r}]: {number} is not in 0 to {2**32 - 1}")
        setattr(made, name, number)
    return made


def load(
    path: str, settings: Mapping[str, Any], log: Log | None, progress: Progress | None, cancellation: Cancellation | None
) -> CData:
    """A new model; its settings are the arguments of `Model.load`."""
    options, made = new("kinglet_model_options"), ffi.new("kinglet_model **")
    for name in ("precision", "device", "log_level"):
        setattr(options, name, choice(name, settings[name], name))
    options.device_index = integer(settings["device_index"], "device_index")
    if settings["threads"] is not None:
        options.threads = integer(settings["threads"], "threads", 1)
    for name in ("memory_limit", "answer_cache_bytes", "max_text_bytes"):
        if settings[name] is not None:
            setattr(options, name, integer(settings[name], name))
    options.map_files = tristate(settings["map_files"], "map_files")
    keep = [] if settings["onnxruntime"] is None else [lend(options.onnxruntime, settings["onnxruntime"], "onnxruntime")]
    if settings["scheduler"] is not None:
        # The struct points at it.
        keep.append(scheduler := _scheduler(settings["scheduler"]))
        options.scheduler = scheduler
    string, data = _path(path, "path")
    number = next(_numbers)
    _logs[number] = log or _to_logging
    options.log, options.log_release, options.log_user_data = _on_log, _on_log_release, ffi.cast("void *", number)
    _run(options, lambda error: lib.kinglet_model_load(string[0], options, made, error), progress, cancellation)
    del keep, data
    return own(made[0], lib.kinglet_model_free)


def quantize(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    precision: Literal["f32", "f16", "int8", "bf16", "int4"] = "int8",
    *,
    calibration_texts: Sequence[str] = (),
    progress: Progress | None = None,
    cancellation: Cancellation | None = None,
) -> None:
    """Writes a model (a directory in Hugging Face's layout or a GGUF file) as one .kinglet file with its weights in `precision`, which
    `Model.load` maps instead of converting it. The file appears under its name when it is complete. `progress` as in `Model.load`.
    `calibration_texts`, for int8 and int4, are texts like those that the model will get: for each layer the change of its inputs is chosen
    with which rounding loses least."""
    number = choice("precision", precision, "precision")
    if number == 0:
        raise InvalidArgument("precision: 'auto' names no format; choose one")
    options = new("kinglet_quantize_options")
    (read, keep), (written, kept) = _path(source, "source"), _path(destination, "destination")
    calibrating = None
    if len(calibration_texts):
        options.calibration_texts, options.calibration_text_count, calibrating = strs(calibration_texts, "calibration_texts")
    _run(
        options,
        lambda error: lib.kinglet_model_quantize(read[0], written[0], number, options, error),
        progress,
        cancellation,
    )
    del keep, kept, calibrating
