"""Daft, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinglet import Model, errors

from .conftest import FIXTURES, ROOT
from .engines import matrix, texts_of

daft = pytest.importorskip("daft", reason="daft is not installed")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

import kinglet.daft  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def test_equals_the_plain_library(bert: Model) -> None:
    texts: list[str | None] = [*texts_of(3000)]
    texts[7] = None
    embed = kinglet.daft.embed_udf(bert.path, normalize=False, truncate_dim=24)
    frame = daft.from_pydict({"id": list(range(3000)), "text": texts}).into_partitions(5)
    frame = frame.with_column("vector", embed(daft.col("text")))
    assert frame.schema()["vector"].dtype == daft.DataType.embedding(daft.DataType.float32(), 24)
    lists = daft.DataType.fixed_size_list(daft.DataType.float32(), 24)
    found = frame.with_column("vector", daft.col("vector").cast(lists)).sort("id").to_arrow()
    assert found["id"].to_pylist() == list(range(3000)) and found["vector"][7].as_py() is None
    plain = bert.embed([text or "" for text in texts], normalize=False, truncate_dim=24)
    assert (matrix(found["vector"].drop_null()) == np.delete(plain, 7, 0)).all()


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(errors.NotFound, match="/nowhere/model"):
        kinglet.daft.embed_udf("/nowhere/model")
    with pytest.raises(errors.InvalidArgument, match="prompt_name"):
        kinglet.daft.embed_udf(FIXTURES / "bert", prompt_name="unknown")
    embed = kinglet.daft.embed_udf(FIXTURES / "bert")
    with pytest.raises(Exception, match="a string array is needed"):
        daft.from_pydict({"text": [1, 2]}).select(embed(daft.col("text"))).collect()


def test_example(bert: Model, tmp_path: Path) -> None:
    texts = texts_of(200)
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    command = [sys.executable, str(ROOT / "examples/python/daft_embed.py"), bert.path, str(tmp_path / "in.parquet"), str(tmp_path / "out")]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = daft.read_parquet(str(tmp_path / "out")).to_pydict()
    assert found["text"] == texts and (np.array(found["embedding"]) == bert.embed(texts)).all()
