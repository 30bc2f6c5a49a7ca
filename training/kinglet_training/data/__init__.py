"""Data that scripts generate: the same seed gives the same files on every machine."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from kinglet_training.data import advisories, llvm_ir, queries

Pair = tuple[str, str]

GENERATORS: dict[str, Callable[[random.Random], Pair]] = {
    "llvm-ir": llvm_ir.pair,
    "advisories": advisories.pair,
    "queries": queries.pair,
}

# Of a hundred inputs: those for validation during the training, and those that are only for the evaluation afterwards.
VALIDATION, EVALUATION = 4, 4


def split(text: str) -> str:
    """The set that an input belongs to, by its hash: no input is ever in two sets, whatever the seed and the number of pairs."""
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
    if place < VALIDATION:
        return "validation"
    return "evaluation" if place < VALIDATION + EVALUATION else "train"


def pairs(name: str, count: int, seed: int) -> Iterator[Pair]:
    """`count` pairs with different inputs; fewer if the generator has no more."""
    draw, source, seen, repeated = GENERATORS[name], random.Random(seed), set(), 0
    while len(seen) < count and repeated < 20 * count + 1000:
        text, expected = draw(source)
        if text in seen:
            repeated += 1
            continue
        seen.add(text)
        yield text, expected


def write(name: str, count: int, folder: Path, seed: int = 1) -> dict[str, int]:
    """Writes train.jsonl, validation.jsonl and evaluation.jsonl with the fields `input` and `expected`; the number of lines of each."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {part: (folder / f"{part}.jsonl").open("w", encoding="utf-8") for part in ("train", "validation", "evaluation")}
    counts = dict.fromkeys(files, 0)
    try:
        for text, expected in pairs(name, count, seed):
            part = split(text)
            files[part].write(json.dumps({"input": text, "expected": expected}, ensure_ascii=False) + "\n")
            counts[part] += 1
    finally:
        for file in files.values():
            file.close()
    return counts
