//! Reused memory for activations: after the first call of a size nothing is allocated.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::base::fork::Lock;
use crate::base::memory::grow;

/// One cache line, so that buffers are aligned for the widest vectors.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

const ZERO: Line = Line([0.0; 16]);

/// A pool of free buffers, shared by clones.
#[derive(Clone, Default)]
pub struct Scratch(Arc<Lock<Vec<Vec<Line>>>>);

/// The maximum number of free buffers; more are from a burst of concurrent calls.
const KEPT: usize = 64;

impl Scratch {
    /// A buffer of `len` floats with arbitrary contents.
    pub fn take(&self, len: usize) -> Buffer {
        let lines = len.div_ceil(16);
        let mut idle = self.0.lock();
        // The smallest that is large enough, else the largest, to grow.
        let fits = (0..idle.len()).filter(|&i| idle[i].len() >= lines).min_by_key(|&i| idle[i].len());
        let chosen = fits.or_else(|| (0..idle.len()).max_by_key(|&i| idle[i].len()));
        let mut memory = chosen.map(|i| idle.swap_remove(i)).unwrap_or_default();
        drop(idle);
        if memory.len() < lines {
            // Freed before the larger one is allocated, so that both never exist at once.
            memory = Vec::new();
            grow(&mut memory, lines, "the activations");
            memory.resize(lines, ZERO);
        }
        Buffer { memory, len, home: self.clone() }
    }

    /// An empty list of at most `capacity` items.
    pub fn list<T: Copy>(&self, capacity: usize) -> List<T> {
        const { assert!(align_of::<T>() <= align_of::<Line>()) };
        let floats = (capacity * size_of::<T>()).div_ceil(size_of::<f32>());
        List { buffer: self.take(floats), len: 0, capacity, element: PhantomData }
    }

    /// A list of `count` items.
    pub fn filled<T: Copy>(&self, count: usize, item: T) -> List<T> {
        let mut list = self.list(count);
        (0..count).for_each(|_| list.push(item));
        list
    }

    /// The size of free buffers in bytes.
    #[cfg(test)]
    fn idle_bytes(&self) -> usize {
        let idle = self.0.lock();
        idle.iter().map(|memory| memory.len() * size_of::<Line>()).sum()
    }
}

/// A list of fixed capacity in scratch memory.
pub struct List<T> {
    buffer: Buffer,
    len: usize,
    capacity: usize,
    element: PhantomData<T>,
}

impl<T: Copy> List<T> {
    pub fn push(&mut self, item: T) {
        assert!(self.len < self.capacity, "a list beyond its size");
        // SAFETY: the buffer has space for `capacity` items and is aligned for them.
        unsafe { self.buffer.floats_mut().as_mut_ptr().cast::<T>().add(self.len).write(item) };
        self.len += 1;
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` items were pushed.
        unsafe { std::slice::from_raw_parts(self.buffer.floats().as_ptr().cast::<T>(), self.len) }
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `len` items were pushed; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.floats_mut().as_mut_ptr().cast::<T>(), self.len) }
    }
}

/// A buffer that returns to the pool when dropped.
pub struct Buffer {
    memory: Vec<Line>,
    len: usize,
    home: Scratch,
}

impl Buffer {
    pub fn floats(&self) -> &[f32] {
        // SAFETY: a Line is 16 floats without padding, and `take` allocated lines for `len` floats.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.len) }
    }

    pub fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `floats`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let mut idle = self.home.0.lock();
        if idle.len() < KEPT && !memory.is_empty() {
            idle.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_used_again() {
        let scratch = Scratch::default();
        let first = scratch.take(100).floats().as_ptr();
        let second = scratch.take(90);
        assert_eq!(second.floats().as_ptr(), first);
        assert_eq!(second.floats().len(), 90);
        assert_eq!(first as usize % 64, 0);
        let third = scratch.take(100);
        assert_ne!(third.floats().as_ptr(), first);
        drop((second, third));
        assert_eq!(scratch.idle_bytes(), 2 * 7 * 64);
        assert_eq!(scratch.take(1000).floats().len(), 1000);
    }
}
