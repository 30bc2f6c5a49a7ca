"""What the tests of data engines share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np


def texts_of(count: int) -> list[str]:
    """Texts of 8 to 25 words, each its own."""
    words = "a small bird sings near the river where old trees stand and the wind is cold in the early morning of winter".split()
    return [f"{i} " + " ".join(words[(i * 7 + k) % len(words)] for k in range(8 + i % 18)) for i in range(count)]


def matrix(vectors: Any) -> Any:
    """A chunked Arrow column of lists without nulls as a matrix, without a list per row."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1) for chunk in vectors.chunks if len(chunk)]
    return np.concatenate(parts)


def sharing(path: Path) -> dict[int, tuple[int, int]]:
    """The processes that map a file, with how many of its bytes each has in memory, and its share of them: a page of n processes counts
    1/n (PSS)."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            text = (folder / "smaps").read_text() if folder.name.isdigit() else ""
        except OSError:
            continue
        resident = share = 0
        inside = False
        for line in text.splitlines():
            name, _, rest = line.partition(" ")
            if not name.endswith(":"):
                inside = line.endswith(f" {path}")
            elif inside and name in ("Rss:", "Pss:"):
                kib = int(rest.split()[0]) * 1024
                resident, share = (resident + kib, share) if name == "Rss:" else (resident, share + kib)
        if resident:
            found[int(folder.name)] = (resident, share)
    return found


def children(parent: int) -> dict[int, list[str]]:
    """The child processes with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[int(folder.name)] = os.fsdecode((folder / "cmdline").read_bytes()).split("\0")
        except OSError:
            continue
    return found
