"""What the adapters of data engines share, and the example for Parquet files; both need pyarrow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinglet import Cancellation, Model, errors

from .conftest import FIXTURES, MIXED, ROOT

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from kinglet import _columns  # noqa: E402


def rows(vectors: Any) -> Any:
    """The vectors that are not null, as a matrix."""
    return np.stack(vectors.drop_null().to_numpy(zero_copy_only=False))


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view"])
def test_a_column_of_vectors(bert: Model, kind: str) -> None:
    texts = [*MIXED[:3], None, *MIXED[3:], None]
    array = pa.array(texts, getattr(pa, kind)())
    given = bert.embed(MIXED)
    for column in (array, pa.chunked_array([array[:2], array[2:]]), pa.concat_arrays([array, array])[len(array) :]):
        made = _columns.embedded(bert, column, {})
        assert made.type == pa.list_(pa.float32(), 32) and made.is_null().to_pylist() == [text is None for text in texts]
        assert (rows(made) == given).all()
    assert (rows(_columns.embedded(bert, array, {"truncate_dim": 8})) == bert.embed(MIXED, truncate_dim=8)).all()
    assert len(_columns.embedded(bert, array[:0], {})) == 0
    assert _columns.embedded(bert, array[3:4], {}).to_pylist() == [None]
    with pytest.raises(errors.InvalidArgument, match="a string array is needed"):
        _columns.embedded(bert, pa.array([1, 2]), {})


def test_what_workers_get(bert: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES)
    assert _columns.shipped("bert", {"precision": "int8"}, {"normalize": False}) == (str(FIXTURES / "bert"), {"precision": "int8"})
    assert _columns.shipped("of-the-hub/model", None, {}) == ("of-the-hub/model", {})
    for load in ({"log": print}, {"progress": print}, {"cancellation": Cancellation()}, {"path": "a"}, {"presicion": "int8"}):
        with pytest.raises(TypeError, match=f"load: {next(iter(load))!r}"):
            _columns.shipped("bert", load, {})
    for options in ({"cancellation": Cancellation()}, {"out": None}):
        with pytest.raises(TypeError, match=f"embed: {next(iter(options))!r}"):
            _columns.shipped("bert", None, options)  # type: ignore[arg-type]


def test_a_process_has_one_model() -> None:
    path = str(FIXTURES / "bert")
    first = _columns.loaded(path, {"threads": 1, "scheduler": {"max_tokens": 256}})
    assert _columns.loaded(path, {"scheduler": {"max_tokens": 256}, "threads": 1}) is first
    assert _columns.loaded(path, {"threads": 2}) is not first
    with pytest.raises(errors.NotFound, match="nowhere"):
        _columns.loaded("/nowhere", {})


def test_rows_of_a_call(bert: Model) -> None:
    short, long = pa.table({"text": ["a"] * 100}), pa.table({"text": [None, "a small bird sings near the river"] * 100})
    found = _columns.rows_per_second(bert, short, "text")
    # The same in every process: a block that is embedded again after a failure is cut into the same parts.
    assert found == _columns.rows_per_second(Model.load(bert.path), short, "text")
    assert found > _columns.rows_per_second(bert, long, "text") > 0
    assert _columns.rows_per_second(bert, pa.table({"text": pa.array([None], pa.string())}), "text") > 0


def test_names_of_columns(bert: Model) -> None:
    table = pa.table({"id": [1, 2], "body": ["a", "bird"]})
    made = _columns.with_vectors(bert, table, "body", "vector", {})
    assert made.column_names == ["id", "body", "vector"] and (rows(made["vector"].combine_chunks()) == bert.embed(["a", "bird"])).all()
    for column, output, says in (("text", "vector", "column: 'text' is not among"), ("body", "id", "output: 'id' is among")):
        with pytest.raises(errors.InvalidArgument, match=says):
            _columns.with_vectors(bert, table, column, output, {})


PEAK = """
import pyarrow as pa, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(pa.default_memory_pool().max_memory())
"""


def test_parquet_embed(bert: Model, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow has no Parquet")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PEAK, str(ROOT / "examples/python/parquet_embed.py"), bert.path, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=1200)

    peaks = []
    for count in (10_000, 100_000):
        texts = [f"bird {i}" for i in range(count)]
        pq.write_table(pa.table({"id": range(count), "text": texts}), tmp_path / "in.parquet", row_group_size=10_000)
        done = run("in.parquet", "text", "out.parquet")
        said = done.stdout.split()
        assert done.returncode == 0 and said[:2] == [str(count), "rows"], done.stderr
        peaks.append(int(said[-1]))
        made = pq.read_table(tmp_path / "out.parquet")
        assert made.column_names == ["id", "text", "embedding"] and made["text"].to_pylist() == texts
        assert (rows(made["embedding"].combine_chunks()) == bert.embed(texts)).all()
    # The vectors alone are 12.8 MB.
    assert max(peaks) < 6_000_000, peaks
    assert sorted(os.listdir(tmp_path)) == ["in.parquet", "out.parquet"]

    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "null.parquet")
    for source, column, says in (("in.parquet", "nothing", "nothing"), ("none.parquet", "text", "none"), ("null.parquet", "text", "null")):
        failed = run(source, column, "other.parquet")
        assert failed.returncode == 1 and failed.stderr.startswith("parquet_embed: ") and says in failed.stderr
        assert not (tmp_path / "other.parquet").exists()
