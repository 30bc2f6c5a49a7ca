"""Texts per second of a Ray Data and of a Spark job beside the plain library: python throughput.py MODEL [--texts N] [--cpus N] [--rounds N].

Each reads the same Parquet files, embeds them and writes Parquet files; a run of the library alone, with as many threads, is before and
after each job, and the ratio is to the mean of the two. A job's time has its actors' or Python workers' start in it, not that of the
cluster, which has run a small job before. All vectors are compared bit by bit; a difference is the exit status 1."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from pyspark.sql import SparkSession

import kinglet.ray
import kinglet.spark
from kinglet import Model

FILES = 40
WORDS = "a small bird sings near the river where old trees stand and the wind is cold in the early morning of winter".split()
# Runs a job from the first folder to the second one.
Job = Callable[[Path, Path], Any]


def write_texts(folder: Path, count: int) -> None:
    """Texts of 8 to 60 words with their numbers, in files of equal size."""
    random = np.random.default_rng(1)
    for number, ids in enumerate(np.array_split(np.arange(count), FILES)):
        texts = [" ".join(random.choice(WORDS, random.integers(8, 61))) for _ in ids]
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"{number:03}.parquet")


def plain(model: str, threads: int) -> Job:
    """The library alone."""

    def job(source: Path, destination: Path) -> None:
        destination.mkdir()
        with Model.load(model, threads=threads) as loaded:
            for file in sorted(source.iterdir()):
                table = pq.read_table(file)
                values = loaded.embed(table["text"])
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
                pq.write_table(table.append_column("embedding", vectors), destination / file.name)

    return job


def with_ray(model: str, cpus: int) -> tuple[Job, Callable[[], Any]]:
    """Ray Data with an actor for each CPU, and how to end it. One CPU more is for the tasks that read and write."""
    ray.init(num_cpus=cpus + 1, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def job(source: Path, destination: Path) -> None:
        # Ray reads small files as one block, which is the work of one actor.
        dataset = ray.data.read_parquet(str(source)).repartition(target_num_rows_per_block=1000)
        kinglet.ray.embed(dataset, model, actors=cpus).write_parquet(str(destination))

    return job, ray.shutdown


def with_spark(model: str, cpus: int) -> tuple[Job, Callable[[], Any]]:
    """Spark with an executor for each CPU, and how to end it."""
    os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    settings: dict[str, Any] = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    settings |= {"spark.ui.enabled": False, "spark.ui.showConsoleProgress": False}
    settings |= {"spark.executor.memory": "1024m", "spark.sql.files.minPartitionNum": FILES}
    session = SparkSession.builder.master(f"local-cluster[{cpus},1,1024]").config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    embed = kinglet.spark.embed_udf(model)

    def job(source: Path, destination: Path) -> None:
        session.read.parquet(str(source)).withColumn("embedding", embed("text")).write.parquet(str(destination))

    return job, session.stop


def vectors_of(folder: Path) -> Any:
    """The vectors of a job's output, sorted by the texts' numbers."""
    table = pq.read_table(folder)
    lists = table["embedding"].combine_chunks()
    return np.asarray(lists.flatten()).reshape(len(table), -1)[np.argsort(table["id"].to_numpy())]


def seconds(job: Job, source: Path, destination: Path) -> float:
    """How long a job takes."""
    shutil.rmtree(destination, ignore_errors=True)
    start = time.perf_counter()
    job(source, destination)
    return time.perf_counter() - start


def main() -> int:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .kinglet file")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--cpus", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    model = os.path.abspath(given.model)
    same, ratios = True, dict[str, list[float]]()
    with tempfile.TemporaryDirectory() as name:
        source, small, expected, made = (Path(name) / each for each in ("texts", "small", "plain", "made"))
        source.mkdir()
        small.mkdir()
        write_texts(source, given.texts)
        shutil.copy(source / "000.parquet", small)
        alone = plain(model, given.cpus)
        seconds(alone, small, expected)
        for _ in range(given.rounds):
            for engine, begin in (("ray", with_ray), ("spark", with_spark)):
                before = seconds(alone, source, expected)
                job, end = begin(model, given.cpus)
                seconds(job, small, made)
                took = seconds(job, source, made)
                equal = np.array_equal(vectors_of(expected), vectors_of(made))
                end()
                after = seconds(alone, source, expected)
                same, mean = same and equal, (before + after) / 2
                ratios.setdefault(engine, []).append(mean / took)
                rates = {"plain": [round(given.texts / each, 1) for each in (before, after)], engine: round(given.texts / took, 1)}
                print(json.dumps({"texts_per_s": rates, "ratio": round(mean / took, 3), "equal": equal}), flush=True)
    print(json.dumps({"texts": given.texts, "cpus": given.cpus, "ratio": {k: round(statistics.median(v), 3) for k, v in ratios.items()}}))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
