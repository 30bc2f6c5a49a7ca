"""Examples: JSON lines, or the shards of `preprocess`, as token ids; and batches of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from kinglet_training.recipe import Data, RecipeError

# What the loss does not count.
IGNORED = -100
# Padded lengths are multiples of this, which matrix products like.
MULTIPLE = 8


def lines(path: Path, fields: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """The two fields of each line of a file."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from None
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise RecipeError(f"{path}, line {number}: not JSON: {error}") from None
            for name in fields:
                if not isinstance(value, dict) or not isinstance(value.get(name), str):
                    raise RecipeError(f"{path}, line {number}: field {name!r} is missing or not a string")
            yield value[fields[0]], value[fields[1]]


def encode(tokenizer: Any, pairs: list[tuple[str, str]], data: Data, encoder_decoder: bool) -> list[tuple[list[int], list[int]]]:
    """Token ids of inputs and of expected outputs, which end with the end token. The tokenizer works on all cores."""

    def ids(texts: list[str], longest: int, end: bool) -> list[list[int]]:
        rows = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        if not end:
            return [row[:longest] for row in rows]
        return [row[: longest - 1] + [tokenizer.eos_token_id] for row in rows]

    # A decoder goes on after its prompt, which therefore does not end.
    inputs = ids([text for text, _ in pairs], data.max_input_tokens, encoder_decoder)
    return list(zip(inputs, ids([text for _, text in pairs], data.max_output_tokens, True), strict=True))


class Examples(Dataset[dict[str, Any]]):
    """Pairs of token ids in two flat arrays, which worker processes share: memory does not grow with their number."""

    def __init__(self, tokens: np.ndarray, ends: np.ndarray, encoder_decoder: bool) -> None:
        self.tokens, self.ends, self.encoder_decoder = tokens, ends, encoder_decoder

    @staticmethod
    def of(pairs: list[tuple[list[int], list[int]]], encoder_decoder: bool) -> Examples:
        """From lists of ids. `ends` has two entries for each pair."""
        tokens, ends = flat(pairs)
        return Examples(tokens, ends, encoder_decoder)

    @staticmethod
    def read(folder: Path, part: str, encoder_decoder: bool) -> Examples:
        """The shards of `preprocess`, mapped."""
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["encoder_decoder"] != encoder_decoder:
            raise RecipeError(f"{folder}: was preprocessed for another kind of model")
        parts = [(np.load(folder / f"{name}.tokens.npy", mmap_mode="r"), np.load(folder / f"{name}.ends.npy")) for name in manifest["shards"][part]]
        if len(parts) == 1:
            return Examples(*parts[0], encoder_decoder)
        starts = np.cumsum([0] + [len(tokens) for tokens, _ in parts])
        ends = np.concatenate([end + start for (_, end), start in zip(parts, starts, strict=False)])
        return Examples(np.concatenate([tokens for tokens, _ in parts]), ends, encoder_decoder)

    def __len__(self) -> int:
        return len(self.ends) // 2

    def __getitem__(self, index: int) -> dict[str, Any]:
        first, second = int(self.ends[2 * index]), int(self.ends[2 * index + 1])
        start = int(self.ends[2 * index - 1]) if index else 0
        source = self.tokens[start:first].astype(np.int64)
        target = self.tokens[first:second].astype(np.int64)
        if self.encoder_decoder:
            return {"input_ids": source, "labels": target}
        # Only the answer counts.
        hidden = np.full(len(source), IGNORED, dtype=np.int64)
        return {"input_ids": np.concatenate([source, target]), "labels": np.concatenate([hidden, target])}


def flat(pairs: list[tuple[list[int], list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """All tokens end to end, and where each list ends."""
    rows = [row for pair in pairs for row in pair]
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.uint32, count=sum(map(len, rows)))
    return tokens, np.cumsum([len(row) for row in rows], dtype=np.int64)


@dataclass
class Collator:
    """Pads a batch: to its longest example, or to fixed lengths."""

    padding: int
    fixed: tuple[int, int] | None = None

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        def padded(key: str, filler: int, fixed: int | None) -> torch.Tensor:
            longest = fixed or max(len(example[key]) for example in examples)
            longest = -(-longest // MULTIPLE) * MULTIPLE
            out = torch.full((len(examples), longest), filler, dtype=torch.long)
            for row, example in zip(out, examples, strict=True):
                row[: len(example[key])] = torch.as_tensor(example[key])
            return out

        inputs, labels = self.fixed or (None, None)
        ids = padded("input_ids", self.padding, inputs)
        mask = padded_mask([len(example["input_ids"]) for example in examples], ids.shape[1])
        return {"input_ids": ids, "attention_mask": mask, "labels": padded("labels", IGNORED, labels)}


def padded_mask(lengths: list[int], width: int) -> torch.Tensor:
    """Ones where there are tokens: padding may be the end token, so the ids do not tell."""
    return (torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]).long()


def collator(tokenizer: PreTrainedTokenizerFast, data: Data, encoder_decoder: bool, dynamic: bool) -> Collator:
    """The collator of a recipe."""
    if dynamic:
        return Collator(tokenizer.pad_token_id)
    both = data.max_input_tokens + data.max_output_tokens
    return Collator(tokenizer.pad_token_id, (data.max_input_tokens, data.max_output_tokens) if encoder_decoder else (both, both))
