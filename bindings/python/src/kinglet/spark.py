"""Embeddings in Spark: `pip install kinglet[spark]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Unpack

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined,unused-ignore]
from pyspark.sql.types import ArrayType, FloatType

from kinglet._columns import ModelPath, embedded, loaded, shipped
from kinglet._embed import EmbedOptions

__all__ = ["embed_udf"]


def embed_udf(path: ModelPath, *, load: Mapping[str, Any] | None = None, **options: Unpack[EmbedOptions]) -> Any:
    """A function of a column of strings that gives a column of `array<float>`, null where the text is null.

    Each Python worker loads the model from `path`, which is the same on all machines, once, and uses `spark.task.cpus` threads.
    `load`: options of `Model.load`; `options`: those of `Model.embed`."""
    name, given = shipped(path, load, options)

    def embed(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        task = TaskContext.get()
        model = loaded(name, {"threads": task.cpus() if task else None, **given})
        for texts in batches:
            yield embedded(model, texts, options).cast(pa.list_(pa.float32()))

    return arrow_udf(embed, ArrayType(FloatType()))
