"""Loading, closing, errors, callbacks, quantizing; names and classes that follow the C library."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import subprocess
import sys
import threading
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kinglet
from kinglet import Model, _embed, _load, _options, errors, generation, model

from .conftest import FIXTURES, ROOT


def test_properties(bert: Model, gpt2: Model) -> None:
    assert bert.path == str(FIXTURES / "bert") and bert.family == "bert" and bert.device == "cpu"
    assert (bert.precision, bert.device_index, bert.dimension, bert.embedding_dimension) == ("f32", 0, 32, 32)
    assert bert.max_length == 24 and bert.weight_bytes > 0 and bert.vocabulary_size > 200 and bert.threads >= 1
    assert bert.has_encoder and not bert.can_generate and not bert.can_chat and bert.labels == ()
    assert gpt2.can_generate and not gpt2.has_encoder and gpt2.cache_bytes >= 0 and gpt2.device_bytes == 0
    assert bert.describe()["family"] == "bert" and "bert" in repr(bert)
    assert kinglet.__version__ == re.findall(r'(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text())[0]


def test_load_options() -> None:
    loaded = Model.load(FIXTURES / "bert", precision="int8", threads=1, memory_limit=10**9, map_files=False)
    assert loaded.precision == "int8" and loaded.threads == 1
    with pytest.raises(errors.OutOfMemory) as failure:
        Model.load(FIXTURES / "bert", memory_limit=1000)
    assert isinstance(failure.value, MemoryError) and failure.value.status == "out_of_memory"
    for options, says in [
        ({"precision": "int3"}, "precision: 'int3' is unknown; it is one of auto, f32, f16, int8, bf16, int4"),
        ({"device": "gpu"}, "device: 'gpu' is unknown"),
        ({"threads": 0}, "threads: 0 is not in 1"),
        ({"threads": 2000}, "threads"),
        ({"memory_limit": -1}, "memory_limit: -1"),
        ({"log_level": "loud"}, "log_level: 'loud' is unknown"),
        ({"map_files": 1}, "map_files: 1 is neither"),
    ]:
        with pytest.raises(errors.InvalidArgument) as refused:
            Model.load(FIXTURES / "bert", **options)  # type: ignore[arg-type]
        assert says in str(refused.value)
    with pytest.raises(errors.InvalidArgument, match=r"texts\[0\]: has 5 bytes; the maximum is 4"):
        Model.load(FIXTURES / "bert", max_text_bytes=4).embed("birds")
    with pytest.raises(TypeError, match=r"Model\.load"):
        Model()


def test_load_errors(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="nowhere") as failure:
        Model.load(tmp_path / "nowhere")
    assert isinstance(failure.value, FileNotFoundError)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.InvalidFile, match=r"config\.json"):
        Model.load(tmp_path)


def test_closed(bert: Model) -> None:
    loaded = Model.load(bert.path)
    expected = loaded.embed("bird")
    with loaded as same:
        assert same is loaded
    loaded.close()
    for call in (
        lambda: loaded.embed("a"),
        lambda: loaded.embed_tokens(["a"]),
        lambda: loaded.tokenize(["a"]),
        lambda: loaded.generate("a"),
        lambda: loaded.stream("a"),
        lambda: loaded.chat(),
        lambda: loaded.counters(),
        lambda: loaded.cache_bytes,
        lambda: loaded.__reduce__(),
    ):
        with pytest.raises(errors.Closed, match="model: is closed"):
            call()
    assert "closed" in repr(loaded) and loaded.family == "bert" and expected.shape == (32,)


def test_close_beside_calls(bert: Model) -> None:
    """A model that is closed while it is called ends those calls as usual."""
    expected = bert.embed("bird")
    for _ in range(20):
        loaded, started = Model.load(bert.path), threading.Event()
        found: list[bool] = []

        def call(loaded: Model = loaded, started: threading.Event = started, found: list[bool] = found) -> None:
            started.set()
            try:
                while True:
                    found.append(bool((loaded.embed("bird") == expected).all()))
            except errors.Closed:
                return

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        loaded.close()
        for thread in threads:
            thread.join()
        assert all(found)


def test_progress_and_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts: list[float] = []
    lines: list[tuple[str, str]] = []
    loaded = Model.load(
        FIXTURES / "bert", progress=parts.append, log=lambda *line: lines.append(line), log_level="debug"
    )
    assert parts == sorted(parts) and parts[-1] == 1
    assert lines and all(level in ("info", "debug", "warning") and message for level, message in lines)
    assert len(_load._logs) >= 1
    del loaded
    gc.collect()
    with caplog.at_level(logging.DEBUG, "kinglet"):
        before = len(_load._logs)
        Model.load(FIXTURES / "bert", log_level="debug").close()
        gc.collect()
    assert caplog.records and caplog.records[0].name == "kinglet" and len(_load._logs) == before

    with pytest.raises(errors.Cancelled):
        Model.load(FIXTURES / "bert", progress=lambda part: False)
    with pytest.raises(KeyError):
        Model.load(FIXTURES / "bert", progress={0.5: 1}.__getitem__)
    cancellation = kinglet.Cancellation()
    cancellation.cancel()
    with pytest.raises(errors.Cancelled):
        Model.load(FIXTURES / "bert", cancellation=cancellation)


def test_callbacks_must_not_call(bert: Model) -> None:
    """The library refuses it by words; handles that Python drops there are freed later."""
    dropped = [Model.load(bert.path)]

    def progress(part: float) -> None:
        dropped.clear()
        bert.tokenize(["a"])

    with pytest.raises(errors.InvalidArgument, match="callback called Kinglet"):
        Model.load(bert.path, progress=progress)
    assert bert.tokenize(["a"])


def test_quantize(tmp_path: Path, bert: Model) -> None:
    parts: list[float] = []
    kinglet.quantize(FIXTURES / "bert", tmp_path / "bert.kinglet", "int8", progress=parts.append)
    packed = Model.load(tmp_path / "bert.kinglet")
    assert packed.precision == "int8" and parts[-1] == 1
    assert (packed.embed("bird") == Model.load(bert.path, precision="int8").embed("bird")).all()
    with pytest.raises(errors.InvalidArgument, match="precision: 'auto'"):
        kinglet.quantize(bert.path, tmp_path / "b", "auto")  # type: ignore[arg-type]
    with pytest.raises(errors.NotFound):
        kinglet.quantize(tmp_path / "none", tmp_path / "b")
    with pytest.raises(errors.Cancelled):
        kinglet.quantize(bert.path, tmp_path / "b", progress=lambda part: False)
    assert not (tmp_path / "b").exists()


def test_quantize_with_calibration(tmp_path: Path, bert: Model) -> None:
    texts = ["A bird sings.", "Rivers run to the sea."]
    kinglet.quantize(bert.path, tmp_path / "bert.kinglet", "int8", calibration_texts=texts)
    calibration = Model.load(tmp_path / "bert.kinglet").describe()["calibration"]
    assert calibration["texts"] == 2 and all(layer["error"] <= layer["error_before"] for layer in calibration["layers"].values())
    with pytest.raises(errors.InvalidArgument, match="f16 has no calibration"):
        kinglet.quantize(bert.path, tmp_path / "b", "f16", calibration_texts=texts)


@pytest.mark.parametrize(
    ("literal", "kind", "left_out"),
    [
        (model.Device, "device", set()),
        (model.Precision, "precision", set()),
        (model.Pooling, "pooling", {"none"}),
        (model.ScoreFunction, "score_function", set()),
        (model.Aggregation, "aggregation", set()),
        (model.CompressMethod, "compress_method", set()),
        (model.CompressUnit, "compress_unit", set()),
        (model.Priority, "priority", set()),
        (_load.LogLevel, "log_level", {"default"}),
    ],
)
def test_names_are_those_of_the_library(literal: Any, kind: str, left_out: set[str]) -> None:
    assert set(typing.get_args(literal)) == set(_options.choices(kind)) - left_out


def test_scheduler_priority_and_deadline(bert: Model) -> None:
    sharing = Model.load(bert.path, scheduler={"max_tokens": 64, "queue_length": 8, "max_wait_us": 10})
    plain = bert.embed(["a small bird", "a river"])
    assert (sharing.embed(["a small bird", "a river"], priority="bulk", deadline_ms=60_000) == plain).all()
    with pytest.raises(errors.DeadlineExceeded):
        sharing.embed(["a small bird sings near the river"] * 20_000, deadline_ms=1)
    with pytest.raises(errors.InvalidArgument, match="priority: 'urgent'"):
        sharing.embed("a", priority="urgent")  # type: ignore[call-overload]
    with pytest.raises(errors.InvalidArgument, match="deadline_ms: 0"):
        sharing.embed("a", deadline_ms=0)
    with pytest.raises(TypeError, match="'places'"):
        Model.load(bert.path, scheduler={"places": 1})  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgument, match="queue_length"):
        Model.load(bert.path, scheduler={"queue_length": 2**32})


def api() -> Any:
    return json.loads((ROOT / "docs/api.json").read_text())


def test_every_status_has_a_class() -> None:
    (status,) = (e for s in api()["sections"] for e in s["enumerations"] if e["name"] == "kinglet_status")
    assert {value["text"] for value in status["values"]} - {"ok"} == set(errors.BY_STATUS)
    assert all(issubclass(kind, kinglet.KingletError) for kind in errors.BY_STATUS.values())


def test_every_function_and_option_of_c_is_used() -> None:
    source = "\n".join(path.read_text() for path in Path(kinglet.__file__).parent.glob("*.py") if path.name != "_ffi.py")
    # The guard for linkers; waiting for requests, of which the event loop is told; references, which Python counts;
    # padding, which only other engines need; and what a view has, too.
    unused = re.compile(
        r"kinglet_(abi_v0|error_status|model_retain|(embeddings|classifications)_count|embeddings_(dimension|vector)"
        r"|classifications_scores|generations_text|encoding_pad|request_wait|\w+_name)$"
    )
    sections = api()["sections"]
    functions = [f["name"] for s in sections for f in s["functions"]]
    assert len(functions) > 80
    missing = [name for name in functions if not unused.match(name) and not re.search(rf"\blib\.{name}\b|\.{name}\b", source)]
    options = [s for section in sections for s in section["structs"] if s["name"].endswith("_options")]
    for struct in options:
        for field in struct["fields"]:
            name = field["name"]
            if name not in ("struct_size", "reserved", "has_seed") and not re.search(rf"\b{name}\b", source):
                missing.append(f"{struct['name']}.{name}")
    assert not missing
    assert set(_embed.EmbedOptions.__annotations__) == {
        field["name"] for s in options if s["name"] == "kinglet_embed_options" for field in s["fields"]
    } - {"struct_size"}
    assert {"on_piece", "cancellation"} < set(generation.GenerateOptions.__annotations__)


def test_another_library_is_refused(tmp_path: Path) -> None:
    compiler = next((c for c in ("cc", "gcc", "clang") if subprocess.run(["which", c], capture_output=True).returncode == 0), None)
    if compiler is None:
        pytest.skip("there is no C compiler to make a library of another version with")
    source, library = tmp_path / "other.c", tmp_path / "libother.so"
    source.write_text('unsigned kinglet_abi_version(void) { return 99; } const char *kinglet_version(void) { return "99.1.0"; }')
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)

    def imported(path: object) -> str:
        run = [sys.executable, "-c", "import kinglet"]
        found = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "KINGLET_LIBRARY": str(path)})
        assert found.returncode == 1
        return found.stderr

    assert f"is Kinglet 99.1.0 (C ABI 99); this package was made for Kinglet {kinglet.__version__}" in imported(library)
    assert "ImportError" in imported(library) and "cannot be used as Kinglet's library" in imported(tmp_path / "none.so")


def test_threads_share_a_model(bert: Model, load: Callable[[str], Model]) -> None:
    texts = [f"a small bird number {i}" for i in range(40)]
    expected, failed = bert.embed(texts), []

    def call(first: int) -> None:
        for i in range(first, 40, 4):
            if not (bert.embed(texts[: i + 1])[i] == expected[i]).all():
                failed.append(i)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
