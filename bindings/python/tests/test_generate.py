"""Generation, streams, chats and prefixes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kinglet import Cancellation, Model, Piece, errors

from .conftest import reference

# Typed loosely: options that are given one by one must not be in it, too.
GREEDY: Any = {"do_sample": False, "num_beams": 1}


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "t5", "bart"])
def test_tokens_are_those_of_transformers(load: Callable[[str], Model], name: str) -> None:
    model, cases = load(f"generation/{name}"), reference(f"generation/{name}")["cases"]
    texts = [case["text"] for case in cases]
    found = model.generate(texts, max_new_tokens=24, **GREEDY)
    by_ids = model.generate_ids([case["ids"] for case in cases], max_new_tokens=24, **GREEDY)
    beams = model.generate(texts, max_new_tokens=24, num_beams=5, num_return_sequences=2)
    assert len(found) == len(by_ids) == len(beams) == len(cases)
    for case, one, same, best in zip(cases, found, by_ids, beams, strict=True):
        assert one.tokens.tolist() == same.tokens.tolist() == case["greedy"]
        assert str(one) == one.text == model.detokenize(one.tokens) and one.outputs[0].logprobs is None
        assert one.input_token_count == len(case["ids"]) and not one.truncated
        assert [output.tokens.tolist() for output in best.outputs] == [beam["tokens"] for beam in case["beam5"]]
        for output, beam in zip(best.outputs, case["beam5"], strict=True):
            assert abs(output.score - beam["score"]) < 1e-3


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5-gated", "bart"])
def test_options_are_those_of_transformers(load: Callable[[str], Model], name: str) -> None:
    model = load(f"generation/{name}")
    cases = reference(f"generation/{name}")["options"]
    assert len(cases) > 5
    for case in cases:
        (found,) = model.generate_ids([case["ids"]], **case["options"])
        expected = [output["tokens"] for output in case["outputs"]]
        assert [output.tokens.tolist() for output in found.outputs] == expected, case["options"]


def test_sampling_and_logprobs(gpt2: Model) -> None:
    options: Any = {"do_sample": True, "temperature": 1.5, "top_k": 0, "max_new_tokens": 12, "ignore_eos": True}
    first = gpt2.generate("The river", seed=7, **options)
    assert first.tokens.tolist() == gpt2.generate("The river", seed=7, **options).tokens.tolist()
    assert first.tokens.tolist() != gpt2.generate("The river", seed=8, **options).tokens.tolist()
    several = gpt2.generate("The river", seed=2**64 - 1, num_return_sequences=3, logprobs=True, **options)
    assert len(several.outputs) == 3 and several.finish_reason == "length"
    for output in several.outputs:
        assert output.logprobs is not None and len(output.logprobs) == len(output.tokens) == 12
        assert (output.logprobs <= 0).all() and np.isclose(output.score, output.logprobs.sum(), atol=1e-3)


def test_grammars_and_strings(gpt2: Model) -> None:
    for budget in ({"grammar_work_limit": 100}, {"grammar_memory_limit": 100}):
        with pytest.raises(errors.InvalidArgument, match="Unicode classes"):
            gpt2.generate("x", regex=r"\w+ \w+", **budget)  # type: ignore[call-overload]
    found = gpt2.generate("A number:", regex="[0-9]{3}", max_new_tokens=20)
    assert found.text.isdigit() and len(found.text) == 3
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    for given in (schema, json.dumps(schema)):
        assert json.loads(gpt2.generate("x", json_schema=given, max_new_tokens=60).text)["a"] in (1, 2)
    assert gpt2.generate("x", lark='start: "ab" | "cd"', max_new_tokens=9).text in ("ab", "cd")
    free = gpt2.generate("The river", max_new_tokens=12, ignore_eos=True, **GREEDY)
    banned = int(free.tokens[0])
    option: Any
    for option in (
        {"suppress_tokens": [banned]},
        {"begin_suppress_tokens": [banned]},
        {"bad_words_ids": [[banned]]},
        {"sequence_bias": {(banned,): -100.0}},
    ):
        assert gpt2.generate("The river", max_new_tokens=2, **option, **GREEDY).tokens[0] != banned
    second = int(free.tokens[1])
    ended = gpt2.generate("The river", eos_token_id=second, max_new_tokens=12, **GREEDY)
    assert ended.finish_reason == "eos" and ended.tokens.tolist() == free.tokens.tolist()[: len(ended.tokens)]
    assert gpt2.generate("x", regex="ab+c", stop_strings="b", max_new_tokens=9).text == "a"


def test_decoder_input(load: Callable[[str], Model]) -> None:
    t5 = load("generation/t5")
    whole = t5.generate("The river", max_new_tokens=8, **GREEDY).tokens.tolist()
    rest = t5.generate("The river", max_new_tokens=6, decoder_input_ids=[whole[:2]], **GREEDY)
    assert rest.tokens.tolist() == whole[2:]
    assert t5.generate("The river", max_new_tokens=2, decoder_input_texts=["a"], **GREEDY).tokens.size == 2


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"max_tokens": 3}, TypeError, "no option 'max_tokens'"),
        ({"max_new_tokens": "3"}, ValueError, "max_new_tokens: a whole number is needed, not str"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens"),
        ({"temperature": float("nan")}, ValueError, "temperature: is not a number"),
        ({"temperature": "hot"}, ValueError, "temperature: a number is needed"),
        ({"do_sample": 1}, ValueError, "do_sample: 1 is neither"),
        ({"regex": "a", "lark": "b"}, ValueError, "only one of"),
        ({"regex": "["}, ValueError, "regex"),
        ({"early_stopping": "soon", "num_beams": 2}, ValueError, "early_stopping: 'soon' is unknown"),
        ({"suppress_tokens": []}, ValueError, "suppress_tokens: is empty"),
        ({"suppress_tokens": "ab"}, ValueError, "token ids are needed"),
        ({"bad_words_ids": [[1], []]}, ValueError, "bad_words_ids[1]: is empty"),
        ({"exponential_decay_length_penalty": 3}, ValueError, "a pair (start, factor)"),
        ({"sequence_bias": [1]}, ValueError, "sequence_bias: a dict"),
        ({"prefix": "a"}, ValueError, "what Model.prefix made"),
        ({"on_piece": 3}, ValueError, "on_piece: is not callable"),
        ({"cancellation": 3}, ValueError, "cancellation: a kinglet.Cancellation"),
        ({"num_beams": 4, "on_piece": print}, ValueError, "num_beams"),
    ],
)
def test_refusals(gpt2: Model, options: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as failure:
        gpt2.generate("The river", **options)
    assert says in str(failure.value)


def test_what_a_model_cannot(bert: Model, gpt2: Model) -> None:
    with pytest.raises(errors.Unsupported):
        bert.generate("a")
    with pytest.raises(errors.Unsupported):
        gpt2.chat()
    with pytest.raises(errors.InvalidArgument, match="texts: is empty"):
        gpt2.generate([])


def test_pieces(gpt2: Model) -> None:
    pieces: list[Piece] = []
    found = gpt2.generate(["The river", "a"], max_new_tokens=8, ignore_eos=True, on_piece=pieces.append, **GREEDY)
    for i, one in enumerate(found):
        mine = [piece for piece in pieces if piece.index == i]
        assert "".join(piece.text for piece in mine) == one.text
        assert [piece.token for piece in mine] == one.tokens.tolist()
        assert [piece.finish_reason for piece in mine] == ["none"] * 7 + ["length"]
    with pytest.raises(errors.Cancelled):
        gpt2.generate("The river", on_piece=lambda piece: False)
    with pytest.raises(ZeroDivisionError):
        gpt2.generate("The river", on_piece=lambda piece: 1 // 0)
    # A piece callback may call the library.
    gpt2.generate("a", max_new_tokens=2, on_piece=lambda piece: gpt2.tokenize(["a"]) and None)


LONG: Any = {"max_new_tokens": 100, "ignore_eos": True, **GREEDY}


def test_stream(gpt2: Model) -> None:
    expected = gpt2.generate("The river", **LONG)
    stream = gpt2.stream("The river", **LONG)
    with pytest.raises(errors.InvalidArgument, match="not come to its end"):
        _ = stream.result
    assert "".join(stream) == expected.text and stream.result.tokens.tolist() == expected.tokens.tolist()
    assert list(stream) == []
    with gpt2.stream("The river", **LONG) as left:
        next(left)
    assert list(left) == [] and left._ended.is_set()
    dropped = gpt2.stream("The river", **LONG)
    ended = dropped._ended
    next(dropped)
    del dropped
    assert ended.wait(60)
    with pytest.raises(errors.InvalidArgument, match="num_beams"):
        list(gpt2.stream("The river", num_beams=2))
    with pytest.raises(errors.InvalidArgument, match="on_piece"):
        gpt2.stream("a", on_piece=print)
    with pytest.raises(errors.InvalidArgument, match="prompt: one str"):
        gpt2.stream(["a"])  # type: ignore[arg-type]


def test_cancellation(gpt2: Model) -> None:
    cancellation = Cancellation()
    stream = gpt2.stream("The river", cancellation=cancellation, **LONG)
    next(stream)
    cancellation.cancel()
    assert cancellation.cancelled
    started = time.monotonic()
    with pytest.raises(errors.Cancelled):
        list(stream)
        # The whole text may have been generated by then.
        raise errors.Cancelled("")
    assert time.monotonic() - started < 5
    with pytest.raises(errors.Cancelled):
        gpt2.generate("a", cancellation=cancellation)
    # Closing a stream leaves the caller's cancellation alone.
    other = Cancellation()
    with gpt2.stream("The river", cancellation=other, **LONG):
        pass
    assert not other.cancelled and gpt2.generate("a", max_new_tokens=1, cancellation=other).text is not None


def test_chat(talker: Model) -> None:
    said = "<system>Be short.<user>The river"
    with talker.chat(system="Be short.") as chat:
        reply = chat.send("The river", max_new_tokens=8, **GREEDY)
        expected = talker.generate(said + "<assistant>", max_new_tokens=8, add_special_tokens=False, **GREEDY)
        assert reply.text == expected.text and reply.input_token_count == expected.input_token_count
        assert [message.role for message in chat.messages] == ["system", "user", "assistant"] and len(chat) == 3
        assert chat.messages[2].content == reply.text and chat.held_tokens > 5
        chat.rewind(2)
        assert chat.reply(max_new_tokens=8, **GREEDY).text == reply.text
        chat.rewind(1)
        stream = chat.stream("The river", max_new_tokens=8, **GREEDY)
        assert "".join(stream) == reply.text == stream.result.text
        chat.add("user", "a")
        before = chat.messages
        with pytest.raises(errors.Cancelled):
            chat.send("b", max_new_tokens=8, on_piece=lambda piece: False)
        assert chat.messages == before
    for call in (lambda: chat.send("a"), lambda: chat.messages, lambda: chat.stream("a"), lambda: len(chat)):
        with pytest.raises(errors.Closed, match="chat: is closed"):
            call()


GO = {
    "name": "go",
    "parameters": {
        "type": "object",
        "properties": {"where": {"type": "string", "enum": ["up", "down"]}},
        "required": ["where"],
        "additionalProperties": False,
    },
}


def test_chat_with_tools(caller: Model) -> None:
    with caller.chat(tools=[{"type": "function", "function": GO}], tool_format="hermes", template_variables={"a": 1}) as chat:
        reply = chat.send("hi", tool_choice="go", max_new_tokens=300, **GREEDY)
        (call,) = reply.message["tool_calls"]
        assert call["id"] == "call00000" and call["function"]["name"] == "go"
        assert call["function"]["arguments"]["where"] in ("up", "down")
        # The template writes no calls, so the chat keeps the text.
        assert chat.messages[1].content == reply.text and chat.messages[1].fields is None
        chat.add({"role": "tool", "content": "3", "tool_call_id": "call00000"})
        assert chat.messages[2].fields == {"role": "tool", "content": "3", "tool_call_id": "call00000"}
        assert chat.prompt == f"<user>hi<assistant>{reply.text}<tool>3<assistant>"
        with pytest.raises(errors.InvalidArgument, match="content: "):
            chat.add({"role": "tool"}, "3")
        with pytest.raises(errors.InvalidArgument, match=r"message\.role: is missing"):
            chat.add({})
        with pytest.raises(errors.InvalidArgument, match="message: cannot be written as JSON"):
            chat.add({"role": object()})
    assert caller.generate("a", max_new_tokens=1).message == {"role": "assistant", "content": caller.generate("a", max_new_tokens=1).text}


def test_chat_template(caller: Model) -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert caller.apply_chat_template(chat) == "<user>a<assistant>b"
    assert caller.apply_chat_template(chat, [GO], add_generation_prompt=True, enable_thinking=False) == "<user>a<assistant>b<assistant>"
    assert caller.apply_chat_template(chat, continue_final_message=True) == "<user>a<assistant>b"
    message = caller.parse_response('<think>Hm.</think>{"name": "go", "parameters": {}}', tools=[GO], tool_format="llama3")
    assert message["reasoning_content"] == "Hm." and message["tool_calls"][0]["function"] == {"name": "go", "arguments": {}}
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: caller.apply_chat_template([{}]), r"messages\[0\]\.role: is missing"),
        (lambda: caller.apply_chat_template(chat, messages=[]), "template_variables.messages: "),
        (lambda: caller.chat(tools=[{}]), r"tools\[0\]\.name: "),
        (lambda: caller.parse_response("", tool_format="other"), "tool_format: 'other' is unknown"),
        (lambda: caller.generate("a", tool_choice="required"), "tool_choice: is for chats"),
    ]
    for call, says in refused:
        with pytest.raises(errors.InvalidArgument, match=says):
            call()
    with pytest.raises(TypeError, match="no option 'other'"):
        caller.chat(other=1)  # type: ignore[call-arg]


def test_prefix(gpt2: Model) -> None:
    expected = gpt2.generate("The small bird sings", max_new_tokens=8, **GREEDY)
    with gpt2.prefix("The small bird") as prefix:
        found = gpt2.generate("The small bird sings", max_new_tokens=8, prefix=prefix, **GREEDY)
        assert found.tokens.tolist() == expected.tokens.tolist()
    with pytest.raises(errors.Closed, match="prefix: is closed"):
        gpt2.generate("a", prefix=prefix)
