//! Mutations of a file, for property tests. This module uses nothing else of the crate, so that a test in `tests/` can include
//! it with `#[path = "../src/formats/mutation.rs"] mod mutation;`.

use proptest::prelude::*;

/// One change to a file. Positions are taken modulo the length, so that every mutation applies to every file.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// Keep this many bytes.
    Truncate(u64),
    /// Flip one bit.
    Flip(u64, u8),
    /// Overwrite bytes.
    Overwrite(u64, Vec<u8>),
    /// Insert bytes.
    Insert(u64, Vec<u8>),
    /// Remove this many bytes.
    Remove(u64, u8),
    /// Replace the first eight bytes, the header length of a safetensors file.
    Announce(u64),
}

impl Mutation {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len() as u64;
        let at = |position: u64| (position % length.max(1)) as usize;
        match self {
            Mutation::Truncate(keep) => bytes.truncate(at(*keep)),
            Mutation::Flip(position, bit) => {
                if let Some(byte) = bytes.get_mut(at(*position)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Mutation::Overwrite(position, new) => {
                for (old, new) in bytes.iter_mut().skip(at(*position)).zip(new) {
                    *old = *new;
                }
            }
            Mutation::Insert(position, new) => {
                let position = at(*position);
                bytes.splice(position..position, new.iter().copied());
            }
            Mutation::Remove(position, count) => {
                let begin = at(*position);
                bytes.drain(begin..bytes.len().min(begin + usize::from(*count)));
            }
            Mutation::Announce(number) => {
                for (old, new) in bytes.iter_mut().zip(number.to_le_bytes()) {
                    *old = new;
                }
            }
        }
    }
}

/// Any mutation. Two out of three are in the first 400 bytes, where headers and settings are.
pub fn mutation() -> impl Strategy<Value = Mutation> {
    let position = prop_oneof![2 => 0..400u64, 1 => any::<u64>()];
    // Half of the bytes are JSON's own characters: random bytes rarely get past the parser.
    let json = prop::sample::select(b"{}[],:\"0123456789-eE. \\FBI".as_slice());
    let byte = prop_oneof![json, any::<u8>()];
    let bytes = prop::collection::vec(byte, 1..12);
    let length =
        prop_oneof![0..600u64, Just(u64::MAX), Just(1 << 63), Just(100_000_000), Just(100_000_001), any::<u64>()];
    prop_oneof![
        position.clone().prop_map(Mutation::Truncate),
        (position.clone(), any::<u8>()).prop_map(|(p, b)| Mutation::Flip(p, b)),
        (position.clone(), bytes.clone()).prop_map(|(p, b)| Mutation::Overwrite(p, b)),
        (position.clone(), bytes).prop_map(|(p, b)| Mutation::Insert(p, b)),
        (position, any::<u8>()).prop_map(|(p, n)| Mutation::Remove(p, n)),
        length.prop_map(Mutation::Announce),
    ]
}
