"""Documents that are shortened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, own, text
from kinglet._options import calling, choice, integer, lend, name_of, new
from kinglet._texts import Packed, listed
from kinglet._tokens import characters
from kinglet.errors import InvalidArgument
from kinglet.results import Compression

if TYPE_CHECKING:
    from kinglet.model import CompressMethod, CompressUnit, Priority

__all__ = ["CompressOptions", "compress"]


class CompressOptions(TypedDict, total=False):
    """Options of `compress`. One of `ratio` and `max_tokens` is needed. None, or left out, is the default."""

    #: Tokens of the document for each token that is kept: a number above 1.
    ratio: float | None
    #: The most tokens that are kept, by the model's own tokenizer and without special tokens.
    max_tokens: int | None
    method: CompressMethod | None
    unit: CompressUnit | None
    #: What sentences are to be relevant to, in place of the document's mean; and how much that counts beside novelty (0.7).
    query: str | None
    relevance: float | None
    #: The label of tokens to keep.
    keep_label: str | None
    #: Tokens that the model reads at once, and tokens that two windows share.
    window: int | None
    overlap: int | None
    force_digits: bool
    force_capitalized: bool
    #: Words, or sequences of words, that are kept wherever they are.
    force_tokens: Sequence[str]
    priority: Priority | None
    #: Milliseconds after which the call raises `DeadlineExceeded`.
    deadline_ms: int | None
    cancellation: Cancellation | None


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidArgument(f"{name}: a number is needed, not {type(value).__name__}") from None
    if number == 0:
        raise InvalidArgument(f"{name}: is 0; None is the default")
    return number


def _options(options: CompressOptions) -> tuple[CData, Any]:
    for name in options:
        if name not in CompressOptions.__annotations__:
            raise TypeError(f"compress() has no option {name!r}")
    c, get = new("kinglet_compress_options"), cast("dict[str, Any]", options).get
    keep: list[Any] = []
    if (ratio := get("ratio")) is not None:
        c.ratio = _number(ratio, "ratio")
    if (relevance := get("relevance")) is not None:
        c.relevance = _number(relevance, "relevance")
    for name in ("max_tokens", "window", "overlap"):
        if (value := get(name)) is not None:
            setattr(c, name, integer(value, name, 1))
    if (method := get("method")) is not None:
        c.method = choice("compress_method", method, "method")
    if (unit := get("unit")) is not None:
        c.unit = choice("compress_unit", unit, "unit")
    if (query := get("query")) is not None:
        keep.append(lend(c.query, query, "query"))
    if (keep_label := get("keep_label")) is not None:
        keep.append(lend(c.keep_label, keep_label, "keep_label"))
    c.force_digits = int(bool(get("force_digits")))
    c.force_capitalized = int(bool(get("force_capitalized")))
    if forced := listed(get("force_tokens") or (), "force_tokens"):
        c.force_tokens, kept = Packed(forced, "force_tokens").strs()
        c.force_token_count = len(forced)
        keep += [c.force_tokens, kept]
    calling(c, get("priority"), get("deadline_ms"))
    return c, keep


def compress(model: CData, document: str, options: CompressOptions) -> Compression:
    """See `Model.compress`."""
    c, keep = _options(options)
    given, made, view = ffi.new("kinglet_str *"), ffi.new("kinglet_compression **"), new("kinglet_compression_view")
    keep.append(lend(given, document, "text"))
    run(
        c,
        lambda error: lib.kinglet_model_compress(model, given[0], c, made, error),
        options.get("cancellation"),
    )
    del keep
    owner = own(made[0], lib.kinglet_compression_free)
    check(lambda error: lib.kinglet_compression_read(owner, view, error))
    place = characters(document)
    spans = (view.kept[i] for i in range(view.kept_count))
    return Compression(
        text(view.text),
        tuple((int(place[span.start]), int(place[span.end])) for span in spans),
        view.tokens_before,
        view.tokens_after,
        view.windows,
        name_of("compress_method", view.method),
    )
