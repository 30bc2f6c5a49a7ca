# shellcheck shell=bash disable=SC2034
# What the other scripts share; each one sources it. bash.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
abi=$(sed -n 's/^#define KINGLET_ABI_VERSION \([0-9]*\)$/\1/p' include/kinglet.h)
target=${CARGO_TARGET_DIR:-target}
os=$(uname -s)

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# declared HEADER: the functions that it exports, one per line. Comments and inline functions are not declarations of the library's.
declared() {
    grep -v -E '^ *(//|\*|/\*|static |#define )' "$1" | sed -n 's/.*[ *]\(kinglet_[a-z0-9_]*\)(.*/\1/p' | sort -u
}

has() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.95 1.100.2: whether the second version is not older than the first.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# sha256 FILE: its SHA-256, which is also SwiftPM's checksum of an archive.
sha256() { if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1; }
