"""Embed a column of a Parquet file of any size: python parquet_embed.py MODEL IN.parquet COLUMN OUT.parquet. The output has the columns of
the input and `embedding`, with float32 lists of one size. Memory is that of the model and of a few thousand rows."""

from __future__ import annotations

import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from kinglet import KingletError, Model

ROWS = 2048


def convert(model: Model, source: str, column: str, destination: str) -> int:
    """Writes the output and returns the number of its rows."""
    vectors = pa.list_(pa.float32(), model.embed("").size)
    with pq.ParquetFile(source) as file:
        schema = file.schema_arrow.append(pa.field("embedding", vectors))
        with pq.ParquetWriter(destination, schema) as writer:
            for batch in file.iter_batches(ROWS):
                values = model.embed(batch[column])
                rows = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=vectors)
                writer.write_batch(pa.record_batch([*batch.columns, rows], schema=schema))
        return int(file.metadata.num_rows)


def main() -> int:
    """Runs the program."""
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    path, source, column, destination = sys.argv[1:]
    # The output has its name when it is complete.
    partial = destination + ".partial"
    try:
        with Model.load(path) as model:
            count = convert(model, source, column, partial)
    except (KingletError, pa.ArrowException, OSError, KeyError) as error:
        print(f"parquet_embed: {error}", file=sys.stderr)
        return 1
    os.replace(partial, destination)
    print(f"{count} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
