//! Arrays of numbers that are owned or part of a mapped file. Packed weights can be either; kernels read both the same way.

use std::ops::Deref;
use std::sync::Arc;

use memmap2::Mmap;

/// Types for which any bytes are a valid value.
///
/// # Safety
/// Every bit pattern is a valid value, and the type has no interior mutability.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: every bit pattern of a number is valid, and it has no interior mutability.
unsafe impl Plain for i8 {}
// SAFETY: likewise.
unsafe impl Plain for i32 {}
// SAFETY: likewise.
unsafe impl Plain for f32 {}
// SAFETY: likewise.
unsafe impl Plain for half::f16 {}

/// Plain types whose value zero is all zero bytes.
pub trait Zero: Plain {
    const ZERO: Self;
}

/// A slice with its owner.
pub enum Store<T> {
    Owned(Vec<T>),
    Mapped(Mapped<T>),
}

/// A part of a mapped file or of shared memory, which stays mapped while this lives.
pub struct Mapped<T> {
    data: *const T,
    count: usize,
    _map: Arc<dyn Send + Sync>,
}

// SAFETY: the memory is only read, through references.
unsafe impl<T: Plain> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Mapped<T> {}

impl<T: Plain> Store<T> {
    /// `count` values at byte `offset` of a mapped file; None if they are out of bounds or misaligned.
    pub fn mapped(map: &Arc<Mmap>, offset: usize, count: usize) -> Option<Self> {
        let bytes = map.get(offset..offset.checked_add(count.checked_mul(size_of::<T>())?)?)?;
        let data = bytes.as_ptr().cast::<T>();
        data.is_aligned().then(|| Self::Mapped(Mapped { data, count, _map: map.clone() }))
    }

    /// `count` zeroed values, aligned to a cache line, for `fill` to write. Weights are read completely in every step, so they are
    /// placed together in huge pages where the system has them.
    pub fn filled(count: usize, fill: impl FnOnce(&mut [T])) -> Self
    where
        T: Zero,
    {
        let bytes = count * size_of::<T>();
        if let Some((data, map)) = huge::take(bytes) {
            let data = data.cast::<T>();
            // SAFETY: `take` returned `bytes` zeroed, aligned bytes that nothing else refers to.
            fill(unsafe { std::slice::from_raw_parts_mut(data, count) });
            return Self::Mapped(Mapped { data, count, _map: map });
        }
        let mut values = vec![T::ZERO; count];
        fill(&mut values);
        Self::Owned(values)
    }
}

impl<T> Deref for Store<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            // SAFETY: `mapped` and `filled` checked bounds and alignment, the types are plain, and the map is kept alive. Whoever
            // opened a file promised that it does not change meanwhile.
            Self::Mapped(part) => unsafe { std::slice::from_raw_parts(part.data, part.count) },
        }
    }
}

impl<T> From<Vec<T>> for Store<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

/// The bytes of plain values, in memory order.
pub fn bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: plain values have no padding between them, and bytes have no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Parts of large anonymous mappings, so that small matrices are in huge pages too. A mapping is freed with its last part. Until
/// then free space at its end is reused, so that repeated loads beside a living model do not grow memory.
#[cfg(target_os = "linux")]
mod huge {
    use std::sync::{Arc, Weak};

    use memmap2::{Advice, MmapMut, MmapRaw};

    use crate::base::fork::Lock;

    /// Bytes per mapping. Only pages that are written take memory.
    const PIECE: usize = 64 << 20;
    const HUGE_PAGE: usize = 2 << 20;
    const LINE: usize = 64;

    /// The current mapping. Its parts keep it alive; this reference does not.
    struct Current {
        piece: Weak<MmapRaw>,
        /// The offset of the first part.
        first: usize,
        /// The ends of the parts that are in use.
        ends: Vec<usize>,
        /// Bytes up to here may have been written.
        written: usize,
    }

    static CURRENT: Lock<Current> = Lock::new(Current { piece: Weak::new(), first: 0, ends: Vec::new(), written: 0 });

    impl Current {
        /// Where the next part begins.
        fn free(&self) -> usize {
            self.ends.iter().max().map_or(self.first, |end| end.next_multiple_of(LINE))
        }
    }

    /// A part of a mapping.
    struct Part {
        piece: Arc<MmapRaw>,
        end: usize,
    }

    impl Drop for Part {
        fn drop(&mut self) {
            let mut current = CURRENT.lock();
            if std::ptr::eq(current.piece.as_ptr(), Arc::as_ptr(&self.piece)) {
                let place = current.ends.iter().position(|&end| end == self.end);
                place.map(|place| current.ends.swap_remove(place));
            }
        }
    }

    fn map(bytes: usize) -> Option<MmapRaw> {
        let memory = MmapMut::map_anon(bytes).ok()?;
        // A system without huge pages is only slower.
        let _ = memory.advise(Advice::HugePage);
        Some(memory.into())
    }

    /// `bytes` of zeroed memory, aligned to a cache line, and its owner; None if mapping failed or is not worth it.
    pub fn take(bytes: usize) -> Option<(*mut u8, Arc<dyn Send + Sync>)> {
        if bytes < LINE {
            return None;
        }
        if bytes > PIECE / 2 {
            let memory = Arc::new(map(bytes)?);
            return Some((memory.as_mut_ptr(), memory));
        }
        let mut current = CURRENT.lock();
        let piece = current.piece.upgrade().filter(|_| current.free() + bytes <= PIECE);
        let piece = match piece {
            Some(piece) => piece,
            None => {
                let piece = Arc::new(map(PIECE)?);
                // Huge pages begin at multiples of their size; the bytes before the first are never touched.
                let first = piece.as_mut_ptr().align_offset(HUGE_PAGE).min(PIECE / 4);
                *current = Current { piece: Arc::downgrade(&piece), first, ends: Vec::new(), written: first };
                piece
            }
        };
        let offset = current.free();
        let end = offset + bytes;
        // SAFETY: a new piece has room for half its size after the first huge page; for an old one the room was checked.
        let data = unsafe { piece.as_mut_ptr().add(offset) };
        let written = current.written.clamp(offset, end) - offset;
        // SAFETY: these bytes are within the part, which nothing else refers to any more.
        unsafe { data.write_bytes(0, written) };
        current.written = current.written.max(end);
        current.ends.push(end);
        Some((data, Arc::new(Part { piece, end })))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_was_freed_at_the_end_is_used_again() {
            // Other tests of this process take parts, too; then the rounds do not all find the same place.
            let stays = take(1000).unwrap();
            let mut places = std::collections::HashSet::new();
            for _ in 0..1000 {
                let parts: Vec<_> = (0..10).filter_map(|_| take(10_000)).collect();
                places.extend(parts.iter().map(|(data, _)| data.addr()));
                for (data, _) in &parts {
                    // SAFETY: only this test refers to the part, which has so many bytes.
                    let part = unsafe { std::slice::from_raw_parts_mut(*data, 10_000) };
                    assert!(part.iter().all(|&byte| byte == 0));
                    part.fill(1);
                }
            }
            // All different would be 10,000.
            assert!(places.len() < 5000, "{} places", places.len());
            drop(stays);
        }

        #[test]
        fn parts_are_zeroed_and_disjoint() {
            let parts: Vec<_> = [100, 64, 1 << 20, 40 << 20, 3].iter().filter_map(|&n| Some((take(n)?, n))).collect();
            assert_eq!(parts.len(), 4);
            for (i, ((data, _), bytes)) in parts.iter().enumerate() {
                assert!(data.is_aligned() && data.addr() % LINE == 0);
                // SAFETY: only this test refers to the part, which has `bytes` bytes.
                let part = unsafe { std::slice::from_raw_parts_mut(*data, *bytes) };
                assert!(part.iter().all(|&byte| byte == 0), "part {i}");
                part.fill(i as u8 + 1);
            }
            for (i, ((data, _), bytes)) in parts.iter().enumerate() {
                // SAFETY: as above.
                let part = unsafe { std::slice::from_raw_parts(*data, *bytes) };
                assert!(part.iter().all(|&byte| byte == i as u8 + 1), "part {i}");
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod huge {
    use std::sync::Arc;

    pub fn take(_bytes: usize) -> Option<(*mut u8, Arc<dyn Send + Sync>)> {
        None
    }
}
