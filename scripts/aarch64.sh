# shellcheck shell=bash disable=SC2034,SC2154
# Builds and runs programs for aarch64 on x86-64, in a Debian sid with the Rust target, linker and emulator that this machine lacks; sourced
# after common.sh and chroot.sh by scripts that define `skip REASON`. bash.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/kinglet
sid=$cache/sid
# What its cargo reads and writes, under /cache there.
sid_cache=$cache/aarch64

# has_target TRIPLE: whether this machine's Rust has its standard library.
has_target() { compgen -G "$(rustc --print target-libdir --target "$1" 2>/dev/null)/libstd-*" >/dev/null; }

# sid_make: makes it once, and copies the sources of the dependencies for each Cargo.lock: its cargo needs no registry then.
sid_make() {
    [ "$(uname -m)" = x86_64 ] || skip "this machine's Rust has no target aarch64-unknown-linux-gnu (rustup target add)"
    mkdir -p "$sid_cache/cargo" || skip "no folder for what is fetched"
    chroot_make "$sid" sid arm64 cargo rustc libstd-rust-dev:arm64 gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
    if ! cmp -s Cargo.lock "$sid_cache/vendored.lock"; then
        rm -rf "$sid_cache/vendor"
        cargo vendor --locked --versioned-dirs "$sid_cache/vendor" >"$sid_cache/log" 2>&1 ||
            skip "cargo cannot fetch the sources; $sid_cache/log says why"
        cp Cargo.lock "$sid_cache/vendored.lock"
    fi
    cat >"$sid_cache/cargo/config.toml" <<END
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "/cache/vendor"
END
}

# sid_run [FROM=TO]... -- COMMAND...: runs it there, with the repository at /kinglet, read-only, and folders bound as chroot_run does.
sid_run() {
    local folders=()
    while [ "$1" != -- ]; do
        folders+=("$1")
        shift
    done
    shift
    chroot_run "$sid" "$root=/kinglet:ro" "$sid_cache=/cache" "${folders[@]}" -- env -C /kinglet -u RUSTFLAGS -u RUSTUP_TOOLCHAIN \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/cache LC_ALL=C.UTF-8 CARGO_HOME=/cache/cargo CARGO_NET_OFFLINE=true \
        CARGO_TARGET_DIR=/cache/target "$@"
}
