"""LlamaIndex's embedding interface: `pip install kinglet[llama-index]`."""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import BaseEmbedding

from kinglet.model import Model

__all__ = ["KingletEmbedding"]


class KingletEmbedding(BaseEmbedding):  # type: ignore[misc,unused-ignore]
    """An embedding model for LlamaIndex. `query` and `document` are options of `Model.embed`."""

    _model: Model = PrivateAttr()
    _query: dict[str, Any] = PrivateAttr()
    _document: dict[str, Any] = PrivateAttr()

    def __init__(
        self, model: Model, *, query: dict[str, Any] | None = None, document: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        super().__init__(**{"model_name": model.path, **fields})
        self._model, self._query, self._document = model, query or {}, document or {}

    @classmethod
    def class_name(cls) -> str:
        """The name in LlamaIndex's files."""
        return "KingletEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        found: list[float] = self._model.embed(query, **self._query).tolist()
        return found

    def _get_text_embedding(self, text: str) -> list[float]:
        found: list[float] = self._model.embed(text, **self._document).tolist()
        return found

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._model.embed(texts, **self._document).tolist()
        return found

    async def _aget_query_embedding(self, query: str) -> list[float]:
        found: list[float] = (await self._model.aembed(query, **self._query)).tolist()
        return found

    async def _aget_text_embedding(self, text: str) -> list[float]:
        found: list[float] = (await self._model.aembed(text, **self._document)).tolist()
        return found
