//! The answer cache: an LRU cache of finished generations. The key is the input with all settings. Sampling without a seed is not
//! cached.

use std::collections::{BTreeMap, HashMap};

use super::search::Output;
use super::settings::Settings;
use crate::base::fork::Lock;

/// The input's tokens, those that the decoder continues, and every setting. The model is not part of it: each model has its own cache.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<[u8]>);

impl Key {
    /// None for a generation that must not be cached.
    pub(crate) fn new(input: &[u32], decoder_input: &[u32], settings: &Settings) -> Option<Self> {
        if settings.sampling.as_ref().is_some_and(|sampling| sampling.seed.is_none()) {
            return None;
        }
        // The Debug text has every field, and floats with all digits.
        let mut key = format!("{settings:?}").into_bytes();
        key.push(0);
        key.extend_from_slice(&input.len().to_le_bytes());
        input.iter().chain(decoder_input).for_each(|id| key.extend_from_slice(&id.to_le_bytes()));
        Some(Self(key.into_boxed_slice()))
    }
}

/// Finished generations, up to a size in bytes.
pub struct AnswerCache {
    limit: usize,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Keys by the time of their last use.
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
}

struct Entry {
    outputs: Vec<Output>,
    used: u64,
    bytes: usize,
}

/// The size of an entry in bytes: two copies of its key, its outputs, and an estimate for the tables.
fn size(key: &Key, outputs: &[Output]) -> usize {
    let texts: usize = outputs.iter().map(|o| o.text.len() + 4 * (o.tokens.len() + o.logprobs.len())).sum();
    2 * key.0.len() + texts + size_of_val(outputs) + 200
}

impl AnswerCache {
    /// `limit` is in bytes; 0 turns the cache off.
    pub fn new(limit: usize) -> Self {
        Self { limit, state: Lock::default() }
    }

    pub fn is_on(&self) -> bool {
        self.limit > 0
    }

    pub fn get(&self, key: &Key) -> Option<Vec<Output>> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let entry = state.entries.get_mut(key)?;
        state.clock += 1;
        state.order.remove(&entry.used);
        entry.used = state.clock;
        state.order.insert(state.clock, key.clone());
        Some(entry.outputs.clone())
    }

    pub fn put(&self, key: Key, outputs: &[Output]) {
        let bytes = size(&key, outputs);
        if bytes > self.limit {
            return;
        }
        let mut state = self.state.lock();
        let state = &mut *state;
        state.remove(&key);
        while state.bytes + bytes > self.limit {
            let Some((_, oldest)) = state.order.pop_first() else { break };
            state.remove(&oldest);
        }
        state.clock += 1;
        state.bytes += bytes;
        state.order.insert(state.clock, key.clone());
        state.entries.insert(key, Entry { outputs: outputs.to_vec(), used: state.clock, bytes });
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

impl State {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::defaults::Defaults;
    use crate::generate::options::GenerateOptions;
    use crate::generate::search::FinishReason;

    fn key(input: &[u32], options: GenerateOptions) -> Option<Key> {
        Key::new(input, &[], &options.settle(&Defaults::default(), 100).unwrap())
    }

    fn output(text: &str) -> Vec<Output> {
        let (tokens, logprobs) = (vec![1, 2], Vec::new());
        vec![Output {
            text: text.into(),
            tokens,
            logprobs,
            score: 0.0,
            finish_reason: FinishReason::Eos,
            message: None,
        }]
    }

    #[test]
    fn keys_tell_inputs_and_options_apart() {
        let o = GenerateOptions::default;
        let plain = key(&[1, 2], o());
        assert!(plain == key(&[1, 2], o()) && plain != key(&[1, 3], o()) && plain != key(&[1], o()));
        assert!(plain != key(&[1, 2], GenerateOptions { num_beams: Some(2), ..o() }));
        assert!(plain != key(&[1, 2], GenerateOptions { repetition_penalty: Some(1.0000001), ..o() }));
        assert!(key(&[1], GenerateOptions { do_sample: Some(true), ..o() }).is_none());
        let seeded = |seed| key(&[1], GenerateOptions { do_sample: Some(true), seed: Some(seed), ..o() });
        assert!(seeded(1) == seeded(1) && seeded(1) != seeded(2));
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let keys: Vec<Key> = (0..3).map(|i| key(&[i], GenerateOptions::default()).unwrap()).collect();
        let each = size(&keys[0], &output("a"));
        let answers = AnswerCache::new(2 * each);
        answers.put(keys[0].clone(), &output("a"));
        answers.put(keys[1].clone(), &output("b"));
        assert_eq!(answers.get(&keys[0]), Some(output("a")));
        answers.put(keys[2].clone(), &output("c"));
        assert_eq!(answers.get(&keys[1]), None);
        assert_eq!((answers.get(&keys[0]), answers.get(&keys[2])), (Some(output("a")), Some(output("c"))));
        assert_eq!(answers.bytes(), 2 * each);
        answers.put(keys[2].clone(), &output(&"d".repeat(3 * each)));
        assert_eq!(answers.get(&keys[2]), Some(output("c")));
    }
}
