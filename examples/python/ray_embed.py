"""Embed the column `text` of Parquet files with Ray Data: python ray_embed.py MODEL IN OUT. Joins the cluster of RAY_ADDRESS, or starts one
on this machine. MODEL has the same path on all nodes; OUT is a folder that all of them can write."""

from __future__ import annotations

import sys

import ray

import kinglet.ray


def main() -> int:
    """Runs the program."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    path, source, destination = sys.argv[1:]
    ray.init(include_dashboard=False)
    # Ray reads 128 MB as one block, which is the work of one actor; in smaller ones the others have work, too.
    dataset = ray.data.read_parquet(source).repartition(target_num_rows_per_block=2000)
    kinglet.ray.embed(dataset, path).write_parquet(destination)
    return 0


if __name__ == "__main__":
    sys.exit(main())
