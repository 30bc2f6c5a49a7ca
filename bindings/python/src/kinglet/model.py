"""Models."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, Unpack, overload

import numpy.typing as npt

from kinglet import _batch_size, _classify, _compress, _embed, _load, _masked, _tokens, streaming
from kinglet._call import Cancellation, check
from kinglet._library import CData, ffi, lib, null, own, text
from kinglet._options import choice, choices, name_of, new
from kinglet._prefix import Prefix
from kinglet._texts import Texts, strs
from kinglet.chat import Chat, ChatOptions, apply_chat_template, parse_response
from kinglet.errors import Closed, InvalidArgument
from kinglet.generation import GenerateOptions, agenerations, generations
from kinglet.results import (
    BatchSuggestion,
    Classifications,
    Compression,
    Embeddings,
    Encoding,
    Entity,
    Floats,
    Generation,
    HiddenStates,
    Latency,
    MaskFill,
    RankedDocument,
    SparseEmbeddings,
    StageTotals,
    ZeroShotLabel,
)

__all__ = ["Aggregation", "CompressMethod", "CompressUnit", "Device", "Model", "Pooling", "Precision", "ScoreFunction"]

Device: TypeAlias = Literal["cpu", "candle-cpu", "cuda", "metal"]
Precision: TypeAlias = Literal["auto", "f32", "f16", "int8", "bf16", "int4"]
Pooling: TypeAlias = Literal["auto", "mean", "cls", "last", "max", "weightedmean", "mean_sqrt_len_tokens"]
ScoreFunction: TypeAlias = Literal["auto", "none", "sigmoid", "softmax", "tanh"]
Aggregation: TypeAlias = Literal["auto", "none", "simple"]
CompressMethod: TypeAlias = Literal["auto", "token_classifier", "self_information", "sentence_embeddings"]
CompressUnit: TypeAlias = Literal["auto", "token", "word", "sentence"]
Priority: TypeAlias = Literal["normal", "interactive", "bulk"]


class Model:
    """A loaded model, made by `Model.load`. Any number of threads may call it at the same time.

    Errors are exceptions of `kinglet.errors`. `close` frees the model when the last call that uses it has ended; so does Python when the
    model is forgotten. Results stay valid. Pickling a model keeps its path and options, and loads it again.
    """

    def __init__(self) -> None:
        raise TypeError("use Model.load")

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        precision: Precision = "auto",
        threads: int | None = None,
        device: Device = "cpu",
        device_index: int = 0,
        memory_limit: int | None = None,
        answer_cache_bytes: int | None = None,
        onnxruntime: str | os.PathLike[str] | None = None,
        map_files: bool | None = None,
        max_text_bytes: int | None = None,
        scheduler: _load.SchedulerOptions | None = None,
        log_level: _load.LogLevel = "warning",
        log: _load.Log | None = None,
        progress: _load.Progress | None = None,
        cancellation: Cancellation | None = None,
    ) -> Model:
        """Loads a directory in Hugging Face's layout, a GGUF file, a .kinglet file or an ONNX export. `path` may be the name of
        a model in the local cache of the Hugging Face hub (`sentence-transformers/all-MiniLM-L6-v2`); nothing is downloaded.

        `threads`: how many a call may use; by default as many as the process may use (its CPU affinity). `memory_limit`: bytes for
        weights, caches and working memory; a larger model raises `OutOfMemory` before anything is allocated. `log` receives the level
        and the message of each record from `log_level` on; by default they go to `logging.getLogger("kinglet")`. `progress` receives
        the part that is done, from 0 to 1, and cancels by returning False. Neither may call Kinglet. The other options are those of
        kinglet_model_options in the C header.
        """
        settings = {
            "precision": precision,
            "threads": threads,
            "device": device,
            "device_index": device_index,
            "memory_limit": memory_limit,
            "answer_cache_bytes": answer_cache_bytes,
            "onnxruntime": None if onnxruntime is None else os.fspath(onnxruntime),
            "map_files": map_files,
            "max_text_bytes": max_text_bytes,
            "scheduler": scheduler,
            "log_level": log_level,
        }
        model = object.__new__(cls)
        # Reloading after pickling happens in other processes, whose working directory may be another.
        model._settings = (os.path.abspath(os.fspath(path)), settings)
        model._process = os.getpid()
        model._owner = _load.load(os.fspath(path), settings, log, progress, cancellation)
        view = new("kinglet_model_view")
        check(lambda error: lib.kinglet_model_read(model._owner, view, error))
        model._view, model._labels = view, tuple(text(view.labels[i]) for i in range(view.label_count))
        model._path, model._family = text(view.path), text(view.family)
        return model

    _owner: CData | None
    _process: int
    _settings: tuple[str, dict[str, Any]]
    _view: CData
    _labels: tuple[str, ...]
    _path: str
    _family: str

    def _handle(self) -> CData:
        # A call keeps what this returns: `close` cannot free the model under it.
        if self._owner is None:
            raise Closed("model: is closed")
        return self._owner

    def close(self) -> None:
        """Closes the model. Later calls raise `Closed`. Closing twice is allowed."""
        self._owner = None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        self._handle()
        return _reload, self._settings

    def __repr__(self) -> str:
        state = "closed" if self._owner is None else f"{self.family}, {self.precision}"
        return f"<kinglet.Model {self._path!r} ({state})>"

    # ---- What is known of the model ----

    @property
    def path(self) -> str:
        """The path that was given to `load`."""
        return self._path

    @property
    def family(self) -> str:
        """The `model_type` of config.json."""
        return self._family

    @property
    def device(self) -> str:
        """Where the model runs."""
        return name_of("device", self._view.device)

    @property
    def device_index(self) -> int:
        """Which of the devices of that kind."""
        return int(self._view.device_index)

    @property
    def precision(self) -> str:
        """The number format in use; never "auto"."""
        return name_of("precision", self._view.precision)

    @property
    def threads(self) -> int:
        """Threads that one call may use."""
        return int(self._view.threads)

    @property
    def dimension(self) -> int:
        """Values per hidden state."""
        return int(self._view.dimension)

    @property
    def embedding_dimension(self) -> int:
        """Values per embedding, by the model's own modules and truncate_dim."""
        return int(self._view.embedding_dimension)

    @property
    def max_length(self) -> int:
        """The most tokens of a text, special tokens included; longer texts are truncated."""
        return int(self._view.max_length)

    @property
    def vocabulary_size(self) -> int:
        """Token ids are below this number."""
        return int(self._view.vocabulary_size)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the classification head; empty if there is none."""
        return self._labels

    @property
    def can_generate(self) -> bool:
        """Whether the model generates text."""
        return bool(self._view.can_generate)

    @property
    def can_chat(self) -> bool:
        """Whether `chat` works: the model is a decoder and has a chat template."""
        return bool(self._view.can_chat)

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the source text."""
        return bool(self._view.has_encoder)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return int(self._view.weight_bytes)

    @property
    def cache_bytes(self) -> int:
        """Bytes that KV caches take now."""
        return int(self._now().cache_bytes)

    @property
    def device_bytes(self) -> int:
        """Bytes that the model takes on a GPU now; 0 on the CPU."""
        return int(self._now().device_bytes)

    def _now(self) -> CData:
        handle, view = self._handle(), new("kinglet_model_view")
        check(lambda error: lib.kinglet_model_read(handle, view, error))
        return view

    def describe(self) -> dict[str, Any]:
        """Family, architecture, sizes, kernels in use, pooling, prompts and labels."""
        handle = self._handle()
        found: dict[str, Any] = json.loads(_made_text(lambda made, error: lib.kinglet_model_describe(handle, made, error)))
        return found

    # ---- Encoders ----

    @overload
    def embed(self, texts: str, **options: Unpack[_embed.EmbedOptions]) -> Floats: ...
    @overload
    def embed(self, texts: Texts, *, out: Floats | None = None, **options: Unpack[_embed.EmbedOptions]) -> Floats: ...
    def embed(self, texts: Any, *, out: Floats | None = None, **options: Unpack[_embed.EmbedOptions]) -> Floats:
        """The embeddings of texts: an array with one row per text, or one vector for one `str`.

        `texts` is a sequence of str, or a string column of pyarrow or polars, which is read in place. `out` receives the rows, if it is
        given: an array of float32 with one row per text, whose rows may be apart. On the CPU the bits of a row depend on neither the
        other texts nor the number of threads.

        Options: `pooling` in place of the model's own; `normalize` to length 1; `max_length` in tokens; `prompt_name`, `prompt`;
        `truncate_dim`; `cancellation`. None means: as the model's files say.
        """
        if isinstance(texts, str):
            row: Floats = _embed.embed(self._handle(), self._view, [texts], out, options, False).values[0]
            return row
        return _embed.embed(self._handle(), self._view, texts, out, options, False).values

    def embed_detailed(
        self, texts: Texts, *, out: Floats | None = None, **options: Unpack[_embed.EmbedOptions]
    ) -> Embeddings:
        """Like `embed`, with the number of tokens of each text and whether it was truncated."""
        return _embed.embed(self._handle(), self._view, texts, out, options, True)

    def embed_tokens(self, texts: Texts, **options: Unpack[_embed.EmbedOptions]) -> list[Floats]:
        """One array per text, with one row per token. Options as in `embed`, without `pooling`."""
        return _embed.embed_tokens(self._handle(), texts, options)

    def classify(
        self, texts: Texts, pairs: Texts | None = None, **options: Unpack[_classify.ClassifyOptions]
    ) -> Classifications:
        """Scores each label for texts, or for pairs of `texts[i]` and `pairs[i]`.

        Options: `function` that makes outputs scores, in place of the model's own; `max_length`; `prompt_name`, `prompt`;
        `cancellation`.
        """
        return _classify.classify(self._handle(), self._labels, texts, pairs, options)

    def score(self, queries: str | Texts, documents: Texts, **options: Unpack[_classify.ClassifyOptions]) -> Floats:
        """Scores pairs with a cross-encoder: one number per document. One query, or one for each document. Options as in `classify`."""
        return _classify.score(self._handle(), queries, documents, options)

    def rerank(
        self, query: str, documents: Texts, *, top_n: int | None = None, **options: Unpack[_classify.ClassifyOptions]
    ) -> list[RankedDocument]:
        """Scores documents for a query as `score` does, and sorts them: the best first, at most `top_n`. Options as in `classify`."""
        return _classify.rerank(self._handle(), query, documents, top_n, options)

    def classify_tokens(
        self, texts: Sequence[str], *, aggregation: Aggregation = "auto", **options: Unpack[_classify.ClassifyOptions]
    ) -> list[list[Entity]]:
        """The labelled parts of each text, for instance names. Positions are those of Python's strings."""
        return _classify.classify_tokens(self._handle(), texts, aggregation, options)

    def classify_zero_shot(
        self, texts: Texts, labels: Sequence[str], **options: Unpack[_masked.ZeroShotOptions]
    ) -> list[list[ZeroShotLabel]]:
        """Classifies texts by labels of the call, with a model of natural language inference: the labels of each text, the likeliest first.

        Options: `hypothesis_template` ("This example is {}."), `multi_label`; `max_length`; `priority`, `deadline_ms`; `cancellation`.
        """
        return _masked.classify_zero_shot(self._handle(), texts, labels, options)

    def fill_mask(self, texts: Texts, **options: Unpack[_masked.FillMaskOptions]) -> list[list[list[MaskFill]]]:
        """The likeliest tokens for each mask token of the texts, with a masked language model: for each text its masks.

        Options: `top_k` (5), `targets`; `max_length`; `priority`, `deadline_ms`; `cancellation`.
        """
        return _masked.fill_mask(self._handle(), texts, options)

    def sparse_embed(self, texts: Texts, **options: Unpack[_masked.SparseOptions]) -> SparseEmbeddings:
        """Embeds texts as weights of tokens of the vocabulary, with a masked language model (SPLADE).

        Options: `max_active_dims`; `max_length`, `prompt_name`, `prompt`; `priority`, `deadline_ms`; `cancellation`.
        """
        return _masked.sparse_embed(self._handle(), texts, options)

    def compress(self, text: str, **options: Unpack[_compress.CompressOptions]) -> Compression:
        """Shortens a document of any length: the words or sentences that matter least are dropped, the others keep their order.

        Options: `ratio` or `max_tokens`, one of which is needed; `method` and `unit`, which the model decides otherwise; `query` and
        `relevance` of sentence embeddings; `keep_label` of a token classifier; `window` and `overlap` in tokens; `force_digits`,
        `force_capitalized`, `force_tokens`; `priority`, `deadline_ms`; `cancellation`.
        """
        return _compress.compress(self._handle(), text, options)

    # ---- Tokens ----

    def tokenize(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        add_special_tokens: bool | None = None,
        max_length: int | None = None,
        truncation: bool = True,
        offsets: bool = False,
        cancellation: Cancellation | None = None,
    ) -> list[Encoding]:
        """Tokenises texts or pairs. `truncation=False`: they may be of any length."""
        return _tokens.tokenize(
            self._handle(), texts, pairs, add_special_tokens, max_length, truncation, offsets, cancellation
        )

    def detokenize(self, token_ids: Sequence[int] | npt.NDArray[Any], *, skip_special_tokens: bool | None = None) -> str:
        """Turns token ids back into text."""
        return _tokens.detokenize(self._handle(), token_ids, skip_special_tokens)

    def hidden_states(
        self,
        token_ids: Sequence[Sequence[int]],
        type_ids: Sequence[Sequence[int]] | None = None,
        *,
        cancellation: Cancellation | None = None,
    ) -> HiddenStates:
        """The last hidden states of sequences of token ids, to which nothing is added."""
        return _tokens.hidden_states(self._handle(), token_ids, type_ids, cancellation)

    def logits(
        self,
        token_ids: Sequence[int],
        decoder_ids: Sequence[int] | None = None,
        *,
        stepwise: bool = False,
        cancellation: Cancellation | None = None,
    ) -> Floats:
        """The logits that follow each token of a sequence; `decoder_ids` is the sequence of an encoder-decoder model."""
        return _tokens.logits(self._handle(), token_ids, decoder_ids, stepwise, cancellation)

    # ---- Generation ----

    @overload
    def generate(self, texts: str, **options: Unpack[GenerateOptions]) -> Generation: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, texts: Texts, **options: Unpack[GenerateOptions]) -> list[Generation]: ...
    def generate(self, texts: Any, **options: Unpack[GenerateOptions]) -> Any:
        """Generates text from prompts or, if the model has an encoder, from source texts. `str(generation)` is the text."""
        single = isinstance(texts, str)
        handle, (data, count, keep) = self._handle(), strs([texts] if single else texts, "texts")
        found = generations(
            options, lambda c, made, error: lib.kinglet_model_generate(handle, data, count, c, made, error)
        )
        del keep
        return found[0] if single else found

    def generate_ids(self, token_ids: Sequence[Sequence[int]], **options: Unpack[GenerateOptions]) -> list[Generation]:
        """Like `generate`, from token ids, to which nothing is added."""
        handle = self._handle()
        data, total, lengths, count = _tokens.sequences(token_ids, "token_ids")
        return generations(
            options,
            lambda c, made, error: lib.kinglet_model_generate_ids(handle, data, total, lengths, count, c, made, error),
        )

    def stream(self, prompt: str, **options: Unpack[GenerateOptions]) -> streaming.Stream:
        """The text that `generate` gives, piece by piece, as an iterator of str. After its end, `result` is the generation."""
        self._handle()
        return streaming.Stream(functools.partial(self.generate, _one(prompt)), dict(options))

    def chat(
        self,
        system: str | None = None,
        *,
        template_variables: Mapping[str, Any] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Chat:
        """Starts a chat, with a system prompt if it is given. `template_variables` are further variables of the chat template, for
        instance `{"enable_thinking": False}`."""
        return Chat(self._handle(), system, options, template_variables)

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        cancellation: Cancellation | None = None,
        **template_variables: Any,
    ) -> str:
        """The prompt that the model's chat template makes of a chat, as transformers' method of this name does with `tokenize=False`.
        Special tokens are in it: generate with `add_special_tokens=False`."""
        switches, options = (add_generation_prompt, continue_final_message), {"tools": tools, "documents": documents}
        return apply_chat_template(self._handle(), conversation, switches, options, template_variables, cancellation)

    def parse_response(self, response: str, *, prefix: str = "", **options: Unpack[ChatOptions]) -> dict[str, Any]:
        """Reads the text of an answer: a message with `role`, `content` and, where there is any, `reasoning_content` (what the model
        thought) and `tool_calls` (the tools of the options that it calls). What is no whole call of one of them stays in the content.
        `prefix` is the prompt, or its end: some templates begin the thought themselves."""
        return parse_response(self._handle(), response, prefix, options)

    def prefix(
        self, text: str, *, add_special_tokens: bool | None = None, cancellation: Cancellation | None = None
    ) -> Prefix:
        """Computes the beginning of prompts, for the option `prefix`."""
        return Prefix(self._handle(), text, add_special_tokens, cancellation)

    # ---- For async programs ----

    async def aembed(self, texts: str | Texts, **options: Unpack[_embed.EmbedOptions]) -> Floats:
        """Like `embed`, for `await`. Cancelling the task ends the call.

        Awaited calls are requests: they take no thread of Python's. At most `requests` of `scheduler` run at once; others wait. Texts are
        copied when the call begins.
        """
        if self._is_inherited():
            cancellation = options.pop("cancellation", None)
            return await streaming.in_executor(functools.partial(self.embed, texts, **options), cancellation)
        if isinstance(texts, str):
            row: Floats = (await _embed.aembed(self._handle(), [texts], options))[0]
            return row
        return await _embed.aembed(self._handle(), texts, options)

    async def aclassify(
        self, texts: Texts, pairs: Texts | None = None, **options: Unpack[_classify.ClassifyOptions]
    ) -> Classifications:
        """Like `classify`, for `await`."""
        if self._is_inherited():
            cancellation = options.pop("cancellation", None)
            return await streaming.in_executor(functools.partial(self.classify, texts, pairs, **options), cancellation)
        return await _classify.aclassify(self._handle(), self._labels, texts, pairs, options)

    async def ascore(
        self, queries: str | Texts, documents: Texts, **options: Unpack[_classify.ClassifyOptions]
    ) -> Floats:
        """Like `score`, for `await`."""
        if self._is_inherited():
            cancellation = options.pop("cancellation", None)
            return await streaming.in_executor(functools.partial(self.score, queries, documents, **options), cancellation)
        return await _classify.ascore(self._handle(), queries, documents, options)

    async def aclassify_tokens(
        self, texts: Sequence[str], *, aggregation: Aggregation = "auto", **options: Unpack[_classify.ClassifyOptions]
    ) -> list[list[Entity]]:
        """Like `classify_tokens`, for `await`."""
        if self._is_inherited():
            cancellation = options.pop("cancellation", None)
            call = functools.partial(self.classify_tokens, texts, aggregation=aggregation, **options)
            return await streaming.in_executor(call, cancellation)
        return await _classify.aclassify_tokens(self._handle(), texts, aggregation, options)

    async def aclassify_zero_shot(
        self, texts: Texts, labels: Sequence[str], **options: Unpack[_masked.ZeroShotOptions]
    ) -> list[list[ZeroShotLabel]]:
        """Like `classify_zero_shot`, for `await`: on a thread."""
        cancellation = options.pop("cancellation", None)
        call = functools.partial(self.classify_zero_shot, texts, labels, **options)
        return await streaming.in_executor(call, cancellation)

    async def afill_mask(
        self, texts: Texts, **options: Unpack[_masked.FillMaskOptions]
    ) -> list[list[list[MaskFill]]]:
        """Like `fill_mask`, for `await`: on a thread."""
        cancellation = options.pop("cancellation", None)
        return await streaming.in_executor(functools.partial(self.fill_mask, texts, **options), cancellation)

    async def asparse_embed(self, texts: Texts, **options: Unpack[_masked.SparseOptions]) -> SparseEmbeddings:
        """Like `sparse_embed`, for `await`: on a thread."""
        cancellation = options.pop("cancellation", None)
        return await streaming.in_executor(functools.partial(self.sparse_embed, texts, **options), cancellation)

    async def acompress(self, text: str, **options: Unpack[_compress.CompressOptions]) -> Compression:
        """Like `compress`, for `await`: on a thread."""
        cancellation = options.pop("cancellation", None)
        return await streaming.in_executor(functools.partial(self.compress, text, **options), cancellation)

    @overload
    async def agenerate(  # type: ignore[overload-overlap]
        self, texts: str, **options: Unpack[GenerateOptions]
    ) -> Generation: ...
    @overload
    async def agenerate(self, texts: Texts, **options: Unpack[GenerateOptions]) -> list[Generation]: ...
    async def agenerate(self, texts: Any, **options: Unpack[GenerateOptions]) -> Any:
        """Like `generate`, for `await`. `on_piece` is called on a thread of the library's."""
        if self._is_inherited():
            cancellation = options.pop("cancellation", None)
            return await streaming.in_executor(functools.partial(self.generate, texts, **options), cancellation)
        single = isinstance(texts, str)
        data, count, keep = strs([texts] if single else texts, "texts")
        found = await agenerations(options, data, count, keep, self._handle())
        return found[0] if single else found

    def _is_inherited(self) -> bool:
        # In the child of a fork, where requests have no threads.
        return os.getpid() != self._process

    def astream(self, prompt: str, **options: Unpack[GenerateOptions]) -> AsyncIterator[str]:
        """Like `stream`, for `async for`."""
        self._handle()
        return streaming.astream(functools.partial(self.generate, _one(prompt)), dict(options))

    # ---- Batch sizes and counters ----

    def suggest_batch_size(
        self,
        input_tokens: float,
        *,
        input_spread: float = 0,
        output_tokens: int = 0,
        beams: int = 1,
        **options: Unpack[_batch_size.SuggestBatchSizeOptions],
    ) -> BatchSuggestion:
        """How many texts to give to one call, for inputs of `input_tokens` tokens in the mean (special tokens included), with the standard
        deviation `input_spread`, of which each generates `output_tokens` tokens with `beams` beams.

        The first question runs the model, for some seconds at most; let nothing else run meanwhile.

        Options: `goal` ("throughput", "latency" with `latency_ms` per batch as its bound, "memory" with `memory_bytes` of the model, its
        weights included); `calibration_file`, which keeps the times that were measured and is read as long as model and machine are the
        same; `calibration_ms`, by default 4000; `skip_calibration`, to assume costs from the size of the weights; `cancellation`.
        """
        return _batch_size.suggest(self._handle(), input_tokens, input_spread, output_tokens, beams, options)

    def counters(self) -> dict[str, StageTotals]:
        """The totals of each stage since the model was loaded or `reset_counters`, by the stage's name."""
        handle, totals, found = self._handle(), new("kinglet_stage_totals"), {}
        for name, stage in choices("stage").items():
            check(lambda error, stage=stage: lib.kinglet_model_stage(handle, stage, totals, error))  # type: ignore[misc]
            found[name] = StageTotals(totals.calls, totals.items, totals.tokens, totals.nanoseconds)
        return found

    def latency(self) -> Latency:
        """The distribution of the durations of whole calls that succeeded."""
        handle, found = self._handle(), new("kinglet_latency")
        check(lambda error: lib.kinglet_model_latency(handle, found, error))
        return Latency(*(getattr(found, field.name) for field in dataclasses.fields(Latency)))

    def reset_counters(self) -> None:
        """Sets all counters to zero."""
        lib.kinglet_model_reset_counters(self._handle())

    def export_counters(self, format: Literal["json", "csv", "prometheus"] = "json") -> str:
        """The counters as text."""
        handle, number = self._handle(), choice("counters_format", format, "format")
        return _made_text(lambda made, error: lib.kinglet_model_export_counters(handle, number, made, error))


def _one(prompt: Any) -> str:
    if not isinstance(prompt, str):
        raise InvalidArgument(f"prompt: one str is needed, not {type(prompt).__name__}; for batches use generate with on_piece")
    return prompt


def _made_text(work: Any) -> str:
    made = ffi.new("kinglet_text **")
    check(lambda error: work(made, error))
    owner = own(made[0], lib.kinglet_text_free)
    return text(lib.kinglet_text_str(owner))


def _reload(path: str, settings: Mapping[str, Any]) -> Model:
    return Model.load(path, **settings)
