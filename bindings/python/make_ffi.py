"""Writes src/kinglet/_ffi.py, cffi's description of the C ABI, from docs/api.json, which the library's own source generates.

    python make_ffi.py API_JSON DESTINATION

No declaration is written by hand, so none can differ from the library's. The result is plain Python: nothing is compiled, and one
file serves every Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cffi import FFI

# Arrow's C data interface, which its specification asks to be copied: https://arrow.apache.org/docs/format/CDataInterface.html
ARROW = """
struct ArrowSchema {
    const char *format; const char *name; const char *metadata; int64_t flags; int64_t n_children;
    struct ArrowSchema **children; struct ArrowSchema *dictionary; void (*release)(struct ArrowSchema *); void *private_data;
};
struct ArrowArray {
    int64_t length; int64_t null_count; int64_t offset; int64_t n_buffers; int64_t n_children; const void **buffers;
    struct ArrowArray **children; struct ArrowArray *dictionary; void (*release)(struct ArrowArray *); void *private_data;
};
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *); void (*release)(struct ArrowArrayStream *); void *private_data;
};
"""


def declarations(api: dict[str, Any]) -> str:
    """The C declarations of the whole API, in an order in which each type is known before it is used."""
    sections = api["sections"]

    def items(kind: str) -> list[Any]:
        return [item for section in sections for item in section[kind]]

    def parameters(function: Any) -> str:
        return ", ".join(f"{p['type']} {p['name']}" for p in function["parameters"]) or "void"

    lines = []
    for enumeration in items("enumerations"):
        lines.append(f"typedef uint32_t {enumeration['name']};")
        lines += [f"#define {value['name']} {value['value']}" for value in enumeration["values"]]
    lines += [f"#define {c['name']} {c['value']}" for c in items("constants") if c["value"].isdigit()]
    lines += [f"typedef struct {item['name']} {item['name']};" for item in items("handles") + items("structs")]
    lines += [f"typedef {c['returns']} (*{c['name']})({parameters(c)});" for c in items("callbacks")]
    for struct in items("structs"):
        fields = " ".join(f"{field['type']} {field['name']};" for field in struct["fields"])
        lines.append(f"struct {struct['name']} {{ {fields} }};")
    lines += [f"{f['returns']} {f['name']}({parameters(f)});" for f in items("functions")]
    return "\n".join(lines)


def write(api: Path, destination: Path) -> None:
    """Reads the API and writes the module."""
    content = json.loads(api.read_text(encoding="utf-8"))
    ffi = FFI()
    ffi.set_source("kinglet._ffi", None)
    ffi.cdef(declarations(content) + ARROW)
    ffi.emit_python_code(str(destination))
    with destination.open("a", encoding="utf-8") as file:
        file.write(f"\nVERSION, ABI = {content['version']!r}, {content['abi']!r}\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
