"""Masks, sparse embeddings and zero-shot classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, own, text
from kinglet._memory import array
from kinglet._options import calling, integer, lend, new, prompts
from kinglet._texts import Packed, Texts, listed, strs
from kinglet.errors import InvalidArgument
from kinglet.results import MaskFill, SparseEmbeddings, ZeroShotLabel, flags

if TYPE_CHECKING:
    from kinglet.model import Priority

__all__ = ["FillMaskOptions", "SparseOptions", "ZeroShotOptions", "classify_zero_shot", "fill_mask", "sparse_embed"]


class _CallOptions(TypedDict, total=False):
    """What all calls have. None, or left out, is the default."""

    #: The most tokens of a text, special tokens included; longer ones are truncated.
    max_length: int | None
    priority: Priority | None
    #: Milliseconds after which the call raises `DeadlineExceeded`.
    deadline_ms: int | None
    cancellation: Cancellation | None


class SparseOptions(_CallOptions, total=False):
    """Options of `sparse_embed`. None, or left out: as the model's files say."""

    #: Keeps only so many weights of each text, the largest ones.
    max_active_dims: int | None
    prompt_name: str | None
    prompt: str | None


class FillMaskOptions(_CallOptions, total=False):
    """Options of `fill_mask`. None, or left out, is the default."""

    #: The tokens of each mask (5).
    top_k: int | None
    #: The only tokens that are looked at.
    targets: Sequence[str] | None


class ZeroShotOptions(_CallOptions, total=False):
    """Options of `classify_zero_shot`. None, or left out, is the default."""

    #: The hypothesis about a label, which takes the place of `{}` ("This example is {}.").
    hypothesis_template: str | None
    #: Whether a text may have several labels; each score is then between 0 and 1 on its own.
    multi_label: bool


def _struct(kind: str, call: str, known: Any, options: Any, numbers: tuple[str, ...]) -> tuple[CData, Any]:
    """C's options with what all calls have and with these numbers, and the options' `get`."""
    names: set[str] = {"max_length", "priority", "deadline_ms", "cancellation", *known.__annotations__}
    for name in options:
        if name not in names:
            raise TypeError(f"{call}() has no option {name!r}")
    c, get = new(kind), cast("dict[str, Any]", options).get
    for name in ("max_length", *numbers):
        if (value := get(name)) is not None:
            setattr(c, name, integer(value, name, 1))
    calling(c, get("priority"), get("deadline_ms"))
    return c, get


def sparse_embed(model: CData, texts: Texts, options: SparseOptions) -> SparseEmbeddings:
    """See `Model.sparse_embed`."""
    c, get = _struct("kinglet_sparse_options", "sparse_embed", SparseOptions, options, ("max_active_dims",))
    keep = prompts(c, get("prompt_name"), get("prompt"))
    data, count, kept = strs(texts, "texts")
    made, view = ffi.new("kinglet_sparse_embeddings **"), new("kinglet_sparse_embeddings_view")
    run(c, lambda error: lib.kinglet_model_sparse_embed(model, data, count, c, made, error), get("cancellation"))
    del keep, kept
    owner = own(made[0], lib.kinglet_sparse_embeddings_free)
    check(lambda error: lib.kinglet_sparse_embeddings_read(owner, view, error))
    total = view.starts[count]
    return SparseEmbeddings(
        array(view.starts, (count + 1,), "<u8", owner),
        array(view.indices, (total,), "<u4", owner),
        array(view.weights, (total,), "<f4", owner),
        view.dimension,
        array(view.token_counts, (count,), "<u8", owner),
        flags(array(view.truncated, (count,), "|u1", owner)),
    )


def fill_mask(model: CData, texts: Texts, options: FillMaskOptions) -> list[list[list[MaskFill]]]:
    """See `Model.fill_mask`."""
    c, get = _struct("kinglet_fill_mask_options", "fill_mask", FillMaskOptions, options, ("top_k",))
    keep: list[Any] = []
    if targets := listed(get("targets") or (), "targets"):
        c.targets, lent = Packed(targets, "targets").strs()
        c.target_count = len(targets)
        keep += [c.targets, lent]
    data, count, kept = strs(texts, "texts")
    made, view, fill = ffi.new("kinglet_mask_fills **"), new("kinglet_mask_fills_view"), new("kinglet_mask_fill")
    run(c, lambda error: lib.kinglet_model_fill_mask(model, data, count, c, made, error), get("cancellation"))
    del keep, kept
    owner = own(made[0], lib.kinglet_mask_fills_free)
    check(lambda error: lib.kinglet_mask_fills_read(owner, view, error))

    def one(mask: int, rank: int) -> MaskFill:
        check(lambda error: lib.kinglet_mask_fills_fill(owner, mask, rank, fill, error))
        return MaskFill(fill.token, text(fill.token_text), fill.score, text(fill.sequence))

    masks = [[one(mask, rank) for rank in range(view.top_k)] for mask in range(view.mask_count)]
    return [masks[view.starts[i] : view.starts[i + 1]] for i in range(count)]


def classify_zero_shot(
    model: CData, texts: Texts, labels: Sequence[str], options: ZeroShotOptions
) -> list[list[ZeroShotLabel]]:
    """See `Model.classify_zero_shot`."""
    c, get = _struct("kinglet_zero_shot_options", "classify_zero_shot", ZeroShotOptions, options, ())
    c.multi_label = int(bool(get("multi_label")))
    keep: list[Any] = []
    if (template := get("hypothesis_template")) is not None:
        if not template:
            raise InvalidArgument("hypothesis_template: is empty; None is the default")
        keep.append(lend(c.hypothesis_template, template, "hypothesis_template"))
    data, count, kept = strs(texts, "texts")
    names, width, kept_names = strs(labels, "labels")
    made, view = ffi.new("kinglet_zero_shot_results **"), new("kinglet_zero_shot_results_view")
    run(
        c,
        lambda error: lib.kinglet_model_classify_zero_shot(model, data, count, names, width, c, made, error),
        get("cancellation"),
    )
    del keep, kept, kept_names
    owner = own(made[0], lib.kinglet_zero_shot_results_free)
    check(lambda error: lib.kinglet_zero_shot_results_read(owner, view, error))

    def ranked(i: int) -> list[ZeroShotLabel]:
        places = range(i * width, (i + 1) * width)
        return [ZeroShotLabel(labels[view.labels[place]], view.labels[place], view.scores[place]) for place in places]

    return [ranked(i) for i in range(count)]
