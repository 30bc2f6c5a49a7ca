"""Options and results of generation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from kinglet import _options
from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, null, own, text
from kinglet._memory import array
from kinglet._options import calling, choice, ids, integer, lend, name_of, tristate
from kinglet._prefix import Prefix
from kinglet._request import awaited
from kinglet._texts import Texts, strs
from kinglet.errors import InvalidArgument
from kinglet.results import Generation, Output, Piece

if TYPE_CHECKING:
    from kinglet.model import Priority

__all__ = ["GenerateOptions", "OnPiece", "agenerations", "generations"]

OnPiece = Callable[[Piece], Any]


class GenerateOptions(TypedDict, total=False):
    """Options of `generate`, `stream` and chats, by Hugging Face's names. What is left out, or None, is decided by the model's
    generation_config.json. kinglet_generate_options in the C header has the details of each."""

    max_new_tokens: int | None
    min_new_tokens: int | None
    num_beams: int | None
    num_return_sequences: int | None
    prompt_lookup_num_tokens: int | None
    max_matching_ngram_size: int | None
    no_repeat_ngram_size: int | None
    encoder_no_repeat_ngram_size: int | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    temperature: float | None
    do_sample: bool | None
    #: The same seed samples the same tokens for the same prompt.
    seed: int | None
    repetition_penalty: float | None
    encoder_repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    length_penalty: float | None
    #: Where end tokens begin to gain, and by which factor.
    exponential_decay_length_penalty: tuple[int, float] | None
    early_stopping: bool | Literal["never"] | None
    ignore_eos: bool | None
    #: Returns the log-probability of each token.
    logprobs: bool | None
    add_special_tokens: bool | None
    skip_special_tokens: bool | None
    #: The text is JSON that satisfies this schema, a dict or its text.
    json_schema: Mapping[str, Any] | str | None
    #: With `json_schema`: what becomes of keywords that cannot be enforced while the text is generated.
    schema_mode: Literal["auto", "check", "strict"] | None
    #: The most work that compiling the grammar may take, in steps of its compiler, of which a core does about a million in a second or two.
    grammar_work_limit: int | None
    #: The most memory that the compiled grammar may take, in bytes (estimated).
    grammar_memory_limit: int | None
    #: The whole text matches this regular expression.
    regex: str | None
    #: The text follows this grammar, in llguidance's variant of Lark.
    lark: str | None
    #: Of a chat with tools: "auto", "none", "required", or the name of the tool to call.
    tool_choice: str | None
    stop_strings: str | Sequence[str] | None
    bad_words_ids: Sequence[Sequence[int]] | None
    suppress_tokens: Sequence[int] | None
    begin_suppress_tokens: Sequence[int] | None
    eos_token_id: int | Sequence[int] | None
    forced_eos_token_id: int | Sequence[int] | None
    forced_bos_token_id: int | None
    decoder_start_token_id: int | None
    #: Token sequences, and what is added to the logit of their last token.
    sequence_bias: Mapping[tuple[int, ...], float] | None
    #: Tokens that the decoder continues: one list for all inputs, or one per input.
    decoder_input_ids: Sequence[Sequence[int]] | None
    decoder_input_texts: Texts | None
    max_input_length: int | None
    priority: Priority | None
    #: Milliseconds after which the call raises `DeadlineExceeded`.
    deadline_ms: int | None
    #: The beginning of prompts, computed before by `Model.prefix`.
    prefix: Prefix | None
    #: Is called with each `Piece`; cancels the call by returning False.
    on_piece: OnPiece | None
    cancellation: Cancellation | None


# Options by how they are set; each of the others has a method of `Options`.
_COUNTS = {
    "min_new_tokens",
    "num_return_sequences",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "top_k",
    "forced_bos_token_id",
    "decoder_start_token_id",
    "max_input_length",
    "grammar_work_limit",
    "grammar_memory_limit",
    "max_new_tokens",
    "num_beams",
}
_NUMBERS = {
    "top_p",
    "min_p",
    "typical_p",
    "temperature",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "length_penalty",
}
_TRISTATES = {"do_sample", "add_special_tokens", "skip_special_tokens"}
_SWITCHES = {"ignore_eos", "logprobs"}
_IDS = {"suppress_tokens", "begin_suppress_tokens"}
_END_IDS = {"eos_token_id": "eos_token_ids", "forced_eos_token_id": "forced_eos_token_ids"}
_GRAMMARS = {"json_schema", "regex", "lark"}


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidArgument(f"{name}: a number is needed, not {value!r}") from None
    # NaN means unset to the library.
    if math.isnan(number):
        raise InvalidArgument(f"{name}: is not a number")
    return number


class _Pieces:
    """The callback of one call, and what it raised."""

    def __init__(self, function: OnPiece) -> None:
        self.function = function
        self.raised: BaseException | None = None
        self.handle = ffi.new_handle(self)


@ffi.callback("uint32_t(void *, const kinglet_generation_piece *)")  # type: ignore[untyped-decorator]
def _on_piece(user_data: CData, piece: CData) -> int:
    pieces: _Pieces = ffi.from_handle(user_data)
    try:
        reason = name_of("finish_reason", piece.finish_reason)
        made = Piece(piece.index, piece.sequence, text(piece.text), piece.token, reason)
        return 0 if pieces.function(made) is False else 1
    except BaseException as error:
        pieces.raised = error
        return 0


class Options:
    """A kinglet_generate_options and what it points at."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.c = ffi.new("kinglet_generate_options *")
        lib.kinglet_generate_options_init(self.c, ffi.sizeof("kinglet_generate_options"))
        self.keep: list[Any] = []
        self.cancellation: Cancellation | None = None
        self.pieces: _Pieces | None = None
        for name, value in options.items():
            if name not in GenerateOptions.__annotations__:
                raise TypeError(f"generate() has no option {name!r}")
            if value is not None:
                self._set(name, value)

    def _set(self, name: str, value: Any) -> None:
        c = self.c
        if name in _COUNTS:
            setattr(c, name, integer(value, name))
        elif name in _NUMBERS:
            setattr(c, name, _number(value, name))
        elif name in _TRISTATES:
            setattr(c, name, tristate(value, name))
        elif name in _SWITCHES:
            setattr(c, name, int(tristate(value, name) == 2))
        elif name in _IDS:
            self._list(getattr(c, name), value, name)
        elif name in _END_IDS:
            self._list(getattr(c, _END_IDS[name]), [value] if isinstance(value, int) else value, name)
        elif name in _GRAMMARS:
            self._grammar(name, value)
        else:
            getattr(self, f"_{name}")(value)

    def _list(self, list_of: CData, value: Any, name: str) -> None:
        data, count = ids(value, name)
        if not count:
            raise InvalidArgument(f"{name}: is empty; leave it out")
        self.keep.append(data)
        list_of.data, list_of.count = data, count

    def _lists(self, value: Any, name: str) -> tuple[CData, int]:
        lists = ffi.new("kinglet_ids[]", max(len(value), 1))
        self.keep.append(lists)
        for i, each in enumerate(value):
            self._list(lists[i], each, f"{name}[{i}]")
        return lists, len(value)

    def _grammar(self, name: str, value: Any) -> None:
        if self.c.grammar_kind:
            raise InvalidArgument(f"{name}: only one of {', '.join(sorted(_GRAMMARS))} can be given")
        self.c.grammar_kind = choice("grammar_kind", name.replace("_", "-"), name)
        self.keep.append(lend(self.c.grammar, json.dumps(value) if isinstance(value, Mapping) else value, name))

    def _schema_mode(self, value: Any) -> None:
        self.c.schema_mode = choice("schema_mode", value, "schema_mode")

    def _tool_choice(self, value: Any) -> None:
        self.keep.append(lend(self.c.tool_choice, value, "tool_choice"))

    def _priority(self, value: Any) -> None:
        calling(self.c, value, None)

    def _deadline_ms(self, value: Any) -> None:
        calling(self.c, None, value)

    def _seed(self, value: Any) -> None:
        # The greatest number of 64 bits is a seed, too.
        self.c.seed = value if value == 2**64 - 1 else integer(value, "seed")
        self.c.has_seed = 1

    def _early_stopping(self, value: Any) -> None:
        name = {False: "no", True: "yes"}.get(value, value)
        self.c.early_stopping = choice("early_stopping", name, "early_stopping")

    def _exponential_decay_length_penalty(self, value: Any) -> None:
        name = "exponential_decay_length_penalty"
        try:
            start, factor = value
        except (TypeError, ValueError):
            raise InvalidArgument(f"{name}: a pair (start, factor) is needed") from None
        self.c.exponential_decay_start = integer(start, name)
        self.c.exponential_decay_factor = _number(factor, name)

    def _stop_strings(self, value: Any) -> None:
        data, count, keep = strs([value] if isinstance(value, str) else value, "stop_strings")
        self.keep.append(keep)
        self.c.stop_strings, self.c.stop_string_count = data, count

    def _bad_words_ids(self, value: Any) -> None:
        self.c.bad_words_ids, self.c.bad_word_count = self._lists(value, "bad_words_ids")

    def _sequence_bias(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise InvalidArgument("sequence_bias: a dict from tuples of token ids to numbers is needed")
        self.c.sequence_bias_ids, self.c.sequence_bias_count = self._lists(list(value), "sequence_bias")
        biases = ffi.new("float[]", [_number(bias, "sequence_bias") for bias in value.values()] or 1)
        self.keep.append(biases)
        self.c.sequence_bias = biases

    def _decoder_input_ids(self, value: Any) -> None:
        self.c.decoder_input_ids, self.c.decoder_input_count = self._lists(value, "decoder_input_ids")

    def _decoder_input_texts(self, value: Any) -> None:
        data, count, keep = strs([value] if isinstance(value, str) else value, "decoder_input_texts")
        self.keep.append(keep)
        self.c.decoder_input_texts, self.c.decoder_input_text_count = data, count

    def _prefix(self, value: Any) -> None:
        if not isinstance(value, Prefix):
            raise InvalidArgument(f"prefix: what Model.prefix made is needed, not {type(value).__name__}")
        # The handle itself: it must outlive a `close` during the call.
        handle = value.handle
        self.keep.append(handle)
        self.c.prefix = handle

    def _on_piece(self, value: Any) -> None:
        if not callable(value):
            raise InvalidArgument("on_piece: is not callable")
        self.pieces = _Pieces(value)
        self.c.on_piece, self.c.on_piece_user_data = _on_piece, self.pieces.handle

    def _cancellation(self, value: Any) -> None:
        if not isinstance(value, Cancellation):
            raise InvalidArgument("cancellation: a kinglet.Cancellation is needed")
        self.cancellation = value


def generations(options: Mapping[str, Any], work: Callable[[CData, CData, CData], int]) -> list[Generation]:
    """Calls `work` with options, a place for the result and one for an error, and reads the result."""
    given = Options(options)
    made = ffi.new("kinglet_generations **")
    try:
        run(given.c, lambda error: work(given.c, made, error), given.cancellation)
    finally:
        if given.pieces is not None and given.pieces.raised is not None:
            raised, given.pieces.raised = given.pieces.raised, None
            raise raised from None
    return _read(made)


async def agenerations(options: Mapping[str, Any], data: CData, count: int, keep: Any, model: CData) -> list[Generation]:
    """`generate` as a request."""
    given = Options(options)

    def take(request: CData) -> list[Generation]:
        made = ffi.new("kinglet_generations **")
        check(lambda error: lib.kinglet_request_take_generations(request, made, error))
        return _read(made)

    def thrown() -> BaseException | None:
        return None if given.pieces is None else given.pieces.raised

    return await awaited(
        lambda done, pending, made, error: lib.kinglet_model_submit_generate(
            model, data, count, given.c, done, pending, made, error
        ),
        take,
        given.cancellation,
        (given, keep),
        thrown,
    )


def _read(made: CData) -> list[Generation]:
    owner = own(made[0], lib.kinglet_generations_free)
    view = _options.new("kinglet_generations_view")
    check(lambda error: lib.kinglet_generations_read(owner, view, error))
    return [
        Generation(_outputs(owner, i), int(view.input_token_counts[i]), bool(view.truncated[i])) for i in range(view.count)
    ]


def _outputs(owner: CData, index: int) -> tuple[Output, ...]:
    c = _options.new("kinglet_generation_output")
    outputs: list[Output] = []
    while not outputs or len(outputs) < c.output_count:
        check(lambda error: lib.kinglet_generations_output(owner, index, len(outputs), c, error))
        shape = (c.token_count,)
        tokens = array(c.tokens, shape, "<u4", owner)
        logprobs = array(c.logprobs, shape, "<f4", owner) if c.logprobs != null else None
        message = json.loads(text(c.message)) if c.message.size else None
        outputs.append(Output(text(c.text), tokens, logprobs, c.score, name_of("finish_reason", c.finish_reason), message))
    return tuple(outputs)
