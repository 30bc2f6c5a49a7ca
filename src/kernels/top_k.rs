//! The largest values of a row and their places.

use super::BLOCK;
use super::vector::Vector;

/// A value and its place. In a list of the largest the first is the largest, of equals the one with the lower place; places that are
/// still free hold -∞.
pub type Placed = (f32, u32);

/// A free place of a list.
pub const FREE: Placed = (f32::NEG_INFINITY, 0);

/// Puts a value into a list of the largest, whose places are all lower, if it belongs there.
#[inline(always)]
pub fn keep_largest(list: &mut [Placed], (value, place): Placed) {
    let at = list.partition_point(|(other, _)| *other >= value);
    // Neither -∞ nor NaN is above a free place.
    if value > f32::NEG_INFINITY && at < list.len() {
        list[at..].rotate_right(1);
        list[at] = (value, place);
    }
}

/// Values that are compared at once.
const GROUP: usize = 4 * BLOCK;

/// Adds the values of `x`, the first of which has the place `first`, to a list of the largest, all of whose places are lower.
///
/// Each lane of a group has a largest value; as many values as the list is long are at least as large as that largest of these which
/// has this number, so smaller ones need no look.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn top_k<V: Vector>(x: &[f32], first: u32, list: &mut [Placed]) {
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
