"""LangChain's embedding interface: `pip install kinglet[langchain]`."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings

from kinglet.model import Model

__all__ = ["KingletEmbeddings"]


class KingletEmbeddings(Embeddings):
    """Embeddings for LangChain. Options of `Model.embed` are `options`; `query` and `document` have their own besides, for instance
    `query={"prompt_name": "query"}`."""

    def __init__(
        self, model: Model, *, query: dict[str, Any] | None = None, document: dict[str, Any] | None = None, **options: Any
    ) -> None:
        self.model = model
        self._query, self._document = {**options, **(query or {})}, {**options, **(document or {})}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One list of numbers per text."""
        found: list[list[float]] = self.model.embed(texts, **self._document).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        """The numbers of one text."""
        found: list[float] = self.model.embed(text, **self._query).tolist()
        return found

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Like `embed_documents`, for `await`."""
        found: list[list[float]] = (await self.model.aembed(texts, **self._document)).tolist()
        return found

    async def aembed_query(self, text: str) -> list[float]:
        """Like `embed_query`, for `await`."""
        found: list[float] = (await self.model.aembed(text, **self._query)).tolist()
        return found
