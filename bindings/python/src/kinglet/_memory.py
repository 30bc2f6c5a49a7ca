"""Numpy arrays over the library's memory, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kinglet._library import CData, ffi

__all__ = ["array"]


class _Memory:
    """What numpy keeps as the base of an array; it keeps the handle that the memory belongs to."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, address: int, shape: tuple[int, ...], kind: str, owner: Any) -> None:
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": kind, "data": (address, True)}
        self.owner = owner


def array(pointer: CData, shape: tuple[int, ...], kind: str, owner: Any) -> npt.NDArray[Any]:
    """A read-only array of `shape` over memory that belongs to `owner`, which lives as long as the array."""
    if pointer == ffi.NULL or 0 in shape:
        return np.empty(shape, kind)
    return np.asarray(_Memory(int(ffi.cast("uintptr_t", pointer)), shape, kind, owner))
