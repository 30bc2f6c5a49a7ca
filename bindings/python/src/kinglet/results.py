"""What calls return. Arrays are numpy's, over the library's memory without a copy; those are read-only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BatchSuggestion",
    "Classifications",
    "Compression",
    "DeviceInfo",
    "Embeddings",
    "Encoding",
    "Entity",
    "Floats",
    "Generation",
    "HiddenStates",
    "Latency",
    "MaskFill",
    "Message",
    "Output",
    "Piece",
    "RankedDocument",
    "SparseEmbeddings",
    "StageTotals",
    "ZeroShotLabel",
]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The embeddings of a batch of texts."""

    #: One row per text.
    values: Floats
    #: The tokens of each text, special tokens included.
    token_counts: npt.NDArray[np.uint64]
    #: Which texts were truncated.
    truncated: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Classifications:
    """The scores of a batch of texts or pairs."""

    #: The names of the labels.
    labels: tuple[str, ...]
    #: One row per text, one column per label.
    scores: Floats
    #: The number of the best label of each text.
    best: npt.NDArray[np.uint32]
    #: The tokens of each text or pair, special tokens included.
    token_counts: npt.NDArray[np.uint64]
    #: Which of them were truncated.
    truncated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def best_labels(self) -> list[str]:
        """The name of the best label of each text."""
        return [self.labels[i] for i in self.best]


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document of a ranking."""

    #: Its number in the call.
    index: int
    score: float
    #: Whether the query and the document were truncated.
    truncated: bool


@dataclass(frozen=True, slots=True)
class ZeroShotLabel:
    """A label of a text."""

    label: str
    #: Its number in the call.
    index: int
    #: How far the text entails the hypothesis about it.
    score: float


@dataclass(frozen=True, slots=True)
class MaskFill:
    """A token for a mask."""

    token: int
    #: The token as text.
    token_text: str
    #: Its probability among all tokens of the vocabulary.
    score: float
    #: The text with the token in the place of the mask; if it has several masks, with its special tokens.
    sequence: str


@dataclass(frozen=True, slots=True, eq=False)
class SparseEmbeddings:
    """The sparse embeddings of a batch of texts, as compressed rows: `scipy.sparse.csr_array((weights, indices, starts))`."""

    #: The weights of text i are those from `starts[i]` to `starts[i + 1]`.
    starts: npt.NDArray[np.uint64]
    #: Token ids, ascending for each text.
    indices: npt.NDArray[np.uint32]
    #: Their weights, all greater than 0.
    weights: Floats
    #: The size of the vocabulary; all indices are below it.
    dimension: int
    #: The tokens of each text, special tokens included.
    token_counts: npt.NDArray[np.uint64]
    #: Which texts were truncated.
    truncated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> tuple[npt.NDArray[np.uint32], Floats]:
        """The indices and weights of a text."""
        i = range(len(self))[i]
        part = slice(int(self.starts[i]), int(self.starts[i + 1]))
        return self.indices[part], self.weights[part]

    def dot(self, i: int, other: SparseEmbeddings, j: int) -> float:
        """How well text i matches text j of `other`: the dot product of their embeddings."""
        (left, weights), (right, others) = self[i], other[j]
        _, a, b = np.intersect1d(left, right, assume_unique=True, return_indices=True)
        return float(weights[a] @ others[b])


class Entity(NamedTuple):
    """A labelled part of a text: `text[start:end]`."""

    start: int
    end: int
    label: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """A tokenised text or pair."""

    ids: npt.NDArray[np.uint32]
    #: 0, or 1 for the second text of a pair, as the tokenizer's files say.
    type_ids: npt.NDArray[np.uint32]
    #: True for special tokens that the tokenizer added.
    special_tokens_mask: npt.NDArray[np.bool_]
    #: The text of a pair that each token came from, 0 or 1; 255 for none.
    sequences: npt.NDArray[np.uint8]
    #: With `offsets=True`: each token is `text[start:end]`. One row per token.
    offsets: npt.NDArray[np.int64] | None
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text while it is generated."""

    #: The number of the input in the call.
    index: int
    #: The number of the output, if several are sampled for one input.
    sequence: int
    #: The text since the last piece, possibly empty.
    text: str
    #: The token of this step.
    token: int
    #: "none", except in the last piece of a text.
    finish_reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One generated text."""

    text: str
    #: The generated tokens, the end token included.
    tokens: npt.NDArray[np.uint32]
    #: The log-probability of each token, with `logprobs=True`.
    logprobs: Floats | None
    #: With beams the sum of log-probabilities / length^length_penalty; otherwise the sum of `logprobs`.
    score: float
    #: "eos", "stop_string" or "length".
    finish_reason: str
    #: Of a chat: the reply as a message, with `reasoning_content` and `tool_calls` apart from `content`.
    message: dict[str, Any] | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """The outputs for one input, the best one first."""

    outputs: tuple[Output, ...]
    #: The tokens of the input, special tokens included.
    input_token_count: int
    #: Whether the input was truncated to what the model takes.
    truncated: bool

    @property
    def text(self) -> str:
        """The best output's text."""
        return self.outputs[0].text

    @property
    def tokens(self) -> npt.NDArray[np.uint32]:
        """The best output's tokens."""
        return self.outputs[0].tokens

    @property
    def finish_reason(self) -> str:
        """Why the best output ended."""
        return self.outputs[0].finish_reason

    @property
    def message(self) -> dict[str, Any]:
        """A chat's reply as a message, with `reasoning_content` and `tool_calls` apart from `content`."""
        return self.outputs[0].message or {"role": "assistant", "content": self.text}

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Compression:
    """A shortened document."""

    text: str
    #: The characters of the document that `text` is made of, from the first to before the last, in order.
    kept: tuple[tuple[int, int], ...]
    #: Tokens of the document and of `text`, without special tokens.
    tokens_before: int
    tokens_after: int
    #: What the model read: windows, or sentences where each is embedded alone. 0 for a document that fits as it is.
    windows: int
    #: How words or sentences were scored.
    method: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStates:
    """The last hidden states of a batch of token sequences."""

    #: One row per token, all sequences one after the other.
    values: Floats
    #: The rows of sequence i are those from `starts[i]` to `starts[i + 1]`.
    starts: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> Floats:
        i = range(len(self))[i]
        return self.values[int(self.starts[i]) : int(self.starts[i + 1])]


class Message(NamedTuple):
    """A message of a chat."""

    role: str
    content: str
    #: The whole message, if it has more than a role and a text.
    fields: dict[str, Any] | None = None


class StageTotals(NamedTuple):
    """Totals of one stage of the work. Times are nanoseconds."""

    calls: int
    items: int
    tokens: int
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Latency:
    """The durations of whole calls, in nanoseconds."""

    count: int
    min: int
    max: int
    p50: int
    p90: int
    p95: int
    p99: int
    mean: float
    standard_deviation: float


class DeviceInfo(NamedTuple):
    """A device that a model can be loaded on. Memory is in bytes, 0 if not known."""

    device: str
    device_index: int
    name: str
    memory_total: int
    memory_free: int


class BatchSuggestion(NamedTuple):
    """A batch size, and what to expect of it."""

    #: Texts per call.
    batch_size: int
    #: The expected milliseconds of one batch.
    batch_ms: float
    #: The expected throughput.
    texts_per_second: float
    #: Of input tokens, or of generated ones if the workload generates.
    tokens_per_second: float
    #: Bytes of weights, KV caches, activations and results.
    bytes: int
    #: Whether the goal's bound is kept. If no size keeps it, `batch_size` is 1.
    within_bound: bool
    #: How the size was found, in words.
    explanation: str


def flags(bytes_of: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Bytes of 0 and 1 as truth values, without a copy."""
    return bytes_of.view(np.bool_)
