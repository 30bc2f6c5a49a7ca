"""Embeddings: from Python's texts, from Arrow's, beside references."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kinglet import Model, errors

from .conftest import FIXTURES, MIXED, cosines, reference, tensors


def test_shapes(bert: Model) -> None:
    rows = bert.embed(MIXED)
    assert rows.shape == (len(MIXED), 32) and rows.dtype == np.float32 and rows.flags.writeable
    # The bits of a text depend on no other.
    for text, row in zip(MIXED, rows, strict=True):
        one = bert.embed(text)
        assert one.shape == (32,) and (one == row).all()
    assert bert.embed([]).shape == (0, 32)
    assert bert.embed(["a"], truncate_dim=8).shape == (1, 8)
    # More values than there are, and another pooling: how many there are is known only to the library.
    assert bert.embed(["a"], truncate_dim=100).shape == (1, 32)
    assert bert.embed(["a"], pooling="cls").shape == (1, 32)
    assert (bert.embed(tuple(MIXED)) == rows).all() and (bert.embed(iter(MIXED)) == rows).all()
    assert (bert.embed(np.array(MIXED[4:])) == rows[4:]).all()


def test_detailed(bert: Model) -> None:
    found = bert.embed_detailed(MIXED)
    assert (found.values == bert.embed(MIXED)).all()
    assert found.token_counts[0] == 2 and found.token_counts[-1] == 24
    assert found.truncated[-1] and not found.truncated[0] and found.truncated.dtype == np.bool_
    assert len(bert.embed_detailed([]).truncated) == 0
    other = bert.embed_detailed(MIXED, pooling="mean")
    assert (other.token_counts == found.token_counts).all() and (other.truncated == found.truncated).all()


def test_options(bert: Model) -> None:
    plain = bert.embed(["a small bird"], normalize=False)
    assert abs(np.linalg.norm(bert.embed(["a small bird"], normalize=True)) - 1) < 1e-5
    assert not np.allclose(np.linalg.norm(plain), 1)
    assert (bert.embed(["bird"], prompt="small ") == bert.embed(["small bird"])).all()
    assert (bert.embed(["bird"], prompt="") == bert.embed(["bird"])).all()
    assert (bert.embed(["a small bird"], max_length=3) != bert.embed(["a small bird"])).any()
    tokens = bert.embed_tokens(["bird", ""], normalize=False)
    assert [rows.shape for rows in tokens] == [(4, 32), (2, 32)]
    assert np.allclose(tokens[0].mean(0), bert.embed("bird", normalize=False), atol=1e-6)
    assert (tokens[0][0] == bert.embed("bird", pooling="cls", normalize=False)).all()


def test_into_own_memory(bert: Model) -> None:
    expected = bert.embed(["bird", "", "a"])
    wide = np.full((3, 40), 7, np.float32)
    out = wide[:, 4:36]
    assert bert.embed(["bird", "", "a"], out=out) is out
    assert (out == expected).all() and (wide[:, :4] == 7).all() and (wide[:, 36:] == 7).all()
    every_other = np.zeros((6, 32), np.float32)[::2]
    assert (bert.embed(["bird", "", "a"], out=every_other, pooling="mean") == expected).all()
    read_only = np.zeros((3, 32), np.float32)
    read_only.flags.writeable = False
    bad: Any
    for bad, says in [
        (np.zeros((3, 32)), "float32"),
        (np.zeros((3, 31), np.float32), "has shape (3, 31), and (3, 32)"),
        (np.zeros((32, 3), np.float32).T, "one after the other"),
        (np.zeros((3, 32), np.float32)[::-1], "in order"),
        (read_only, "read-only"),
        ("x", "float32"),
    ]:
        with pytest.raises(errors.InvalidArgument, match="out: ") as failure:
            bert.embed(["bird", "", "a"], out=bad)
        assert says in str(failure.value)


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        ([3], {}, "texts[0]: a str is needed, not int"),
        (["a", b"b"], {}, "texts[1]: a str is needed, not bytes"),
        (["a", "\ud800"], {}, "texts[1]: has a lone surrogate"),
        (3, {}, "texts: a list of str is needed, not int"),
        (b"a", {}, "texts: a list of str is needed, not bytes"),
        (["a"], {"pooling": "first"}, "pooling: 'first' is unknown; it is one of auto, mean, cls"),
        (["a"], {"pooling": "none"}, "use embed_tokens"),
        (["a"], {"normalize": 1}, "normalize: 1 is neither"),
        (["a"], {"max_length": 0}, "max_length: 0 is not in 1"),
        (["a"], {"max_length": 2.5}, "max_length: a whole number is needed"),
        (["a"], {"truncate_dim": -1}, "truncate_dim: -1"),
        (["a"], {"prompt_name": "passage"}, "prompt_name: `passage` is unknown"),
        (["a"], {"prompt_name": ""}, "prompt_name: is empty"),
        (["a"], {"prompt": 3}, "prompt: a str is needed"),
    ],
)
def test_refusals(bert: Model, texts: Any, options: Any, says: str) -> None:
    with pytest.raises(errors.InvalidArgument) as failure:
        bert.embed(texts, **options)
    assert says in str(failure.value) and isinstance(failure.value, ValueError)


def test_unknown_options(bert: Model) -> None:
    with pytest.raises(TypeError, match="'batch_size'"):
        bert.embed(["a"], batch_size=3)  # type: ignore[call-overload]


def test_fixtures_are_as_in_transformers(load: Callable[[str], Model]) -> None:
    for name in ("bert", "distilbert", "roberta", "xlm-roberta", "mpnet"):
        model, cases = load(name), [case for case in reference(name)["cases"] if case.get("hidden")]
        states = model.hidden_states([case["ids"] for case in cases], [case["type_ids"] for case in cases])
        assert len(cases) > 3 and len(states) == len(cases)
        for i, case in enumerate(cases):
            assert np.allclose(states[i], case["hidden"], atol=1e-4), (name, case["text"])
            pairs = None if case["pair"] is None else [case["pair"]]
            (encoding,) = model.tokenize([case["text"]], pairs, offsets=True)
            assert encoding.ids.tolist() == case["ids"] and encoding.offsets is not None
            assert encoding.offsets.tolist() == case["offsets"], (name, case["text"])


def test_minilm_is_as_in_sentence_transformers(minilm: Model) -> None:
    """The values were stored by sentence-transformers (tests/fixtures/minilm)."""
    folder = FIXTURES / "minilm"
    texts = [json.loads(line)["text"] for line in (folder / "texts.jsonl").read_text().splitlines()]
    stored = tensors(folder / "reference.safetensors")["embeddings"]
    assert stored.shape == (220, 384)
    assert cosines(minilm.embed(texts), stored).min() > 0.99999


def arrays(texts: list[str]) -> list[Any]:
    """The texts in each layout of Arrow's, whole, sliced and in chunks."""
    made = []
    try:
        import pyarrow

        for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
            made += [pyarrow.array(texts, kind), pyarrow.array(["x", *texts, "y"], kind)[1:-1]]
            made.append(pyarrow.chunked_array([texts[:2], [], texts[2:]], kind))
        # A bitmap without nulls in the slice.
        made.append(pyarrow.array([None, *texts])[1:])
    except ImportError:
        pass
    try:
        import polars

        made += [polars.Series(texts), polars.Series(["x", *texts])[1:], polars.Series([None, *texts])[1:]]
        made.append(polars.concat([polars.Series(texts[:3]), polars.Series(texts[3:])], rechunk=False))
    except ImportError:
        pass
    if not made:
        pytest.skip("neither pyarrow nor polars is installed")
    return made


def test_arrow_arrays_are_read_in_place(bert: Model) -> None:
    expected = bert.embed_detailed(MIXED)
    for column in arrays(MIXED):
        found = bert.embed_detailed(column)
        assert (found.values == expected.values).all(), type(column)
        assert (found.token_counts == expected.token_counts).all() and (found.truncated == expected.truncated).all()
        out = np.zeros((len(MIXED), 8), np.float32)
        assert (bert.embed(column, out=out, truncate_dim=8) == expected.values[:, :8]).all()
        assert (bert.embed(column, pooling="mean") == expected.values).all()
        assert len(bert.embed_tokens(column)) == len(MIXED)


def test_arrow_arrays_that_are_refused(bert: Model, load: Callable[[str], Model]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    polars = pytest.importorskip("polars")
    for column, says in [
        (pyarrow.array(["a", None]), "text 1 is null"),
        (pyarrow.array(["x", "a", None, "b"], pyarrow.string_view())[1:], "text 1 is null"),
        (polars.Series(["a", "b", None]), "text 2 is null"),
        (pyarrow.array([1]), "an Arrow array of format 'l'; a string array is needed"),
        (polars.DataFrame({"a": ["x"]}), "is a table; pass one of its columns"),
    ]:
        with pytest.raises(errors.InvalidArgument) as failure:
            bert.embed(column)
        assert says in str(failure.value)
    with pytest.raises(errors.InvalidArgument, match="text 1 is null"):
        load("bert-classifier").classify(pyarrow.array(["a", None]))
    assert bert.embed(pyarrow.array([], pyarrow.string())).shape == (0, 32)
