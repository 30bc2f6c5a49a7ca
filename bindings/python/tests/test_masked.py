"""Masks, sparse embeddings and zero-shot classification, compared with transformers and sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinglet
from kinglet import Cancellation, Model, errors

from .conftest import FIXTURES


def reference(name: str, kind: str) -> list[Any]:
    cases: list[Any] = json.loads((FIXTURES / "tasks" / name / "reference.json").read_text(encoding="utf-8"))[kind]
    return cases


def test_masks(load: Callable[[str], Model]) -> None:
    model = load("tasks/bert")
    for case in reference("bert", "fill_mask"):
        found = model.fill_mask([case["text"]], top_k=case.get("top_k"), targets=case.get("targets"))[0]
        assert len(found) == len(case["masks"])
        for fills, expected in zip(found, case["masks"]):
            assert [fill.token for fill in fills] == [each["token"] for each in expected]
            assert [fill.sequence for fill in fills] == [each["sequence"] for each in expected]
            assert all(np.isclose(fill.score, each["score"], atol=1e-4) for fill, each in zip(fills, expected))
    both = model.fill_mask(["a [MASK]", "[MASK] [MASK]"], top_k=1)
    assert [len(masks) for masks in both] == [1, 2] and isinstance(both[0][0][0], kinglet.MaskFill)
    with pytest.raises(errors.InvalidArgument, match=r"texts\[0\]: has no mask token \(\[MASK\]\)"):
        model.fill_mask(["a bird"])
    with pytest.raises(errors.InvalidArgument, match="top_k: 0"):
        model.fill_mask(["[MASK]"], top_k=0)
    with pytest.raises(TypeError, match="bottom_k"):
        model.fill_mask(["[MASK]"], bottom_k=0)  # type: ignore[call-arg]
    with pytest.raises(errors.Unsupported, match="ForMaskedLM"):
        load("bert").fill_mask(["[MASK]"])


def test_sparse_embeddings(load: Callable[[str], Model]) -> None:
    model = load("tasks/splade")
    cases = [case for case in reference("splade", "sparse") if case["max_active_dims"] == 7]
    for case in cases:
        found = model.sparse_embed([case["text"]], max_active_dims=7, prompt_name=case["prompt"])
        indices, weights = found[0]
        assert indices.tolist() == case["indices"] and np.allclose(weights, case["weights"], atol=1e-4)
    both = model.sparse_embed([case["text"] for case in cases[:2]])
    assert len(both) == 2 and both.starts.tolist() == [0, 20, 40] and both.dimension == 300
    rows = np.zeros((2, both.dimension), np.float32)
    for i in range(2):
        indices, weights = both[i]
        rows[i, indices] = weights
    assert np.isclose(both.dot(0, both, 1), rows[0] @ rows[1], atol=1e-3)
    with pytest.raises(errors.InvalidArgument, match="max_active_dims: 0"):
        model.sparse_embed(["a"], max_active_dims=0)
    cancelled = Cancellation()
    cancelled.cancel()
    with pytest.raises(errors.Cancelled):
        model.sparse_embed(["a"], cancellation=cancelled)


def test_zero_shot(load: Callable[[str], Model]) -> None:
    for name in ("nli", "nli-two"):
        model = load(f"tasks/{name}")
        for case in reference(name, "zero_shot"):
            found = model.classify_zero_shot(
                [case["text"], "a"],
                case["labels"],
                multi_label=case.get("multi_label", False),
                hypothesis_template=case.get("hypothesis_template"),
            )
            assert [each.label for each in found[0]] == case["order"] and len(found) == 2
            assert np.allclose([each.score for each in found[0]], case["scores"], atol=1e-4)
            assert all(case["labels"][each.index] == each.label for each in found[1])
    with pytest.raises(errors.InvalidArgument, match="labels"):
        model.classify_zero_shot(["a"], [])
    with pytest.raises(errors.InvalidArgument, match="hypothesis_template"):
        model.classify_zero_shot(["a"], ["b"], hypothesis_template="about")
    with pytest.raises(errors.Unsupported, match="NEGATIVE"):
        load("bert-classifier").classify_zero_shot(["a"], ["b"])
