//! What goes into linear layers while texts run: samples from which `kinglet quantize` chooses factors of the inputs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::kernels::weight::Weight;

/// Rows that are kept of each layer.
pub const SAMPLE_ROWS: usize = 256;

/// The inputs of one layer.
#[derive(Default)]
pub struct Observed {
    /// The rows with the smallest hashes: a sample of different rows that does not depend on their order, which threads change.
    rows: BTreeMap<u64, Vec<f32>>,
    /// The largest magnitude of each input in all rows.
    pub largest: Vec<f32>,
}

impl Observed {
    fn add(&mut self, row: &[f32]) {
        self.largest.resize(row.len(), 0.0);
        self.largest.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(x.abs()));
        let hash = hash(row);
        let last = self.rows.last_key_value().map(|(hash, _)| *hash);
        if self.rows.len() < SAMPLE_ROWS || last.is_some_and(|last| hash < last) {
            self.rows.entry(hash).or_insert_with(|| row.to_vec());
            if self.rows.len() > SAMPLE_ROWS {
                self.rows.pop_last();
            }
        }
    }

    /// The sampled rows, one after the other.
    pub fn rows(&self) -> Vec<f32> {
        self.rows.values().flatten().copied().collect()
    }
}

/// FNV-1a over the words of a row, mixed at the end (Fowler, Noll, Vo; the mix is SplitMix64's).
fn hash(row: &[f32]) -> u64 {
    let folded = row
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, x| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3));
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// Collects the inputs of the layers that were registered.
#[derive(Default)]
pub struct Observer {
    layers: Mutex<Layers>,
}

#[derive(Default)]
struct Layers {
    /// The name of each layer, by the address of its packed weights.
    names: HashMap<usize, String>,
    observed: BTreeMap<String, Observed>,
}

fn address(weight: &Weight) -> usize {
    weight.bytes().as_ptr().addr()
}

impl Observer {
    /// Observes a layer under its name.
    pub(super) fn register(&self, name: &str, weight: &Weight) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.names.insert(address(weight), name.to_owned());
    }

    /// Adds one row of a layer's inputs. Rows with numbers that are not finite are left out.
    pub(super) fn record(&self, weight: &Weight, row: &[f32]) {
        if !row.iter().all(|x| x.is_finite()) {
            return;
        }
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = layers.names.get(&address(weight)).cloned() {
            layers.observed.entry(name).or_default().add(row);
        }
    }

    /// What was seen, by the layers' names.
    pub fn take(&self) -> BTreeMap<String, Observed> {
        std::mem::take(&mut self.layers.lock().unwrap_or_else(PoisonError::into_inner).observed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_does_not_depend_on_the_order() {
        let row = |i: usize| -> Vec<f32> { (0..5).map(|j| ((i * 7 + j) % 1000) as f32 - 300.0).collect() };
        let (mut forwards, mut backwards) = (Observed::default(), Observed::default());
        (0..2000).for_each(|i| forwards.add(&row(i)));
        (0..2000).rev().for_each(|i| backwards.add(&row(i)));
        assert_eq!(forwards.rows(), backwards.rows());
        assert_eq!(forwards.rows().len(), 5 * SAMPLE_ROWS);
        assert_eq!(forwards.largest, [699.0; 5]);
        // Rows that are equal count once.
        let mut few = Observed::default();
        (0..10).for_each(|_| few.add(&row(3)));
        assert_eq!(few.rows(), row(3));
    }
}
