"""Search in a text file by meaning: python search.py MODEL QUERY FILE. Prints the lines that are closest to the query, the best first."""

from __future__ import annotations

import sys
from pathlib import Path

from kinglet import KingletError, Model, search


def main() -> int:
    """Runs the program."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    path, query, file = sys.argv[1:]
    lines = [line for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        with Model.load(path, precision="int8") as model:
            hits = search(model.embed([query]), model.embed(lines), top_k=5)
    except KingletError as error:
        print(f"search: {error}", file=sys.stderr)
        return 1
    for line, score in zip(hits.indices[0], hits.scores[0], strict=True):
        print(f"{score:.3f}  {lines[line]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
