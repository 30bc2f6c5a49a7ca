//! Attacks on the host process: what must end in an error ends in one, soon, without a trace.

#[cfg(all(target_os = "linux", feature = "cli"))]
mod allocation;
#[cfg(all(unix, feature = "cli"))]
mod endless_files;
#[cfg(unix)]
mod fork;
mod grammars;
mod kinglet_file;
mod libraries;
mod mapped_files;
mod messages;
mod quantize;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod quota;
mod stack;
#[path = "../support/mod.rs"]
mod support;
mod tokenizing;
mod weights;
