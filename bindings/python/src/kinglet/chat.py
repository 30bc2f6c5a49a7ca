"""Chats, chat templates, and what answers say."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from kinglet import streaming
from kinglet._call import Cancellation, check, run
from kinglet._library import CData, ffi, lib, own, text
from kinglet._options import choice, integer, lend, new
from kinglet.errors import Closed, InvalidArgument
from kinglet.generation import GenerateOptions, generations
from kinglet.results import Generation, Message

__all__ = ["Chat", "ChatOptions", "apply_chat_template", "parse_response"]


class ChatOptions(TypedDict, total=False):
    """What a chat has beside its messages, by the names of transformers' `apply_chat_template`."""

    #: The functions that the model may call: `{"type": "function", "function": {"name", "description", "parameters"}}`, or what "function"
    #: is there alone.
    tools: Sequence[Mapping[str, Any]] | None
    #: Documents, with the members that the template reads.
    documents: Sequence[Mapping[str, Any]] | None
    #: How the model writes the calls of tools: "hermes", "llama3", "mistral" or "qwen_xml". By default as its chat template says.
    tool_format: str | None


def _json(value: Any, name: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{name}: cannot be written as JSON: {error}") from None


def _options(options: Mapping[str, Any], template_variables: Mapping[str, Any] | None) -> tuple[CData, list[Any]]:
    """A kinglet_chat_options, and what must live as long."""
    c, keep = new("kinglet_chat_options"), []
    for name, value in {**options, "template_variables": template_variables or None}.items():
        if name not in ("template_variables", *ChatOptions.__annotations__):
            raise TypeError(f"a chat has no option {name!r}")
        if value is None:
            continue
        if name == "tool_format":
            c.tool_format = choice("tool_format", value, name)
        else:
            keep.append(lend(getattr(c, name), _json(value, name), name))
    return c, keep


def _made(work: Any, c: CData, cancellation: Cancellation | None = None) -> str:
    made = ffi.new("kinglet_text **")
    run(c, lambda error: work(made, error), cancellation)
    return _taken(made)


def _taken(made: CData) -> str:
    owner = own(made[0], lib.kinglet_text_free)
    return text(lib.kinglet_text_str(owner))


def apply_chat_template(
    model: CData,
    conversation: Sequence[Mapping[str, Any]],
    switches: tuple[bool, bool],
    options: Mapping[str, Any],
    variables: Mapping[str, Any],
    cancellation: Cancellation | None,
) -> str:
    """The prompt of a chat. `switches` are add_generation_prompt and continue_final_message."""
    c, keep = _options(options, variables)
    c.add_generation_prompt, c.continue_final_message = map(bool, switches)
    messages = ffi.new("kinglet_str *")
    keep.append(lend(messages, _json(list(conversation), "messages"), "messages"))
    call = lib.kinglet_model_apply_chat_template
    return _made(lambda made, error: call(model, messages[0], c, made, error), c, cancellation)


def parse_response(model: CData, response: str, prefix: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """An answer with its parts apart."""
    c, keep = _options(options, None)
    texts = ffi.new("kinglet_str[2]")
    keep += [lend(texts[0], response, "response"), lend(texts[1], prefix, "prefix")]
    call = lib.kinglet_model_parse_response
    message: dict[str, Any] = json.loads(_made(lambda made, error: call(model, texts[0], texts[1], c, made, error), c))
    return message


class Chat:
    """A chat that keeps the keys and values of earlier turns, so that a turn costs only its own tokens; made by `Model.chat`. Calls from
    several threads run one after the other. It keeps the model's memory."""

    def __init__(
        self, model: CData, system: str | None, options: Mapping[str, Any], variables: Mapping[str, Any] | None
    ) -> None:
        made, c = ffi.new("kinglet_session **"), new("kinglet_session_options")
        chat, keep = _options(options, variables)
        c.chat = chat
        check(lambda error: lib.kinglet_session_new(model, c, made, error))
        del keep
        self._owner: CData | None = own(made[0], lib.kinglet_session_free)
        if system is not None:
            self.add("system", system)

    def _handle(self) -> CData:
        if self._owner is None:
            raise Closed("chat: is closed")
        return self._owner

    def add(self, role: str | Mapping[str, Any], content: str | None = None) -> None:
        """Adds a message without asking for a reply: a role and a text, or a whole message, for instance a tool's result."""
        message, handle = new("kinglet_message"), self._handle()
        if isinstance(role, Mapping):
            if content is not None:
                raise InvalidArgument("content: is part of the message")
            keep = [lend(message.json, _json(dict(role), "message"), "message")]
        else:
            keep = [lend(message.role, role, "role"), lend(message.content, content or "", "content")]
        check(lambda error: lib.kinglet_session_add(handle, message, error))
        del keep

    def send(self, content: str, **options: Unpack[GenerateOptions]) -> Generation:
        """Adds a user's message, generates the reply and adds it. If the call fails or is cancelled, the chat is unchanged."""
        handle, string = self._handle(), ffi.new("kinglet_str *")
        keep = lend(string, content, "content")
        found = generations(options, lambda c, made, error: lib.kinglet_session_send(handle, string[0], c, made, error))
        del keep
        return found[0]

    def reply(self, **options: Unpack[GenerateOptions]) -> Generation:
        """Generates the next message from the messages so far and adds it as the assistant's."""
        handle = self._handle()
        return generations(options, lambda c, made, error: lib.kinglet_session_reply(handle, c, made, error))[0]

    def stream(self, content: str, **options: Unpack[GenerateOptions]) -> streaming.Stream:
        """Like `send`; the reply piece by piece."""
        self._handle()
        return streaming.Stream(functools.partial(self.send, content), dict(options))

    async def asend(self, content: str, **options: Unpack[GenerateOptions]) -> Generation:
        """Like `send`, for `await`."""
        cancellation = options.pop("cancellation", None)
        return await streaming.in_executor(functools.partial(self.send, content, **options), cancellation)

    def astream(self, content: str, **options: Unpack[GenerateOptions]) -> AsyncIterator[str]:
        """Like `stream`, for `async for`."""
        self._handle()
        return streaming.astream(functools.partial(self.send, content), dict(options))

    def rewind(self, count: int) -> None:
        """Removes all messages from number `count` on; what the others need stays computed."""
        handle, kept = self._handle(), integer(count, "count")
        check(lambda error: lib.kinglet_session_rewind(handle, kept, error))

    @property
    def messages(self) -> list[Message]:
        """The messages so far."""
        handle, made = self._handle(), ffi.new("kinglet_messages **")
        check(lambda error: lib.kinglet_session_messages(handle, made, error))
        owner, message, found = own(made[0], lib.kinglet_messages_free), new("kinglet_message"), []
        for i in range(lib.kinglet_messages_count(owner)):
            check(lambda error, i=i: lib.kinglet_messages_get(owner, i, message, error))  # type: ignore[misc]
            fields = json.loads(text(message.json)) if message.json.size else None
            found.append(Message(text(message.role), text(message.content), fields))
        return found

    @property
    def prompt(self) -> str:
        """What the next reply continues: the messages so far as the chat template writes them."""
        handle, made = self._handle(), ffi.new("kinglet_text **")
        check(lambda error: lib.kinglet_session_prompt(handle, made, error))
        return _taken(made)

    @property
    def held_tokens(self) -> int:
        """Tokens whose keys and values are kept for the next turn."""
        handle, view = self._handle(), new("kinglet_session_view")
        check(lambda error: lib.kinglet_session_read(handle, view, error))
        return int(view.held_tokens)

    def __len__(self) -> int:
        handle, view = self._handle(), new("kinglet_session_view")
        check(lambda error: lib.kinglet_session_read(handle, view, error))
        return int(view.message_count)

    def close(self) -> None:
        """Frees the chat when the last call that uses it has ended. Closing twice is allowed."""
        self._owner = None

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
