"""Shorten a document to fit a prompt: python shorten.py MODEL TOKENS FILE [QUERY]. Prints the text, and to standard error what was dropped."""

from __future__ import annotations

import sys
from pathlib import Path

from kinglet import KingletError, Model


def main() -> int:
    """Runs the program."""
    if len(sys.argv) not in (4, 5) or not sys.argv[2].isdecimal():
        print(__doc__, file=sys.stderr)
        return 2
    path, tokens, file = sys.argv[1:4]
    document = Path(file).read_text(encoding="utf-8")
    try:
        with Model.load(path, precision="int8") as model:
            short = model.compress(document, max_tokens=int(tokens), query=sys.argv[4] if len(sys.argv) == 5 else None)
    except KingletError as error:
        print(f"shorten: {error}", file=sys.stderr)
        return 1
    print(short.text)
    print(f"\n{short.tokens_before} tokens became {short.tokens_after}. Dropped:", file=sys.stderr)
    ends = [0, *(end for _, end in short.kept)]
    starts = [*(start for start, _ in short.kept), len(document)]
    for end, start in zip(ends, starts, strict=True):
        if piece := " ".join(document[end:start].split()):
            print(f"- {piece[:70]}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
