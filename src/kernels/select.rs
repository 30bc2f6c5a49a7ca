//! Which kernel to use: the best that the machine has, unless `KINGLET_ISA` asks for less.

use std::sync::OnceLock;

use super::Kernel;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx::Amx;
#[cfg(target_arch = "aarch64")]
use super::neon::{Neon, NeonDotprod, NeonI8mm};
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512, avx512bf16::Avx512Bf16, avxvnni::AvxVnni};

/// The environment variable that lowers the choice.
const VARIABLE: &str = "KINGLET_ISA";
/// Its values on this architecture, fastest first.
#[cfg(target_arch = "x86_64")]
pub(super) const NAMES: &[&str] = &["amx", "avx512-bf16", "avx512", "avxvnni", "avx2", "portable"];
#[cfg(target_arch = "aarch64")]
pub(super) const NAMES: &[&str] = &["neon-i8mm", "neon-dotprod", "neon", "portable"];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const NAMES: &[&str] = &["portable"];

/// The kernel of that name, if this machine has it. It is looked for when it is first wanted and not before: AMX asks
/// the system for a permission, which choosing less is a way to avoid.
fn kernel(name: &str) -> Option<&'static dyn Kernel> {
    macro_rules! detected {
        ($kernel:ty) => {{
            static KERNEL: OnceLock<Option<$kernel>> = OnceLock::new();
            KERNEL.get_or_init(<$kernel>::new).as_ref().map(|k| k as &dyn Kernel)
        }};
    }
    match name {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        "amx" => detected!(Amx),
        #[cfg(target_arch = "x86_64")]
        "avx512-bf16" => detected!(Avx512Bf16),
        #[cfg(target_arch = "x86_64")]
        "avx512" => detected!(Avx512),
        #[cfg(target_arch = "x86_64")]
        "avxvnni" => detected!(AvxVnni),
        #[cfg(target_arch = "x86_64")]
        "avx2" => detected!(Avx2),
        #[cfg(target_arch = "aarch64")]
        "neon-i8mm" => detected!(NeonI8mm),
        #[cfg(target_arch = "aarch64")]
        "neon-dotprod" => detected!(NeonDotprod),
        #[cfg(target_arch = "aarch64")]
        "neon" => detected!(Neon),
        "portable" => Some(&Portable),
        _ => None,
    }
}

/// All kernels that this machine can run, fastest first; the portable one is always there and last.
pub fn available() -> Vec<&'static dyn Kernel> {
    NAMES.iter().filter_map(|name| kernel(name)).collect()
}

/// The kernel to use: the best of this machine, lowered by the environment variable `KINGLET_ISA`.
pub fn select() -> Result<&'static dyn Kernel, String> {
    let value = std::env::var_os(VARIABLE);
    choose(value.as_deref().map(|v| v.to_string_lossy()).as_deref())
}

/// The best kernel at or below `limit` (the empty string is no limit). A limit above what the machine has changes
/// nothing.
pub(super) fn choose(limit: Option<&str>) -> Result<&'static dyn Kernel, String> {
    let limit = limit.filter(|l| !l.is_empty()).unwrap_or(NAMES[0]);
    let Some(rank) = NAMES.iter().position(|&name| name == limit) else {
        return Err(format!("{VARIABLE} is {limit:?}; the values it can have are {}", NAMES.join(", ")));
    };
    Ok(NAMES[rank..].iter().find_map(|name| kernel(name)).unwrap_or(&Portable))
}
