"""Writes sentence_transformers.json: what sentence-transformers makes of a small matrix. Needs sentence-transformers; run by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import sentence_transformers
from sentence_transformers import SimilarityFunction
from sentence_transformers.util.quantization import quantize_embeddings


def main() -> None:
    """Makes the file."""
    numbers = np.random.default_rng(7).standard_normal((6, 16)).astype(np.float32).round(3)
    numbers[:, 3] = 0.5
    numbers[4] = 0
    made = {
        "sentence_transformers": sentence_transformers.__version__,
        "embeddings": numbers.tolist(),
        "quantized": {
            name: quantize_embeddings(numbers, precision=name).tolist() for name in ("int8", "uint8", "binary", "ubinary")
        },
        "similarity": {
            name: SimilarityFunction.to_similarity_fn(name)(numbers[:3], numbers[2:]).tolist()
            for name in ("cosine", "dot", "euclidean", "manhattan")
        },
    }
    path = Path(__file__).with_name("sentence_transformers.json")
    path.write_text(json.dumps(made, default=float) + "\n")


if __name__ == "__main__":
    main()
