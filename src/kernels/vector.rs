//! Sixteen lanes of f32, the one thing that an instruction set has to provide.
//!
//! The algorithms (`linear`, `attention`, `norm`, ...) are written once over this trait and instantiated inside a
//! function that enables the instruction set. That only works if everything in between is `#[inline(always)]`: a
//! function that is not inlined is compiled without the instruction set, correct but an order of magnitude slower. For
//! the same reason there are no closures in those files' loops.
//!
//! Lanes are sixteen on every machine, even where a register holds eight or four, so that sums over lanes have one
//! shape and the packed weights one layout.

use half::bf16;

/// Sixteen f32 lanes.
///
/// # Safety
/// Every method requires that the machine has the implementing type's instruction set, that pointers are valid for the
/// lanes that are read or written (no alignment is needed), and that counts of lanes are at most 16.
pub(super) trait Vector: Copy {
    /// Sixteen i32 sums.
    type Sums: Copy;
    /// Four activations, in every lane.
    type Bytes: Copy;
    /// Four weights in each of sixteen lanes.
    type Weights: Copy;

    /// The most rows in a tile of floats and in one of integers: what fits the registers.
    const FLOAT_ROWS: usize;
    const BYTE_ROWS: usize;
    /// The same for pairs of bf16; a pair of widened weights takes twice the registers of a float.
    const PAIR_ROWS: usize = Self::FLOAT_ROWS;
    /// Whether pairs are multiplied faster than floats.
    const FAST_PAIRS: bool = false;
    /// What is subtracted from a quantised activation (0..=255) before it is stored as a byte.
    const BYTE_OFFSET: i32;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// Reads only the first `n` lanes; the others are 0.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;
    unsafe fn load_f16(p: *const half::f16) -> Self;
    unsafe fn load_i8(p: *const i8) -> Self;
    unsafe fn store(self, p: *mut f32);
    /// Rounds to f16, ties to even, and stores sixteen; for magnitudes up to 65504, and NaN, which stays one.
    unsafe fn store_f16(self, p: *mut half::f16);
    /// Writes only the first `n` lanes.
    unsafe fn store_first(self, p: *mut f32, n: usize);
    /// The first `n` lanes of `self`, the others from `rest`.
    unsafe fn first_or(self, n: usize, rest: Self) -> Self;

    unsafe fn add(self, y: Self) -> Self;
    unsafe fn sub(self, y: Self) -> Self;
    unsafe fn mul(self, y: Self) -> Self;
    unsafe fn div(self, y: Self) -> Self;
    /// `self · y + z`, rounded once where the machine can.
    unsafe fn mul_add(self, y: Self, z: Self) -> Self;
    /// The larger; `y` where one of them is NaN, so that `bound.max(x)` lets a NaN in `x` through.
    unsafe fn max(self, y: Self) -> Self;
    /// The smaller; `y` where one of them is NaN.
    unsafe fn min(self, y: Self) -> Self;
    /// To the nearest integer, ties to even, for magnitudes below 2²².
    unsafe fn round(self) -> Self;
    /// `self · 2ⁿ` for integers `n` in -126..=127.
    unsafe fn times_power_of_two(self, n: Self) -> Self;
    /// The sum of the lanes, always in the same order.
    unsafe fn sum(self) -> f32;
    /// The largest lane.
    unsafe fn largest(self) -> f32;
    /// Rounds to integers, adds `zero`, and stores sixteen bytes, saturating to the range of a stored activation.
    unsafe fn store_bytes(self, zero: i32, p: *mut u8);
    /// As `store_bytes`, of 64 numbers in order. They are not large: their integers, `zero` added, lie in -32768..=32767.
    #[inline(always)]
    unsafe fn store_line(numbers: [Self; 4], zero: i32, p: *mut u8) {
        for (i, x) in numbers.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { x.store_bytes(zero, p.add(i * 16)) };
        }
    }

    /// Multiplies the lanes by the Hadamard matrix of sixteen rows, whose entries are 1 and -1: lanes that are
    /// one apart first, then two, four and eight, so that all give the same bits.
    unsafe fn hadamard(self) -> Self;

    unsafe fn no_sums() -> Self::Sums;
    /// Four activations.
    unsafe fn load_bytes(p: *const u8) -> Self::Bytes;
    /// 64 bytes of a packed weight.
    unsafe fn load_weights(p: *const i8) -> Self::Weights;
    /// Adds four products to every lane, exactly.
    unsafe fn dot(sums: Self::Sums, a: Self::Bytes, w: Self::Weights) -> Self::Sums;
    /// Four signed activations.
    #[inline(always)]
    unsafe fn load_signed(p: *const i8) -> Self::Bytes {
        // SAFETY: the caller's promise.
        unsafe { Self::load_bytes(p.cast()) }
    }
    /// 64 bytes of a weight of 4 bits: those in the low halves of the bytes, and those in the high halves.
    unsafe fn load_nibbles(p: *const u8) -> (Self::Weights, Self::Weights);
    /// As `dot`, of signed activations and weights in 0..=15.
    #[inline(always)]
    unsafe fn dot_nibbles(sums: Self::Sums, a: Self::Bytes, w: Self::Weights) -> Self::Sums {
        // SAFETY: the caller's promise.
        unsafe { Self::dot(sums, a, w) }
    }
    /// The sums as floats.
    unsafe fn floats(sums: Self::Sums) -> Self;
    /// The sums of a tile of bytes, for instruction sets with something faster than `dot`.
    #[inline(always)]
    unsafe fn byte_sums<const R: usize, const B: usize>(tile: ByteTile) -> [[Self::Sums; B]; R] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[Self::no_sums(); B]; R];
            tile.add_products::<Self, R, B>(&mut sums);
            sums
        }
    }
    /// The products of `R` rows of bytes, `stride` apart, with the query `x`, each of `length` bytes; they are signed or unsigned.
    #[inline(always)]
    unsafe fn dots_of_bytes<const SIGNED: bool, const R: usize>(
        x: *const u8,
        length: usize,
        rows: *const u8,
        stride: usize,
    ) -> [i32; R] {
        let mut sums = [0; R];
        for (r, sum) in sums.iter_mut().enumerate() {
            for i in 0..length {
                // SAFETY: the caller's promise.
                let (x, y) = unsafe { (*x.add(i), *rows.add(r * stride + i)) };
                *sum += if SIGNED {
                    i32::from(x.cast_signed()) * i32::from(y.cast_signed())
                } else {
                    i32::from(x) * i32::from(y)
                };
            }
        }
        sums
    }
    /// `sums - zero · columns` as floats.
    unsafe fn centre(sums: Self::Sums, zero: i32, columns: *const i32) -> Self;

    /// Rounds to bf16, ties to even, and stores sixteen; NaN stays NaN.
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        let mut lanes = [0.0f32; 16];
        // SAFETY: the caller's promise.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for (i, &x) in lanes.iter().enumerate() {
                p.add(i).write(bf16::from_f32(x));
            }
        }
    }
    /// Rounds to bf16 and stores sixteen pairs: `self` in the low halves, `high` in the others.
    #[inline(always)]
    unsafe fn store_pairs(self, high: Self, p: *mut f32) {
        let (mut a, mut b) = ([bf16::ZERO; 16], [bf16::ZERO; 16]);
        // SAFETY: the caller's promise.
        unsafe {
            self.store_bf16(a.as_mut_ptr());
            high.store_bf16(b.as_mut_ptr());
            for (i, (a, b)) in a.iter().zip(&b).enumerate() {
                p.add(i).cast::<u32>().write(u32::from(a.to_bits()) | u32::from(b.to_bits()) << 16);
            }
        }
    }
    /// The values of the bf16 in the low halves of the lanes.
    #[inline(always)]
    unsafe fn low_bf16(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { each_lane(self, |bits| bits << 16) }
    }
    /// The values of the bf16 in the high halves of the lanes.
    #[inline(always)]
    unsafe fn high_bf16(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { each_lane(self, |bits| bits & 0xffff_0000) }
    }
    /// `self + a · b`, where the lanes of `a` and `b` are pairs of bf16: both products are added.
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { add_widened(self, a, b) }
    }

    /// Writes 16 columns of 16 rows (`stride` floats apart) to `out`, column by column.
    #[inline(always)]
    unsafe fn transpose(p: *const f32, stride: usize, out: *mut f32) {
        for row in 0..16 {
            for column in 0..16 {
                // SAFETY: the caller's promise covers all 16 rows and columns.
                unsafe { *out.add(column * 16 + row) = *p.add(row * stride + column) };
            }
        }
    }

    /// Rows in the next tile, when `remaining` are left and `most` are allowed.
    fn tile_rows(remaining: usize, most: usize) -> usize;
    /// Blocks in the next tile of that many rows, when `remaining` are left.
    fn tile_blocks(rows: usize, remaining: usize) -> usize;
    /// Runs a tile of a shape that the two above gave.
    unsafe fn tile<T: Tile<Self>>(tile: &T, rows: usize, blocks: usize, at: TilePosition);
}

/// Changes the bits of each lane.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
unsafe fn each_lane<V: Vector>(x: V, change: impl Fn(u32) -> u32) -> V {
    let mut lanes = [0.0f32; 16];
    // SAFETY: the caller's promise.
    unsafe {
        x.store(lanes.as_mut_ptr());
        lanes = lanes.map(|x| f32::from_bits(change(x.to_bits())));
        V::load(lanes.as_ptr())
    }
}

/// `Vector::add_pairs` for instruction sets without such an instruction. High halves come first, as in `vdpbf16ps`, so that the two
/// differ only in denormals.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn add_widened<V: Vector>(sum: V, a: V, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.low_bf16().mul_add(b.low_bf16(), a.high_bf16().mul_add(b.high_bf16(), sum)) }
}

/// The position of a tile in a product and of its sums: row `i`, block `j` of the tile is at `out + i * stride + j * 16`.
#[derive(Clone, Copy)]
pub(super) struct TilePosition {
    pub row: usize,
    pub block: usize,
    pub out: *mut f32,
    pub stride: usize,
}

/// The operands of a tile of bytes: rows of `inputs` bytes, a multiple of 4, `stride` apart, and blocks of packed weights,
/// `block` apart.
#[derive(Clone, Copy)]
pub(super) struct ByteTile {
    pub a: *const u8,
    pub stride: usize,
    pub w: *const i8,
    pub block: usize,
    pub inputs: usize,
}

impl ByteTile {
    /// Four inputs at a time.
    ///
    /// # Safety
    /// The machine has `V`'s instructions and the operands exist.
    #[inline(always)]
    pub unsafe fn add_products<V: Vector, const R: usize, const B: usize>(self, sums: &mut [[V::Sums; B]; R]) {
        // SAFETY: the caller's promise.
        unsafe {
            for k in (0..self.inputs).step_by(4) {
                let w = self.w.add(k * 16);
                let mut weights = [V::load_weights(w); B];
                for (j, weights) in weights.iter_mut().enumerate().skip(1) {
                    *weights = V::load_weights(w.add(j * self.block));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = V::load_bytes(self.a.add(i * self.stride + k));
                    for (sum, &w) in sums.iter_mut().zip(&weights) {
                        *sum = V::dot(*sum, x, w);
                    }
                }
            }
        }
    }
}

/// A product that can be computed in tiles of `R` rows and `B` blocks of channels, whose sums stay in registers.
pub(super) trait Tile<V: Vector> {
    /// Whether activations are quantised, so that those of the next layer need not be more exact.
    const QUANTISED: bool = false;

    /// # Safety
    /// The machine has `V`'s instructions; the tile is within the product and the output is valid for it.
    unsafe fn run<const R: usize, const B: usize>(&self, at: TilePosition);
}

/// The tile shapes of an instruction set, most rows first and, for each, most blocks first: the methods of `Vector`
/// that pick and run one. Both lists must end in 1. For use in `impl Vector for Lanes`, with the features of its
/// kernel.
///
/// Tiles are a function of their own: if they were inlined next to the epilogue, the compiler would keep its constants in registers
/// across the loop, which takes half of them.
macro_rules! tile_shapes {
    ($($features:literal)?; $($rows:literal: $($blocks:literal),+;)+) => {
        #[inline(always)]
        fn tile_rows(remaining: usize, most: usize) -> usize {
            $(if $rows <= remaining && $rows <= most { return $rows; })+
            1
        }

        #[inline(always)]
        fn tile_blocks(rows: usize, remaining: usize) -> usize {
            $($(if rows == $rows && $blocks <= remaining { return $blocks; })+)+
            1
        }

        #[inline(always)]
        unsafe fn tile<T: $crate::kernels::vector::Tile<Lanes>>(
            tile: &T, rows: usize, blocks: usize, at: $crate::kernels::vector::TilePosition
        ) {
            $(#[target_feature(enable = $features)])?
            #[inline(never)]
            unsafe fn run<T: $crate::kernels::vector::Tile<Lanes>>(
                tile: &T, rows: usize, blocks: usize, at: $crate::kernels::vector::TilePosition
            ) {
                match (rows, blocks) {
                    // SAFETY: the caller's promise is the same.
                    $($(($rows, $blocks) => unsafe { tile.run::<$rows, $blocks>(at) },)+)+
                    _ => unreachable!("not a tile shape"),
                }
            }
            // SAFETY: the caller's promise is the same; this function's features are the vector's.
            unsafe { run(tile, rows, blocks, at) }
        }
    };
}
pub(super) use tile_shapes;
