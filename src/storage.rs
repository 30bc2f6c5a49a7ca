//! Numbers that are owned or lie in a mapped file: packed weights can be either, and kernels read both the same way.

use std::ops::Deref;
use std::sync::Arc;

use memmap2::Mmap;

/// Types of which any bytes are a value.
///
/// # Safety
/// Every bit pattern is a valid value, and the type has no interior mutability.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: numbers.
unsafe impl Plain for i8 {}
// SAFETY: likewise.
unsafe impl Plain for i32 {}
// SAFETY: likewise.
unsafe impl Plain for f32 {}
// SAFETY: likewise.
unsafe impl Plain for half::f16 {}

/// A slice that somebody owns.
pub enum Store<T> {
    Owned(Vec<T>),
    Mapped(Mapped<T>),
}

/// A part of a mapped file, which stays mapped for as long as this lives.
pub struct Mapped<T> {
    data: *const T,
    count: usize,
    _map: Arc<Mmap>,
}

// SAFETY: the memory is only read, by whoever holds a reference.
unsafe impl<T: Plain> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Mapped<T> {}

impl<T: Plain> Store<T> {
    /// `count` values at `offset` of a mapped file; None if they do not lie within it, or not aligned.
    pub fn mapped(map: &Arc<Mmap>, offset: usize, count: usize) -> Option<Self> {
        let bytes = map.get(offset..offset.checked_add(count.checked_mul(size_of::<T>())?)?)?;
        let data = bytes.as_ptr().cast::<T>();
        data.is_aligned().then(|| Self::Mapped(Mapped { data, count, _map: map.clone() }))
    }
}

impl<T> Deref for Store<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            // SAFETY: `mapped` checked bounds and alignment, and the map is held; that nobody changes the file meanwhile is the
            // contract of whoever opened it. Only `mapped` makes this variant, for plain types.
            Self::Mapped(part) => unsafe { std::slice::from_raw_parts(part.data, part.count) },
        }
    }
}

impl<T> From<Vec<T>> for Store<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

/// The bytes of plain values, as they lie in memory.
pub fn bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: plain values have no padding between them, and bytes have no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
