"""Devices."""

from __future__ import annotations

from kinglet._call import check
from kinglet._library import ffi, lib, own, text
from kinglet._options import name_of, new, tristate
from kinglet.results import DeviceInfo

__all__ = ["devices", "missing_devices"]


def _list(open_libraries: bool | None) -> tuple[list[DeviceInfo], str]:
    options, made, info = new("kinglet_devices_options"), ffi.new("kinglet_devices **"), new("kinglet_device_info")
    options.open_libraries = tristate(open_libraries, "open_libraries")
    check(lambda error: lib.kinglet_devices_list(options, made, error))
    owner, found = own(made[0], lib.kinglet_devices_free), []
    for i in range(lib.kinglet_devices_count(owner)):
        check(lambda error, i=i: lib.kinglet_devices_info(owner, i, info, error))  # type: ignore[misc]
        kind = name_of("device", info.device)
        found.append(DeviceInfo(kind, info.device_index, text(info.name), info.memory_total, info.memory_free))
    return found, text(lib.kinglet_devices_missing(owner))


def devices(*, open_libraries: bool | None = None) -> list[DeviceInfo]:
    """The devices of this machine, CPUs first. `open_libraries=False` does not open the library for NVIDIA GPUs."""
    return _list(open_libraries)[0]


def missing_devices(*, open_libraries: bool | None = None) -> str:
    """Why there are no other devices: one line for each kind that is missing."""
    return _list(open_libraries)[1]
