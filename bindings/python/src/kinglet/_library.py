"""Opens the C library, once, and checks that it is the one that this package was made for."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

try:
    from kinglet._ffi import ABI, VERSION, ffi
except ImportError as error:
    raise ImportError(
        "kinglet._ffi is missing: it is made when the package is built; install a wheel (scripts/wheel in Kinglet's repository)"
    ) from error

__all__ = ["call_back", "ffi", "immortal", "lib", "null", "own", "release_pending", "text", "version"]

# A result of cffi; its fields are those of the C struct.
CData = Any
_Any = TypeVar("_Any")


def immortal(thing: _Any) -> _Any:
    """Keeps an object until the process ends. When Python ends it clears modules, this package's before others that may hold a model;
    what freeing the model needs must be there still."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


def _open() -> Any:
    name = "libkinglet.dylib" if sys.platform == "darwin" else "libkinglet.so"
    path = os.environ.get("KINGLET_LIBRARY") or str(Path(__file__).with_name(name))
    try:
        opened = ffi.dlopen(path)
        abi, found = opened.kinglet_abi_version(), ffi.string(opened.kinglet_version()).decode()
    except (OSError, AttributeError) as error:
        raise ImportError(f"{path}: cannot be used as Kinglet's library: {error}") from error
    # Before version 1.0 the ABI is that of a minor version (docs/abi-policy.md).
    if abi != ABI or (ABI == 0 and found.split(".")[:2] != VERSION.split(".")[:2]):
        raise ImportError(f"{path}: is Kinglet {found} (C ABI {abi}); this package was made for Kinglet {VERSION} (C ABI {ABI})")
    return opened


# Closed with its object.
lib: Any = immortal(_open())
null: CData = ffi.NULL
version: str = ffi.string(lib.kinglet_version()).decode()


def text(string: CData) -> str:
    """A copy of a kinglet_str."""
    return bytes(ffi.buffer(string.data, string.size)).decode() if string.size else ""


class _Inside(threading.local):
    """Whether this thread is in a callback that must not call Kinglet."""

    flag = False


_inside = _Inside()
_pending: list[tuple[Callable[[CData], None], CData]] = []


def own(pointer: CData, free: Callable[[CData], None]) -> CData:
    """Frees a handle with its Python object. Python may collect objects in the middle of a callback that must not call Kinglet: handles
    that are found then are freed later."""

    # Its own references: at the end of the interpreter the module's names may be gone.
    def release(handle: CData, inside: _Inside = _inside, pending: Any = _pending) -> None:
        if inside.flag:
            pending.append((free, handle))
        else:
            free(handle)

    return ffi.gc(pointer, release)


def release_pending() -> None:
    """Frees what had to wait."""
    while _pending:
        free, handle = _pending.pop()
        free(handle)


def call_back(work: Callable[[], None]) -> None:
    """Runs a callback's work during which Kinglet must not be called."""
    _inside.flag = True
    try:
        work()
    finally:
        _inside.flag = False
