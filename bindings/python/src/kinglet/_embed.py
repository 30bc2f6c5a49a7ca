"""Embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, own
from kinglet._memory import array
from kinglet._options import calling, choice, integer, new, prompts, tristate
from kinglet._request import awaited
from kinglet._texts import Packed, Texts, parts, strs
from kinglet.errors import InvalidArgument
from kinglet.results import Embeddings, Floats, flags

if TYPE_CHECKING:
    from kinglet._arrow import Chunk
    from kinglet.model import Pooling, Priority

__all__ = ["EmbedOptions", "aembed", "embed", "embed_tokens"]


class EmbedOptions(TypedDict, total=False):
    """Options of `embed`. None, or left out: as the model's files say."""

    pooling: Pooling | None
    normalize: bool | None
    max_length: int | None
    prompt_name: str | None
    prompt: str | None
    truncate_dim: int | None
    priority: Priority | None
    #: Milliseconds after which the call raises `DeadlineExceeded`.
    deadline_ms: int | None
    cancellation: Cancellation | None


def _options(options: EmbedOptions) -> tuple[CData, Any]:
    """The C struct, and what must live as long."""
    for name in options:
        if name not in EmbedOptions.__annotations__:
            raise TypeError(f"embed() has no option {name!r}")
    c, get = new("kinglet_embed_options"), cast("dict[str, Any]", options).get
    if (pooling := get("pooling")) is not None:
        c.pooling = choice("pooling", pooling, "pooling")
    c.normalize = tristate(get("normalize"), "normalize")
    if (max_length := get("max_length")) is not None:
        c.max_length = integer(max_length, "max_length", 1)
    if (truncate_dim := get("truncate_dim")) is not None:
        c.truncate_dim = integer(truncate_dim, "truncate_dim", 1)
    calling(c, get("priority"), get("deadline_ms"))
    return c, prompts(c, get("prompt_name"), get("prompt"))


def embed(
    model: CData, view: CData, texts: Texts, out: Floats | None, options: EmbedOptions, detailed: bool
) -> Embeddings:
    """The library writes into numpy's memory. `view` is the model's, `detailed` asks for token counts and truncation, too."""
    c, keep = _options(options)
    if c.pooling == lib.KINGLET_POOLING_NONE:
        raise InvalidArgument("pooling: 'none' gives one vector per token; use embed_tokens")
    cancellation = options.get("cancellation")
    found = parts(texts, "texts")
    count, dimension = sum(part.count for part in found), int(view.embedding_dimension)
    known = not c.pooling and c.truncate_dim <= dimension
    if known:
        dimension = c.truncate_dim or dimension
        if out is None:
            out = np.empty((count, dimension), np.float32)
        else:
            _check(out, count, dimension)
    counts = np.empty(count, np.uint64) if detailed else None
    truncated = np.empty(count, np.uint8) if detailed else None
    at = 0
    for part in found:
        end = at + part.count
        rows = None if counts is None or truncated is None else (counts[at:end], truncated[at:end])
        if known and out is not None and (isinstance(part, Packed) or part.offset_bits):
            _arrow(model, part, c, out[at:end], rows, cancellation)
        else:
            values = _strs(model, part, c, rows, cancellation)
            if out is None:
                out = np.empty((count, values.shape[1]), np.float32)
            else:
                _check(out, count, values.shape[1])
            out[at:end] = values
        at = end
    del keep
    if out is None:
        out = np.empty((0, dimension), np.float32)
    return Embeddings(
        out, np.empty(0, np.uint64) if counts is None else counts, flags(np.empty(0, np.uint8) if truncated is None else truncated)
    )


def _check(out: Any, count: int, dimension: int) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        raise InvalidArgument("out: an array of float32 is needed")
    if out.shape != (count, dimension):
        raise InvalidArgument(f"out: has shape {out.shape}, and ({count}, {dimension}) is needed")
    if not out.flags.writeable:
        raise InvalidArgument("out: is read-only")
    if dimension > 1 and out.strides[1] != 4 or count > 1 and (out.strides[0] % 4 or out.strides[0] < 4 * dimension):
        raise InvalidArgument("out: the values of a row must be one after the other, and the rows in order")


def _arrow(
    model: CData,
    part: Packed | Chunk,
    options: CData,
    out: Floats,
    rows: tuple[Any, Any] | None,
    cancellation: Cancellation | None,
) -> None:
    """All texts in one call, into `out`."""
    texts, buffer = part.arrow_texts(), ffi.new("kinglet_embedding_buffer *")
    stride = out.strides[0] // 4 if part.count > 1 else out.shape[1]
    buffer.struct_size, buffer.dimension, buffer.stride = ffi.sizeof("kinglet_embedding_buffer"), out.shape[1], stride
    buffer.values = ffi.from_buffer("float[]", out) if out.flags.c_contiguous else ffi.cast("float *", out.ctypes.data)
    buffer.capacity = (part.count - 1) * stride + out.shape[1]
    if rows is not None:
        buffer.token_counts = ffi.cast("size_t *", rows[0].ctypes.data)
        buffer.truncated = ffi.cast("uint8_t *", rows[1].ctypes.data)
    run(options, lambda error: lib.kinglet_model_embed_arrow(model, texts, options, buffer, error), cancellation)


def _strs(
    model: CData, part: Packed | Chunk, options: CData, rows: tuple[Any, Any] | None, cancellation: Cancellation | None
) -> Floats:
    """For texts that have no offsets, and for vectors whose size is only known afterwards."""
    data, keep = part.strs()
    owner, view = _embeddings(model, data, part.count, options, cancellation)
    del keep
    if rows is not None:
        rows[0][:] = array(view.token_counts, (view.count,), "<u8", owner)
        rows[1][:] = array(view.truncated, (view.count,), "|u1", owner)
    return array(view.values, (view.row_count, view.dimension), "<f4", owner)


def _embeddings(
    model: CData, data: CData, count: int, options: CData, cancellation: Cancellation | None
) -> tuple[CData, CData]:
    made = ffi.new("kinglet_embeddings **")
    run(options, lambda error: lib.kinglet_model_embed(model, data, count, options, made, error), cancellation)
    return _read(made)


def _read(made: CData) -> tuple[CData, CData]:
    view = new("kinglet_embeddings_view")
    owner = own(made[0], lib.kinglet_embeddings_free)
    check(lambda error: lib.kinglet_embeddings_read(owner, view, error))
    return owner, view


def embed_tokens(model: CData, texts: Texts, options: EmbedOptions) -> list[Floats]:
    """One array per text, over the library's memory."""
    c, keep = _options(options)
    if c.pooling not in (lib.KINGLET_POOLING_AUTO, lib.KINGLET_POOLING_NONE):
        raise InvalidArgument("pooling: embed_tokens pools nothing; use embed")
    c.pooling = lib.KINGLET_POOLING_NONE
    data, count, kept = strs(texts, "texts")
    owner, view = _embeddings(model, data, count, c, options.get("cancellation"))
    del keep, kept
    values = array(view.values, (view.row_count, view.dimension), "<f4", owner)
    return [values[view.starts[i] : view.starts[i + 1]] for i in range(count)]


async def aembed(model: CData, texts: Texts, options: EmbedOptions) -> Floats:
    """`embed` as a request."""
    c, keep = _options(options)
    if c.pooling == lib.KINGLET_POOLING_NONE:
        raise InvalidArgument("pooling: 'none' gives one vector per token; use embed_tokens")
    data, count, kept = strs(texts, "texts")

    def take(request: CData) -> Floats:
        made = ffi.new("kinglet_embeddings **")
        check(lambda error: lib.kinglet_request_take_embeddings(request, made, error))
        owner, view = _read(made)
        # Writable, as what `embed` gives.
        return array(view.values, (view.row_count, view.dimension), "<f4", owner).copy()

    return await awaited(
        lambda done, pending, made, error: lib.kinglet_model_submit_embed(model, data, count, c, done, pending, made, error),
        take,
        options.get("cancellation"),
        (keep, kept),
    )
