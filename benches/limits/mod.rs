//! The measured limits of this machine on one thread: operations per second from registers, bytes per second from memory.

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

/// Gigabytes per second that one thread reads from 256 MiB, in huge pages if the system has them, as for weights; the best of one,
/// two and four streams.
pub fn memory() -> f64 {
    let bytes = 256 << 20;
    let Ok(mut data) = memmap2::MmapMut::map_anon(bytes) else { return f64::NAN };
    #[cfg(target_os = "linux")]
    let _ = data.advise(memmap2::Advice::HugePage);
    data.fill(1);
    let best = [1, 2, 4].map(|streams| shortest(|| read(&data, bytes / streams)));
    bytes as f64 / best.into_iter().fold(f64::MAX, f64::min) / 1e9
}

/// Sums all cache lines, one of each stream in turn.
fn read(data: &[u8], stream: usize) {
    let mut sums = [[0u8; 64]; 4];
    for line in (0..stream).step_by(64) {
        for (start, sums) in (line..data.len()).step_by(stream).zip(&mut sums) {
            let line: &[u8; 64] = data[start..start + 64].try_into().unwrap_or(&[0; 64]);
            for (sum, byte) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(*byte);
            }
        }
    }
    black_box(sums);
}

/// A function that runs twelve independent instructions of one kind, `rounds` times.
#[cfg(target_arch = "x86_64")]
macro_rules! registers {
    ($name:ident, $instruction:literal) => {
        #[target_feature(enable = "avx512f")]
        fn $name(rounds: usize) {
            for _ in 0..rounds {
                // SAFETY: the caller checked that the machine has the instruction; only registers are written.
                unsafe {
                    std::arch::asm!(
                        concat!($instruction, " zmm0, zmm12, zmm12"), concat!($instruction, " zmm1, zmm12, zmm12"),
                        concat!($instruction, " zmm2, zmm12, zmm12"), concat!($instruction, " zmm3, zmm12, zmm12"),
                        concat!($instruction, " zmm4, zmm12, zmm12"), concat!($instruction, " zmm5, zmm12, zmm12"),
                        concat!($instruction, " zmm6, zmm12, zmm12"), concat!($instruction, " zmm7, zmm12, zmm12"),
                        concat!($instruction, " zmm8, zmm12, zmm12"), concat!($instruction, " zmm9, zmm12, zmm12"),
                        concat!($instruction, " zmm10, zmm12, zmm12"), concat!($instruction, " zmm11, zmm12, zmm12"),
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _,
                        out("zmm5") _, out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _,
                        out("zmm10") _, out("zmm11") _, out("zmm12") _, options(nomem, nostack),
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

/// Runs products of whole tiles, `rounds` times four into separate sums, from registers.
///
/// # Safety
/// The machine has the instructions, and the system lets this process use tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
macro_rules! tiles {
    ($name:ident, $instruction:literal) => {
        unsafe fn $name(rounds: usize) {
            #[repr(C, align(64))]
            struct Shapes([u8; 64]);
            let mut shapes = Shapes([0; 64]);
            shapes.0[0] = 1;
            for tile in 0..8 {
                (shapes.0[16 + 2 * tile], shapes.0[48 + tile]) = (64, 16);
            }
            // SAFETY: the caller's promise; the shapes are those of whole tiles, and all tiles are released.
            unsafe {
                std::arch::asm!(
                    "ldtilecfg [{shapes}]",
                    "2:",
                    concat!($instruction, " tmm0, tmm4, tmm6"), concat!($instruction, " tmm1, tmm4, tmm7"),
                    concat!($instruction, " tmm2, tmm5, tmm6"), concat!($instruction, " tmm3, tmm5, tmm7"),
                    "dec {rounds}",
                    "jnz 2b",
                    "tilerelease",
                    shapes = in(reg) &shapes,
                    rounds = inout(reg) rounds => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
tiles!(tile_bytes, "tdpbusd");
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
tiles!(tile_pairs, "tdpbf16ps");

/// As [`operations`], of tiles. `kernel` is the best of this machine: if it is the one of tiles, this process may use them.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tile_operations(kernel: &str, kind: &str) -> Option<f64> {
    const ROUNDS: usize = 20_000;
    let (run, operations): (unsafe fn(usize), usize) = match (kernel, kind) {
        ("amx", "int8") => (tile_bytes, 2 * 16 * 16 * 64),
        ("amx", "bf16") => (tile_pairs, 2 * 16 * 16 * 32),
        _ => return None,
    };
    // SAFETY: the kernel exists only where both hold.
    let time = shortest(|| unsafe { run(ROUNDS) });
    Some((operations * 4 * ROUNDS) as f64 / time / 1e9)
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn tile_operations(_kernel: &str, _kind: &str) -> Option<f64> {
    None
}

/// Giga-operations per second from registers, by type (i8, bf16, f16, f32): of tiles where `kernel` uses them, else of this machine's
/// widest vectors. None where that is unknown.
pub fn operations(kernel: &str, kind: &str) -> Option<f64> {
    tile_operations(kernel, kind).or_else(|| vector_operations(kind))
}

/// None without AVX-512.
#[cfg(target_arch = "x86_64")]
fn vector_operations(kind: &str) -> Option<f64> {
    const ROUNDS: usize = 20_000;
    if !is_x86_feature_detected!("avx512f") {
        return None;
    }
    let (run, operations): (unsafe fn(usize), usize) = match kind {
        "int8" if is_x86_feature_detected!("avx512vnni") => (bytes, 128),
        "bf16" if is_x86_feature_detected!("avx512bf16") => (pairs, 64),
        "f32" | "f16" => (floats, 32),
        _ => return None,
    };
    // SAFETY: the checks above found AVX-512 F and the instruction.
    let time = shortest(|| unsafe { run(ROUNDS) });
    Some((operations * 12 * ROUNDS) as f64 / time / 1e9)
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_operations(_kind: &str) -> Option<f64> {
    None
}
