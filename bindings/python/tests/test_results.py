"""Classification, tokens, logits, counters and devices."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable

import numpy as np
import pytest

import kinglet
from kinglet import Cancellation, Model, errors

from .conftest import MIXED, reference


def test_classify(load: Callable[[str], Model]) -> None:
    model = load("bert-classifier")
    cases = reference("bert-classifier")["cases"]
    alone = [case for case in cases if case["pair"] is None]
    found = model.classify([case["text"] for case in alone], function="none")
    assert np.allclose(found.scores, [case["logits"] for case in alone], atol=1e-4)
    assert (found.best == found.scores.argmax(1)).all() and len(found) == len(alone)
    assert found.best_labels == [model.labels[i] for i in found.best] and len(model.labels) == 2
    assert found.token_counts.tolist() == [len(case["ids"]) for case in alone] and not found.truncated.any()
    assert np.allclose(model.classify(["a"]).scores.sum(), 1, atol=1e-6)
    pairs = [case for case in cases if case["pair"] is not None]
    assert pairs
    both = model.classify([case["text"] for case in pairs], [case["pair"] for case in pairs], function="none")
    assert np.allclose(both.scores, [case["logits"] for case in pairs], atol=1e-4)
    with pytest.raises(errors.InvalidArgument, match="pairs: has 1 texts, and texts has 2"):
        model.classify(["a", "b"], ["c"])
    with pytest.raises(errors.InvalidArgument, match="texts: is empty"):
        model.classify([])


def test_score(load: Callable[[str], Model]) -> None:
    model, documents = load("roberta-cross-encoder"), ["bird", "river", "a fox"]
    found = model.score("a", documents)
    assert found.shape == (3,) and (found > 0).all() and (found < 1).all()
    assert (found == model.score(["a"] * 3, documents)).all()
    raw = model.score("a", documents, function="none")
    assert np.allclose(found, 1 / (1 + np.exp(-raw)), atol=1e-6)
    with pytest.raises(errors.InvalidArgument, match="queries: has 2 texts"):
        model.score(["a", "b"], documents)
    with pytest.raises(errors.Unsupported):
        load("bert").score("a", documents)


def test_classify_tokens(load: Callable[[str], Model]) -> None:
    model, text = load("bert-token-classifier"), "Ærø: John went from Berlin to Paris."
    (plain,) = model.classify_tokens([text], aggregation="none")
    (encoding,) = model.tokenize([text], offsets=True)
    assert encoding.offsets is not None
    places = {tuple(place) for place in encoding.offsets.tolist()}
    assert plain and all((e.start, e.end) in places and e.label in model.labels and 0 < e.score <= 1 for e in plain)
    simple = model.classify_tokens([text, "a"])
    assert len(simple) == 2 and all(text[e.start : e.end] and not e.label.startswith("B-") for e in simple[0])


def test_compress(load: Callable[[str], Model]) -> None:
    bert, gpt2, tagger = load("bert"), load("generation/gpt2"), load("bert-token-classifier")
    document = "A small bird sings für Ærø. The rain runs to the sea! It answers 42 times. " * 5
    for found in (
        bert.compress(document, ratio=3, query="rain", relevance=0.5),
        gpt2.compress(document, ratio=3, unit="word", window=40, overlap=8, force_tokens=["rain"]),
        tagger.compress(document, ratio=3, keep_label="O", force_digits=True),
        asyncio.run(gpt2.acompress(document, ratio=3, unit="word", force_capitalized=True)),
    ):
        assert found.tokens_after * 3 <= found.tokens_before and found.windows > 1 and str(found) == found.text
        pieces = "".join(document[start:end] for start, end in found.kept)
        assert pieces.replace(" ", "") == found.text.replace(" ", "")
    assert found.method == "self_information"
    assert tagger.compress(document, ratio=2, keep_label="O", force_digits=True).text.count("42") == 5
    assert bert.compress("bird", max_tokens=9).text == "bird"
    for options, says in (
        ({}, "ratio: give"),
        ({"ratio": 0}, "ratio: is 0"),
        ({"ratio": "two"}, "ratio: a number is needed, not str"),
        ({"ratio": 2, "max_tokens": 5}, "ratio, max_tokens"),
        ({"ratio": 2, "method": "magic"}, "method: 'magic' is unknown"),
        ({"ratio": 2, "window": 0}, "window: 0"),
        ({"ratio": 2, "force_tokens": "rain"}, "force_tokens: a list of str"),
        ({"ratio": 2, "unit": "word"}, "unit: the method"),
    ):
        with pytest.raises(errors.InvalidArgument, match=says):
            bert.compress(document, **options)
    with pytest.raises(TypeError, match="'speed'"):
        bert.compress(document, speed=2)  # type: ignore[call-arg]
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(errors.Cancelled):
        bert.compress(document, ratio=2, cancellation=cancellation)


def test_tokenize(bert: Model) -> None:
    found = bert.tokenize(MIXED, max_length=10)
    assert [len(encoding) for encoding in found][-1] == 10 and found[-1].truncated
    assert found[0].special_tokens_mask.all() and found[0].offsets is None
    whole = bert.tokenize(MIXED, truncation=False, add_special_tokens=False)
    assert len(whole[-1]) >= 600 and not whole[-1].truncated and len(whole[0]) == 0
    (pair,) = bert.tokenize(["a bird"], ["für 中文"], offsets=True)
    assert pair.offsets is not None and set(pair.sequences.tolist()) == {0, 1, 255} and pair.type_ids.max() == 1
    last = pair.offsets[pair.sequences == 1][-1]
    assert "für 中文"[last[0] : last[1]] == "文"
    text = "a small bird"
    assert bert.detokenize(bert.tokenize([text])[0].ids).replace(" ", "") == text.replace(" ", "")
    assert "[CLS]" in bert.detokenize([2], skip_special_tokens=False) and bert.detokenize([2]) == ""
    with pytest.raises(errors.InvalidArgument, match="contradicts"):
        bert.tokenize(["a"], truncation=False, max_length=3)
    with pytest.raises(errors.InvalidArgument, match=r"token_ids: -1 is no token id"):
        bert.detokenize([-1])
    with pytest.raises(errors.InvalidArgument, match=r"ids\[0\]"):
        bert.detokenize([4_000_000_000])


def test_logits(load: Callable[[str], Model]) -> None:
    for name in ("llama", "t5"):
        case = next(case for case in reference(f"generation/{name}")["cases"] if case["logits"])
        model = load(f"generation/{name}")
        arguments = (case["decoder_ids"],) if name == "llama" else (case["ids"], case["decoder_ids"])
        found = model.logits(*arguments)
        assert np.allclose(found[-len(case["logits"]) :], case["logits"], atol=1e-3), name
        assert np.allclose(model.logits(*arguments, stepwise=True), found, atol=1e-5)


def test_results_keep_their_memory(load: Callable[[str], Model]) -> None:
    """Arrays are views of the library's memory, which lives as long as they."""
    model = Model.load(load("bert-classifier").path)
    scores = model.classify(["a", "b"]).scores
    base = scores.base
    assert base is not None and not scores.flags.writeable
    expected = scores.copy()
    part = scores[1:]
    model.close()
    del scores, model, base
    gc.collect()
    assert (part == expected[1:]).all()


def test_counters(load: Callable[[str], Model]) -> None:
    with Model.load(load("bert").path) as model:
        model.embed(["bird", "fox"])
        counters = model.counters()
        assert counters["call"].calls == 1 and counters["call"].items == 2 and counters["call"].nanoseconds > 0
        assert model.latency().count == 1 and model.latency().max >= model.latency().p50 > 0
        assert json.loads(model.export_counters())["latency"]["count"] == 1
        assert model.export_counters("prometheus").count("# TYPE") > 1 and "attention," in model.export_counters("csv")
        model.reset_counters()
        assert model.counters()["call"].calls == 0


def test_devices() -> None:
    found = kinglet.devices(open_libraries=False)
    assert found[0].device == "cpu" and found[0].device_index == 0 and found[0].name
    assert isinstance(kinglet.missing_devices(open_libraries=False), str)
