//! The bridge from an instruction set's vector to the `Kernel` trait.

/// Implements `Kernel` for a type whose existence proves that the machine has the instructions: every method steps into
/// a function compiled with them and instantiates the algorithm there. A kernel may bring a `linear_i8` and a `linear_bf16` of its
/// own.
macro_rules! implement_kernel {
    ($kernel:ty, $vector:ty, $name:literal, $isa:literal $(, $features:literal)?) => {
        implement_kernel!(
            $kernel, $vector, $name, $isa $(, $features)?;
            linear::linear_i8::<$vector>; linear::linear_bf16::<$vector>
        );
    };
    ($kernel:ty, $vector:ty, $name:literal, $isa:literal $(, $features:literal)?; $linear_i8:path; $linear_bf16:path) => {
        impl Kernel for $kernel {
            fn name(&self) -> &'static str {
                $name
            }

            fn isa(&self) -> &'static str {
                $isa
            }

            fn quantize_row(&self, x: &[f32], out: &mut [u8]) -> RowScale {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &[f32], out: &mut [u8]) -> RowScale {
                    // SAFETY: this function's features are the vector's.
                    unsafe { quantize::quantize_row::<$vector>(x, out) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, out) }
            }

            unsafe fn linear_i8(
                &self, a: Rows<u8>, scales: &[RowScale], w: &PackedI8, blocks: Range<usize>, out: Out, e: &Epilogue,
            ) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(
                    a: Rows<u8>, scales: &[RowScale], w: &PackedI8, blocks: Range<usize>, out: Out, e: &Epilogue,
                ) {
                    // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                    unsafe { $linear_i8(a, scales, w, blocks, out, e) }
                }
                // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                unsafe { run(a, scales, w, blocks, out, e) }
            }

            unsafe fn linear_f32(&self, a: Rows<f32>, w: &PackedF32, blocks: Range<usize>, out: Out, e: &Epilogue) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(a: Rows<f32>, w: &PackedF32, blocks: Range<usize>, out: Out, e: &Epilogue) {
                    // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                    unsafe { linear::linear_f32::<$vector>(a, w, blocks, out, e) }
                }
                // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                unsafe { run(a, w, blocks, out, e) }
            }

            unsafe fn linear_f16(&self, a: Rows<f32>, w: &PackedF16, blocks: Range<usize>, out: Out, e: &Epilogue) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(a: Rows<f32>, w: &PackedF16, blocks: Range<usize>, out: Out, e: &Epilogue) {
                    // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                    unsafe { linear::linear_f16::<$vector>(a, w, blocks, out, e) }
                }
                // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                unsafe { run(a, w, blocks, out, e) }
            }

            fn round_row(&self, x: &[f32], out: &mut [bf16]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &[f32], out: &mut [bf16]) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { round::round_row::<$vector>(x, out) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, out) }
            }

            fn narrow(&self, x: &[f32], out: &mut [half::f16]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &[f32], out: &mut [half::f16]) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { round::narrow::<$vector>(x, out) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, out) }
            }

            unsafe fn linear_bf16(&self, a: Rows<bf16>, w: &PackedBf16, blocks: Range<usize>, out: Out, e: &Epilogue) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(a: Rows<bf16>, w: &PackedBf16, blocks: Range<usize>, out: Out, e: &Epilogue) {
                    // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                    unsafe { $linear_bf16(a, w, blocks, out, e) }
                }
                // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                unsafe { run(a, w, blocks, out, e) }
            }

            fn layer_norm(&self, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { norm::layer_norm::<$vector>(x, weight, bias, eps) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, weight, bias, eps) }
            }

            fn rms_norm(&self, x: &mut [f32], weight: &[f32], eps: f32) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &mut [f32], weight: &[f32], eps: f32) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { norm::rms_norm::<$vector>(x, weight, eps) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, weight, eps) }
            }

            fn gate(&self, gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { activation::gate::<$vector>(gate, up, activation, out) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(gate, up, activation, out) }
            }

            fn exp_sum(&self, x: &[f32]) -> ExpSum {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &[f32]) -> ExpSum {
                    // SAFETY: this function's features are the vector's.
                    unsafe { activation::exp_sum::<$vector>(x) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x) }
            }

            fn arg_max(&self, x: &[f32]) -> Option<(usize, f32)> {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &[f32]) -> Option<(usize, f32)> {
                    // SAFETY: this function's features are the vector's.
                    unsafe { arg_max::arg_max::<$vector>(x) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x) }
            }

            fn top_k(&self, x: &[f32], first: u32, list: &mut [Placed]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &[f32], first: u32, list: &mut [Placed]) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { top_k::top_k::<$vector>(x, first, list) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, first, list) }
            }

            fn add_f32(&self, x: &mut [f32], y: &[f32]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &mut [f32], y: &[f32]) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { embedding::add_f32::<$vector>(x, y) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, y) }
            }

            fn add_f16(&self, x: &mut [f32], y: &[half::f16]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &mut [f32], y: &[half::f16]) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { embedding::add_f16::<$vector>(x, y) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, y) }
            }

            fn add_i8(&self, x: &mut [f32], y: &[i8], scale: f32) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(x: &mut [f32], y: &[i8], scale: f32) {
                    // SAFETY: this function's features are the vector's.
                    unsafe { embedding::add_i8::<$vector>(x, y, scale) }
                }
                // SAFETY: `self` proves that the machine has the features.
                unsafe { run(x, y, scale) }
            }

            fn attention_scratch(&self, tokens: usize, head_dim: usize) -> usize {
                attention::scratch(tokens, head_dim)
            }

            unsafe fn attend(&self, a: &Attention, scratch: &mut [f32]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(a: &Attention, scratch: &mut [f32]) {
                    // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                    unsafe { attention::attend::<$vector, false>(a, scratch) }
                }
                // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                unsafe { run(a, scratch) }
            }

            unsafe fn attend_rounded(&self, a: &Attention, scratch: &mut [f32]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(a: &Attention, scratch: &mut [f32]) {
                    // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                    unsafe { attention::attend::<$vector, { <$vector as crate::kernels::vector::Vector>::FAST_PAIRS }>(a, scratch) }
                }
                // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                unsafe { run(a, scratch) }
            }

            fn paged_scratch(&self, head_dim: usize) -> usize {
                paged::scratch(head_dim)
            }

            unsafe fn attend_pages(&self, a: &PagedAttention, scratch: &mut [f32]) {
                $(#[target_feature(enable = $features)])?
                unsafe fn run(a: &PagedAttention, scratch: &mut [f32]) {
                    // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                    unsafe { paged::attend::<$vector>(a, scratch) }
                }
                // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                unsafe { run(a, scratch) }
            }
        }
    };
}
pub(super) use implement_kernel;
