"""Calls that are awaited: requests, which wait and run without a thread of Python's.

The library calls back, on a thread of its own, when a request is done. Until then the request's texts and callbacks are kept here.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kinglet._call import Cancellation, check
from kinglet._library import CData, ffi, lib, own

__all__ = ["awaited"]

T = TypeVar("T")

#: Makes C's call that submits, with the callback, its data, a place for the request and one for an error.
Submit = Callable[[CData, CData, CData, CData], int]


class _Pending:
    """A request that is not done yet."""

    def __init__(self, keep: Any) -> None:
        self.keep = keep
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.handle = ffi.new_handle(self)
        self.ended = threading.Event()
        self.request: CData | None = None

    def cancel(self) -> None:
        """May be called from any thread."""
        if self.request is not None:
            lib.kinglet_request_cancel(self.request)

    def finish(self) -> None:
        """On the loop's thread."""
        if not self.future.done():
            self.future.set_result(None)


_pending: set[_Pending] = set()


@ffi.callback("void(void *)")  # type: ignore[untyped-decorator, unused-ignore]
def _done(user_data: CData) -> None:
    pending: _Pending = ffi.from_handle(user_data)
    try:
        pending.loop.call_soon_threadsafe(pending.finish)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more
    _pending.discard(pending)
    pending.ended.set()


def _end() -> None:
    """Ends requests before the interpreter ends: a thread that it stops inside a callback would unwind through the library, and abort."""
    waiting = list(_pending)
    for pending in waiting:
        pending.cancel()
    for pending in waiting:
        pending.ended.wait()
    if waiting:
        # The last callback has set its event and has a few instructions left.
        time.sleep(0.01)


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    # The child has none of the library's threads.
    os.register_at_fork(after_in_child=_pending.clear)


async def awaited(
    submit: Submit, take: Callable[[CData], T], cancellation: Cancellation | None, keep: Any, thrown: Callable[[], BaseException | None] = lambda: None
) -> T:
    """Submits a request, waits for it, and reads its result with `take`. Cancelling the task, or `cancellation`, ends the call. `keep` lives
    until the request is done. `thrown` gives what a callback of the call raised."""
    pending, made = _Pending(keep), ffi.new("kinglet_request **")
    _pending.add(pending)
    try:
        check(lambda error: submit(_done, pending.handle, made, error))
    except BaseException:
        _pending.discard(pending)
        raise
    pending.request = own(made[0], lib.kinglet_request_free)
    if cancellation is not None:
        cancellation._follow(pending)
    try:
        await pending.future
    except asyncio.CancelledError:
        pending.cancel()
        raise
    try:
        return take(pending.request)
    finally:
        if (raised := thrown()) is not None:
            raise raised from None
