"""Options structs from Python's values."""

from __future__ import annotations

import functools
import operator
from typing import Any

from kinglet._library import CData, ffi, lib
from kinglet._texts import encoded
from kinglet.errors import InvalidArgument

__all__ = ["calling", "choice", "choices", "ids", "integer", "lend", "name_of", "new", "prompts", "tristate"]


def new(kind: str) -> CData:
    """A struct of zeros with its size."""
    made = ffi.new(f"{kind} *")
    made.struct_size = ffi.sizeof(kind)
    return made


@functools.cache
def choices(kind: str) -> dict[str, int]:
    """The values of an enumeration by the names that the library gives them."""
    found: dict[str, int] = {}
    while (name := name_of(kind, len(found))) != "unknown":
        found[name] = len(found)
    return found


def name_of(kind: str, value: int) -> str:
    """The name of an enumeration's value."""
    name: str = ffi.string(getattr(lib, f"kinglet_{kind}_name")(value)).decode()
    return name


def choice(kind: str, value: str, name: str) -> int:
    """The number of an enumeration's value. `name` is the argument in messages."""
    known = choices(kind)
    if value not in known:
        raise InvalidArgument(f"{name}: {value!r} is unknown; it is one of {', '.join(known)}")
    return known[value]


def tristate(value: bool | None, name: str) -> int:
    """None is AUTO."""
    if value is None:
        return 0
    if value is True or value is False:
        return 2 if value else 1
    raise InvalidArgument(f"{name}: {value!r} is neither True, False nor None")


def integer(value: Any, name: str, least: int = 0) -> int:
    """A count, or another whole number of 64 bits."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(f"{name}: a whole number is needed, not {type(value).__name__}") from None
    if not least <= number < 2**64 - 1:
        raise InvalidArgument(f"{name}: {number} is not in {least} to {2**64 - 2}")
    return number


def lend(string: CData, value: str, name: str) -> Any:
    """Lets a kinglet_str point at `value`; returns what must live as long."""
    data = encoded(value, name)
    buffer = ffi.from_buffer("char[]", data, require_writable=False) if data else ffi.new("char[1]")
    string.data, string.size = buffer, len(data)
    return buffer


def prompts(options: CData, prompt_name: str | None, prompt: str | None) -> Any:
    """Sets the two fields; returns what must live as long."""
    keep = []
    if prompt_name is not None:
        if not prompt_name:
            raise InvalidArgument("prompt_name: is empty; None is the model's default, and prompt='' no prompt")
        keep.append(lend(options.prompt_name, prompt_name, "prompt_name"))
    if prompt is not None:
        keep.append(lend(options.prompt, prompt, "prompt"))
    return keep


def calling(options: CData, priority: str | None, deadline_ms: Any) -> None:
    """Sets what each call has: how urgent it is, and how long it may take."""
    if priority is not None:
        options.priority = choice("priority", priority, "priority")
    if deadline_ms is not None:
        number = integer(deadline_ms, "deadline_ms", 1)
        if number >= 2**32:
            raise InvalidArgument(f"deadline_ms: {number} is not in 1 to {2**32 - 1}")
        options.deadline_ms = number


def ids(values: Any, name: str) -> tuple[CData, int]:
    """An array of token ids and its length."""
    if isinstance(values, (str, bytes)):
        raise InvalidArgument(f"{name}: token ids are needed, not {type(values).__name__}")
    try:
        numbers = [operator.index(value) for value in values]
    except TypeError:
        raise InvalidArgument(f"{name}: token ids are needed, not {type(values).__name__}") from None
    for number in numbers:
        if not 0 <= number < 2**32:
            raise InvalidArgument(f"{name}: {number} is no token id")
    return ffi.new("uint32_t[]", numbers or 1), len(numbers)
