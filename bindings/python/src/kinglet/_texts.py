"""Python's strings as C reads them: all bytes one after the other, and where each text begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from kinglet import _arrow
from kinglet._library import CData, ffi
from kinglet.errors import InvalidArgument

__all__ = ["Packed", "Texts", "encoded", "listed", "parts", "strs"]


class ArrowArray(Protocol):
    """An array with Arrow's C data interface."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]: ...


class ArrowStream(Protocol):
    """An array in chunks, with Arrow's C stream interface."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


# A batch of texts: str in any iterable, for instance a list or an array of numpy; or a string column of pyarrow or polars.
Texts: TypeAlias = Iterable[str] | ArrowArray | ArrowStream


def encoded(value: str, name: str) -> bytes:
    """UTF-8. `name` is the argument in messages."""
    if not isinstance(value, str):
        raise InvalidArgument(f"{name}: a str is needed, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{name}: has a lone surrogate at character {error.start}, which is no text") from None


def listed(texts: Texts, name: str) -> list[str] | tuple[str, ...]:
    """The texts of any iterable but an Arrow array."""
    if isinstance(texts, (list, tuple)):
        return texts
    if isinstance(texts, (str, bytes)):
        raise InvalidArgument(f"{name}: a list of str is needed, not {type(texts).__name__}")
    try:
        return list(cast("Iterable[str]", texts))
    except TypeError:
        raise InvalidArgument(f"{name}: a list of str is needed, not {type(texts).__name__}") from None


class Packed:
    """Texts of Python's, copied once as UTF-8."""

    def __init__(self, texts: Sequence[str], name: str) -> None:
        self.count = len(texts)
        if self.count == 1:
            self.data = encoded(texts[0], f"{name}[0]")
            self.offsets = np.array((0, len(self.data)), np.int64)
            return
        try:
            joined = "".join(texts)
            self.data = joined.encode()
        except (TypeError, UnicodeEncodeError):
            for i, text in enumerate(texts):
                encoded(text, f"{name}[{i}]")
            raise
        lengths: Iterable[int]
        if joined.isascii():
            lengths = map(len, texts)
        else:
            lengths = (len(text) if text.isascii() else len(text.encode()) for text in texts)
        self.offsets = np.zeros(self.count + 1, np.int64)
        np.cumsum(np.fromiter(lengths, np.int64, self.count), out=self.offsets[1:])

    def arrow_texts(self) -> CData:
        """For kinglet_model_embed_arrow."""
        texts = ffi.new("kinglet_arrow_texts *")
        texts.struct_size, texts.count = ffi.sizeof("kinglet_arrow_texts"), self.count
        texts.offsets, texts.offset_bits = ffi.from_buffer(self.offsets), 64
        texts.data, texts.data_size = ffi.from_buffer(self.data), len(self.data)
        return texts

    def strs(self) -> tuple[CData, Any]:
        """The texts as an array of kinglet_str, and what must live as long."""
        made = np.empty((self.count, 2), np.uint64)
        np.add(self.offsets[:-1].astype(np.uint64), int(ffi.cast("uintptr_t", ffi.from_buffer(self.data))), out=made[:, 0])
        made[:, 1] = np.diff(self.offsets)
        return ffi.from_buffer("kinglet_str[]", made), (made, self)


def parts(texts: Texts, name: str) -> list[Packed | _arrow.Chunk]:
    """The texts as contiguous parts, the chunks of an Arrow array in place."""
    if not isinstance(texts, (list, tuple)) and _arrow.is_arrow(texts):
        return [chunk for chunk in _arrow.chunks(texts) if chunk.count]
    given = listed(texts, name)
    return [Packed(given, name)] if given else []


def strs(texts: Texts, name: str) -> tuple[CData, int, Any]:
    """The texts as one array of kinglet_str, their number, and what must live as long."""
    found = parts(texts, name)
    if not found:
        raise InvalidArgument(f"{name}: is empty")
    if len(found) == 1:
        pointer, keep = found[0].strs()
        return pointer, found[0].count, keep
    each = [part.strs() for part in found]
    joined = np.concatenate([keep[0] for _, keep in each])
    return ffi.from_buffer("kinglet_str[]", joined), len(joined), (joined, each)
