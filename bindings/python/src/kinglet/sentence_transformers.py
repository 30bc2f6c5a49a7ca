"""sentence-transformers' names over Kinglet, so that existing code changes one import:

    from kinglet.sentence_transformers import SentenceTransformer

    model = SentenceTransformer("all-MiniLM-L6-v2")
    embeddings = model.encode(["a small bird", "the quickest of its woods"])
    print(model.similarity(embeddings, embeddings))

Results are numpy's. Arguments that are not supported are refused by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kinglet._call import Cancellation
from kinglet._search import Similarity, embedding_ranges, search
from kinglet._search import quantize_embeddings as _quantize
from kinglet._texts import listed
from kinglet.errors import InvalidArgument, NotFound, Unsupported
from kinglet.model import Model, Precision
from kinglet.results import Floats

__all__ = ["SentenceTransformer", "quantize_embeddings", "semantic_search"]

EmbeddingPrecision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
# Texts per call at least: the library has all cores busy, and Ctrl-C and the progress bar are soon served.
_BLOCK = 1024


class SentenceTransformer:
    """A model that embeds texts, with the names of sentence-transformers' class.

    `model_name_or_path` is a local path, or a name in the local cache of the Hugging Face hub; nothing is downloaded. A name without an
    owner is one of sentence-transformers' own models, as there. `prompts`, `default_prompt_name`, `similarity_fn_name` and `truncate_dim`
    are those of the model's files, unless they are given. `precision` and `threads` are Kinglet's (`Model.load`).
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        device: str | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "auto",
        threads: int | None = None,
        **others: Any,
    ) -> None:
        for name, value in others.items():
            # What changes nothing here: nothing is downloaded, and the code of a model is never run.
            if name not in ("local_files_only", "cache_folder", "trust_remote_code") or (name == "trust_remote_code" and value):
                raise Unsupported(f"{name}: is not supported by kinglet.sentence_transformers")
        name = os.fspath(model_name_or_path)
        if not os.path.exists(name):
            if others.get("cache_folder") is not None:
                raise Unsupported("cache_folder: is not supported by kinglet.sentence_transformers; set HF_HUB_CACHE")
        if device not in (None, "cpu", "cuda", "mps"):
            raise InvalidArgument(f"device: {device!r} is not one of 'cpu', 'cuda', 'mps'")
        place: Any = {None: "cpu", "mps": "metal"}.get(device, device)
        own = f"sentence-transformers/{name}"
        try:
            self.model = Model.load(name, precision=precision, threads=threads, device=place)
        except NotFound:
            if "/" in name or os.path.exists(name):
                raise
            self.model = Model.load(own, precision=precision, threads=threads, device=place)
        embedding: dict[str, Any] = self.model.describe()["embedding"]
        # The model's files give prompts that are not set, too.
        self.prompts: dict[str, str] = {name: text or "" for name, text in embedding["prompts"].items()}
        self.prompts.update(prompts or {})
        self.default_prompt_name: str | None = default_prompt_name or embedding["default_prompt_name"]
        if self.default_prompt_name is not None and self.default_prompt_name not in self.prompts:
            raise InvalidArgument(f"default_prompt_name: {self.default_prompt_name!r} is not one of {sorted(self.prompts)}")
        self.similarity_fn_name = similarity_fn_name or embedding["similarity_fn_name"] or "cosine"
        if self.similarity_fn_name not in _SIMILARITIES:
            raise InvalidArgument(f"similarity_fn_name: {self.similarity_fn_name!r} is not one of {', '.join(_SIMILARITIES)}")
        self.truncate_dim = truncate_dim

    def encode(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: EmbeddingPrecision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Any = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """The embeddings of sentences: one array with a row per sentence, or one vector for a `str`. With `convert_to_numpy=False` a list
        of vectors; with `output_value="token_embeddings"` a list of arrays with a row per token.

        `batch_size` bounds nothing and changes no result: the library cuts batches itself. `show_progress_bar` needs tqdm.
        """
        # Until version 5 the argument had this name.
        sentences = kwargs.pop("sentences", inputs)
        single = isinstance(sentences, str)
        for name, value in [("device", device), ("pool", pool), ("chunk_size", chunk_size), *kwargs.items()]:
            if value is not None:
                raise Unsupported(f"{name}: is not supported by kinglet.sentence_transformers")
        if convert_to_tensor:
            raise Unsupported("convert_to_tensor: results are numpy's; torch.from_numpy makes a tensor of them without a copy")
        _known(precision)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InvalidArgument(f"batch_size: {batch_size!r} is not a positive number")
        texts = [sentences] if isinstance(sentences, str) else listed(sentences, "sentences")
        text = self._prompt(prompt_name, prompt)
        size = truncate_dim if truncate_dim is not None else self.truncate_dim
        normalize = True if normalize_embeddings else None
        # Cancels nothing by itself, but ends the calls of this loop together.
        cancellation = Cancellation()

        found: Any
        if output_value == "token_embeddings":
            if precision != "float32":
                raise Unsupported("precision: vectors of tokens are float32")
            found = []
            for block in _blocks(texts, batch_size, show_progress_bar):
                found += self.model.embed_tokens(
                    block, prompt=text, truncate_dim=size, normalize=normalize, cancellation=cancellation
                )
            return found[0] if single else found
        if output_value != "sentence_embedding":
            raise Unsupported(f"output_value: {output_value!r} is not supported; sentence_embedding and token_embeddings are")

        made: list[Floats] = [
            self.model.embed(block, prompt=text, truncate_dim=size, normalize=normalize, cancellation=cancellation)
            for block in _blocks(texts, batch_size, show_progress_bar)
        ]
        found = made[0] if len(made) == 1 else np.concatenate(made) if made else self.model.embed([], truncate_dim=size)
        if precision != "float32":
            found = quantize_embeddings(found, precision)
        if single:
            return found[0]
        return found if convert_to_numpy else list(found)

    def encode_query(self, inputs: str | Sequence[str], **kwargs: Any) -> Any:
        """`encode` with the prompt "query", if the model has one and the call names none."""
        return self._encode_as(("query",), inputs, kwargs)

    def encode_document(self, inputs: str | Sequence[str], **kwargs: Any) -> Any:
        """`encode` with the prompt "document", "passage" or "corpus", if the model has one and the call names none."""
        return self._encode_as(("document", "passage", "corpus"), inputs, kwargs)

    def _encode_as(self, names: tuple[str, ...], inputs: str | Sequence[str], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("prompt") is None and kwargs.get("prompt_name") is None:
            kwargs["prompt_name"] = next((name for name in names if name in self.prompts), None)
        return self.encode(inputs, **kwargs)

    def _prompt(self, name: str | None, prompt: str | None) -> str:
        """The text before each sentence; empty for none."""
        if prompt is not None:
            return prompt
        if name is not None and name not in self.prompts:
            raise InvalidArgument(f"prompt_name: {name!r} is not one of {sorted(self.prompts)}")
        chosen = name if name is not None else self.default_prompt_name
        return self.prompts[chosen] if chosen is not None else ""

    def similarity(self, embeddings1: npt.ArrayLike, embeddings2: npt.ArrayLike) -> Floats:
        """The similarity of each of the first with each of the second, by `similarity_fn_name`: a matrix."""
        return _SIMILARITIES[self.similarity_fn_name](*_rows(embeddings1, embeddings2))

    def similarity_pairwise(self, embeddings1: npt.ArrayLike, embeddings2: npt.ArrayLike) -> Floats:
        """The similarity of the first of both, the second of both, and so on."""
        first, second = _rows(embeddings1, embeddings2)
        if len(first) != len(second):
            raise InvalidArgument(f"embeddings2: has {len(second)} rows, and embeddings1 has {len(first)}")
        pairwise = _SIMILARITIES[self.similarity_fn_name]
        return np.array([pairwise(a[None], b[None])[0, 0] for a, b in zip(first, second, strict=True)], np.float32)

    @property
    def max_seq_length(self) -> int:
        """The most tokens of a sentence."""
        return self.model.max_length

    def get_max_seq_length(self) -> int:
        """The most tokens of a sentence."""
        return self.model.max_length

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self.model.device

    def get_sentence_embedding_dimension(self) -> int:
        """Values per embedding."""
        size = self.model.embedding_dimension
        return size if self.truncate_dim is None else min(size, self.truncate_dim)

    def get_embedding_dimension(self) -> int:
        """Values per embedding."""
        return self.get_sentence_embedding_dimension()


def _blocks(texts: Sequence[str], batch_size: int, show: bool | None) -> Any:
    """The texts in blocks, with a progress bar if it is asked for."""
    size = max(batch_size, _BLOCK)
    starts = range(0, len(texts), size)
    if not show:
        return (texts[at : at + size] for at in starts)
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise Unsupported("show_progress_bar: needs tqdm; pip install tqdm") from None
    return (texts[at : at + size] for at in tqdm(starts, desc="Batches"))


def _rows(*embeddings: npt.ArrayLike) -> list[Floats]:
    return [np.atleast_2d(np.asarray(each, np.float32)) for each in embeddings]


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # As torch.nn.functional.normalize: a vector of zeros stays one.
    unit: Floats = np.divide(rows, np.maximum(lengths, 1e-12), dtype=np.float32)
    return unit


def _cosine(first: Floats, second: Floats) -> Floats:
    return _unit(first) @ _unit(second).T


def _dot(first: Floats, second: Floats) -> Floats:
    return first @ second.T


def _euclidean(first: Floats, second: Floats) -> Floats:
    return np.stack([-np.linalg.norm(second - row, axis=1) for row in first]).astype(np.float32)


def _manhattan(first: Floats, second: Floats) -> Floats:
    return np.stack([-np.abs(second - row).sum(axis=1) for row in first]).astype(np.float32)


_SIMILARITIES = {"cosine": _cosine, "dot": _dot, "euclidean": _euclidean, "manhattan": _manhattan}


def quantize_embeddings(
    embeddings: npt.ArrayLike,
    precision: EmbeddingPrecision,
    ranges: npt.ArrayLike | None = None,
    calibration_embeddings: npt.ArrayLike | None = None,
) -> npt.NDArray[Any]:
    """Embeddings in fewer bits. "int8" and "uint8" spread each column's range over 256 values: `ranges`, two rows with the least and
    the greatest values, else those of `calibration_embeddings`, else those of these embeddings; "binary" and "ubinary" keep the signs,
    eight to a byte."""
    _known(precision)
    if ranges is None and calibration_embeddings is not None and precision in ("int8", "uint8"):
        ranges = embedding_ranges(calibration_embeddings)
    return _quantize(embeddings, precision, ranges if precision in ("int8", "uint8") else None)


def semantic_search(
    query_embeddings: npt.ArrayLike, corpus_embeddings: npt.ArrayLike, top_k: int = 10, similarity: Similarity = "cosine"
) -> list[list[dict[str, int | float]]]:
    """For each query the most similar rows of the corpus, as `sentence_transformers.util.semantic_search` lists them. `kinglet.search`
    takes codes too."""
    queries, corpus = _rows(query_embeddings, corpus_embeddings)
    hits = search(queries, corpus, top_k, similarity=similarity)
    return [
        [{"corpus_id": int(index), "score": float(score)} for index, score in zip(*row, strict=True)]
        for row in zip(hits.indices, hits.scores, strict=True)
    ]


def _known(precision: str) -> None:
    if precision not in ("float32", "int8", "uint8", "binary", "ubinary"):
        raise InvalidArgument(f"precision: {precision!r} is not one of float32, int8, uint8, binary, ubinary")
