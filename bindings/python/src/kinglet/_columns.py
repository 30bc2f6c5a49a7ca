"""What the adapters of Ray Data, Spark and Daft share: a model per process, and a column of vectors for a column of texts (pyarrow)."""

from __future__ import annotations

import inspect
import os
import pickle
import statistics
import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

import pyarrow as pa

from kinglet._embed import EmbedOptions
from kinglet.errors import InvalidArgument
from kinglet.model import Model

__all__ = ["ModelPath", "embedded", "loaded", "rows_per_second", "shipped", "with_vectors"]

ModelPath: TypeAlias = str | os.PathLike[str]

_models: dict[bytes, Model] = {}
_lock = threading.Lock()


def shipped(path: ModelPath, load: Mapping[str, Any] | None, options: EmbedOptions) -> tuple[str, dict[str, Any]]:
    """What workers get of the arguments, whose names are checked here, where the job is written: workers have other working directories,
    and what belongs to this process (`log`, `progress`, `cancellation`) cannot be sent."""
    sent = dict(load or {})
    for name in sent:
        if name not in inspect.signature(Model.load).parameters or name in ("path", "log", "progress", "cancellation"):
            raise TypeError(f"load: {name!r} is not an option of Model.load that workers can have")
    for name in options:
        if name not in EmbedOptions.__annotations__ or name == "cancellation":
            raise TypeError(f"embed: {name!r} is not an option of Model.embed that workers can have")
    # What is not there may be a name on the hub, or a path of the workers'.
    return os.path.abspath(path) if os.path.exists(path) else os.fspath(path), sent


def loaded(path: str, load: Mapping[str, Any]) -> Model:
    """This process's model, which its threads and its later tasks share; it stays loaded until the process ends."""
    key = pickle.dumps((path, sorted(load.items())))
    with _lock:
        if key not in _models:
            _models[key] = Model.load(path, **load)
        return _models[key]


def rows_per_second(model: Model, table: pa.Table, column: str) -> int:
    """As many of the suggested batches as take about a second, by the lengths of the first texts. Nothing is measured: a block that runs
    again after a failure must be cut into the same parts."""
    texts = table[column].slice(0, 64).drop_null().to_pylist() if column in table.column_names else []
    lengths = [len(each.ids) for each in model.tokenize(texts or [""])]
    found = model.suggest_batch_size(statistics.mean(lengths), input_spread=statistics.pstdev(lengths), skip_calibration=True)
    return found.batch_size * max(1, round(1000 / found.batch_ms))


def embedded(model: Model, texts: Any, options: EmbedOptions) -> Any:
    """The vectors as an array of fixed-size lists of float32. The vector of null is null."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    nulls = texts.is_null() if texts.null_count else None
    values = model.embed(texts if nulls is None else texts.cast(pa.large_string()).fill_null(""), **options)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1], mask=nulls)


def with_vectors(model: Model, table: pa.Table, column: str, output: str, options: EmbedOptions) -> pa.Table:
    """The table with one column more."""
    for name, argument, there in ((column, "column", True), (output, "output", False)):
        if (name in table.column_names) != there:
            raise InvalidArgument(f"{argument}: {name!r} is {'not ' if there else ''}among the columns {table.column_names}")
    return table.append_column(output, embedded(model, table[column], options))
