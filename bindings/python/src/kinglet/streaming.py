"""Texts as they are generated, and calls that can be awaited.

Both run the blocking call on another thread.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from kinglet._call import Cancellation
from kinglet.errors import InvalidArgument
from kinglet.results import Generation, Piece

__all__ = ["Stream", "astream", "in_executor"]

# Generates with these options: `on_piece` and `cancellation`.
Generate = Callable[..., Generation]
T = TypeVar("T")

# Of each thread that generates: what is set at its end, and its cancellation. `Thread.join` is not used: see `_call._on_another_thread`.
_running: dict[threading.Event, Cancellation] = {}


def _end() -> None:
    """Ends them before the interpreter does: a thread that it stops inside a callback would unwind through the library, and abort."""
    threads = list(_running.items())
    for _, cancellation in threads:
        cancellation.cancel()
    for ended, _ in threads:
        ended.wait()


atexit.register(_end)


def _only_ours(options: dict[str, Any]) -> Cancellation:
    """The caller's cancellation, or a new one."""
    if options.get("on_piece") is not None:
        raise InvalidArgument("on_piece: a stream has its own; use generate")
    given = options.pop("cancellation", None)
    if given is not None and not isinstance(given, Cancellation):
        raise InvalidArgument("cancellation: a kinglet.Cancellation is needed")
    return given or Cancellation()


class Stream(Iterator[str]):
    """The text of one generation, piece by piece. Leaving the loop, `close`, or dropping the stream ends the generation."""

    def __init__(self, generate: Generate, options: dict[str, Any]) -> None:
        self._user = _only_ours(options)
        # Closing a stream must not end the caller's other calls.
        self._own = Cancellation()
        self._user._follow(self._own)
        self._queue: queue.SimpleQueue[str | Generation | BaseException] = queue.SimpleQueue()
        self._result: Generation | None = None
        self._done = False
        self._ended = _start(generate, options, self._own, self._queue.put)

    def __next__(self) -> str:
        while not self._done:
            item = self._queue.get()
            if isinstance(item, str):
                return item
            self._done = True
            self._ended.wait()
            if isinstance(item, BaseException):
                raise item
            self._result = item
        raise StopIteration

    @property
    def result(self) -> Generation:
        """The whole generation, after the last piece."""
        if self._result is None:
            raise InvalidArgument("result: the stream has not come to its end")
        return self._result

    def close(self) -> None:
        """Ends the generation, and returns when it has ended."""
        self._done = True
        self._own.cancel()
        self._ended.wait()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_own"):
            self._own.cancel()


def _start(
    generate: Generate,
    options: dict[str, Any],
    cancellation: Cancellation,
    put: Callable[[str | Generation | BaseException], Any],
) -> threading.Event:
    """Generates on a new thread, and puts each piece with text, then the generation or the error. The event is set at the end."""
    ended = threading.Event()

    def on_piece(piece: Piece) -> None:
        if piece.text:
            put(piece.text)

    def produce() -> None:
        try:
            put(generate(**options, on_piece=on_piece, cancellation=cancellation))
        except BaseException as error:
            put(error)
        finally:
            _running.pop(ended, None)
            ended.set()

    _running[ended] = cancellation
    try:
        threading.Thread(target=produce, name="kinglet-stream", daemon=True).start()
    except BaseException:
        del _running[ended]
        raise
    return ended


async def astream(generate: Generate, options: dict[str, Any]) -> AsyncIterator[str]:
    """The pieces of a stream, for `async for`. Cancelling the task, or closing the generator, ends the generation."""
    own = Cancellation()
    _only_ours(options)._follow(own)
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[str | Generation | BaseException] = asyncio.Queue()

    def put(item: str | Generation | BaseException) -> None:
        try:
            loop.call_soon_threadsafe(items.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody waits any more
            own.cancel()

    _start(generate, options, own, put)
    try:
        while True:
            item = await items.get()
            if isinstance(item, Generation):
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        own.cancel()


class _Executor:
    """The threads of awaited calls. They do not survive a fork."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def get(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(thread_name_prefix="kinglet-async")
        return self._pool


_executor = _Executor()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executor.reset)
    os.register_at_fork(after_in_child=_running.clear)


async def in_executor(call: Callable[..., T], cancellation: Cancellation | None) -> T:
    """Runs `call(cancellation=…)` on a thread. Cancelling the task ends the call."""
    own = Cancellation()
    if cancellation is not None:
        cancellation._follow(own)
    future = asyncio.get_running_loop().run_in_executor(_executor.get(), functools.partial(call, cancellation=own))
    try:
        return await future
    except asyncio.CancelledError:
        own.cancel()
        raise
