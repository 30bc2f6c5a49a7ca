"""Embed the column `text` of Parquet files with Spark: spark-submit spark_embed.py MODEL IN OUT. MODEL has the same path on
all machines."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

import kinglet.spark


def main() -> int:
    """Runs the program."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    path, source, destination = sys.argv[1:]
    spark = SparkSession.builder.appName("embed").getOrCreate()
    embed = kinglet.spark.embed_udf(path)
    spark.read.parquet(source).withColumn("embedding", embed("text")).write.parquet(destination)
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
