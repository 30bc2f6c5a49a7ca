"""Tiny recipes: the tests run in about a minute on two cores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from kinglet_training.recipe import Data, Distillation, Model, Recipe, Training  # noqa: E402

T5 = {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "dropout_rate": 0.0}
GPT2 = {"n_embd": 32, "n_head": 2, "n_layer": 2, "n_positions": 256, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


@pytest.fixture
def recipe(tmp_path: Path):
    """Makes recipes over one small set of data."""

    def make(kind: str = "t5", distillation: Distillation | None = None, **training: Any) -> Recipe:
        settings: dict[str, Any] = {"steps": 40, "batch_size": 16, "evaluate_every": 20, "learning_rate": 5e-3, "warmup_steps": 5} | training
        return Recipe(
            data=Data(str(tmp_path / "data"), generator="queries", count=600, max_input_tokens=48, max_output_tokens=32),
            model=Model(type=kind, config=dict(T5 if kind == "t5" else GPT2), vocabulary=None if distillation else 400),
            training=Training(**settings),
            distillation=distillation,
        )

    return make
