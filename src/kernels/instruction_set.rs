//! The trait of an instruction set, and its implementation of the [`Kernel`](super::Kernel) trait.

use super::linear::{ByteProduct, PairProduct, Plan};
use super::vector::Vector;
use super::weight::{Weight, WeightFormat};
use super::{Attention, Input, attention};

/// A type whose existence proves that the machine has the instructions of its lanes.
///
/// An instruction set with tiles or matrix units overrides the two products of rounded numbers, independently of the weight formats that
/// use them.
pub(super) trait InstructionSet: Sized {
    type Lanes: Vector;
    /// [`Kernel::has_tiles`](super::Kernel::has_tiles).
    const TILES: bool = false;

    /// Bytes times bytes.
    ///
    /// # Safety
    /// The machine has the instructions; the operands hold all rows and blocks of the plan, whose output is valid for them.
    #[inline(always)]
    unsafe fn bytes(product: &ByteProduct, plan: &Plan) {
        // SAFETY: the caller's promise.
        unsafe { plan.run::<Self::Lanes, _>(product, Self::Lanes::BYTE_ROWS, product.inputs) }
    }

    /// bf16 times bf16.
    ///
    /// # Safety
    /// As `bytes`.
    #[inline(always)]
    unsafe fn pairs(product: &PairProduct, plan: &Plan) {
        // SAFETY: the caller's promise.
        unsafe { plan.run::<Self::Lanes, _>(product, Self::Lanes::PAIR_ROWS, 2 * product.inputs) }
    }

    /// Floats of scratch that attention needs.
    #[inline(always)]
    fn scratch(a: &Attention) -> usize {
        attention::scratch(a)
    }

    /// Attention of operands that are rounded.
    ///
    /// # Safety
    /// That of `Kernel::attend_rounded`, and the machine has the instructions.
    #[inline(always)]
    unsafe fn rounded_attention(a: &Attention, scratch: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe { attention::attend_rounded::<Self::Lanes>(a, scratch) }
    }
}

/// The product of every weight format, each in a separate function that is compiled with the instruction set.
pub(super) trait Multiply: InstructionSet {
    /// # Safety
    /// As [`WeightFormat::multiply`].
    unsafe fn multiply<F: WeightFormat>(a: Input, w: &Weight, plan: &Plan);
}

/// Methods of `Kernel` that call a function compiled with the features, in which an algorithm is instantiated.
macro_rules! methods {
    ($features:tt; $(fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $path:path;)+) => {
        $(methods! { @one $features [] $name [$($arg: $type),*] [$(-> $out)?] $path })+
    };
    ($features:tt; $(unsafe fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $path:path;)+) => {
        $(methods! { @one $features [unsafe] $name [$($arg: $type),*] [$(-> $out)?] $path })+
    };
    (@one [$($features:literal)?] [$($unsafe:tt)?] $name:ident [$($arg:ident: $type:ty),*] [$($out:tt)*] $path:path) => {
        $($unsafe)? fn $name(&self, $($arg: $type),*) $($out)* {
            $(#[target_feature(enable = $features)])?
            unsafe fn run($($arg: $type),*) $($out)* {
                // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                unsafe { $path($($arg),*) }
            }
            // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
            unsafe { run($($arg),*) }
        }
    };
}
pub(super) use methods;

/// Implements `Kernel` for an instruction set: the results of `Kernel::name` and `Kernel::isa`, the target features, and the lanes unless
/// the type implements `InstructionSet` itself.
macro_rules! implement_kernel {
    ($kernel:ty: $lanes:ty, $($rest:tt)+) => {
        impl $crate::kernels::instruction_set::InstructionSet for $kernel {
            type Lanes = $lanes;
        }

        implement_kernel!($kernel, $($rest)+);
    };
    ($kernel:ty, $name:literal, $isa:literal $(, $features:literal)?) => {
        const _: () = {
            use std::ops::Range;

            use half::{bf16, f16};

            use $crate::kernels::instruction_set::{InstructionSet, Multiply, methods};
            use $crate::kernels::linear::Plan;
            use $crate::kernels::weight::{Weight, WeightFormat};
            use $crate::kernels::{activation, arg_max, attention, embedding, hadamard, norm, paged, quantize, round, similarity, top_k};
            use $crate::kernels::{Activation, Attention, Epilogue, ExpSum, Input, Kernel, Out, PagedAttention, TopKEntry, RowScale, GroupScale};

            type This = $kernel;
            type Lanes = <$kernel as InstructionSet>::Lanes;

            impl Multiply for $kernel {
                unsafe fn multiply<F: WeightFormat>(a: Input, w: &Weight, plan: &Plan) {
                    $(#[target_feature(enable = $features)])?
                    unsafe fn run<F: WeightFormat>(a: Input, w: &Weight, plan: &Plan) {
                        // SAFETY: this function's features are the vector's; the rest is the caller's promise.
                        unsafe { F::multiply::<$kernel>(a, w, plan) }
                    }
                    // SAFETY: the caller's promise.
                    unsafe { run::<F>(a, w, plan) }
                }
            }

            impl Kernel for $kernel {
                fn name(&self) -> &'static str {
                    $name
                }

                fn isa(&self) -> &'static str {
                    $isa
                }

                fn has_tiles(&self) -> bool {
                    This::TILES
                }

                fn attention_scratch(&self, a: &Attention) -> usize {
                    This::scratch(a)
                }

                unsafe fn linear(&self, a: Input, w: &Weight, blocks: Range<usize>, out: Out, e: &Epilogue) {
                    // SAFETY: `self` proves that the machine has the features; the rest is the caller's promise.
                    unsafe { w.multiply::<$kernel>(a, blocks, out, e) }
                }

                methods! { [$($features)?];
                    fn quantize_row(x: &[f32], out: &mut [u8]) -> RowScale = quantize::quantize_row::<Lanes>;
                    fn quantize_groups(x: &[f32], out: &mut [u8], scales: &mut [GroupScale]) = quantize::quantize_groups::<Lanes>;
                    fn round_row(x: &[f32], out: &mut [bf16]) = round::round_row::<Lanes>;
                    fn narrow(x: &[f32], out: &mut [f16]) = round::narrow::<Lanes>;
                    fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) = norm::layer_norm::<Lanes>;
                    fn rms_norm(x: &mut [f32], weight: &[f32], eps: f32) = norm::rms_norm::<Lanes>;
                    fn gate(gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]) = activation::gate::<Lanes>;
                    fn exp_sum(x: &[f32]) -> ExpSum = activation::exp_sum::<Lanes>;
                    fn arg_max(x: &[f32]) -> Option<(usize, f32)> = arg_max::arg_max::<Lanes>;
                    fn top_k(x: &[f32], first: u32, list: &mut [TopKEntry]) = top_k::top_k::<Lanes>;
                    fn dots_f32(query: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) = similarity::dots::<Lanes, f32>;
                    fn dots_f16(query: &[f32], rows: &[f16], stride: usize, out: &mut [f32]) = similarity::dots::<Lanes, f16>;
                    fn dots_i8(query: &[i8], rows: &[i8], stride: usize, out: &mut [i32]) = similarity::dots_i8::<Lanes>;
                    fn dots_u8(query: &[u8], rows: &[u8], stride: usize, out: &mut [i32]) = similarity::dots_u8::<Lanes>;
                    fn hamming(query: &[u8], rows: &[u8], stride: usize, out: &mut [i32]) = similarity::hamming;
                    fn hadamard(x: &mut [f32], block: usize) = hadamard::hadamard::<Lanes>;
                    fn multiply(x: &[f32], y: &[f32], out: &mut [f32]) = embedding::multiply::<Lanes>;
                    fn add_f32(x: &mut [f32], y: &[f32]) = embedding::add_f32::<Lanes>;
                    fn add_f16(x: &mut [f32], y: &[f16]) = embedding::add_f16::<Lanes>;
                    fn add_i8(x: &mut [f32], y: &[i8], scale: f32) = embedding::add_i8::<Lanes>;
                }

                methods! { [$($features)?];
                    unsafe fn attend(a: &Attention, scratch: &mut [f32]) = attention::attend::<Lanes>;
                    unsafe fn attend_rounded(a: &Attention, scratch: &mut [f32]) = This::rounded_attention;
                    unsafe fn attend_pages(a: &PagedAttention, scratch: &mut [f32]) = paged::attend::<Lanes>;
                }
            }
        };
    };
}
pub(super) use implement_kernel;
