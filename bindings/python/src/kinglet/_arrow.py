"""String arrays of pyarrow, polars and others, read in place through Arrow's C data interface. None of them is imported here: they hand
out capsules (https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from kinglet._library import CData, ffi
from kinglet.errors import InvalidArgument

__all__ = ["Chunk", "chunks", "is_arrow"]

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

# Formats of the C data interface: string, large string, string view.
_OFFSET_BITS = {"u": 32, "U": 64}
_VIEW = "vu"


def is_arrow(texts: Any) -> bool:
    """Whether an object exports itself through the C data interface."""
    return hasattr(texts, "__arrow_c_array__") or hasattr(texts, "__arrow_c_stream__")


class Chunk:
    """One contiguous array of strings. Its memory is the exporter's and lives as long as the chunk."""

    def __init__(self, array: CData, format: str, owner: Any) -> None:
        self.array, self.format, self.owner = array, format, owner
        self.count = int(array.length)

    @property
    def offset_bits(self) -> int:
        """32 or 64; 0 for string views, which have no offsets."""
        return _OFFSET_BITS.get(self.format, 0)

    def arrow_texts(self) -> CData:
        """The buffers as they are, for kinglet_model_embed_arrow."""
        array, bits = self.array, self.offset_bits
        texts = ffi.new("kinglet_arrow_texts *", {"struct_size": ffi.sizeof("kinglet_arrow_texts")})
        texts.count, texts.first = array.length, array.offset
        texts.offsets, texts.offset_bits = array.buffers[1], bits
        texts.data = ffi.cast("const char *", array.buffers[2])
        texts.data_size = ffi.cast(f"int{bits}_t *", array.buffers[1])[array.offset + array.length]
        # -1 means that nobody has counted yet.
        if array.null_count:
            texts.validity = ffi.cast("const uint8_t *", array.buffers[0])
        return texts

    def strs(self) -> tuple[CData, Any]:
        """The texts as an array of kinglet_str into the exporter's memory, and what must live as long."""
        self._refuse_nulls()
        made = np.empty((self.count, 2), np.uint64)
        if self.format == _VIEW:
            self._views(made)
        else:
            array, bits = self.array, self.offset_bits
            start = int(ffi.cast("uintptr_t", array.buffers[1])) + array.offset * bits // 8
            offsets = _read(start, self.count + 1, f"<i{bits // 8}").astype(np.uint64)
            made[:, 0] = offsets[:-1] + np.uint64(int(ffi.cast("uintptr_t", array.buffers[2])))
            made[:, 1] = offsets[1:] - offsets[:-1]
        return ffi.from_buffer("kinglet_str[]", made), (made, self)

    def _views(self, made: Any) -> None:
        """A view is 16 bytes: the length, then either the text, up to 12 bytes, or its first 4 bytes, a buffer's number and a position."""
        array = self.array
        start = int(ffi.cast("uintptr_t", array.buffers[1])) + 16 * array.offset
        views = _read(start, 4 * self.count, "<i4").reshape(-1, 4)
        lengths = views[:, 0]
        # Between the views and the last buffer, which has the sizes of the others.
        places = [int(ffi.cast("uintptr_t", array.buffers[i])) for i in range(2, array.n_buffers - 1)]
        buffers = np.array(places or [0], np.uint64)
        inline = lengths <= 12
        own = np.uint64(start) + np.uint64(16) * np.arange(self.count, dtype=np.uint64) + np.uint64(4)
        number = np.where(inline, 0, views[:, 2])
        made[:, 0] = np.where(inline, own, buffers[number] + views[:, 3].astype(np.uint64))
        made[:, 1] = lengths

    def _refuse_nulls(self) -> None:
        array = self.array
        if not array.null_count or array.buffers[0] == ffi.NULL or not self.count:
            return
        bits = _read(int(ffi.cast("uintptr_t", array.buffers[0])), (array.offset + self.count + 7) // 8, "u1")
        valid = np.unpackbits(bits, bitorder="little")[array.offset : array.offset + self.count]
        if not valid.all():
            raise InvalidArgument(f"texts: text {int(np.argmin(valid))} is null; leave nulls out or fill them first")


def _read(address: int, count: int, kind: str) -> Any:
    size = count * np.dtype(kind).itemsize
    return np.frombuffer(ffi.buffer(ffi.cast("char *", address), size), kind) if count else np.empty(0, kind)


def _format(schema: CData, texts: Any) -> str:
    found: str = ffi.string(schema.format).decode()
    if found in _OFFSET_BITS or found == _VIEW:
        return found
    what = "a table; pass one of its columns" if found == "+s" else f"an Arrow array of format {found!r}; a string array is needed"
    raise InvalidArgument(f"texts: {type(texts).__module__}.{type(texts).__name__} is {what}")


def chunks(texts: Any) -> Iterator[Chunk]:
    """The contiguous arrays of an object, one after the other."""
    if hasattr(texts, "__arrow_c_array__"):
        schema, array = texts.__arrow_c_array__()
        found = _format(ffi.cast("struct ArrowSchema *", _pointer(schema, b"arrow_schema")), texts)
        yield Chunk(ffi.cast("struct ArrowArray *", _pointer(array, b"arrow_array")), found, array)
        return
    capsule = texts.__arrow_c_stream__()
    stream = ffi.cast("struct ArrowArrayStream *", _pointer(capsule, b"arrow_array_stream"))
    schema = ffi.gc(ffi.new("struct ArrowSchema *"), _release)
    _ask(stream, stream.get_schema(stream, schema))
    found = _format(schema, texts)
    while True:
        array = ffi.gc(ffi.new("struct ArrowArray *"), _release)
        _ask(stream, stream.get_next(stream, array))
        if array.release == ffi.NULL:
            return
        yield Chunk(array, found, (array, capsule))


def _release(exported: CData) -> None:
    if exported.release != ffi.NULL:
        exported.release(exported)


def _ask(stream: CData, status: int) -> None:
    if status:
        why = stream.get_last_error(stream)
        message = ffi.string(why).decode(errors="replace") if why != ffi.NULL else f"error {status}"
        raise InvalidArgument(f"texts: the Arrow stream failed: {message}")
