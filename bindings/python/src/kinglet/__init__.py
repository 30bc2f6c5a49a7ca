"""Small language models inside a Python program: embeddings, classification, generated text.

    from kinglet import Model

    model = Model.load("all-MiniLM-L6-v2", precision="int8")
    vectors = model.embed(["a small bird", "the quickest of its woods"])

A layer over Kinglet's C library, which is part of the package. Calls release the GIL and use all CPUs that the process may use.
"""

from kinglet import errors
from kinglet._call import Cancellation
from kinglet._library import version as __version__
from kinglet._load import quantize
from kinglet._prefix import Prefix
from kinglet._search import SearchHits, embedding_ranges, quantize_embeddings, search
from kinglet.chat import Chat, ChatOptions
from kinglet.devices import devices, missing_devices
from kinglet.errors import KingletError
from kinglet.generation import GenerateOptions
from kinglet.model import Model
from kinglet.results import (
    BatchSuggestion,
    Classifications,
    Compression,
    DeviceInfo,
    Embeddings,
    Encoding,
    Entity,
    Generation,
    HiddenStates,
    Latency,
    MaskFill,
    Message,
    Output,
    Piece,
    RankedDocument,
    SparseEmbeddings,
    StageTotals,
    ZeroShotLabel,
)
from kinglet.streaming import Stream

__all__ = [
    "BatchSuggestion",
    "Cancellation",
    "Chat",
    "ChatOptions",
    "Classifications",
    "Compression",
    "DeviceInfo",
    "Embeddings",
    "Encoding",
    "Entity",
    "GenerateOptions",
    "Generation",
    "HiddenStates",
    "KingletError",
    "Latency",
    "MaskFill",
    "Message",
    "Model",
    "Output",
    "Piece",
    "Prefix",
    "RankedDocument",
    "SearchHits",
    "SparseEmbeddings",
    "StageTotals",
    "Stream",
    "ZeroShotLabel",
    "__version__",
    "devices",
    "embedding_ranges",
    "errors",
    "missing_devices",
    "quantize",
    "quantize_embeddings",
    "search",
]
