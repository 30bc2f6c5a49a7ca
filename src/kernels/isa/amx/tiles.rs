//! The tile registers: their shapes, and a product of two by two of them.
//!
//! The intrinsics are not stable, so this is assembly. A product is one block of it, because the compiler does not know that tiles hold
//! values between blocks.

use std::arch::asm;

/// Rows of a tile, and its columns of 32 bits.
pub(super) const SIDE: usize = 16;
/// Bytes of a tile's row: so many inputs, or half as many in bf16.
pub(super) const CHUNK: usize = 64;
/// Rows of a product, and its columns.
pub(super) const STRIP: usize = 2 * SIDE;
/// Bytes that a chunk of a product prefetches: a quarter of what it reads of two blocks. All of the next weights in one strip would
/// delay that strip.
pub(super) const AHEAD: usize = 512;

/// What `ldtilecfg` reads. Tiles 0 to 3 are sums, two rows of two; 4 and 5 activations, 6 and 7 weights.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The tiles of this thread, configured for a product and released when dropped.
///
/// The configuration belongs to a thread, and kernels also run on the host program's threads. So a product releases the tiles: other code
/// may change the shapes, and the system would save 8 KiB at each context switch. The calling convention does not preserve tiles, so they
/// hold nothing of the caller. Setting shapes takes some tens of cycles, a product thousands.
pub(super) struct Tiles {
    /// Rows in the upper and lower tiles; 0 before the first product.
    heights: (usize, usize),
}

/// The number type of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Four unsigned bytes with four signed ones, summed in i32.
    Bytes,
    /// Two bf16 with two others, summed in f32: chunk by chunk, and within one in the order that the instruction has.
    Pairs,
}

/// A part of a product: a strip of rows, a pair of blocks, some of the inputs.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// The first row, `a_stride` bytes before the next.
    pub a: *const u8,
    pub a_stride: usize,
    /// The first block, `w_stride` bytes before the next.
    pub w: *const u8,
    pub w_stride: usize,
    /// Rows of sums, i32 or f32, `stride` numbers apart, aligned to 64 bytes.
    pub sums: *mut i32,
    pub stride: usize,
    /// How many chunks of inputs, at least one.
    pub chunks: usize,
    /// Whether the sums hold those of earlier inputs.
    pub add: bool,
    /// What to prefetch into the L2 cache meanwhile: `AHEAD` bytes a chunk. It may be any address, since a prefetch never faults.
    pub ahead: *const u8,
}

impl Tiles {
    pub(super) fn new() -> Self {
        Self { heights: (0, 0) }
    }

    /// # Safety
    /// The machine and the system let this process use tiles; rows, blocks (1 or 2) and inputs exist, and a strip of
    /// sums of that many rows.
    #[inline(always)]
    pub(super) unsafe fn multiply(&mut self, kind: Kind, rows: usize, blocks: usize, step: &Step) {
        let lower = rows.saturating_sub(SIDE);
        // An unused lower tile needs a valid shape too: a tile without rows must not have columns.
        let heights = (rows.min(SIDE), if lower == 0 { SIDE } else { lower });
        if self.heights != heights {
            // SAFETY: the caller's promise.
            unsafe { configure(heights) };
            self.heights = heights;
        }
        // SAFETY: the caller's promise; the tiles have the shape of these rows.
        unsafe {
            match (kind, lower > 0, blocks > 1) {
                (Kind::Bytes, true, true) => bytes::two_by_two(step),
                (Kind::Bytes, true, false) => bytes::two_by_one(step),
                (Kind::Bytes, false, true) => bytes::one_by_two(step),
                (Kind::Bytes, false, false) => bytes::one_by_one(step),
                (Kind::Pairs, true, true) => pairs::two_by_two(step),
                (Kind::Pairs, true, false) => pairs::two_by_one(step),
                (Kind::Pairs, false, true) => pairs::one_by_two(step),
                (Kind::Pairs, false, false) => pairs::one_by_one(step),
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        if self.heights != (0, 0) {
            // SAFETY: `multiply` was called, whose caller promised that tiles may be used.
            unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
        }
    }
}

/// # Safety
/// The machine and the system let this process use tiles.
unsafe fn configure((upper, lower): (usize, usize)) {
    let mut shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let heights = [upper, upper, lower, lower, upper, lower, SIDE, SIDE];
    for (tile, height) in heights.into_iter().enumerate() {
        shapes.row_bytes[tile] = CHUNK as u16;
        shapes.rows[tile] = height as u8;
    }
    // SAFETY: the caller's promise; the shapes are within what palette 1 allows.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly, preserves_flags)) };
}

/// One shape of product. The sums are loaded or zeroed; each chunk's tiles are multiplied, and a part of the next weights is prefetched;
/// then the sums are stored.
macro_rules! product {
    ($name:ident: $($load:literal),+; $($zero:literal),+; $($multiply:expr),+; $($store:literal),+) => {
        /// # Safety
        /// As `Tiles::multiply`, and the tiles have the shapes of the product.
        pub unsafe fn $name(step: &Step) {
            // SAFETY: the caller's promise; all registers that change are named.
            unsafe {
                asm!(
                    "test {add:e}, {add:e} // {low}", // A product of one tile's height has no lower sums.
                    "jz 2f",
                    $($load,)+
                    "jmp 3f",
                    "2:",
                    $($zero,)+
                    "3:",
                    $($multiply,)+
                    ".irp line, 0, 1, 2, 3, 4, 5, 6, 7",
                    "prefetcht1 [{ahead} + 64 * \\line]",
                    ".endr",
                    "add {ahead}, 512",
                    "add {upper}, 64",
                    "add {lower}, 64",
                    "add {left}, 1024",
                    "add {right}, 1024",
                    "dec {chunks}",
                    "jnz 3b",
                    $($store,)+
                    upper = inout(reg) step.a => _,
                    lower = inout(reg) step.a.wrapping_add(SIDE * step.a_stride) => _,
                    left = inout(reg) step.w => _,
                    right = inout(reg) step.w.wrapping_add(step.w_stride) => _,
                    chunks = inout(reg) step.chunks => _,
                    ahead = inout(reg) step.ahead => _,
                    a_stride = in(reg) step.a_stride,
                    w_stride = in(reg) CHUNK,
                    sums = in(reg) step.sums,
                    low = in(reg) step.sums.wrapping_add(SIDE * step.stride),
                    stride = in(reg) step.stride * size_of::<i32>(),
                    add = in(reg) u32::from(step.add),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

/// All shapes with one instruction for the products.
macro_rules! products {
    ($kind:ident: $dot:literal) => {
        mod $kind {
            use std::arch::asm;

            use super::{CHUNK, SIDE, Step};

            product! {
                two_by_two:
                "tileloadd tmm0, [{sums} + {stride}]", "tileloadd tmm1, [{sums} + {stride} + 64]",
                "tileloadd tmm2, [{low} + {stride}]", "tileloadd tmm3, [{low} + {stride} + 64]";
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3";
                "tileloadd tmm4, [{upper} + {a_stride}]", "tileloadd tmm6, [{left} + {w_stride}]", concat!($dot, " tmm0, tmm4, tmm6"),
                "tileloadd tmm7, [{right} + {w_stride}]", concat!($dot, " tmm1, tmm4, tmm7"),
                "tileloadd tmm5, [{lower} + {a_stride}]", concat!($dot, " tmm2, tmm5, tmm6"), concat!($dot, " tmm3, tmm5, tmm7");
                "tilestored [{sums} + {stride}], tmm0", "tilestored [{sums} + {stride} + 64], tmm1",
                "tilestored [{low} + {stride}], tmm2", "tilestored [{low} + {stride} + 64], tmm3"
            }

            product! {
                two_by_one:
                "tileloadd tmm0, [{sums} + {stride}]", "tileloadd tmm2, [{low} + {stride}]";
                "tilezero tmm0", "tilezero tmm2";
                "tileloadd tmm6, [{left} + {w_stride}]", "tileloadd tmm4, [{upper} + {a_stride}]", concat!($dot, " tmm0, tmm4, tmm6"),
                "tileloadd tmm5, [{lower} + {a_stride}]", concat!($dot, " tmm2, tmm5, tmm6");
                "tilestored [{sums} + {stride}], tmm0", "tilestored [{low} + {stride}], tmm2"
            }

            product! {
                one_by_two:
                "tileloadd tmm0, [{sums} + {stride}]", "tileloadd tmm1, [{sums} + {stride} + 64]";
                "tilezero tmm0", "tilezero tmm1";
                "tileloadd tmm4, [{upper} + {a_stride}]", "tileloadd tmm6, [{left} + {w_stride}]", concat!($dot, " tmm0, tmm4, tmm6"),
                "tileloadd tmm7, [{right} + {w_stride}]", concat!($dot, " tmm1, tmm4, tmm7");
                "tilestored [{sums} + {stride}], tmm0", "tilestored [{sums} + {stride} + 64], tmm1"
            }

            product! {
                one_by_one:
                "tileloadd tmm0, [{sums} + {stride}]";
                "tilezero tmm0";
                "tileloadd tmm6, [{left} + {w_stride}]", "tileloadd tmm4, [{upper} + {a_stride}]", concat!($dot, " tmm0, tmm4, tmm6");
                "tilestored [{sums} + {stride}], tmm0"
            }
        }
    };
}

products!(bytes: "tdpbusd");
products!(pairs: "tdpbf16ps");
