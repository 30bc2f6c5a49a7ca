"""Embed the column `text` of Parquet files with Daft: python daft_embed.py MODEL IN OUT."""

from __future__ import annotations

import sys

import daft

import kinglet.daft


def main() -> int:
    """Runs the program."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    path, source, destination = sys.argv[1:]
    embed = kinglet.daft.embed_udf(path)
    daft.read_parquet(source).with_column("embedding", embed(daft.col("text"))).write_parquet(destination)
    return 0


if __name__ == "__main__":
    sys.exit(main())
