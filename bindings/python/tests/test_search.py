"""Search among embeddings, their codes, and reranking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinglet
from kinglet import Cancellation, Model, embedding_ranges, errors, quantize_embeddings, search
from kinglet.sentence_transformers import SentenceTransformer, semantic_search
from kinglet.sentence_transformers import quantize_embeddings as st_quantize

NUMBERS = np.random.default_rng(3)
CORPUS = NUMBERS.standard_normal((1500, 48)).astype(np.float32)
QUERIES = NUMBERS.standard_normal((7, 48)).astype(np.float32)


def best(scores: Any, top_k: int) -> Any:
    """The places of the greatest in each row, the lower first of equals."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :top_k]


def test_hits_are_those_of_numpy() -> None:
    products = QUERIES.astype(np.float64) @ CORPUS.T
    cosines = products / np.linalg.norm(QUERIES, axis=1)[:, None] / np.linalg.norm(CORPUS, axis=1)
    for similarity, scores in (("dot", products), ("cosine", cosines), ("auto", cosines)):
        hits = search(QUERIES, CORPUS, 5, similarity=similarity)  # type: ignore[arg-type]
        assert (hits.indices == best(scores, 5)).all(), similarity
        assert np.allclose(hits.scores, np.take_along_axis(scores, hits.indices, 1), atol=1e-4)
        again = search(QUERIES, CORPUS, 5, similarity=similarity, threads=3)  # type: ignore[arg-type]
        assert (again.indices == hits.indices).all() and (again.scores == hits.scores).all()
    # Rows that are apart, and columns that are not in order.
    assert (search(QUERIES[::2], CORPUS[::3]).indices == search(QUERIES[::2].copy(), CORPUS[::3].copy()).indices).all()
    turned = np.asfortranarray(CORPUS)
    assert (search(QUERIES, turned).indices == search(QUERIES, CORPUS).indices).all()
    halves = search(QUERIES, CORPUS.astype(np.float16), 3)
    assert np.allclose(halves.scores, search(QUERIES, CORPUS, 3).scores, atol=1e-2)
    assert search(QUERIES, CORPUS[:4]).indices.shape == (7, 4) and search(QUERIES[:0], CORPUS).scores.shape == (0, 10)


def test_codes_are_searched_exactly() -> None:
    ranges = embedding_ranges(CORPUS)
    assert (ranges == [CORPUS.min(0), CORPUS.max(0)]).all()
    for kind in ("int8", "uint8"):
        codes, queries = quantize_embeddings(CORPUS, kind, ranges), quantize_embeddings(QUERIES, kind, ranges)
        scores = queries.astype(np.int64) @ codes.astype(np.int64).T
        hits = search(queries, codes, 9)
        assert (hits.indices == best(scores, 9)).all() and (hits.scores == np.take_along_axis(scores, hits.indices, 1)).all()
        # sentence-transformers' rescoring: the query's own values with the codes of twice as many.
        rescored = search(QUERIES, codes, 4, ranges=ranges)
        candidates = best(scores, 8)
        for query, row, found in zip(QUERIES, candidates, rescored.indices, strict=True):
            assert (found == row[np.argsort(-(codes[row].astype(np.float64) @ query), kind="stable")[:4]]).all()
    for kind in ("binary", "ubinary"):
        codes, queries = quantize_embeddings(CORPUS, kind), quantize_embeddings(QUERIES, kind)  # type: ignore[arg-type]
        bits = -((QUERIES > 0)[:, None] != (CORPUS > 0)[None]).sum(-1)
        hits = search(queries, codes, 6, corpus_type=kind)  # type: ignore[arg-type]
        assert (hits.indices == best(bits, 6)).all() and (hits.scores == np.take_along_axis(bits, hits.indices, 1)).all()
        assert search(QUERIES, codes, 3, corpus_type=kind, rescore_multiplier=4).indices.shape == (7, 3)  # type: ignore[arg-type]


def test_sentence_transformers_names() -> None:
    found = semantic_search(QUERIES, CORPUS, top_k=3)
    hits = search(QUERIES, CORPUS, 3)
    assert [[hit["corpus_id"] for hit in row] for row in found] == hits.indices.tolist()
    assert found[0][0] == {"corpus_id": hits.indices[0, 0], "score": hits.scores[0, 0]}
    by_calibration = st_quantize(QUERIES, "uint8", calibration_embeddings=CORPUS)
    assert (by_calibration == quantize_embeddings(QUERIES, "uint8", embedding_ranges(CORPUS))).all()
    assert (st_quantize(QUERIES[0], "binary") == st_quantize(QUERIES, "binary")[0]).all()


def test_encode_in_fewer_bits(bert: Model) -> None:
    model = SentenceTransformer(bert.path)
    texts = ["a small bird", "the river", "a stone falls"]
    rows = model.encode(texts)
    for precision in ("int8", "uint8", "binary", "ubinary"):
        made = model.encode(texts, precision=precision)
        assert (made == quantize_embeddings(rows, precision)).all(), precision


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"corpus": CORPUS[:, :8]}, "queries.dimension: is 48, and the corpus has 8"),
        ({"corpus": CORPUS[0]}, "corpus: have shape"),
        ({"corpus": CORPUS.astype(np.float64)}, "corpus: 'float64' is not one of float32"),
        ({"corpus": CORPUS, "corpus_type": "int8"}, "corpus: have the type float32, and int8 is int8"),
        ({"corpus": CORPUS.astype(np.int8)}, "ranges: are needed"),
        ({"corpus": CORPUS.astype(np.int8), "ranges": [1.0]}, "ranges: have shape"),
        ({"corpus": CORPUS.astype(np.int8), "corpus_type": "binary"}, "corpus: have 48 bytes, and 48 values are 6"),
        ({"corpus": CORPUS, "similarity": "hamming"}, "similarity: hamming is not for a corpus of float32"),
        ({"corpus": CORPUS, "similarity": "angle"}, "similarity: 'angle' is unknown"),
        ({"corpus": CORPUS, "top_k": 0}, "top_k: 0"),
        ({"corpus": CORPUS * np.float32(np.nan)}, "the score of query 0 with embedding 0 of the corpus is NaN"),
    ],
)
def test_what_search_refuses(arguments: Any, says: str) -> None:
    with pytest.raises(errors.InvalidArgument) as failure:
        search(QUERIES, **arguments)
    assert says in str(failure.value)


def test_what_codes_refuse() -> None:
    with pytest.raises(errors.InvalidArgument, match="value 1 of embedding 0 is NaN"):
        quantize_embeddings([[1.0, np.nan]], "binary")
    with pytest.raises(errors.InvalidArgument, match="precision: 'int4'"):
        quantize_embeddings(CORPUS, "int4")  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgument, match="ranges need an embedding"):
        embedding_ranges(CORPUS[:0])
    cancelled = Cancellation()
    cancelled.cancel()
    with pytest.raises(errors.Cancelled):
        search(QUERIES, CORPUS, cancellation=cancelled)


def test_rerank(load: Callable[[str], Model]) -> None:
    model = load("roberta-cross-encoder")
    documents = ["a stone falls", "a small bird", "a small bird", "river " * 600]
    scores = model.score("what flies?", documents)
    ranking = model.rerank("what flies?", documents)
    assert [each.index for each in ranking] == best(scores[None], 4)[0].tolist()
    assert all(each.score == scores[each.index] and each.truncated == (each.index == 3) for each in ranking)
    raw = model.rerank("what flies?", documents, top_n=2, function="none")
    assert len(raw) == 2 and isinstance(raw[0], kinglet.RankedDocument)
    assert np.isclose(raw[0].score, model.score("what flies?", documents, function="none")[raw[0].index])
    with pytest.raises(errors.InvalidArgument, match="top_n: 0"):
        model.rerank("a", documents, top_n=0)
    with pytest.raises(errors.Unsupported, match="2 labels"):
        load("bert-classifier").rerank("a", documents)
