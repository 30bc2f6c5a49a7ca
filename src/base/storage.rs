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

/// Plain types of which all bytes zero is the value zero.
pub trait Zero: Plain {
    const ZERO: Self;
}

/// A slice that somebody owns.
pub enum Store<T> {
    Owned(Vec<T>),
    Mapped(Mapped<T>),
}

/// A part of a mapped file, or of memory that several share, which stays there for as long as this lives.
pub struct Mapped<T> {
    data: *const T,
    count: usize,
    _map: Arc<dyn Send + Sync>,
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

    /// `count` values that `fill` writes, zero when it is handed them, aligned to a cache line. Weights are read from end to end in
    /// every step, so where the system offers huge pages they lie in those, together.
    pub fn filled(count: usize, fill: impl FnOnce(&mut [T])) -> Self
    where
        T: Zero,
    {
        let bytes = count * size_of::<T>();
        if let Some((data, map)) = huge::take(bytes) {
            let data = data.cast::<T>();
            // SAFETY: the part is that long, aligned, zeroed, and nobody else's.
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
            // SAFETY: `mapped` and `filled` made sure of bounds and alignment, for plain types, and the map is held; that nobody
            // changes a file meanwhile is the contract of whoever opened it.
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

/// Anonymous memory in large pieces, of which users take parts, so that small matrices lie in huge pages too. A piece is given back
/// when its last user is gone.
#[cfg(target_os = "linux")]
mod huge {
    use std::sync::{Arc, Mutex, PoisonError, Weak};

    use memmap2::{Advice, MmapMut, MmapRaw};

    /// Bytes of a piece. Only what is written takes memory.
    const PIECE: usize = 64 << 20;
    const HUGE_PAGE: usize = 2 << 20;
    const LINE: usize = 64;

    /// The piece that parts are taken from, and how much of it is taken. Users keep it; this does not.
    static PIECES: Mutex<(Weak<MmapRaw>, usize)> = Mutex::new((Weak::new(), 0));

    fn map(bytes: usize) -> Option<MmapRaw> {
        let memory = MmapMut::map_anon(bytes).ok()?;
        // A system that has no huge pages is as good, only slower.
        let _ = memory.advise(Advice::HugePage);
        Some(memory.into())
    }

    /// `bytes` of zeroed memory at a cache line's beginning, and what holds it; None if there is none or it would not pay.
    pub fn take(bytes: usize) -> Option<(*mut u8, Arc<dyn Send + Sync>)> {
        if bytes < LINE {
            return None;
        }
        if bytes > PIECE / 2 {
            let memory = Arc::new(map(bytes)?);
            return Some((memory.as_mut_ptr(), memory));
        }
        let mut current = PIECES.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = current.0.upgrade().filter(|_| current.1 + bytes <= PIECE);
        let piece = match piece {
            Some(piece) => piece,
            None => {
                let piece = Arc::new(map(PIECE)?);
                // Huge pages begin at multiples of their size; what lies before the first is never touched.
                let first = piece.as_mut_ptr().align_offset(HUGE_PAGE).min(PIECE / 4);
                *current = (Arc::downgrade(&piece), first);
                piece
            }
        };
        let offset = current.1;
        current.1 = (offset + bytes).next_multiple_of(LINE);
        // SAFETY: a new piece has room for half its size behind the first huge page, an old one was asked.
        Some((unsafe { piece.as_mut_ptr().add(offset) }, piece))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn parts_are_zero_and_apart() {
            let parts: Vec<_> = [100, 64, 1 << 20, 40 << 20, 3].iter().filter_map(|&n| Some((take(n)?, n))).collect();
            assert_eq!(parts.len(), 4);
            for (i, ((data, _), bytes)) in parts.iter().enumerate() {
                assert!(data.is_aligned() && data.addr() % LINE == 0);
                // SAFETY: the part is this test's.
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
