//! The index of a row's largest value.

use super::BLOCK;
use super::vector::Vector;

/// The largest value and its index, the lowest among equals; None if no value is above -∞. NaN is never the largest.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn arg_max<V: Vector>(x: &[f32]) -> Option<(usize, f32)> {
    let whole = x.len() / BLOCK * BLOCK;
    // SAFETY: the machine has the instructions; reads stay within `x`.
    let mut largest = unsafe {
        let mut top = V::splat(f32::NEG_INFINITY);
        for i in (0..whole).step_by(BLOCK) {
            top = V::load(x.as_ptr().add(i)).max(top);
        }
        top.largest()
    };
    for &value in &x[whole..] {
        largest = if value > largest { value } else { largest };
    }
    if largest == f32::NEG_INFINITY {
        return None;
    }
    x.iter().position(|&value| value == largest).map(|place| (place, largest))
}
