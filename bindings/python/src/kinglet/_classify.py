"""Classification, scores of cross-encoders, and token classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, own, text
from kinglet._library import null as none
from kinglet._memory import array
from kinglet._options import calling, choice, integer, lend, new, prompts
from kinglet._request import awaited
from kinglet._texts import Packed, Texts, listed, strs
from kinglet._tokens import characters
from kinglet.errors import InvalidArgument
from kinglet.results import Classifications, Entity, Floats, RankedDocument, flags

if TYPE_CHECKING:
    from kinglet.model import Aggregation, Priority, ScoreFunction

__all__ = ["ClassifyOptions", "aclassify", "aclassify_tokens", "ascore", "classify", "classify_tokens", "rerank", "score"]


class ClassifyOptions(TypedDict, total=False):
    """Options of `classify`, `score` and `classify_tokens`. None, or left out: as the model's files say."""

    function: ScoreFunction | None
    max_length: int | None
    prompt_name: str | None
    prompt: str | None
    priority: Priority | None
    #: Milliseconds after which the call raises `DeadlineExceeded`.
    deadline_ms: int | None
    cancellation: Cancellation | None


def _options(options: ClassifyOptions) -> tuple[CData, Any]:
    for name in options:
        if name not in ClassifyOptions.__annotations__:
            raise TypeError(f"classify() has no option {name!r}")
    c, get = new("kinglet_classify_options"), cast("dict[str, Any]", options).get
    if (function := get("function")) is not None:
        c.function = choice("score_function", function, "function")
    if (max_length := get("max_length")) is not None:
        c.max_length = integer(max_length, "max_length", 1)
    calling(c, get("priority"), get("deadline_ms"))
    return c, prompts(c, get("prompt_name"), get("prompt"))


def _read(options: CData, cancellation: Cancellation | None, work: Callable[[CData, CData], int]) -> tuple[CData, CData]:
    made = ffi.new("kinglet_classifications **")
    run(options, lambda error: work(made, error), cancellation)
    return _view(made)


def _view(made: CData) -> tuple[CData, CData]:
    view = new("kinglet_classifications_view")
    owner = own(made[0], lib.kinglet_classifications_free)
    check(lambda error: lib.kinglet_classifications_read(owner, view, error))
    return owner, view


def _same(count: int, other: int, name: str, than: str) -> None:
    if count != other:
        raise InvalidArgument(f"{name}: has {other} texts, and {than} has {count}")


def classify(
    model: CData, labels: tuple[str, ...], texts: Texts, pairs: Texts | None, options: ClassifyOptions
) -> Classifications:
    """See `Model.classify`."""
    c, keep = _options(options)
    data, count, kept = strs(texts, "texts")
    second, other, kept_too = (none, count, None) if pairs is None else strs(pairs, "pairs")
    _same(count, other, "pairs", "texts")
    owner, view = _read(
        c,
        options.get("cancellation"),
        lambda made, error: lib.kinglet_model_classify(model, data, second, count, c, made, error),
    )
    del keep, kept, kept_too
    return _classifications(labels, owner, view)


def _classifications(labels: tuple[str, ...], owner: CData, view: CData) -> Classifications:
    count = view.count
    return Classifications(
        labels,
        array(view.scores, (count, view.label_count), "<f4", owner),
        array(view.best, (count,), "<u4", owner),
        array(view.token_counts, (count,), "<u8", owner),
        flags(array(view.truncated, (count,), "|u1", owner)),
    )


def score(model: CData, queries: str | Texts, documents: Texts, options: ClassifyOptions) -> Floats:
    """See `Model.score`."""
    c, keep = _options(options)
    second, count, kept = strs(documents, "documents")
    first, other, kept_too = strs([queries] * count if isinstance(queries, str) else queries, "queries")
    _same(count, other, "queries", "documents")
    owner, view = _read(
        c,
        options.get("cancellation"),
        lambda made, error: lib.kinglet_model_score(model, first, second, count, c, made, error),
    )
    del keep, kept, kept_too
    return array(view.scores, (count,), "<f4", owner)


def rerank(
    model: CData, query: str, documents: Texts, top_n: int | None, options: ClassifyOptions
) -> list[RankedDocument]:
    """See `Model.rerank`."""
    scoring, keep = _options(options)
    data, count, kept = strs(documents, "documents")
    c, given, made = new("kinglet_rerank_options"), ffi.new("kinglet_str *"), ffi.new("kinglet_ranking **")
    kept_query = lend(given, query, "query")
    if top_n is not None:
        c.top_n = integer(top_n, "top_n", 1)
    c.scoring = scoring
    run(
        scoring,
        lambda error: lib.kinglet_model_rerank(model, given[0], data, count, c, made, error),
        options.get("cancellation"),
    )
    del keep, kept, kept_query
    view = new("kinglet_ranking_view")
    owner = own(made[0], lib.kinglet_ranking_free)
    check(lambda error: lib.kinglet_ranking_read(owner, view, error))
    return [
        RankedDocument(view.indices[i], view.scores[i], bool(view.truncated[view.indices[i]])) for i in range(view.count)
    ]


def _take(request: CData) -> tuple[CData, CData]:
    made = ffi.new("kinglet_classifications **")
    check(lambda error: lib.kinglet_request_take_classifications(request, made, error))
    return _view(made)


async def aclassify(
    model: CData, labels: tuple[str, ...], texts: Texts, pairs: Texts | None, options: ClassifyOptions
) -> Classifications:
    """`classify` as a request."""
    c, keep = _options(options)
    data, count, kept = strs(texts, "texts")
    second, other, kept_too = (none, count, None) if pairs is None else strs(pairs, "pairs")
    _same(count, other, "pairs", "texts")
    return await awaited(
        lambda done, pending, made, error: lib.kinglet_model_submit_classify(
            model, data, second, count, c, done, pending, made, error
        ),
        lambda request: _classifications(labels, *_take(request)),
        options.get("cancellation"),
        (keep, kept, kept_too),
    )


async def ascore(model: CData, queries: str | Texts, documents: Texts, options: ClassifyOptions) -> Floats:
    """`score` as a request."""
    c, keep = _options(options)
    second, count, kept = strs(documents, "documents")
    first, other, kept_too = strs([queries] * count if isinstance(queries, str) else queries, "queries")
    _same(count, other, "queries", "documents")

    def take(request: CData) -> Floats:
        owner, view = _take(request)
        return array(view.scores, (count,), "<f4", owner)

    return await awaited(
        lambda done, pending, made, error: lib.kinglet_model_submit_score(
            model, first, second, count, c, done, pending, made, error
        ),
        take,
        options.get("cancellation"),
        (keep, kept, kept_too),
    )


def _of_tokens(
    texts: Sequence[str], aggregation: Aggregation, options: ClassifyOptions
) -> tuple[CData, Sequence[str], CData, object]:
    """C's options, the texts, C's texts, and what must live as long as the call."""
    c, keep = _options(options)
    c.aggregation = choice("aggregation", aggregation, "aggregation")
    given = listed(texts, "texts")
    if not given:
        raise InvalidArgument("texts: is empty")
    data, kept = Packed(given, "texts").strs()
    return c, given, data, (keep, kept)


def classify_tokens(
    model: CData, texts: Sequence[str], aggregation: Aggregation, options: ClassifyOptions
) -> list[list[Entity]]:
    """See `Model.classify_tokens`."""
    c, given, data, keep = _of_tokens(texts, aggregation, options)
    made = ffi.new("kinglet_token_classifications **")
    run(
        c,
        lambda error: lib.kinglet_model_classify_tokens(model, data, len(given), c, made, error),
        options.get("cancellation"),
    )
    del keep
    return _entities(given, made)


async def aclassify_tokens(
    model: CData, texts: Sequence[str], aggregation: Aggregation, options: ClassifyOptions
) -> list[list[Entity]]:
    """`classify_tokens` as a request."""
    c, given, data, keep = _of_tokens(texts, aggregation, options)

    def take(request: CData) -> list[list[Entity]]:
        made = ffi.new("kinglet_token_classifications **")
        check(lambda error: lib.kinglet_request_take_token_classifications(request, made, error))
        return _entities(given, made)

    return await awaited(
        lambda done, pending, made, error: lib.kinglet_model_submit_classify_tokens(
            model, data, len(given), c, done, pending, made, error
        ),
        take,
        options.get("cancellation"),
        keep,
    )


def _entities(given: Sequence[str], made: CData) -> list[list[Entity]]:
    view = new("kinglet_token_classifications_view")
    owner, entity = own(made[0], lib.kinglet_token_classifications_free), new("kinglet_entity")
    check(lambda error: lib.kinglet_token_classifications_read(owner, view, error))
    found: list[list[Entity]] = [[] for _ in given]
    places: dict[int, Any] = {}
    for i in range(view.entity_count):
        check(lambda error, i=i: lib.kinglet_token_classifications_entity(owner, i, entity, error))  # type: ignore[misc]
        which = entity.text
        if which not in places:
            places = {which: characters(given[which])}
        place = places[which]
        found[which].append(Entity(int(place[entity.start]), int(place[entity.end]), text(entity.name), entity.score))
    return found
