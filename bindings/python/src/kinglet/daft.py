"""Embeddings in Daft: `pip install kinglet[daft]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import daft
from daft import DataType

from kinglet._columns import ModelPath, embedded, loaded, shipped
from kinglet._embed import EmbedOptions

__all__ = ["embed_udf"]


def embed_udf(
    path: ModelPath, *, cpus: int | None = None, load: Mapping[str, Any] | None = None, **options: Unpack[EmbedOptions]
) -> Any:
    """A function of a column of strings that gives a column of Daft's embeddings (float32), null where the text is null.

    The model is loaded here, for the size of its vectors, and once in each process of the job, on `cpus` CPUs, by default all.
    `load`: options of `Model.load`; `options`: those of `Model.embed`."""
    name, given = shipped(path, load, options)
    given = {"threads": cpus, **given}
    size = loaded(name, given).embed("", **options).shape[-1]

    # Kinglet releases the GIL and merges the calls of threads: a process of its own would only copy the columns.
    @daft.cls(cpus=cpus, use_process=False)
    class Embedder:
        @daft.method.batch(return_dtype=DataType.embedding(DataType.float32(), size))  # type: ignore[untyped-decorator,unused-ignore]
        def embed(self, texts: daft.Series) -> Any:
            return embedded(loaded(name, given), texts.to_arrow(), options)

    return Embedder().embed
