"""Embeddings in fewer bits, and exact search among embeddings."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib
from kinglet._options import choice, integer, new
from kinglet.errors import InvalidArgument
from kinglet.results import Floats

__all__ = ["EmbeddingType", "SearchHits", "Similarity", "embedding_ranges", "quantize_embeddings", "search"]

EmbeddingType: TypeAlias = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
Similarity: TypeAlias = Literal["auto", "dot", "cosine", "hamming"]

_DTYPES: dict[str, Any] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "binary": np.int8,
    "ubinary": np.uint8,
}


class SearchHits(NamedTuple):
    """What `search` finds: a row for each query, the most similar first."""

    #: Numbers of rows of the corpus.
    indices: npt.NDArray[np.int64]
    scores: Floats


def _rows(embeddings: Any, kind: str, dimension: int | None, name: str) -> tuple[CData, Any]:
    """The C struct and what must live as long. Rows may be apart; other layouts are copied."""
    if kind not in _DTYPES:
        raise InvalidArgument(f"{name}: {kind!r} is not one of {', '.join(_DTYPES)}")
    rows = np.asarray(embeddings)
    if rows.dtype != _DTYPES[kind]:
        raise InvalidArgument(f"{name}: have the type {rows.dtype}, and {kind} is {np.dtype(_DTYPES[kind])}")
    if rows.ndim != 2:
        raise InvalidArgument(f"{name}: have shape {rows.shape}, and a row per embedding is needed")
    size = rows.itemsize
    apart = rows.strides[0] % size == 0 and rows.strides[0] >= size * rows.shape[1] and rows.strides[1] == size
    if not apart and not rows.flags.c_contiguous:
        rows = np.ascontiguousarray(rows)
    if dimension is None:
        dimension = rows.shape[1] * (8 if kind in ("binary", "ubinary") else 1)
    elif kind in ("binary", "ubinary") and rows.shape[1] != (dimension + 7) // 8:
        raise InvalidArgument(f"{name}: have {rows.shape[1]} bytes, and {dimension} values are {(dimension + 7) // 8}")
    c = new("kinglet_embedding_rows")
    c.kind = choice("embedding_type", kind, name)
    c.count, c.dimension = len(rows), dimension
    c.stride = rows.strides[0] // size if len(rows) > 1 else 0
    c.data = ffi.cast("void *", rows.ctypes.data)
    return c, rows


def _ranges(ranges: npt.ArrayLike, dimension: int) -> Floats:
    given = np.ascontiguousarray(ranges, np.float32)
    if given.shape != (2, dimension):
        raise InvalidArgument(f"ranges: have shape {given.shape}, and (2, {dimension}) is needed")
    return given


def embedding_ranges(embeddings: npt.ArrayLike) -> Floats:
    """The least value of each dimension and the greatest, as two rows: what `quantize_embeddings` and `search` share for a corpus and
    its queries."""
    c, rows = _rows(np.asarray(embeddings, np.float32), "float32", None, "embeddings")
    made = np.empty((2, rows.shape[1]), np.float32)
    check(lambda error: lib.kinglet_embeddings_ranges(c, ffi.cast("float *", made.ctypes.data), made.size, error))
    return made


def quantize_embeddings(
    embeddings: npt.ArrayLike, precision: EmbeddingType, ranges: npt.ArrayLike | None = None
) -> npt.NDArray[Any]:
    """Embeddings in fewer bits, as sentence-transformers' function of this name makes them.

    "int8" and "uint8" spread the range of each dimension over 256 values: `ranges` as `embedding_ranges` gives them, or those of these
    embeddings. "binary" and "ubinary" keep the signs, eight to a byte. A single vector gives a vector.
    """
    given = np.asarray(embeddings, np.float32)
    if precision not in _DTYPES:
        raise InvalidArgument(f"precision: {precision!r} is not one of {', '.join(_DTYPES)}")
    if given.ndim == 1:
        row: npt.NDArray[Any] = quantize_embeddings(given[None], precision, ranges)[0]
        return row
    c, rows = _rows(given, "float32", None, "embeddings")
    count, dimension = rows.shape
    width = (dimension + 7) // 8 if precision in ("binary", "ubinary") else dimension
    made = np.empty((count, width), _DTYPES[precision])
    codes, options = new("kinglet_embedding_codes"), new("kinglet_quantize_embeddings_options")
    codes.kind = choice("embedding_type", precision, "precision")
    codes.data, codes.capacity = ffi.cast("void *", made.ctypes.data), made.size
    keep = None
    if ranges is not None:
        keep = _ranges(ranges, dimension)
        options.ranges = ffi.cast("float *", keep.ctypes.data)
    check(lambda error: lib.kinglet_embeddings_quantize(c, options, codes, error))
    del keep
    return made


def search(
    queries: npt.ArrayLike,
    corpus: npt.ArrayLike,
    top_k: int = 10,
    *,
    queries_type: EmbeddingType | None = None,
    corpus_type: EmbeddingType | None = None,
    similarity: Similarity = "auto",
    ranges: npt.ArrayLike | None = None,
    rescore_multiplier: int | None = None,
    threads: int | None = None,
    cancellation: Cancellation | None = None,
) -> SearchHits:
    """Finds for each query the `top_k` rows of the corpus that are most similar to it, exactly, by comparing it with all of them.

    Arrays are float32, float16, int8 or uint8 with a row per embedding, and are read in place; `queries_type` and `corpus_type` say
    that bytes are "binary" or "ubinary" codes. Queries have the type of the corpus, or they are float32: then they are quantised as
    the corpus was, which needs its `ranges` for int8 and uint8, and the best `top_k * rescore_multiplier` (2) are scored again with the
    query's own values.

    `similarity` is by default "cosine" for floats, "dot" for int8 and uint8, and "hamming" for binary codes, whose scores are minus the
    number of bits that differ. Of equal scores the lower row comes first. `threads`: by default all.
    """
    of_queries, of_corpus = str(np.asarray(queries).dtype), str(np.asarray(corpus).dtype)
    if of_queries == of_corpus and of_corpus in ("int8", "uint8"):
        # Bytes are codes of the same kind.
        queries_type = queries_type or corpus_type
    of_queries, of_corpus = queries_type or of_queries, corpus_type or of_corpus
    q, keep = _rows(queries, of_queries, None, "queries")
    rescored = of_queries == "float32" and of_corpus in ("binary", "ubinary")
    c, keep_too = _rows(corpus, of_corpus, q.dimension if rescored else None, "corpus")
    options = new("kinglet_search_options")
    options.top_k = integer(top_k, "top_k", 1)
    options.similarity = choice("similarity", similarity, "similarity")
    if rescore_multiplier is not None:
        options.rescore_multiplier = integer(rescore_multiplier, "rescore_multiplier", 1)
    if threads is not None:
        options.threads = integer(threads, "threads", 1)
    keep_ranges = None
    if ranges is not None:
        keep_ranges = _ranges(ranges, c.dimension)
        options.ranges = ffi.cast("float *", keep_ranges.ctypes.data)
    per_query = min(options.top_k, c.count)
    hits = SearchHits(np.empty((q.count, per_query), np.int64), np.empty((q.count, per_query), np.float32))
    buffer = new("kinglet_search_buffer")
    buffer.indices = ffi.cast("int64_t *", hits.indices.ctypes.data)
    buffer.scores = ffi.cast("float *", hits.scores.ctypes.data)
    buffer.capacity = hits.scores.size
    run(options, lambda error: lib.kinglet_embeddings_search(q, c, options, buffer, error), cancellation)
    del keep, keep_too, keep_ranges
    return hits
