"""`python -m kinglet_training.data llvm-ir --count 60000 --output data/llvm-ir`"""

from __future__ import annotations

import argparse
from pathlib import Path

from kinglet_training.data import GENERATORS, write


def main() -> None:
    parser = argparse.ArgumentParser(description="Write generated training data as JSON lines.")
    parser.add_argument("name", choices=sorted(GENERATORS))
    parser.add_argument("--count", type=int, default=60_000, help="pairs in all three sets together (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder of train.jsonl, validation.jsonl and evaluation.jsonl")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator (default: %(default)s)")
    arguments = parser.parse_args()
    counts = write(arguments.name, arguments.count, arguments.output, arguments.seed)
    print(", ".join(f"{part} {count}" for part, count in counts.items()))


main()
