//! Plain Rust, for machines without another kernel and as a readable reference.
//!
//! Products are rounded before they are added: on a machine without the instruction a fused multiply-add would be a library call.

use crate::kernels::instruction_set::implement_kernel;
use crate::kernels::vector::{Vector, tile_shapes};

/// The kernel that runs anywhere.
pub(super) struct Portable;

implement_kernel!(Portable: Lanes, "portable", "portable");

#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Lanes([f32; 16]);

/// Adding 1.5·2²³ to a smaller number rounds it to an integer, ties to even, and leaves that integer in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// The integer closest to `x`, for magnitudes below 2²²; unspecified for other numbers.
#[inline(always)]
fn nearest(x: f32) -> i32 {
    (x + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i32
}

/// The value of an f16. Exponent and mantissa are moved to an f32, and a multiplication corrects the exponent, for subnormal numbers too.
/// There is no branch, so the compiler can vectorise it.
#[inline(always)]
fn widen(half: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * f32::from_bits((254 - 15) << 23);
    // Values from 2¹⁶ on are infinity and NaN, whose exponent is all ones.
    let special = if magnitude >= 65536.0 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | u32::from(half & 0x8000) << 16)
}

/// Rounds a magnitude of at most 65504 to f16, ties to even; NaN stays NaN. Without a branch, as `widen`.
#[inline(always)]
fn narrow(x: f32) -> u16 {
    let sign = x.to_bits() >> 16 & 0x8000;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // Half of the last place, less one if the last place is even; the exponents' biases differ by 112.
    let normal = (magnitude.wrapping_add(0xfff + (magnitude >> 13 & 1)).wrapping_sub(112 << 23)) >> 13;
    // Below 2⁻¹⁴ all f16 are multiples of 2⁻²⁴, and so are the floats from 0.5 to 1.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if magnitude < (127 - 14) << 23 { subnormal } else { normal };
    let narrowed = if magnitude > 0x7f80_0000 { 0x7e00 } else { finite };
    (sign | narrowed) as u16
}

impl Lanes {
    #[inline(always)]
    fn map(self, y: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for (x, y) in out.0.iter_mut().zip(y.0) {
            *x = f(*x, y);
        }
        out
    }
}

impl Vector for Lanes {
    type Sums = [i32; 16];
    type Bytes = [i32; 4];
    type Weights = [[i8; 4]; 16];

    const FLOAT_ROWS: usize = 1;
    const BYTE_ROWS: usize = 1;
    const BYTE_OFFSET: i32 = 0;

    tile_shapes! { ; 1: 2, 1; }

    #[inline(always)]
    unsafe fn hadamard(self) -> Self {
        let mut x = self.0;
        for half in [1, 2, 4, 8] {
            for i in 0..16 {
                if i & half == 0 {
                    (x[i], x[i + half]) = (x[i] + x[i + half], x[i] - x[i + half]);
                }
            }
        }
        Self(x)
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 16])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { p.cast::<[f32; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        let mut out = [0.0; 16];
        // SAFETY: the caller's promise, and `n` is at most 16.
        unsafe { std::ptr::copy_nonoverlapping(p, out.as_mut_ptr(), n) };
        Self(out)
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const half::f16) -> Self {
        // SAFETY: the caller's promise; an f16 is its 16 bits.
        Self(unsafe { p.cast::<[u16; 16]>().read() }.map(widen))
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { p.cast::<[i8; 16]>().read() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn store_f16(self, p: *mut half::f16) {
        // SAFETY: the caller's promise; an f16 is its 16 bits.
        unsafe { p.cast::<[u16; 16]>().write(self.0.map(narrow)) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: the caller's promise, and `n` is at most 16.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), p, n) }
    }

    #[inline(always)]
    unsafe fn first_or(self, n: usize, rest: Self) -> Self {
        let mut out = self;
        for (i, (x, rest)) in out.0.iter_mut().zip(rest.0).enumerate() {
            *x = if i < n { *x } else { rest };
        }
        out
    }

    #[inline(always)]
    unsafe fn add(self, y: Self) -> Self {
        self.map(y, |x, y| x + y)
    }

    #[inline(always)]
    unsafe fn sub(self, y: Self) -> Self {
        self.map(y, |x, y| x - y)
    }

    #[inline(always)]
    unsafe fn mul(self, y: Self) -> Self {
        self.map(y, |x, y| x * y)
    }

    #[inline(always)]
    unsafe fn div(self, y: Self) -> Self {
        self.map(y, |x, y| x / y)
    }

    #[inline(always)]
    unsafe fn mul_add(self, y: Self, z: Self) -> Self {
        self.map(y, |x, y| x * y).map(z, |xy, z| xy + z)
    }

    #[inline(always)]
    unsafe fn max(self, y: Self) -> Self {
        self.map(y, |x, y| if x > y { x } else { y })
    }

    #[inline(always)]
    unsafe fn min(self, y: Self) -> Self {
        self.map(y, |x, y| if x < y { x } else { y })
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        self.map(self, |x, _| (x + ROUNDER) - ROUNDER)
    }

    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        self.map(n, |x, n| x * f32::from_bits((nearest(n).wrapping_add(127) as u32) << 23))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut x = self.0;
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                x[i] += x[i + half];
            }
        }
        x[0]
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.0.iter().fold(f32::NEG_INFINITY, |m, &x| if m > x { m } else { x })
    }

    #[inline(always)]
    unsafe fn store_bytes(self, zero: i32, p: *mut u8) {
        let mut out = [0u8; 16];
        for (byte, x) in out.iter_mut().zip(self.0) {
            *byte = nearest(x).wrapping_add(zero).clamp(0, 255) as u8;
        }
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; 16]>().write(out) }
    }

    /// One loop, which the compiler vectorises.
    #[inline(always)]
    unsafe fn add_pairs(mut self, a: Self, b: Self) -> Self {
        for (i, sum) in self.0.iter_mut().enumerate() {
            let (a, b) = (a.0[i].to_bits(), b.0[i].to_bits());
            *sum += f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
            *sum += f32::from_bits(a << 16) * f32::from_bits(b << 16);
        }
        self
    }

    #[inline(always)]
    unsafe fn no_sums() -> [i32; 16] {
        [0; 16]
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; 4]>().read() }.map(i32::from)
    }

    #[inline(always)]
    unsafe fn load_weights(p: *const i8) -> [[i8; 4]; 16] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[[i8; 4]; 16]>().read() }
    }

    #[inline(always)]
    unsafe fn dot(mut sums: [i32; 16], a: [i32; 4], w: [[i8; 4]; 16]) -> [i32; 16] {
        for (sum, w) in sums.iter_mut().zip(w) {
            for (a, w) in a.iter().zip(w) {
                *sum = sum.wrapping_add(a * i32::from(w));
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn load_signed(p: *const i8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[i8; 4]>().read() }.map(i32::from)
    }

    #[inline(always)]
    unsafe fn load_nibbles(p: *const u8) -> ([[i8; 4]; 16], [[i8; 4]; 16]) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { p.cast::<[[u8; 4]; 16]>().read() };
        (bytes.map(|four| four.map(|byte| (byte & 15) as i8)), bytes.map(|four| four.map(|byte| (byte >> 4) as i8)))
    }

    #[inline(always)]
    unsafe fn floats(sums: [i32; 16]) -> Self {
        Self(sums.map(|sum| sum as f32))
    }

    #[inline(always)]
    unsafe fn centre(sums: [i32; 16], zero: i32, columns: *const i32) -> Self {
        // SAFETY: the caller's promise.
        let columns = unsafe { columns.cast::<[i32; 16]>().read() };
        let mut out = [0.0; 16];
        for (i, x) in out.iter_mut().enumerate() {
            *x = sums[i].wrapping_sub(zero.wrapping_mul(columns[i])) as f32;
        }
        Self(out)
    }
}
