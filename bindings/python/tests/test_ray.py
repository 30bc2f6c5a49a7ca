"""Ray Data, on a local cluster of two nodes of which one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinglet import Model, quantize

from .conftest import FIXTURES, MINILM, ROOT
from .engines import matrix, sharing, texts_of

ray = pytest.importorskip("ray", reason="ray is not installed")
pytest.importorskip("ray.data", reason="ray's extra `data` is not installed")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

import kinglet.ray  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a cluster of several local nodes needs Linux"),
]
COUNT = 16_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes: the head has two CPUs, the other one has one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    memory = 256 << 20
    made: Any = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "object_store_memory": memory},
    )
    made.other = made.add_node(num_cpus=1, object_store_memory=memory)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    # A job begins when all of its actors are there.
    context.enable_progress_bars, context.wait_for_min_actors_s = False, 300
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def minilm_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real all-MiniLM-L6-v2 as one file."""
    if not MINILM.exists():
        pytest.skip(f"{MINILM} is missing: scripts/fetch-model minilm")
    path = tmp_path_factory.mktemp("models") / "minilm.kinglet"
    quantize(MINILM, path, "int8")
    return path


def test_equals_the_plain_library(cluster: Any, bert: Model, tmp_path: Path) -> None:
    texts: list[str | None] = [*texts_of(2000)]
    texts[7] = None
    for part in range(4):
        chosen = range(part * 500, part * 500 + 500)
        pq.write_table(pa.table({"id": chosen, "body": [texts[i] for i in chosen]}), tmp_path / f"{part}.parquet")
    dataset = ray.data.read_parquet(str(tmp_path))
    plain = bert.embed([text or "" for text in texts], normalize=False)
    for given in ({}, {"batch_size": 300}):
        embedded = kinglet.ray.embed(dataset, bert.path, column="body", output="vector", normalize=False, **given)  # type: ignore[arg-type]
        found = pa.concat_tables(embedded.iter_batches(batch_size=None, batch_format="pyarrow")).sort_by("id")
        assert found.column_names == ["id", "body", "vector"] and found["vector"].type == pa.list_(pa.float32(), 32)
        assert found["id"].to_pylist() == list(range(2000)) and found["vector"][7].as_py() is None
        assert (matrix(found["vector"].drop_null()) == np.delete(plain, 7, 0)).all()


def test_errors_name_what_is_wrong(cluster: Any) -> None:
    dataset = ray.data.from_items([{"text": "a"}])
    bert = FIXTURES / "bert"
    names = ({"column": "nothing"}, "column: 'nothing'"), ({"output": "text"}, "output: 'text'")
    for arguments, says in (*names, ({"prompt_name": "unknown"}, "prompt_name")):
        with pytest.raises(Exception, match=says):
            kinglet.ray.embed(dataset, bert, **arguments).take_all()  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="load: 'presicion'"):
        kinglet.ray.embed(dataset, bert, load={"presicion": "int8"})


def test_example(cluster: Any, bert: Model, tmp_path: Path) -> None:
    texts = texts_of(200)
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    command = [sys.executable, str(ROOT / "examples/python/ray_embed.py"), bert.path, str(tmp_path / "in.parquet"), str(tmp_path / "out")]
    done = subprocess.run(command, env={**os.environ, "RAY_ADDRESS": cluster.address}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = pq.read_table(tmp_path / "out")
    assert (matrix(found["embedding"]) == bert.embed(found["text"])).all() and sorted(found["text"].to_pylist()) == sorted(texts)


def actors(state: str) -> list[Any]:
    """The actors of the job that have this state."""
    return [each for each in ray._private.state.actors().values() if "_Embedder" in each["ActorClassName"] and each["State"] == state]


def test_a_node_is_killed(cluster: Any, minilm_file: Path) -> None:
    """Three actors, two of them on one node, map one file. Then the other node is killed with its actor, while it works."""
    texts = texts_of(COUNT)
    blocks = [pa.table({"id": range(i, i + 500), "text": texts[i : i + 500]}) for i in range(0, COUNT, 500)]
    embedded = kinglet.ray.embed(ray.data.from_arrow(blocks), minilm_file, actors=3)
    earlier = {each["ActorID"] for each in actors("DEAD")}
    found: list[Any] = []
    shares: dict[int, tuple[int, int]] = {}
    for batch in embedded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        found.append(batch)
        if len(found) == 3:
            shares = sharing(minilm_file)
            assert cluster.other.node_id in [each["Address"]["NodeID"] for each in actors("ALIVE")]
            cluster.remove_node(cluster.other, allow_graceful=False)

    rows = pa.concat_tables(found).sort_by("id")
    assert rows["id"].to_pylist() == list(range(COUNT)) and rows["text"].to_pylist() == texts
    assert (matrix(rows["embedding"]) == Model.load(minilm_file).embed(texts)).all()
    # The job was in the middle: its actor began again on the node that is left.
    assert [each["NumRestarts"] for each in actors("DEAD") if each["ActorID"] not in earlier].count(1) == 1

    size = minilm_file.stat().st_size
    assert len(shares) == 3 and min(resident for resident, _ in shares.values()) > size / 2, shares
    # Each page of the file is in memory once for all of them.
    assert sum(share for _, share in shares.values()) <= size + 65536, shares
