"""Embeddings in Ray Data: `pip install kinglet[ray]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Unpack

import pyarrow as pa
from ray.data import ActorPoolStrategy, Dataset

from kinglet._columns import ModelPath, loaded, rows_per_second, shipped, with_vectors
from kinglet._embed import EmbedOptions

__all__ = ["embed"]


class _Embedder:
    def __init__(self, path: str, load: dict[str, Any], column: str, output: str, cut: bool, options: EmbedOptions) -> None:
        self.model, self.column, self.output, self.cut, self.options = loaded(path, load), column, output, cut, options

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        rows = rows_per_second(self.model, block, self.column) if self.cut else max(1, len(block))
        for start in range(0, len(block), rows):
            yield with_vectors(self.model, block.slice(start, rows), self.column, self.output, self.options)


def embed(
    dataset: Dataset, path: ModelPath, *, column: str = "text", output: str = "embedding", cpus: int = 1,
    actors: int | tuple[int, int | None] = (1, None), batch_size: int | None = None, load: Mapping[str, Any] | None = None,
    **options: Unpack[EmbedOptions],
) -> Dataset:
    """Adds the column `output`: vectors as fixed-size lists of float32, null where `column` is null. The order of rows is not kept.
    Each actor maps or loads the model on `cpus` CPUs; `actors` is their number, or the least and the most (None: as many as fit).
    `batch_size`: rows of a call; None asks `suggest_batch_size`. `load`: options of `Model.load`; `options`: those of `Model.embed`."""
    name, sent = shipped(path, load, options)
    pool = {"size": actors} if isinstance(actors, int) else {"min_size": actors[0], "max_size": actors[1]}
    given = (name, {"threads": cpus, **sent}, column, output, batch_size is None, options)
    return dataset.map_batches(_Embedder, fn_constructor_args=given, num_cpus=cpus, compute=ActorPoolStrategy(**pool),
                               batch_size=batch_size, batch_format="pyarrow", udf_modifying_row_count=False)
