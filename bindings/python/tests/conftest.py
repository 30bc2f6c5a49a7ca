"""Models and references that the tests share."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinglet import Model

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = Path(os.environ.get("KINGLET_FIXTURES", ROOT / "tests/fixtures"))
MINILM = Path(os.environ.get("KINGLET_MINILM", ROOT / "build/models/minilm"))
#: Texts may be empty, hold NUL, or be long.
MIXED = ["", " ", "\0", "a\0b", "John went from Berlin to Paris.", "Café 中文 für Ærø 🐦👍🏽 naïve", "river " * 600]


@pytest.fixture(scope="session")
def load() -> Callable[[str], Model]:
    """Loads a fixture, once."""
    loaded: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in loaded:
            loaded[name] = Model.load(FIXTURES / name)
        return loaded[name]

    return get


@pytest.fixture(scope="session")
def bert(load: Callable[[str], Model]) -> Model:
    """A tiny encoder with vectors of 32 values."""
    return load("bert")


@pytest.fixture(scope="session")
def gpt2(load: Callable[[str], Model]) -> Model:
    """A tiny decoder."""
    return load("generation/gpt2")


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny decoder with a chat template, which no fixture has."""
    folder = tmp_path_factory.mktemp("models") / "chat"
    shutil.copytree(FIXTURES / "generation/llama", folder)
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    (folder / "chat_template.jinja").write_text(template)
    return Model.load(folder)


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A talker with room for calls of tools. The fixture's own generation_config.json has letters among its end tokens."""
    folder = tmp_path_factory.mktemp("models") / "tools"
    shutil.copytree(FIXTURES / "generation/bloom", folder)
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    (folder / "chat_template.jinja").write_text(template)
    (folder / "generation_config.json").write_text('{"eos_token_id": 0}')
    return Model.load(folder)


@pytest.fixture(scope="session")
def minilm() -> Model:
    """The real all-MiniLM-L6-v2."""
    if not MINILM.exists():
        pytest.skip(f"{MINILM} is missing: scripts/fetch-model minilm")
    return Model.load(MINILM, precision="f32")


def reference(name: str) -> Any:
    """What transformers computed for a fixture."""
    return json.loads((FIXTURES / name / "reference.json").read_text())


def tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    kinds = {"F32": np.float32, "I32": np.int32}
    found = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            start, end = (8 + size + at for at in entry["data_offsets"])
            found[name] = np.frombuffer(data[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return found


def cosines(first: Any, second: Any) -> Any:
    """The cosine of each row of one with that of the other."""
    return (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
