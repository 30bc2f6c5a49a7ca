//! One decoding step as data: the tokens to append to each sequence, what is wanted of their logits, and the result. Searches of
//! different kinds may share a step.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::{LogitRows, TopKRows, host};
use crate::base::memory::grow;
use crate::kernels::{FREE, TopKEntry};

use super::Sequence;

/// What a feed wants of its logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want<'a> {
    /// Nothing (prefill).
    None,
    /// All logits: `[rows, vocabulary]`.
    Logits,
    /// The token with the largest logit, the first of equals, except `forbidden` tokens.
    Token { forbidden: &'a [u32] },
    /// The `k` largest logits except those of `forbidden` tokens, and `ln Σ exp` of the whole row.
    TopK { k: usize, forbidden: &'a [u32] },
}

/// Tokens to append to one sequence.
pub struct Feed<'a> {
    /// No two feeds of a step have the same sequence.
    pub sequence: &'a mut Sequence,
    pub ids: &'a [u32],
    pub want: Want<'a>,
    /// The number of tokens at the end that `want` applies to.
    pub last: usize,
    /// Cancels only this feed. See [`Network::step`](super::Network::step).
    pub cancelled: Option<&'a AtomicBool>,
}

impl<'a> Feed<'a> {
    /// Appends tokens without any logits.
    pub fn prefill(sequence: &'a mut Sequence, ids: &'a [u32]) -> Self {
        Self { sequence, ids, want: Want::None, last: 0, cancelled: None }
    }

    /// The number of rows that it wants.
    pub fn rows(&self) -> usize {
        if self.want == Want::None { 0 } else { self.last.min(self.ids.len()) }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// The rows of one feed, or of several consecutive feeds that want the same.
#[derive(Debug, PartialEq)]
pub enum StepRows<'a> {
    /// Nothing was wanted.
    None,
    /// The feed was cancelled.
    Cancelled,
    /// `[rows, vocabulary]`; the reader may change them.
    Logits(&'a mut [f32]),
    /// One token per row; None if all logits are forbidden, -∞ or NaN.
    Tokens(&'a [Option<u32>]),
    /// `[rows, k]` tokens with their logits as in [`TopKRows`], and `ln Σ exp` of each row.
    TopK(&'a [TopKEntry], &'a [f32]),
}

/// The result of a step. The next step reuses its allocations.
#[derive(Default)]
pub struct StepOutput {
    vocabulary: usize,
    /// The rows of the feeds that want logits, in the order of the feeds.
    pub logits: Vec<f32>,
    /// One per different [`Want::Token`] and [`Want::TopK`]; those from `used` on are from earlier steps.
    choices: Vec<Choice>,
    used: usize,
    feeds: Vec<FeedRows>,
    #[cfg_attr(not(feature = "onnx"), allow(dead_code))]
    scratch: Vec<f32>,
}

/// The rows of all feeds with the same want, in the order of the feeds.
#[derive(Default)]
struct Choice {
    /// None for [`Want::Token`].
    k: Option<usize>,
    forbidden: Vec<u32>,
    tokens: Vec<Option<u32>>,
    top_k: TopKRows,
    rows: usize,
}

/// A feed's rows in one of the lists, numbered as in [`StepOutput::list`].
#[derive(Clone)]
struct FeedRows {
    list: Option<usize>,
    rows: Range<usize>,
    cancelled: bool,
}

/// The number of the list of logits; the choices follow.
const LOGITS: usize = 0;

impl Choice {
    fn wants(&self) -> Want<'_> {
        let forbidden = &self.forbidden;
        self.k.map_or(Want::Token { forbidden }, |k| Want::TopK { k, forbidden })
    }

    fn begin(&mut self, k: Option<usize>, forbidden: &[u32]) {
        self.k = k;
        self.forbidden.clear();
        self.forbidden.extend_from_slice(forbidden);
        self.tokens.clear();
        self.top_k.clear(k.unwrap_or(0));
        self.rows = 0;
    }
}

/// For implementations of [`Network::step`](super::Network::step).
impl StepOutput {
    /// Clears the last step and assigns each feed its rows.
    pub(crate) fn begin(&mut self, feeds: &[Feed], vocabulary: usize) {
        self.vocabulary = vocabulary;
        self.logits.clear();
        self.feeds.clear();
        self.used = 0;
        let mut logits = 0;
        for feed in feeds {
            let count = feed.rows();
            let (list, rows) = match feed.want {
                _ if count == 0 => (None, &mut 0),
                Want::None | Want::Logits => (Some(LOGITS), &mut logits),
                want @ (Want::Token { forbidden } | Want::TopK { forbidden, .. }) => {
                    let known = self.choices[..self.used].iter().position(|choice| choice.wants() == want);
                    let at = known.unwrap_or(self.used);
                    if at == self.choices.len() {
                        self.choices.push(Choice::default());
                    }
                    let choice = &mut self.choices[at];
                    if known.is_none() {
                        self.used += 1;
                        choice.begin(if let Want::TopK { k, .. } = want { Some(k) } else { None }, forbidden);
                    }
                    (Some(1 + at), &mut choice.rows)
                }
            };
            self.feeds.push(FeedRows { list, rows: *rows..*rows + count, cancelled: false });
            *rows += count;
        }
    }

    /// The number of lists.
    pub(crate) fn lists(&self) -> usize {
        1 + self.used
    }

    /// The number of the list with a feed's rows; None if it wants nothing.
    pub(crate) fn list_of(&self, feed: usize) -> Option<usize> {
        self.feeds[feed].list
    }

    pub(crate) fn list(&mut self, number: usize) -> LogitRows<'_> {
        if number == LOGITS {
            return LogitRows::Logits(&mut self.logits);
        }
        let Choice { k, forbidden, tokens, top_k, .. } = &mut self.choices[number - 1];
        if k.is_some() { LogitRows::TopK(forbidden, top_k) } else { LogitRows::Tokens(forbidden, tokens) }
    }

    /// Appends empty rows.
    fn pad(&mut self, list: usize, rows: usize) {
        let vocabulary = self.vocabulary;
        match self.list(list) {
            LogitRows::Logits(logits) => {
                grow(logits, rows * vocabulary, "the logits");
                logits.resize(logits.len() + rows * vocabulary, 0.0);
            }
            LogitRows::Tokens(_, tokens) => tokens.resize(tokens.len() + rows, None),
            LogitRows::TopK(_, top_k) => (0..rows).for_each(|_| top_k.push(0.0).fill(FREE)),
        }
    }

    /// Marks a feed as cancelled; `missing` of its rows were not appended, nor were any of later feeds: these move up.
    pub(crate) fn cancel(&mut self, feed: usize, missing: usize) {
        let (before, later) = self.feeds.split_at_mut(feed + 1);
        let Some(FeedRows { list, rows, cancelled }) = before.last_mut() else { return };
        // A pass that was cancelled in the middle is begun again, with the feeds that were cancelled before it.
        if std::mem::replace(cancelled, true) {
            return;
        }
        rows.end -= missing;
        for other in later.iter_mut().filter(|other| other.list == *list) {
            other.rows = other.rows.start - missing..other.rows.end - missing;
        }
    }

    /// Appends all rows, for a network that fills them in any order with [`Self::put`].
    pub(crate) fn fill(&mut self) {
        for feed in 0..self.feeds.len() {
            let FeedRows { list, rows, .. } = &self.feeds[feed];
            if let (Some(list), rows) = (*list, rows.len()) {
                self.pad(list, rows);
            }
        }
    }

    /// Writes a feed's row number `row` from its logits.
    #[cfg_attr(not(feature = "onnx"), allow(dead_code))]
    pub(crate) fn put(&mut self, feed: usize, row: usize, logits: &[f32]) {
        let (Some(list), row) = (self.feeds[feed].list, self.feeds[feed].rows.start + row) else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(logits);
        let forbid = |row: &mut [f32], forbidden: &[u32]| {
            forbidden.iter().for_each(|&token| row[token as usize] = f32::NEG_INFINITY);
        };
        match self.list(list) {
            LogitRows::Logits(all) => all[row * logits.len()..][..logits.len()].copy_from_slice(logits),
            LogitRows::Tokens(forbidden, tokens) => {
                forbid(&mut scratch, forbidden);
                tokens[row] = host::arg_max(&scratch);
            }
            LogitRows::TopK(forbidden, top_k) => {
                let mut one = TopKRows { count: top_k.count, ..TopKRows::default() };
                one.add(&mut scratch, logits.len(), forbidden);
                top_k.tokens[row * one.count..][..one.count].copy_from_slice(&one.tokens);
                top_k.totals[row] = one.totals[0];
            }
        }
        self.scratch = scratch;
    }
}

/// For callers of [`Network::step`](super::Network::step).
impl StepOutput {
    /// Whether a feed was cancelled.
    pub fn is_cancelled(&self, feed: usize) -> bool {
        self.feeds[feed].cancelled
    }

    /// Prepares for `feeds`, whose rows come from other steps, like `other`, by [`Self::take`].
    pub(crate) fn gather(&mut self, feeds: &[Feed], other: &Self) {
        self.begin(feeds, other.vocabulary);
        self.fill();
    }

    /// Copies the rows of the feed number `theirs` of another step to the feed number `own`, which wants the same.
    pub(crate) fn take(&mut self, own: usize, other: &Self, theirs: usize) {
        let (to, from) = (&self.feeds[own], &other.feeds[theirs]);
        let (Some(list), Some(source)) = (to.list, from.list) else { return };
        let (to, from) = (to.rows.clone(), from.rows.clone());
        if list == LOGITS {
            let width = self.vocabulary;
            let rows = &other.logits[from.start * width..from.end * width];
            self.logits[to.start * width..to.end * width].copy_from_slice(rows);
            return;
        }
        let (choice, source) = (&mut self.choices[list - 1], &other.choices[source - 1]);
        match choice.k {
            None => choice.tokens[to].copy_from_slice(&source.tokens[from]),
            Some(k) => {
                let entries = &source.top_k.tokens[from.start * k..from.end * k];
                choice.top_k.tokens[to.start * k..to.end * k].copy_from_slice(entries);
                choice.top_k.totals[to].copy_from_slice(&source.top_k.totals[from]);
            }
        }
    }

    /// Iterates over the rows of the feeds.
    pub fn split(&mut self) -> Split<'_> {
        let Self { vocabulary, logits, choices, feeds, .. } = self;
        Split { vocabulary: *vocabulary, logits, choices, feeds }
    }
}

/// The remaining rows of a step. The parts that [`Split::take`] returns do not overlap, so each may go to another thread.
pub struct Split<'a> {
    vocabulary: usize,
    logits: &'a mut [f32],
    choices: &'a [Choice],
    feeds: &'a [FeedRows],
}

impl<'a> Split<'a> {
    /// The rows of the next `feeds` feeds, which want the same. [`StepRows::Cancelled`] if one of them was cancelled.
    pub fn take(&mut self, feeds: usize) -> StepRows<'a> {
        let (mine, rest) = self.feeds.split_at(feeds);
        self.feeds = rest;
        let (Some(first), Some(last)) = (mine.first(), mine.last()) else { return StepRows::None };
        let Some(list) = first.list else { return StepRows::None };
        debug_assert!(mine.iter().all(|feed| feed.list == first.list), "feeds that want different things");
        let rows = first.rows.start..last.rows.end;
        let found = if list == LOGITS {
            let (mine, rest) = std::mem::take(&mut self.logits).split_at_mut(rows.len() * self.vocabulary);
            self.logits = rest;
            StepRows::Logits(mine)
        } else {
            let Choice { k, tokens, top_k, .. } = &self.choices[list - 1];
            match k {
                Some(k) => StepRows::TopK(&top_k.tokens[rows.start * k..rows.end * k], &top_k.totals[rows]),
                None => StepRows::Tokens(&tokens[rows]),
            }
        };
        if mine.iter().any(|feed| feed.cancelled) { StepRows::Cancelled } else { found }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::base::call::Call;
    use crate::base::counters::Counters;
    use crate::base::threads::Pool;
    use crate::families;
    use crate::formats::packed::Opening;
    use crate::formats::source::Source;
    use crate::network::Network;
    use crate::network::placement::{Limit, Placement};
    use crate::network::transformer::weights::ModelView;
    use crate::spec::{Device, Precision};

    fn network(fixture: &str, precision: Precision) -> Box<dyn Network> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generation").join(fixture);
        let Source { files, weights, .. } = Source::open(&path, Opening::default()).unwrap();
        let spec = families::spec(&files.require_config("config.json").unwrap()).unwrap();
        let mut view = ModelView::find(&spec, &weights).unwrap();
        let limit = Limit { bytes: 0, tokenizer: 0, threads: 2 };
        let place = Placement { device: Device::Cpu, index: 0, precision, packed: None, read: false, limit };
        let pool = Arc::new(Pool::new(2));
        place.load(&path, &spec, &mut view, &pool, None, &mut |_, _| Ok(())).unwrap().network
    }

    /// The rows of a feed, floats as bits.
    #[derive(Debug, PartialEq)]
    enum Got {
        Nothing,
        Cancelled,
        Logits(Vec<u32>),
        Tokens(Vec<Option<u32>>),
        TopK(Vec<(u32, u32)>, Vec<u32>),
    }

    fn got(rows: StepRows) -> Got {
        let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect();
        match rows {
            StepRows::None => Got::Nothing,
            StepRows::Cancelled => Got::Cancelled,
            StepRows::Logits(rows) => Got::Logits(bits(rows)),
            StepRows::Tokens(tokens) => Got::Tokens(tokens.to_vec()),
            StepRows::TopK(tokens, totals) => {
                Got::TopK(tokens.iter().map(|(logit, token)| (logit.to_bits(), *token)).collect(), bits(totals))
            }
        }
    }

    type Case = (&'static [u32], usize, Want<'static>);

    const CASES: [Case; 8] = [
        (&[5, 9, 7], 1, Want::Logits),
        (&[6, 2, 8, 11], 3, Want::Token { forbidden: &[3] }),
        (&[4, 4], 1, Want::TopK { k: 4, forbidden: &[] }),
        (&[12, 3, 9], 0, Want::None),
        (&[7, 5, 6], 3, Want::Logits),
        (&[3, 8], 1, Want::Token { forbidden: &[] }),
        (&[10, 2, 5], 2, Want::TopK { k: 4, forbidden: &[] }),
        (&[10, 2, 5], 2, Want::TopK { k: 2, forbidden: &[9, 1] }),
    ];

    /// Runs cases in one step. The flags of the feeds in `cancelled` are set.
    fn run(network: &dyn Network, sequences: &mut [Sequence], cases: &[Case], cancelled: &[usize]) -> Vec<Got> {
        let (counters, set, unset) = (Counters::default(), AtomicBool::new(true), AtomicBool::new(false));
        let feeds = sequences.iter_mut().zip(cases).enumerate().map(|(i, (sequence, &(ids, last, want)))| {
            let flag = if cancelled.contains(&i) { &set } else { &unset };
            Feed { sequence, ids, last, want, cancelled: Some(flag) }
        });
        let mut output = StepOutput::default();
        let call = Call::new(&counters);
        network.step(&mut feeds.collect::<Vec<_>>(), &mut output, call).unwrap();
        let mut split = output.split();
        cases.iter().map(|_| got(split.take(1))).collect()
    }

    fn sequences(network: &dyn Network, count: usize) -> Vec<Sequence> {
        (0..count).map(|_| network.sequence().unwrap()).collect()
    }

    #[test]
    fn feeds_that_want_different_things_get_what_they_get_alone() {
        for (fixture, precision) in [("gpt2", Precision::F32), ("llama", Precision::Int8), ("gemma2", Precision::F16)] {
            let network = network(fixture, precision);
            let (mut alone, mut together) = (sequences(&*network, 8), sequences(&*network, 8));
            // The second step shows that the sequences are the same too.
            for _ in 0..2 {
                let expected = alone
                    .iter_mut()
                    .zip(CASES)
                    .flat_map(|(sequence, case)| run(&*network, std::slice::from_mut(sequence), &[case], &[]));
                let expected: Vec<Got> = expected.collect();
                assert_eq!(run(&*network, &mut together, &CASES, &[]), expected, "{fixture}");
            }
            let Got::TopK(tokens, totals) = &run(&*network, &mut sequences(&*network, 1), &CASES[7..], &[])[0] else {
                panic!("not the largest logits")
            };
            assert_eq!((tokens.len(), totals.len()), (4, 2));
            assert!(tokens.iter().all(|(_, token)| ![9, 1].contains(token)));
        }
    }

    #[test]
    fn a_cancelled_feed_leaves_its_sequence_and_the_others_as_they_were() {
        let network = network("llama", Precision::Int8);
        for cancelled in [&[1][..], &[0, 2, 6], &[0, 1, 2, 3, 4, 5, 6, 7]] {
            let (mut held, mut disturbed) = (sequences(&*network, 8), sequences(&*network, 8));
            run(&*network, &mut held, &CASES, &[]);
            run(&*network, &mut disturbed, &CASES, &[]);
            let lengths: Vec<usize> = disturbed.iter().map(Sequence::length).collect();
            let some = run(&*network, &mut disturbed, &CASES, cancelled);
            let all = run(&*network, &mut held, &CASES, &[]);
            let left = (0..8).filter(|i| !cancelled.contains(i)).collect::<Vec<_>>();
            for (i, (some, all)) in some.iter().zip(&all).enumerate() {
                let expected = if !cancelled.contains(&i) {
                    all
                } else if CASES[i].1 > 0 {
                    &Got::Cancelled
                } else {
                    &Got::Nothing
                };
                assert_eq!(some, expected);
            }
            // Running the cancelled feeds again gives the same rows.
            for &i in cancelled {
                assert_eq!(disturbed[i].length(), lengths[i]);
                assert_eq!(run(&*network, &mut disturbed[i..=i], &CASES[i..=i], &[])[0], all[i]);
            }
            assert!(left.iter().all(|&i| disturbed[i].length() == held[i].length()));
        }
    }

    #[test]
    fn feeds_beside_a_cancelled_one_that_wants_the_same_keep_their_rows() {
        let network = network("llama", Precision::Int8);
        for case in [CASES[1], CASES[2], CASES[4], CASES[7]] {
            for cancelled in [&[1][..], &[0], &[0, 2], &[3]] {
                let mut four = sequences(&*network, 4);
                let expected = run(&*network, &mut sequences(&*network, 1), &[case], &[]).swap_remove(0);
                for (i, found) in run(&*network, &mut four, &[case; 4], cancelled).iter().enumerate() {
                    assert_eq!(
                        found,
                        if cancelled.contains(&i) { &Got::Cancelled } else { &expected },
                        "{cancelled:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_after_those_of_a_cancelled_feed_keep_their_places() {
        let mut output = StepOutput::default();
        let network = network("llama", Precision::F32);
        let mut three = sequences(&*network, 3);
        let want = Want::Token { forbidden: &[] };
        let feeds = three.iter_mut().map(|sequence| Feed { sequence, ids: &[1, 2], last: 2, want, cancelled: None });
        output.begin(&feeds.collect::<Vec<_>>(), 10);
        // The first of two rows of the second feed was appended before the cancellation.
        let append = |output: &mut StepOutput, token| match output.list(1) {
            LogitRows::Tokens(_, tokens) => tokens.push(Some(token)),
            _ => panic!("not a list of tokens"),
        };
        [1, 2, 3].into_iter().for_each(|token| append(&mut output, token));
        output.cancel(1, 1);
        [5, 6].into_iter().for_each(|token| append(&mut output, token));
        let mut split = output.split();
        assert_eq!(split.take(1), StepRows::Tokens(&[Some(1), Some(2)]));
        assert_eq!(split.take(1), StepRows::Cancelled);
        assert_eq!(split.take(1), StepRows::Tokens(&[Some(5), Some(6)]));
    }

    #[test]
    fn rows_of_logits_are_reduced_to_what_a_feed_wants() {
        let network = network("llama", Precision::F32);
        let mut four = sequences(&*network, 4);
        let forbidden = &[1];
        let wants =
            [Want::Logits, Want::Token { forbidden }, Want::TopK { k: 2, forbidden }, Want::Token { forbidden }];
        let feeds = four.iter_mut().zip(wants);
        let feeds = feeds.map(|(sequence, want)| Feed { sequence, ids: &[1], last: 1, want, cancelled: None });
        let mut output = StepOutput::default();
        output.begin(&feeds.collect::<Vec<_>>(), 3);
        output.fill();
        let row = [0.5, 2.0, 1.0];
        (0..3).for_each(|feed| output.put(feed, 0, &row));
        output.put(3, 0, &[4.0, 2.0, 1.0]);
        let total = host::log_sum_exp(&row);
        let mut split = output.split();
        assert_eq!(split.take(1), StepRows::Logits(&mut row.clone()));
        assert_eq!(split.take(1), StepRows::Tokens(&[Some(2)]));
        assert_eq!(split.take(1), StepRows::TopK(&[(1.0, 2), (0.5, 0)], &[total]));
        assert_eq!(split.take(1), StepRows::Tokens(&[Some(0)]));
    }
}
