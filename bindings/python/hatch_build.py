"""What a wheel holds besides Python's files. It is built by scripts/wheel, which sets

KINGLET_WHEEL_LIBRARY   the C library that goes into the wheel
KINGLET_WHEEL_PLATFORM  the platform in the wheel's name, for instance manylinux_2_28_x86_64
KINGLET_WHEEL_LICENCES  the licences of what the library is made of; may be missing
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
import make_ffi


class Hook(BuildHookInterface[Any]):
    """Adds the files; one wheel serves every Python 3 of its platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is packed."""
        if version == "editable":
            raise SystemExit("an editable installation would lack the library; build a wheel with scripts/wheel")
        library, platform = os.environ.get("KINGLET_WHEEL_LIBRARY"), os.environ.get("KINGLET_WHEEL_PLATFORM")
        if not library or not platform:
            raise SystemExit("the wheel needs Kinglet's C library: build it with scripts/wheel")
        root = Path(self.root).parent.parent
        self._folder = tempfile.TemporaryDirectory()
        ffi = Path(self._folder.name) / "_ffi.py"
        make_ffi.write(root / "docs/api.json", ffi)
        files = {str(ffi): "kinglet/_ffi.py", library: f"kinglet/libkinglet{Path(library).suffix}"}
        for name in ("LICENSE-MIT", "LICENSE-APACHE"):
            files[str(root / name)] = f"kinglet/{name}"
        if licences := os.environ.get("KINGLET_WHEEL_LICENCES"):
            files[licences] = "kinglet/THIRD-PARTY-LICENCES.txt"
        build_data["force_include"].update(files)
        build_data["pure_python"], build_data["tag"] = False, f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called after it."""
        self._folder.cleanup()
