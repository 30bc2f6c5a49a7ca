//! The checksum of a `.kinglet` file.

/// A checksum of bytes handed over in pieces: four streams of multiply and rotate over 32 bytes at a time (the construction of
/// xxHash64, Collet 2014), the rest as if zeros followed.
pub struct Checksum {
    lanes: [u64; 4],
    held: [u8; 32],
    count: u64,
}

const ODD: [u64; 2] = [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f];

impl Checksum {
    pub fn new() -> Self {
        Self { lanes: [1, 2, 3, 4], held: [0; 32], count: 0 }
    }

    fn block(lanes: &mut [u64; 4], block: &[u8; 32]) {
        for (lane, bytes) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            let value = u64::from_le_bytes(*bytes);
            *lane = (*lane ^ value.wrapping_mul(ODD[1])).rotate_left(31).wrapping_mul(ODD[0]);
        }
    }

    pub fn add(&mut self, mut bytes: &[u8]) {
        let held = (self.count % 32) as usize;
        self.count += bytes.len() as u64;
        if held > 0 {
            let take = bytes.len().min(32 - held);
            self.held[held..held + take].copy_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if held + take < 32 {
                return;
            }
            Self::block(&mut self.lanes, &self.held);
        }
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            Self::block(&mut self.lanes, block);
        }
        self.held[..rest.len()].copy_from_slice(rest);
    }

    pub fn finish(mut self) -> u64 {
        let held = (self.count % 32) as usize;
        self.held[held..].fill(0);
        Self::block(&mut self.lanes, &self.held);
        let sum = self.lanes.iter().fold(self.count, |sum, lane| (sum ^ lane).rotate_left(27).wrapping_mul(ODD[0]));
        sum ^ (sum >> 32)
    }
}
