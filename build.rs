//! Gives the shared library its name for the dynamic linker: programs ask for the ABI that they were linked with, not for a version.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // One number with KINGLET_ABI_VERSION of include/kinglet.h; scripts/test-consumers checks that.
    const ABI: u32 = 0;
    match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos" | "ios") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libkinglet.{ABI}.dylib");
        }
        Ok("linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libkinglet.so.{ABI}");
            // llguidance exports a C interface of its own, which is not ours to offer.
            println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        }
        _ => {}
    }
}
