//! Which kernel to use: the best that the machine has, unless `KINGLET_ISA` asks for less.

use std::sync::OnceLock;

use super::Kernel;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// The environment variable that lowers the choice.
const VARIABLE: &str = "KINGLET_ISA";
/// Its values, fastest first.
const NAMES: [&str; 3] = ["avx512", "avx2", "portable"];

/// Those of this architecture that this machine has, fastest first.
#[cfg(target_arch = "x86_64")]
fn native() -> Vec<&'static dyn Kernel> {
    static AVX512: OnceLock<Option<Avx512>> = OnceLock::new();
    static AVX2: OnceLock<Option<Avx2>> = OnceLock::new();
    let avx512 = AVX512.get_or_init(Avx512::new).as_ref().map(|k| k as &dyn Kernel);
    let avx2 = AVX2.get_or_init(Avx2::new).as_ref().map(|k| k as &dyn Kernel);
    [avx512, avx2].into_iter().flatten().collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn native() -> Vec<&'static dyn Kernel> {
    Vec::new()
}

fn kernels() -> &'static [&'static dyn Kernel] {
    static KERNELS: OnceLock<Vec<&'static dyn Kernel>> = OnceLock::new();
    KERNELS.get_or_init(|| {
        let mut kernels = native();
        kernels.push(&Portable);
        kernels
    })
}

/// All kernels that this machine can run, fastest first; the portable one is always there and last.
pub fn available() -> Vec<&'static dyn Kernel> {
    kernels().to_vec()
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
    let kernel = kernels().iter().find(|k| NAMES[rank..].contains(&k.isa()));
    Ok(*kernel.unwrap_or(&(&Portable as &dyn Kernel)))
}
