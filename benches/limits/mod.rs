//! What this machine can do at best, measured: operations a second from registers, bytes a second from memory. One thread.

use std::hint::black_box;
use std::time::Instant;

/// The shortest of many runs, in seconds.
pub fn shortest(mut run: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let (mut best, mut runs) = (f64::MAX, 0);
    while runs < 5 || begun.elapsed().as_millis() < 150 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Gigabytes a second that one thread reads of 256 MiB, in four streams.
pub fn memory() -> f64 {
    let data = vec![1u64; 32 << 20];
    let quarter = data.len() / 4;
    let time = shortest(|| {
        let mut sums = [0u64; 32];
        for i in (0..quarter).step_by(8) {
            for stream in 0..4 {
                let line = &data[stream * quarter + i..][..8];
                for (sum, value) in sums[stream * 8..].iter_mut().zip(line) {
                    *sum = sum.wrapping_add(*value);
                }
            }
        }
        black_box(sums);
    });
    size_of_val(&data[..]) as f64 / time / 1e9
}

/// A function that runs sixteen instructions of one kind, on registers of their own, so many times.
#[cfg(target_arch = "x86_64")]
macro_rules! registers {
    ($name:ident, $instruction:literal) => {
        #[target_feature(enable = "avx512f")]
        fn $name(rounds: usize) {
            for _ in 0..rounds {
                // SAFETY: the caller saw that the machine has the instruction; only registers are written.
                unsafe {
                    std::arch::asm!(
                        concat!($instruction, " {0}, {16}, {16}"), concat!($instruction, " {1}, {16}, {16}"),
                        concat!($instruction, " {2}, {16}, {16}"), concat!($instruction, " {3}, {16}, {16}"),
                        concat!($instruction, " {4}, {16}, {16}"), concat!($instruction, " {5}, {16}, {16}"),
                        concat!($instruction, " {6}, {16}, {16}"), concat!($instruction, " {7}, {16}, {16}"),
                        concat!($instruction, " {8}, {16}, {16}"), concat!($instruction, " {9}, {16}, {16}"),
                        concat!($instruction, " {10}, {16}, {16}"), concat!($instruction, " {11}, {16}, {16}"),
                        concat!($instruction, " {12}, {16}, {16}"), concat!($instruction, " {13}, {16}, {16}"),
                        concat!($instruction, " {14}, {16}, {16}"), concat!($instruction, " {15}, {16}, {16}"),
                        out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _,
                        out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _,
                        out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _,
                        out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _, out(zmm_reg) _,
                        out(zmm_reg) _, options(nomem, nostack),
                    );
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
registers!(bytes, "vpdpbusd");
#[cfg(target_arch = "x86_64")]
registers!(pairs, "vdpbf16ps");
#[cfg(target_arch = "x86_64")]
registers!(floats, "vfmadd231ps");

/// Giga-operations a second of the widest vectors of this machine: bytes, bf16, f32. None where there is no AVX-512.
#[cfg(target_arch = "x86_64")]
pub fn operations(kind: &str) -> Option<f64> {
    const ROUNDS: usize = 20_000;
    if !is_x86_feature_detected!("avx512f") {
        return None;
    }
    let (run, operations): (unsafe fn(usize), usize) = match kind {
        "i8" if is_x86_feature_detected!("avx512vnni") => (bytes, 128),
        "bf16" if is_x86_feature_detected!("avx512bf16") => (pairs, 64),
        "f32" | "f16" => (floats, 32),
        _ => return None,
    };
    // SAFETY: the machine has AVX-512 F and the instruction.
    let time = shortest(|| unsafe { run(ROUNDS) });
    Some((operations * 16 * ROUNDS) as f64 / time / 1e9)
}

#[cfg(not(target_arch = "x86_64"))]
pub fn operations(_kind: &str) -> Option<f64> {
    None
}
