"""Tokens: from texts, to texts, to hidden states and logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, null, own, text
from kinglet._memory import array
from kinglet._options import ids, integer, new, tristate
from kinglet._texts import Packed, listed
from kinglet.errors import InvalidArgument
from kinglet.results import Encoding, Floats, HiddenStates, flags

__all__ = ["characters", "detokenize", "hidden_states", "logits", "sequences", "tokenize"]


def characters(string: str) -> Any:
    """For each byte of a string's UTF-8, and its end, the character that it is in."""
    if string.isascii():
        return range(len(string) + 1)
    first = (np.frombuffer(string.encode(), np.uint8) & 0xC0) != 0x80
    return np.append(np.cumsum(first) - first, len(string))


def tokenize(
    model: CData,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    add_special_tokens: bool | None,
    max_length: int | None,
    truncation: bool,
    offsets: bool,
    cancellation: Cancellation | None,
) -> list[Encoding]:
    """See `Model.tokenize`."""
    given = listed(texts, "texts")
    seconds = None if pairs is None else listed(pairs, "pairs")
    if not given:
        raise InvalidArgument("texts: is empty")
    if seconds is not None and len(seconds) != len(given):
        raise InvalidArgument(f"pairs: has {len(seconds)} texts, and texts has {len(given)}")
    c, made, view = new("kinglet_tokenize_options"), ffi.new("kinglet_encoding **"), new("kinglet_encoding_view")
    c.add_special_tokens = tristate(add_special_tokens, "add_special_tokens")
    c.offsets = int(offsets)
    if not truncation:
        if max_length is not None:
            raise InvalidArgument("max_length: contradicts truncation=False")
        c.max_length = 2 ** (8 * ffi.sizeof("size_t")) - 1
    elif max_length is not None:
        c.max_length = integer(max_length, "max_length", 1)
    data, keep = Packed(given, "texts").strs()
    second, kept = (null, None) if seconds is None else Packed(seconds, "pairs").strs()
    run(c, lambda error: lib.kinglet_model_tokenize(model, data, second, len(given), c, made, error), cancellation)
    del keep, kept
    owner = own(made[0], lib.kinglet_encoding_free)
    check(lambda error: lib.kinglet_encoding_read(owner, view, error))
    total = (view.token_count,)
    all_ids, types = array(view.ids, total, "<u4", owner), array(view.type_ids, total, "<u4", owner)
    special = flags(array(view.special_tokens_mask, total, "|u1", owner))
    which = array(view.sequences, total, "|u1", owner)
    spans = array(ffi.cast("size_t *", view.offsets), (view.token_count, 2), "<u8", owner) if offsets else None
    found = []
    for i in range(view.count):
        part = slice(view.starts[i], view.starts[i + 1])
        places = None
        if spans is not None:
            places = _characters(spans[part], which[part], given[i], "" if seconds is None else seconds[i])
        found.append(Encoding(all_ids[part], types[part], special[part], which[part], places, bool(view.truncated[i])))
    return found


def _characters(spans: Any, which: Any, first: str, second: str) -> Any:
    """Positions in bytes as positions in Python's strings."""
    made = spans.astype(np.int64)
    for number, string in enumerate((first, second)):
        if not string.isascii():
            rows = which == number
            made[rows] = np.asarray(characters(string))[made[rows]]
    return made


def detokenize(model: CData, token_ids: Any, skip_special_tokens: bool | None) -> str:
    """See `Model.detokenize`."""
    c, made = new("kinglet_detokenize_options"), ffi.new("kinglet_text **")
    c.skip_special_tokens = tristate(skip_special_tokens, "skip_special_tokens")
    data, count = ids(token_ids, "token_ids")
    check(lambda error: lib.kinglet_model_detokenize(model, data, count, c, made, error))
    owner = own(made[0], lib.kinglet_text_free)
    return text(lib.kinglet_text_str(owner))


def sequences(token_ids: Sequence[Sequence[int]], name: str) -> tuple[CData, int, CData, int]:
    """All ids one after the other, their number, the length of each sequence, and the number of sequences."""
    each = [ids(sequence, f"{name}[{i}]") for i, sequence in enumerate(token_ids)]
    lengths = [count for _, count in each]
    data = ffi.new("uint32_t[]", [number for numbers, count in each for number in numbers[0:count]] or 1)
    return data, sum(lengths), ffi.new("size_t[]", lengths or 1), len(each)


def hidden_states(
    model: CData,
    token_ids: Sequence[Sequence[int]],
    type_ids: Sequence[Sequence[int]] | None,
    cancellation: Cancellation | None,
) -> HiddenStates:
    """See `Model.hidden_states`."""
    c, made = new("kinglet_hidden_states_options"), ffi.new("kinglet_hidden_states **")
    view = new("kinglet_hidden_states_view")
    data, total, lengths, count = sequences(token_ids, "token_ids")
    types = null
    if type_ids is not None:
        if [len(sequence) for sequence in type_ids] != [lengths[i] for i in range(count)]:
            raise InvalidArgument("type_ids: one per token id is needed")
        types = sequences(type_ids, "type_ids")[0]
    run(
        c,
        lambda error: lib.kinglet_model_hidden_states(model, data, types, total, lengths, count, c, made, error),
        cancellation,
    )
    owner = own(made[0], lib.kinglet_hidden_states_free)
    check(lambda error: lib.kinglet_hidden_states_read(owner, view, error))
    values = array(view.values, (view.token_count, view.dimension), "<f4", owner)
    return HiddenStates(values, array(view.starts, (view.count + 1,), "<u8", owner))


def logits(
    model: CData,
    token_ids: Sequence[int],
    decoder_ids: Sequence[int] | None,
    stepwise: bool,
    cancellation: Cancellation | None,
) -> Floats:
    """See `Model.logits`."""
    c, made, view = new("kinglet_logits_options"), ffi.new("kinglet_logits **"), new("kinglet_logits_view")
    c.stepwise = int(stepwise)
    data, count = ids(token_ids, "token_ids")
    decoder, decoder_count = (null, 0) if decoder_ids is None else ids(decoder_ids, "decoder_ids")
    run(
        c,
        lambda error: lib.kinglet_model_logits(model, data, count, decoder, decoder_count, c, made, error),
        cancellation,
    )
    owner = own(made[0], lib.kinglet_logits_free)
    check(lambda error: lib.kinglet_logits_read(owner, view, error))
    return array(view.values, (view.token_count, view.vocabulary_size), "<f4", owner)
