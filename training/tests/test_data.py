from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from kinglet_training import data


@pytest.mark.parametrize("name", sorted(data.GENERATORS))
def test_the_same_seed_gives_the_same_sets_without_overlap(name: str, tmp_path: Path) -> None:
    first = data.write(name, 2000, tmp_path / "a")
    data.write(name, 2000, tmp_path / "b")
    data.write(name, 2000, tmp_path / "c", seed=2)
    assert sum(first.values()) == 2000 and all(first.values())
    inputs: dict[str, set[str]] = {}
    for part, count in first.items():
        text = (tmp_path / "a" / f"{part}.jsonl").read_text()
        assert text == (tmp_path / "b" / f"{part}.jsonl").read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        assert len(rows) == count and all(row["input"] and row["expected"] for row in rows)
        inputs[part] = {row["input"] for row in rows}
    assert not inputs["train"] & inputs["evaluation"] and not inputs["train"] & inputs["validation"]
    # Another seed's training set has no text of this evaluation set either.
    other = {json.loads(line)["input"] for line in (tmp_path / "c" / "train.jsonl").read_text().splitlines()}
    assert not other & inputs["evaluation"] and other != inputs["train"]


@pytest.mark.skipif(shutil.which("opt") is None and shutil.which("llvm-as") is None, reason="LLVM's opt is not installed")
def test_the_code_is_valid() -> None:
    source = random.Random(3)
    # One module with functions of different names, of each shape.
    functions = []
    for i in range(300):
        _, code = data.llvm_ir.pair(source)
        head, rest = code.split("(", 1)
        functions.append(f"{head}{i}({rest}")
    command = ["opt", "-passes=verify", "-disable-output"] if shutil.which("opt") else ["llvm-as", "-o", "/dev/null"]
    done = subprocess.run(command, input="\n".join(functions), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_summaries_say_what_the_advisory_says() -> None:
    source = random.Random(5)
    for _ in range(200):
        text, summary = data.advisories.pair(source)
        fixed = summary.split(" before ")[1].split(" lets ")[0]
        number = summary.split("(")[1].split(")")[0]
        assert fixed in text and number in text
