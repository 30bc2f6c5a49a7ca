//! The largest values of a row and their indices.

use super::BLOCK;
use super::vector::Vector;

/// A value and its index. Lists of the largest are in descending order, equal values by ascending index; unused entries hold -∞.
pub type TopKEntry = (f32, u32);

/// An unused entry of a list.
pub const FREE: TopKEntry = (f32::NEG_INFINITY, 0);

/// Inserts a value into a list of the largest, if it is among them. All indices in the list are lower than the value's.
#[inline(always)]
pub fn keep_largest(list: &mut [TopKEntry], (value, place): TopKEntry) {
    let at = list.partition_point(|(other, _)| *other >= value);
    // Neither -∞ nor NaN is above an unused entry.
    if value > f32::NEG_INFINITY && at < list.len() {
        list[at..].rotate_right(1);
        list[at] = (value, place);
    }
}

/// Values that are compared at once.
const GROUP: usize = 4 * BLOCK;

/// Merges the values of `x` into a list of the largest. `first` is the index of `x[0]`; the list holds lower indices only.
///
/// For a list of k entries, the k-th largest of the 64 lane maxima is a lower bound of the k-th largest value; groups below it are
/// skipped.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn top_k<V: Vector>(x: &[f32], first: u32, list: &mut [TopKEntry]) {
    let Some(last) = list.len().checked_sub(1) else { return };
    let whole = x.len() / GROUP * GROUP;
    let mut largest = [f32::NEG_INFINITY; GROUP];
    // SAFETY: the machine has the instructions; reads stay within `x`.
    unsafe {
        let mut tops = [V::splat(f32::NEG_INFINITY); 4];
        for i in (0..whole).step_by(GROUP) {
            for (j, top) in tops.iter_mut().enumerate() {
                *top = V::load(x.as_ptr().add(i + j * BLOCK)).max(*top);
            }
        }
        for (j, top) in tops.iter().enumerate() {
            top.store(largest.as_mut_ptr().add(j * BLOCK));
        }
    }
    let bound = if last < GROUP { *largest.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1 } else { FREE.0 };
    for i in (0..whole).step_by(GROUP) {
        // SAFETY: as above.
        let top = unsafe {
            let p = x.as_ptr().add(i);
            let (a, b) = (V::load(p), V::load(p.add(BLOCK)));
            let (c, d) = (V::load(p.add(2 * BLOCK)), V::load(p.add(3 * BLOCK)));
            let nothing = V::splat(f32::NEG_INFINITY);
            a.max(b.max(c.max(d.max(nothing)))).largest()
        };
        if top >= bound && top > list[last].0 {
            for (j, &value) in x[i..i + GROUP].iter().enumerate() {
                if value >= bound {
                    keep_largest(list, (value, first + (i + j) as u32));
                }
            }
        }
    }
    for (j, &value) in x[whole..].iter().enumerate() {
        keep_largest(list, (value, first + (whole + j) as u32));
    }
}
