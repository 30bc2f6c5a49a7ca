"""Spark, on a local cluster of two executors of which one is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinglet import Model, quantize

from .conftest import FIXTURES, MINILM, ROOT
from .engines import children, matrix, sharing, texts_of

pytest.importorskip("pyspark", reason="pyspark is not installed")
pytest.importorskip("pandas", reason="pandas, which Spark wants, is not installed")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import kinglet.spark  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the executors are found in /proc"),
]
PARTITIONS, ROWS = 24, 600


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two workers with one core and 1024 MB each."""
    os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    settings: dict[str, Any] = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.executor.memory": "1024m",
        "spark.local.dir": str(tmp_path_factory.mktemp("spark")),
    }
    session = SparkSession.builder.master("local-cluster[2,1,1024]").config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def test_equals_the_plain_library(spark: Any, bert: Model, tmp_path: Path) -> None:
    texts: list[str | None] = [*texts_of(1000)]
    texts[7] = None
    pq.write_table(pa.table({"id": range(1000), "text": texts}), tmp_path / "in.parquet")
    embed = kinglet.spark.embed_udf(bert.path, normalize=False)
    frame = spark.read.parquet(str(tmp_path / "in.parquet")).repartition(3, "id").withColumn("vector", embed("text"))
    assert frame.schema["vector"].dataType.simpleString() == "array<float>"
    found = frame.orderBy("id").toArrow()
    assert found["id"].to_pylist() == list(range(1000)) and found["vector"][7].as_py() is None
    plain = bert.embed([text or "" for text in texts], normalize=False)
    assert (matrix(found["vector"].drop_null()) == np.delete(plain, 7, 0)).all()


def test_errors_name_what_is_wrong(spark: Any) -> None:
    frame = spark.createDataFrame([("a",)], "text string")
    with pytest.raises(Exception, match="/nowhere/model"):
        frame.select(kinglet.spark.embed_udf("/nowhere/model")("text")).collect()
    with pytest.raises(TypeError, match="embed: 'normalise'"):
        kinglet.spark.embed_udf(FIXTURES / "bert", normalise=True)  # type: ignore[call-arg]


def test_an_executor_is_killed(spark: Any, tmp_path: Path) -> None:
    """The executors' workers map one file; one executor is killed while it works."""
    if not MINILM.exists():
        pytest.skip(f"{MINILM} is missing: scripts/fetch-model minilm")
    model = tmp_path / "minilm.kinglet"
    quantize(MINILM, model, "int8")
    count = PARTITIONS * ROWS
    texts = texts_of(count)
    for i in range(0, count, ROWS):
        pq.write_table(pa.table({"id": range(i, i + ROWS), "text": texts[i : i + ROWS]}), tmp_path / f"{i:05}.parquet")
    # A task for each file.
    spark.conf.set("spark.sql.files.maxPartitionBytes", (tmp_path / "00000.parquet").stat().st_size)
    frame = spark.read.parquet(*map(str, sorted(tmp_path.glob("*.parquet")))).withColumn("vector", kinglet.spark.embed_udf(model)("text"))

    context, found = spark.sparkContext, []
    thread = threading.Thread(target=lambda: found.append(frame.toArrow()))
    before = set(context.statusTracker().getJobIdsForGroup())
    thread.start()

    def stage() -> Any:
        for job in set(context.statusTracker().getJobIdsForGroup()) - before:
            for each in context.statusTracker().getJobInfo(job).stageIds:
                if (info := context.statusTracker().getStageInfo(each)) is not None and info.numTasks > PARTITIONS // 2:
                    return info
        return None

    while thread.is_alive() and ((now := stage()) is None or now.numCompletedTasks < 4):
        time.sleep(0.05)
    shares = sharing(model)
    executors = {
        pid: command[command.index("--executor-id") + 1]
        for pid, command in children(context._gateway.proc.pid).items()
        if "--executor-id" in command
    }
    pid, killed = max(executors.items())
    os.kill(pid, signal.SIGKILL)
    assert len(executors) == 2 and stage().numCompletedTasks < PARTITIONS // 2
    thread.join()

    rows = found[0].sort_by("id")
    assert rows["id"].to_pylist() == list(range(count)) and rows["text"].to_pylist() == texts
    assert (matrix(rows["vector"]) == Model.load(model).embed(texts)).all()
    # The executor was working, and its task ran again elsewhere.
    assert stage().numFailedTasks >= 1
    status = context._jsc.sc().statusStore().executorList(False)
    gone = [status.apply(i).id() for i in range(status.size()) if not status.apply(i).isActive()]
    assert gone == [killed]

    size = model.stat().st_size
    assert len(shares) == 2 and min(resident for resident, _ in shares.values()) > size / 2, shares
    # Each page of the file is in memory once for both.
    assert sum(share for _, share in shares.values()) <= size + 65536, shares


def test_example(bert: Model, tmp_path: Path) -> None:
    texts = texts_of(200)
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    command = [sys.executable, str(ROOT / "examples/python/spark_embed.py"), bert.path, str(tmp_path / "in.parquet"), str(tmp_path / "out")]
    settings = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": "--master local[1] pyspark-shell"}
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = pq.read_table(tmp_path / "out")
    assert found["text"].to_pylist() == texts and (matrix(found["embedding"]) == bert.embed(texts)).all()
