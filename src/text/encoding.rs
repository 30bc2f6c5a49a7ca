//! The packed result of tokenising a batch: the tokens of all texts, concatenated, and where each text starts.

use crate::base::error::{Error, Result};

/// Bytes `start..end` of the text that a token came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// The value of [`Encoding::sequences`] for tokens that are not from a text.
pub const NO_SEQUENCE: u8 = 255;

/// A tokenised batch. Sequence `i` is `starts[i]..starts[i + 1]` in every per-token field.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    pub(crate) starts: Vec<usize>,
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    pub(crate) special: Vec<u8>,
    pub(crate) sequences: Vec<u8>,
    pub(crate) offsets: Option<Vec<Span>>,
    /// The number of each token's word, from the first word that was tokenised on: of a long text that is truncated from the left, not
    /// from the first one of the text.
    pub(crate) words: Option<Vec<u32>>,
    pub(crate) truncated: Vec<u8>,
    pub(crate) longest: usize,
    pub(crate) pad_id: u32,
}

impl Encoding {
    /// An empty batch, to append to.
    pub(crate) fn with_offsets(offsets: bool, pad_id: u32) -> Self {
        let (spans, words) = (offsets.then(Vec::new), offsets.then(Vec::new));
        Self { starts: vec![0], offsets: spans, words, pad_id, ..Self::default() }
    }

    /// A batch of given token ids; `lengths` has the number of ids of each sequence. Without `type_ids` all types are 0.
    pub(crate) fn from_ids(ids: &[u32], lengths: &[usize], type_ids: Option<&[u32]>) -> Result<Self> {
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut total = 0usize;
        starts.push(0);
        for length in lengths {
            total = total.saturating_add(*length);
            starts.push(total);
        }
        if total != ids.len() {
            return Err(Error::invalid_argument(format!(
                "lengths: they add up to {total}, but there are {} ids",
                ids.len()
            )));
        }
        if let Some(types) = type_ids
            && types.len() != ids.len()
        {
            return Err(Error::invalid_argument(format!("type_ids: {} values for {} ids", types.len(), ids.len())));
        }
        Ok(Self {
            starts,
            ids: ids.to_vec(),
            type_ids: type_ids.map_or_else(|| vec![0; ids.len()], <[u32]>::to_vec),
            truncated: vec![0; lengths.len()],
            ..Self::default()
        })
    }

    /// Appends the sequences of another batch, which has offsets if this one does.
    pub(crate) fn append(&mut self, other: Self) {
        let tokens = self.ids.len();
        self.starts.extend(other.starts[1..].iter().map(|start| tokens + start));
        self.ids.extend(other.ids);
        self.type_ids.extend(other.type_ids);
        self.special.extend(other.special);
        self.sequences.extend(other.sequences);
        self.truncated.extend(other.truncated);
        self.longest = self.longest.max(other.longest);
        if let Some(offsets) = &mut self.offsets {
            offsets.extend(other.offsets.unwrap_or_default());
        }
        if let Some(words) = &mut self.words {
            words.extend(other.words.unwrap_or_default());
        }
    }

    /// Some of the sequences, in the given order: only their ids and types.
    pub(crate) fn select(&self, sequences: &[usize]) -> Self {
        let mut chosen = Self { starts: vec![0], pad_id: self.pad_id, ..Self::default() };
        for &i in sequences {
            let range = self.starts[i]..self.starts[i + 1];
            chosen.ids.extend_from_slice(&self.ids[range.clone()]);
            chosen.type_ids.extend_from_slice(&self.type_ids[range]);
            chosen.truncated.push(self.truncated[i]);
            chosen.starts.push(chosen.ids.len());
        }
        chosen
    }

    /// A sequence's ids.
    pub(crate) fn ids_of(&self, sequence: usize) -> &[u32] {
        &self.ids[self.starts[sequence]..self.starts[sequence + 1]]
    }

    /// Writes tokens over the last ones of each sequence that was truncated.
    pub(crate) fn restore_ends(&mut self, tokens: &[u32]) {
        for (i, _) in self.truncated.iter().enumerate().filter(|(_, cut)| **cut != 0) {
            let own = &mut self.ids[self.starts[i]..self.starts[i + 1]];
            let kept = tokens.len().min(own.len());
            let at = own.len() - kept;
            own[at..].copy_from_slice(&tokens[tokens.len() - kept..]);
        }
    }

    /// Sequences in the batch.
    pub fn len(&self) -> usize {
        self.truncated.len()
    }

    pub fn is_empty(&self) -> bool {
        self.truncated.is_empty()
    }

    /// Tokens of one sequence.
    pub(crate) fn tokens_of(&self, sequence: usize) -> usize {
        self.starts[sequence + 1] - self.starts[sequence]
    }

    /// Tokens of the whole batch.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Sequences and tokens, for the counters.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.len(), self.tokens())
    }

    /// Where each sequence starts, then the total number of tokens: `len() + 1` values.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Token types: 0 for the first text of a pair, 1 for the second, as the tokenizer's post-processor says.
    pub fn type_ids(&self) -> &[u32] {
        &self.type_ids
    }

    /// 1 for tokens that the tokenizer added (`[CLS]`, `</s>`, …), 0 for tokens of a text.
    pub fn special_tokens_mask(&self) -> &[u8] {
        &self.special
    }

    /// Which text of a pair each token came from: 0, 1, or [`NO_SEQUENCE`].
    pub fn sequences(&self) -> &[u8] {
        &self.sequences
    }

    /// The byte range of each token in its text; `None` if offsets were not requested.
    pub fn offsets(&self) -> Option<&[Span]> {
        self.offsets.as_deref()
    }

    /// Per sequence, 1 if it was truncated, else 0.
    pub fn truncated(&self) -> &[u8] {
        &self.truncated
    }

    /// The number of tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The id of the model's padding token, for [`Encoding::pad`]; 0 if the tokenizer does not have one.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// Writes the batch as a padded, row-major matrix of `len() × length` ids and its attention mask (1 for tokens, 0 for
    /// padding). `length` 0 means the longest sequence. Kinglet does not pad; this is for programs that feed other engines.
    pub fn pad(&self, length: usize, pad_id: u32, ids: &mut [u32], mask: &mut [u32]) -> Result<()> {
        let length = if length == 0 { self.longest } else { length };
        if length < self.longest {
            let longest = self.longest;
            return Err(Error::invalid_argument(format!(
                "length: {length} is shorter than the longest sequence, {longest} tokens"
            )));
        }
        let needed = self.len().saturating_mul(length);
        if ids.len() < needed || mask.len() < needed {
            let capacity = ids.len().min(mask.len());
            let rows = self.len();
            return Err(Error::invalid_argument(format!(
                "capacity: {capacity} values cannot hold {rows} rows of {length} tokens ({needed})"
            )));
        }
        for (i, bounds) in self.starts.windows(2).enumerate() {
            let tokens = bounds[1] - bounds[0];
            let (row, row_mask) = (&mut ids[i * length..][..length], &mut mask[i * length..][..length]);
            row[..tokens].copy_from_slice(&self.ids[bounds[0]..bounds[1]]);
            row[tokens..].fill(pad_id);
            row_mask[..tokens].fill(1);
            row_mask[tokens..].fill(0);
        }
        Ok(())
    }
}
