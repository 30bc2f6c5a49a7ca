"""The interfaces of sentence-transformers, LangChain and LlamaIndex."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinglet import Model, errors
from kinglet.sentence_transformers import SentenceTransformer, quantize_embeddings

from .conftest import FIXTURES, MINILM, MIXED, cosines, tensors

STORED = json.loads(Path(__file__).with_name("sentence_transformers.json").read_text())


@pytest.fixture
def prompted(tmp_path: Path) -> SentenceTransformer:
    """A model with prompts of its own."""
    shutil.copytree(FIXTURES / "bert", tmp_path / "bert")
    settings = {
        "prompts": {"query": "find: ", "passage": "read: "},
        "default_prompt_name": "passage",
        "similarity_fn_name": "dot",
    }
    (tmp_path / "bert/config_sentence_transformers.json").write_text(json.dumps(settings))
    return SentenceTransformer(tmp_path / "bert")


def test_encode(bert: Model) -> None:
    model = SentenceTransformer(bert.path)
    rows = model.encode(MIXED)
    assert (rows == bert.embed(MIXED)).all()
    assert (model.encode("bird") == bert.embed("bird")).all() and model.encode([]).shape == (0, 32)
    assert (model.encode(sentences=["bird"]) == bert.embed(["bird"])).all()
    many = MIXED[:5] * 500
    assert (model.encode(many, batch_size=64) == bert.embed(many)).all()
    assert isinstance(model.encode(["a"], convert_to_numpy=False), list)
    small = model.encode(["a", "bird"], truncate_dim=8, normalize_embeddings=True)
    assert small.shape == (2, 8) and np.allclose(np.linalg.norm(small, axis=1), 1)
    assert SentenceTransformer(bert.path, truncate_dim=4).encode("a").shape == (4,)
    tokens = model.encode(["bird", ""], output_value="token_embeddings")
    assert [each.shape for each in tokens] == [(4, 32), (2, 32)]
    assert model.encode(["a"] * 3, precision="ubinary").shape == (3, 4)
    assert (model.max_seq_length, model.get_sentence_embedding_dimension(), model.device) == (24, 32, "cpu")
    assert model.similarity_fn_name == "cosine" and np.isclose(model.similarity(rows[4], rows[4])[0, 0], 1)


def test_prompts(prompted: SentenceTransformer) -> None:
    plain = prompted.model
    assert (prompted.encode("bird") == plain.embed("bird", prompt="read: ")).all()
    assert (prompted.encode("bird", prompt_name="query") == plain.embed("bird", prompt="find: ")).all()
    assert (prompted.encode("bird", prompt="") == plain.embed("bird", prompt="")).all()
    assert (prompted.encode_query("bird") == plain.embed("bird", prompt="find: ")).all()
    # As in sentence-transformers: the empty prompt "document" comes before "passage".
    assert (prompted.encode_document(["bird"]) == plain.embed(["bird"], prompt="")).all()
    assert prompted.similarity_fn_name == "dot"
    with pytest.raises(errors.InvalidArgument, match="prompt_name: 'other' is not one of"):
        prompted.encode("bird", prompt_name="other")
    own = SentenceTransformer(plain.path, prompts={"a": "b "}, default_prompt_name="a")
    assert (own.encode("bird") == plain.embed("b bird", prompt="")).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"convert_to_tensor": True}, "convert_to_tensor"),
        ({"output_value": None}, "output_value: None"),
        ({"pool": {}}, "pool"),
        ({"chunk_size": 3}, "chunk_size"),
        ({"device": "cuda"}, "device"),
        ({"task": "query"}, "task"),
        ({"precision": "int4"}, "precision: 'int4'"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"output_value": "token_embeddings", "precision": "int8"}, "precision"),
    ],
)
def test_what_encode_refuses(bert: Model, arguments: Any, says: str) -> None:
    with pytest.raises(errors.KingletError) as failure:
        SentenceTransformer(bert.path).encode(["a"], **arguments)
    assert says in str(failure.value)


def test_names_of_the_hub(bert: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name in ("sentence-transformers/small", "small"):
        with pytest.raises(errors.NotFound, match="hf download sentence-transformers/small"):
            SentenceTransformer(name)
    shutil.copytree(bert.path, tmp_path / "models--sentence-transformers--small/snapshots/1a2b")
    for name in ("sentence-transformers/small", "small"):
        assert (SentenceTransformer(name).encode("bird") == bert.embed("bird")).all()
    with pytest.raises(errors.Unsupported, match="HF_HUB_CACHE"):
        SentenceTransformer("small", cache_folder=str(tmp_path))


def test_what_the_class_refuses(bert: Model) -> None:
    with pytest.raises(errors.Unsupported, match="revision"):
        SentenceTransformer(bert.path, revision="main")
    with pytest.raises(errors.Unsupported, match="trust_remote_code"):
        SentenceTransformer(bert.path, trust_remote_code=True)
    SentenceTransformer(bert.path, local_files_only=True, trust_remote_code=False)
    for arguments in ({"similarity_fn_name": "angle"}, {"default_prompt_name": "none"}, {"device": "tpu"}):
        with pytest.raises(errors.InvalidArgument, match=next(iter(arguments))):
            SentenceTransformer(bert.path, **arguments)  # type: ignore[arg-type]


def test_numbers_are_those_of_sentence_transformers() -> None:
    """The values were stored by sentence-transformers: make_reference.py."""
    numbers = np.array(STORED["embeddings"], np.float32)
    for name, expected in STORED["quantized"].items():
        made = quantize_embeddings(numbers, name)
        assert made.tolist() == expected and made.dtype == (np.int8 if name in ("int8", "binary") else np.uint8), name
    for name, expected in STORED["similarity"].items():
        model = SentenceTransformer(FIXTURES / "bert", similarity_fn_name=name)
        assert np.allclose(model.similarity(numbers[:3], numbers[2:]), expected, atol=1e-5), name
        pairwise = model.similarity_pairwise(numbers[:3], numbers[2:5])
        assert np.allclose(pairwise, np.diag(np.array(expected)), atol=1e-5), name


def test_minilm() -> None:
    if not MINILM.exists():
        pytest.skip(f"{MINILM} is missing: scripts/fetch-model minilm")
    folder = FIXTURES / "minilm"
    texts = [json.loads(line)["text"] for line in (folder / "texts.jsonl").read_text().splitlines()]
    stored = tensors(folder / "reference.safetensors")["embeddings"]
    model = SentenceTransformer(MINILM)
    assert cosines(model.encode(texts), stored).min() > 0.99999
    assert model.get_embedding_dimension() == 384 and model.get_max_seq_length() == 256


def test_progress_bar(bert: Model, capsys: pytest.CaptureFixture[str]) -> None:
    model = SentenceTransformer(bert.path)
    try:
        import tqdm  # noqa: F401
    except ImportError:
        with pytest.raises(errors.Unsupported, match="tqdm"):
            model.encode(["a"], show_progress_bar=True)
    else:
        model.encode(["a"], show_progress_bar=True)
        assert "Batches" in capsys.readouterr().err


def test_langchain(bert: Model) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    from kinglet.langchain import KingletEmbeddings

    embeddings = KingletEmbeddings(bert, normalize=False, query={"prompt": "find: "})
    documents, query = embeddings.embed_documents(["bird", "a"]), embeddings.embed_query("bird")
    assert documents == bert.embed(["bird", "a"], normalize=False).tolist()
    assert query == bert.embed("find: bird", normalize=False).tolist()
    assert asyncio.run(embeddings.aembed_documents(["bird", "a"])) == documents
    assert asyncio.run(embeddings.aembed_query("bird")) == query


@pytest.mark.filterwarnings("default")
def test_llama_index(bert: Model) -> None:
    pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")
    from kinglet.llama_index import KingletEmbedding

    embedding = KingletEmbedding(bert, query={"prompt": "find: "}, embed_batch_size=2)
    assert embedding.get_text_embedding_batch(["bird", "a", "b"]) == bert.embed(["bird", "a", "b"]).tolist()
    assert embedding.get_query_embedding("bird") == bert.embed("find: bird").tolist()
    assert embedding.get_text_embedding("bird") == bert.embed("bird").tolist()
    assert asyncio.run(embedding.aget_query_embedding("bird")) == embedding.get_query_embedding("bird")
    assert asyncio.run(embedding.aget_text_embedding("bird")) == embedding.get_text_embedding("bird")
