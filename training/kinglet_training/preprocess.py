"""Tokenises JSON lines into shards on all cores, once, so that trainings begin at once and share the memory of the tokens.

    python -m kinglet_training.preprocess data/queries --tokenizer out/queries [--with kinglet]

Writes `shards/` into the folder of the data; `train` uses it where it is. `--with kinglet` tokenises with Kinglet's Python package instead of
`tokenizers`: the ids are the same.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig

from kinglet_training import vocabulary
from kinglet_training.examples import encode, flat, lines
from kinglet_training.recipe import Data, RecipeError

# Lines that a worker tokenises together.
CHUNK = 2_000
# Tokens of a shard.
SHARD = 1 << 24

_state: dict[str, Any] = {}


def _kinglet(path: str) -> Callable[..., dict[str, list[list[int]]]]:
    from kinglet import Model

    model = Model.load(path, threads=1)

    def call(texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        found = model.tokenize(texts, add_special_tokens=add_special_tokens, max_length=None)
        return {"input_ids": [list(found[i].ids) for i in range(len(texts))]}

    return call


class _Tokenizer:
    """Kinglet's tokenizer with the parts of transformers' interface that `encode` uses."""

    def __init__(self, path: str) -> None:
        self.eos_token_id = vocabulary.load(path).eos_token_id
        self.call = _kinglet(path)

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        return self.call(texts, add_special_tokens)


def _begin(path: str, package: str, data: Data, encoder_decoder: bool) -> None:
    """In each worker: one tokenizer, on one thread."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer: Any = _Tokenizer(path) if package == "kinglet" else vocabulary.load(path)
    _state.update(tokenizer=tokenizer, data=data, encoder_decoder=encoder_decoder)


def _work(pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    return flat(encode(_state["tokenizer"], pairs, _state["data"], _state["encoder_decoder"]))


def _chunks(path: Path, data: Data) -> Iterator[list[tuple[str, str]]]:
    chunk = []
    for pair in lines(path, (data.input_field, data.expected_field)):
        chunk.append(pair)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _Shards:
    """Writes tokens into files of a bounded size."""

    def __init__(self, folder: Path, part: str) -> None:
        self.folder, self.part, self.names = folder, part, []
        self.tokens: list[np.ndarray] = []
        self.ends: list[np.ndarray] = []
        self.count = 0

    def add(self, tokens: np.ndarray, ends: np.ndarray) -> None:
        self.ends.append(ends + self.count)
        self.tokens.append(tokens)
        self.count += len(tokens)
        if self.count >= SHARD:
            self.write()

    def write(self) -> None:
        if self.ends or not self.names:
            name = f"{self.part}-{len(self.names):05}"
            none = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
            np.save(self.folder / f"{name}.tokens.npy", np.concatenate(self.tokens or none[0]))
            np.save(self.folder / f"{name}.ends.npy", np.concatenate(self.ends or none[1]))
            self.names.append(name)
        self.tokens, self.ends, self.count = [], [], 0


def run(folder: Path, tokenizer: Path, data: Data, workers: int, package: str = "tokenizers") -> dict[str, float]:
    """Tokenises train.jsonl and validation.jsonl; lines and tokens per second of wall-clock time."""
    encoder_decoder = bool(AutoConfig.from_pretrained(str(tokenizer)).is_encoder_decoder)
    shards = folder / "shards"
    shards.mkdir(exist_ok=True)
    begun, rows, tokens, names = time.monotonic(), 0, 0, {}
    # Not fork: the tokenizer's threads would not survive it.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _begin, (str(tokenizer), package, data, encoder_decoder)) as pool:
        for part in ("train", "validation"):
            written = _Shards(shards, part)
            # In the order of the lines, so that the shards do not depend on the number of workers.
            for found, ends in pool.imap(_work, _chunks(folder / f"{part}.jsonl", data)):
                written.add(found, ends)
                rows, tokens = rows + len(ends) // 2, tokens + len(found)
            written.write()
            names[part] = written.names
    manifest = {"encoder_decoder": encoder_decoder, "shards": names, "tokenizer": str(tokenizer)}
    (shards / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    seconds = time.monotonic() - begun
    return {"lines": rows, "tokens": tokens, "seconds": seconds, "lines_per_s": rows / seconds, "tokens_per_s": tokens / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description="Tokenise JSON lines into shards on all cores.")
    parser.add_argument("folder", type=Path, help="folder of train.jsonl and validation.jsonl")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a model")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (default: one per core)")
    parser.add_argument("--with", dest="package", choices=["tokenizers", "kinglet"], default="tokenizers")
    parser.add_argument("--max-input-tokens", type=int, default=Data.max_input_tokens)
    parser.add_argument("--max-output-tokens", type=int, default=Data.max_output_tokens)
    given = parser.parse_args()
    data = Data(str(given.folder), max_input_tokens=given.max_input_tokens, max_output_tokens=given.max_output_tokens)
    try:
        figures = run(given.folder, given.tokenizer, data, given.workers, given.package)
    except RecipeError as error:
        sys.exit(str(error))
    print(f"{figures['lines']:.0f} lines, {figures['tokens']:.0f} tokens in {figures['seconds']:.1f} s on {given.workers} processes: "
          f"{figures['lines_per_s']:.0f} lines/s, {figures['tokens_per_s']:.0f} tokens/s")


if __name__ == "__main__":
    main()
