"""Errors: one class for each status of the C library, each with its message."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "Busy",
    "Cancelled",
    "Closed",
    "DeadlineExceeded",
    "InternalError",
    "InvalidArgument",
    "InvalidFile",
    "IOFailure",
    "KingletError",
    "NotFound",
    "OutOfMemory",
    "Panic",
    "Unsupported",
]


class KingletError(Exception):
    """What every error of Kinglet is. `status` is the name of the C library's status."""

    status: ClassVar[str] = "unknown"


class InvalidArgument(KingletError, ValueError):
    """An argument is out of range, unknown, or contradicts another; the message names it."""

    status = "invalid_argument"


class Closed(InvalidArgument):
    """A model, chat or prefix was used after its `close`."""


class NotFound(KingletError, FileNotFoundError):
    """A file or directory does not exist."""

    status = "not_found"


class IOFailure(KingletError, OSError):
    """A file exists but could not be read or written."""

    status = "io"


class InvalidFile(KingletError, ValueError):
    """The contents of a file break the rules of its format."""

    status = "invalid_file"


class Unsupported(KingletError, RuntimeError):
    """The request is well formed, but this build, machine or model cannot serve it."""

    status = "unsupported"


class OutOfMemory(KingletError, MemoryError):
    """The call would exceed the memory limit, or the system has no memory left."""

    status = "out_of_memory"


class Cancelled(KingletError):
    """The call was cancelled, by its `Cancellation` or by a callback that returned False."""

    status = "cancelled"


class Panic(KingletError, RuntimeError):
    """A defect in Kinglet, reported instead of crashing the program."""

    status = "panic"


class InternalError(KingletError, RuntimeError):
    """A defect in Kinglet, found by one of its own checks."""

    status = "internal"


class Busy(KingletError):
    """The model's queue is full (`scheduler` of `Model.load`); nothing was done. Try again later."""

    status = "busy"


class DeadlineExceeded(KingletError, TimeoutError):
    """The call's `deadline_ms` passed before it was done."""

    status = "deadline_exceeded"


BY_STATUS: dict[str, type[KingletError]] = {
    kind.status: kind
    for kind in (
        InvalidArgument,
        NotFound,
        IOFailure,
        InvalidFile,
        Unsupported,
        OutOfMemory,
        Cancelled,
        Panic,
        InternalError,
        Busy,
        DeadlineExceeded,
    )
}
