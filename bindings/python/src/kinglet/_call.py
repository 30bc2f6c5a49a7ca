"""Calls of the C library: statuses become exceptions, and KeyboardInterrupt ends a call in the middle of its work.

The GIL is released during each call. Python runs signal handlers only between its own instructions, so a call on the main thread would
not see Ctrl-C before its end. Therefore Python's C handler is told to write the number of each signal into a pipe
(`signal.set_wakeup_fd`), and a thread that reads the pipe cancels the call; the handler then runs and raises KeyboardInterrupt. This
costs two microseconds per call. Where the program has a handler of its own for SIGINT, or uses the wakeup descriptor itself (asyncio
does), the call runs on another thread while the main thread waits and runs the handlers.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from kinglet import errors
from kinglet._library import CData, ffi, lib, own, release_pending

__all__ = ["Cancellation", "check", "run"]

Work = Callable[[CData], int]


def check(work: Work) -> None:
    """Calls `work` with a place for an error, and raises the error."""
    release_pending()
    failure = ffi.new("kinglet_error **")
    status = work(failure)
    if status:
        error = ffi.gc(failure[0], lib.kinglet_error_free)
        name = ffi.string(lib.kinglet_status_name(status)).decode()
        message = ffi.string(lib.kinglet_error_message(error)).decode()
        raise errors.BY_STATUS.get(name, errors.KingletError)(message)


class _Cancellable(Protocol):
    def cancel(self) -> None: ...


class Cancellation:
    """Ends calls from another thread: those that were given it raise `Cancelled`, now and later. It may be given to many calls."""

    def __init__(self) -> None:
        self._set = False
        self._calls: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._set

    def cancel(self) -> None:
        """Ends the calls."""
        with self._lock:
            self._set = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def _follow(self, call: _Cancellable) -> None:
        """Cancels `call` with this cancellation."""
        with self._lock:
            self._calls.add(call)
            done = self._set
        if done:
            call.cancel()


class _Call:
    """One call that can be cancelled. The handle lives as long as anything that could still cancel it."""

    __slots__ = ("__weakref__", "handle", "interrupted")

    def __init__(self) -> None:
        self.handle = own(lib.kinglet_cancellation_new(), lib.kinglet_cancellation_free)
        self.interrupted = False

    def cancel(self) -> None:
        lib.kinglet_cancellation_cancel(self.handle)


def run(options: CData, work: Work, cancellation: Cancellation | None = None) -> None:
    """Like `check`; Ctrl-C and `cancellation` end the call. `options` is the struct whose field `cancellation` the call reads."""
    handler = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    interruptible = callable(handler)
    if cancellation is None and not interruptible:
        check(work)
        return
    call = _Call()
    options.cancellation = call.handle
    if cancellation is not None:
        cancellation._follow(call)
    if not interruptible:
        check(work)
        return
    # The call in whose callback this one runs, if there is one.
    outer = _interrupts.call
    if handler is not signal.default_int_handler or not _interrupts.arm(call):
        _on_another_thread(work, call)
    else:
        try:
            check(work)
        except errors.Cancelled:
            # The handler has run by now, unless the signal came at the very end of an earlier call.
            if call.interrupted:
                raise KeyboardInterrupt from None
            raise
        finally:
            _interrupts.disarm(outer)


class _Interrupts:
    """The thread that cancels the call of the main thread on SIGINT."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """In the child of a fork, which has no threads and must not share its parent's pipe."""
        self.call: _Call | None = None
        self._writer = -1

    def arm(self, call: _Call) -> bool:
        """Whether Ctrl-C will cancel the call. On the main thread only."""
        if self._writer < 0:
            self._start()
        self.call = call
        try:
            before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError:  # not the main interpreter
            return False
        if before in (-1, self._writer):
            return True
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        self.call = None
        return False

    def disarm(self, outer: _Call | None) -> None:
        """Ends what `arm` began; Ctrl-C cancels `outer` again."""
        if outer is None:
            signal.set_wakeup_fd(-1)
        self.call = outer

    def _start(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        threading.Thread(target=self._watch, args=(reader,), name="kinglet-interrupts", daemon=True).start()
        self._writer = writer

    def _watch(self, reader: int) -> None:
        while True:
            call, numbers = None, os.read(reader, 256)
            if signal.SIGINT in numbers:
                call = self.call
            if call is not None:
                call.interrupted = True
                call.cancel()


_interrupts = _Interrupts()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_interrupts.reset)


def _on_another_thread(work: Work, call: _Call) -> None:
    """The main thread waits, which a signal handler may end by an exception.

    It waits for an event and not for the thread: an exception in `Thread.join` makes CPython 3.11 take a running thread for one that has
    ended (issue 90882 of CPython), and the caller's memory would go while the library still reads it.
    """
    ended = threading.Event()
    raised: list[BaseException] = []

    def target() -> None:
        try:
            check(work)
        except BaseException as error:
            raised.append(error)
        finally:
            ended.set()

    threading.Thread(target=target, name="kinglet-call").start()
    interrupt: BaseException | None = None
    while not ended.is_set():
        try:
            ended.wait()
        except BaseException as error:
            call.cancel()
            interrupt = error
    if interrupt is not None:
        raise interrupt
    if raised:
        raise raised[0]
