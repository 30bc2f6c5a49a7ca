"""Search in a text file by meaning: python search.py MODEL QUERY FILE. Prints the lines that are closest to the query, the best first."""

from __future__ import annotations

import sys
from pathlib import Path

from kinglet import KingletError, Model


def main() -> int:
    """Runs the program."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    path, query, file = sys.argv[1:]
    lines = [line for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        with Model.load(path, precision="int8") as model:
            # Unit vectors: their products are cosines.
            scores = model.embed(lines, normalize=True) @ model.embed(query, normalize=True)
    except KingletError as error:
        print(f"search: {error}", file=sys.stderr)
        return 1
    for i in scores.argsort()[::-1][:5]:
        print(f"{scores[i]:.3f}  {lines[i]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
