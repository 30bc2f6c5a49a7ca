//! The instruction sets, one file each, and the selection: the best that the machine has, lowered by `KINGLET_ISA`.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512bf16;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::OnceLock;

use super::Kernel;

/// The kernel of a type, if this machine has it. It is created on first use only: AMX requests a permission from the system, which a
/// lower `KINGLET_ISA` avoids.
macro_rules! detected {
    ($kernel:ty) => {
        || {
            static KERNEL: OnceLock<Option<$kernel>> = OnceLock::new();
            KERNEL.get_or_init(<$kernel>::new).as_ref().map(|kernel| kernel as &dyn Kernel)
        }
    };
}

/// A name, and the kernel if this machine has it.
type Entry = (&'static str, fn() -> Option<&'static dyn Kernel>);

/// The list: this architecture's instruction sets by their names in `KINGLET_ISA`, fastest first.
const KERNELS: &[Entry] = &[
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    ("amx", detected!(amx::Amx)),
    #[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
    ("amx", || None),
    #[cfg(target_arch = "x86_64")]
    ("avx512-bf16", detected!(avx512bf16::Avx512Bf16)),
    #[cfg(target_arch = "x86_64")]
    ("avx512", detected!(avx512::Avx512)),
    #[cfg(target_arch = "x86_64")]
    ("avxvnni", detected!(avxvnni::AvxVnni)),
    #[cfg(target_arch = "x86_64")]
    ("avx2", detected!(avx2::Avx2)),
    #[cfg(target_arch = "aarch64")]
    ("neon-i8mm", detected!(neon::NeonI8mm)),
    #[cfg(target_arch = "aarch64")]
    ("neon-dotprod", detected!(neon::NeonDotprod)),
    #[cfg(target_arch = "aarch64")]
    ("neon", detected!(neon::Neon)),
    ("portable", || Some(&portable::Portable)),
];

/// The environment variable that lowers the choice.
const VARIABLE: &str = "KINGLET_ISA";

/// The values that the variable can have here, fastest first.
pub(super) fn names() -> Vec<&'static str> {
    KERNELS.iter().map(|(name, _)| *name).collect()
}

/// All kernels that this machine can run, fastest first; the last one is always the portable one.
pub fn available() -> Vec<&'static dyn Kernel> {
    KERNELS.iter().filter_map(|(_, kernel)| kernel()).collect()
}

/// The kernel that runs anywhere.
pub fn portable() -> &'static dyn Kernel {
    &portable::Portable
}

/// The kernel to use: the best of this machine, lowered by the environment variable `KINGLET_ISA`.
pub fn select() -> Result<&'static dyn Kernel, String> {
    let value = std::env::var_os(VARIABLE);
    choose(value.as_deref().map(|v| v.to_string_lossy()).as_deref())
}

/// The best kernel at or below `limit` (the empty string is no limit). A limit above what the machine has changes nothing.
pub(super) fn choose(limit: Option<&str>) -> Result<&'static dyn Kernel, String> {
    let rank = match limit.filter(|limit| !limit.is_empty()) {
        None => Some(0),
        Some(limit) => KERNELS.iter().position(|(name, _)| *name == limit),
    };
    let Some(rank) = rank else {
        let limit = limit.unwrap_or_default();
        return Err(format!("{VARIABLE} is {limit:?}; the values it can have are {}", names().join(", ")));
    };
    Ok(KERNELS[rank..].iter().find_map(|(_, kernel)| kernel()).unwrap_or(&portable::Portable))
}
