"""Chats."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any, Unpack

from kinglet import streaming
from kinglet._call import check
from kinglet._library import CData, ffi, lib, null, own, text
from kinglet._options import integer, lend, new
from kinglet.errors import Closed
from kinglet.generation import GenerateOptions, generations
from kinglet.results import Generation, Message

__all__ = ["Chat"]


class Chat:
    """A chat that keeps the keys and values of earlier turns, so that a turn costs only its own tokens; made by `Model.chat`. Calls from
    several threads run one after the other. It keeps the model's memory."""

    def __init__(self, model: CData, system: str | None) -> None:
        made = ffi.new("kinglet_session **")
        check(lambda error: lib.kinglet_session_new(model, null, made, error))
        self._owner: CData | None = own(made[0], lib.kinglet_session_free)
        if system is not None:
            self.add("system", system)

    def _handle(self) -> CData:
        if self._owner is None:
            raise Closed("chat: is closed")
        return self._owner

    def add(self, role: str, content: str) -> None:
        """Adds a message without asking for a reply."""
        message, handle = new("kinglet_message"), self._handle()
        keep = [lend(message.role, role, "role"), lend(message.content, content, "content")]
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
            found.append(Message(text(message.role), text(message.content)))
        return found

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
