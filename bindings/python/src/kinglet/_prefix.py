"""Prompt prefixes."""

from __future__ import annotations

from typing import Any

from kinglet._call import Cancellation, run
from kinglet._library import CData, ffi, lib, own
from kinglet._options import lend, new, tristate
from kinglet.errors import Closed

__all__ = ["Prefix"]


class Prefix:
    """The first tokens of prompts, with their keys and values computed; made by `Model.prefix`. It keeps the model's memory."""

    def __init__(self, model: CData, text: str, add_special_tokens: bool | None, cancellation: Cancellation | None) -> None:
        options, made = new("kinglet_prefix_options"), ffi.new("kinglet_prefix **")
        options.add_special_tokens = tristate(add_special_tokens, "add_special_tokens")
        string = ffi.new("kinglet_str *")
        keep = lend(string, text, "text")
        run(options, lambda error: lib.kinglet_prefix_new(model, string[0], options, made, error), cancellation)
        del keep
        self._owner: CData | None = own(made[0], lib.kinglet_prefix_free)

    @property
    def handle(self) -> CData:
        """The C handle; `Closed` after `close`."""
        if self._owner is None:
            raise Closed("prefix: is closed")
        return self._owner

    def close(self) -> None:
        """Frees the prefix when the last call that uses it has ended. Closing twice is allowed."""
        self._owner = None

    def __enter__(self) -> Prefix:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
