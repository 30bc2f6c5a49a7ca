"""Uses a go-service through OpenAI's own Python client: python3 openai_client.py URL KEY EMBEDDING_MODEL CHAT_MODEL

Prints a line per check, "ok ..." or "FAILED ...".
"""

import asyncio
import json
import math
import struct
import sys
import traceback

import openai

url, key, embedding_model, chat_model = sys.argv[1:]
client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=60)
messages = [{"role": "user", "content": "Name a small bird."}]
greedy = {"model": chat_model, "messages": messages, "temperature": 0, "max_tokens": 12}
checks = []


def check(function):
    checks.append(function)
    return function


def fails(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


@check
def models_are_listed():
    assert {embedding_model, chat_model} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(chat_model).id == chat_model


@check
def embeddings_in_base64_are_the_same_as_floats():
    texts = ["a small bird", "the river", ""]
    # The client asks for base64 unless it is told otherwise.
    decoded = client.embeddings.create(model=embedding_model, input=texts)
    floats = client.embeddings.create(model=embedding_model, input=texts, encoding_format="float")
    assert [item.index for item in decoded.data] == [0, 1, 2]
    for a, b in zip(decoded.data, floats.data):
        assert list(a.embedding) == [to_float32(value) for value in b.embedding]
    assert decoded.usage.prompt_tokens == floats.usage.prompt_tokens > 6
    assert abs(math.hypot(*decoded.data[0].embedding) - 1) < 1e-3


def to_float32(value):
    """Rounds to what base64 holds."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


@check
def one_text_needs_no_list():
    one = client.embeddings.create(model=embedding_model, input="a small bird").data
    many = client.embeddings.create(model=embedding_model, input=["the river", "a small bird"]).data
    assert len(one) == 1 and list(one[0].embedding) == list(many[1].embedding)


@check
def completion():
    answer = client.completions.create(model=chat_model, prompt=["The bird", "A"], max_tokens=6, temperature=0, logprobs=0)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    for choice in answer.choices:
        assert choice.finish_reason in ("length", "stop") and len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs) > 0


@check
def streamed_completion():
    options = {"model": chat_model, "prompt": "The bird", "max_tokens": 10, "temperature": 0}
    whole = client.completions.create(**options).choices[0]
    chunks = list(client.completions.create(**options, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.text
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason


@check
def chat():
    answer = client.chat.completions.create(**greedy)
    message = answer.choices[0].message
    assert message.role == "assistant" and message.content
    # What was received may be sent back as it is.
    more = messages + [message, {"role": "user", "content": "And another one?"}]
    again = client.chat.completions.create(**{**greedy, "messages": more})
    assert again.usage.prompt_tokens > answer.usage.prompt_tokens


@check
def streamed_chat_with_usage():
    whole = client.chat.completions.create(**greedy)
    chunks = list(client.chat.completions.create(**greedy, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage and not chunks[-1].choices


@check
def a_seed_repeats_the_answer():
    options = {**greedy, "temperature": 1, "top_p": 0.9, "seed": 5}
    a, b = (client.chat.completions.create(**options).choices[0].message.content for _ in range(2))
    assert a == b


@check
def stop_strings():
    whole = client.completions.create(model=chat_model, prompt="The bird", max_tokens=12, temperature=0).choices[0].text
    middle = whole[2:4]
    cut = client.completions.create(model=chat_model, prompt="The bird", max_tokens=12, temperature=0, stop=[middle]).choices[0]
    assert cut.text == whole[: whole.index(middle)] and cut.finish_reason == "stop"


@check
def a_json_schema_holds():
    schema = {"type": "object", "properties": {"bird": {"enum": ["wren", "tit"]}}, "required": ["bird"], "additionalProperties": False}
    answer = client.chat.completions.create(
        **{**greedy, "max_tokens": 100},
        response_format={"type": "json_schema", "json_schema": {"name": "bird", "schema": schema, "strict": True}},
    )
    assert json.loads(answer.choices[0].message.content)["bird"] in ("wren", "tit")


@check
def errors_name_the_field():
    error = fails(openai.BadRequestError, lambda: client.chat.completions.create(**{**greedy, "temperature": 5}))
    assert error.param == "temperature" and error.type == "invalid_request_error", error
    error = fails(openai.BadRequestError, lambda: client.chat.completions.create(**greedy, tools=[{"type": "function", "function": {"name": "f"}}]))
    assert error.param == "tools" and error.code == "unsupported_parameter", error
    error = fails(openai.NotFoundError, lambda: client.embeddings.create(model="none", input="a"))
    assert error.code == "model_not_found" and error.param == "model", error
    stranger = openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0)
    error = fails(openai.AuthenticationError, lambda: stranger.models.list())
    assert error.code == "invalid_api_key", error


@check
def a_stream_can_be_closed_early():
    stream = client.chat.completions.create(**{**greedy, "max_tokens": 1000}, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    # The next one finds a free place at once.
    client.chat.completions.create(**{**greedy, "max_tokens": 1})


@check
def many_at_once():
    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=5) as client:
            calls = [client.embeddings.create(model=embedding_model, input=f"bird {i % 4}") for i in range(64)]
            return await asyncio.gather(*calls)

    answers = asyncio.run(all_of_them())
    for i, answer in enumerate(answers):
        assert list(answer.data[0].embedding) == list(answers[i % 4].data[0].embedding)


failed = 0
for function in checks:
    name = function.__name__.replace("_", " ")
    try:
        function()
        print("ok openai client:", name, flush=True)
    except Exception:
        failed += 1
        print("FAILED openai client:", name)
        traceback.print_exc(file=sys.stdout)
sys.exit(failed > 0)
