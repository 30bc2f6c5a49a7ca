//! Which batch size suits a workload: a model of cost, and the search over it. `calibrate.rs` measures the costs.

use std::time::Duration;

use crate::base::error::{Error, Result};

/// The sizes that are compared.
const SIZES: [usize; 20] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// Of sizes with so much of the best throughput, the smallest is suggested: its batches take less time and memory.
const NEARLY: f64 = 0.97;

/// What a batch is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Tokens per input: their mean, special tokens included, and their standard deviation.
    pub input_tokens: f64,
    pub input_spread: f64,
    /// Tokens to generate per input; 0 for embedding and classification.
    pub output_tokens: usize,
    /// Beams per input.
    pub beams: usize,
}

impl Workload {
    /// # Errors
    /// Numbers of tokens that cannot be.
    pub(super) fn check(&self) -> Result<()> {
        let Self { input_tokens, input_spread, .. } = *self;
        if !(input_tokens >= 1.0 && input_tokens.is_finite()) {
            return Err(Error::invalid_argument(format!("input_tokens: {input_tokens} is not a number of at least 1")));
        }
        if !(input_spread >= 0.0 && input_spread.is_finite()) {
            return Err(Error::invalid_argument(format!("input_spread: {input_spread} is not a number of at least 0")));
        }
        Ok(())
    }
}

/// What a batch size is chosen for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BatchGoal {
    Throughput,
    /// The best throughput among batches that take at most this long.
    Latency(Duration),
    /// The best throughput among batches with which the model takes at most so many bytes, its weights included.
    Memory(u64),
}

/// A batch size, and what to expect of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSuggestion {
    pub batch_size: usize,
    /// Of one batch.
    pub time: Duration,
    pub texts_per_second: f64,
    /// Input tokens, or the generated ones where there are some.
    pub tokens_per_second: f64,
    /// Weights, KV caches, activations and results.
    pub bytes: u64,
    /// Whether the goal's bound is kept. If no size keeps it, 1 is suggested.
    pub within_bound: bool,
    /// How the size was found, in words.
    pub explanation: String,
}

/// Measured times at one length of text: `(texts, seconds)`, by rising numbers of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub length: usize,
    pub points: Vec<(usize, f64)>,
}

impl Curve {
    /// Interpolates between the logarithms of the points; beyond the last one a text costs what it costs there.
    fn seconds(&self, texts: f64) -> f64 {
        let Some((&first, &last)) = self.points.first().zip(self.points.last()) else { return 0.0 };
        let at = |(count, seconds): (usize, f64)| (count as f64, seconds);
        if texts <= first.0 as f64 {
            return first.1;
        }
        if texts >= last.0 as f64 {
            return last.1 * texts / last.0 as f64;
        }
        let pair = self.points.windows(2).find(|pair| texts <= pair[1].0 as f64).unwrap_or(&self.points[..2]);
        let ((low, low_seconds), (high, high_seconds)) = (at(pair[0]), at(pair[1]));
        let share = (texts / low).ln() / (high / low).ln();
        low_seconds * (high_seconds / low_seconds).powf(share)
    }
}

/// The cost of `texts` of `length` tokens. Between two lengths it is interpolated, beyond them a token costs what it costs there.
fn interpolated(curves: &[Curve], length: f64, texts: f64) -> f64 {
    let Some((first, last)) = curves.first().zip(curves.last()) else { return 0.0 };
    if length <= first.length as f64 || curves.len() == 1 {
        // Of shorter texts as many more fit into the time.
        return first.seconds((texts * length / first.length as f64).max(1.0));
    }
    if length >= last.length as f64 {
        return last.seconds(texts) * length / last.length as f64;
    }
    let pair = curves.windows(2).find(|pair| length <= pair[1].length as f64).unwrap_or(&curves[..2]);
    let (low, high) = (pair[0].length as f64, pair[1].length as f64);
    let share = (length / low).ln() / (high / low).ln();
    pair[0].seconds(texts).powf(1.0 - share) * pair[1].seconds(texts).powf(share)
}

/// What a model's work costs on a machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostTable {
    /// Of reading texts: encoders, and prompts. By rising length.
    pub read: Vec<Curve>,
    /// Of one decoding step, by the number of texts, after so many tokens. By rising length.
    pub step: Vec<Curve>,
    pub weight_bytes: u64,
    /// Of a token in a KV cache.
    pub cache_bytes: u64,
    /// Of the activations of a pass.
    pub pass_bytes: u64,
    /// Of a text's result.
    pub result_bytes: u64,
    /// Whether the times were measured on this machine.
    pub measured: bool,
}

impl CostTable {
    /// Seconds of one batch.
    pub fn seconds(&self, workload: &Workload, texts: usize) -> f64 {
        let read = interpolated(&self.read, workload.input_tokens, texts as f64);
        // The first token comes with the prompt.
        let steps = workload.output_tokens.saturating_sub(1) as f64;
        if steps == 0.0 {
            return read;
        }
        let length = workload.input_tokens + steps / 2.0;
        let rows = texts as f64 * workload.beams.max(1) as f64;
        read + steps * interpolated(&self.step, length, rows)
    }

    /// Bytes of the model while it runs one batch; texts are counted two standard deviations longer than the mean.
    pub fn bytes(&self, workload: &Workload, texts: usize) -> u64 {
        let read = (workload.input_tokens + 2.0 * workload.input_spread) as u64;
        let longest = read.saturating_add(workload.output_tokens as u64);
        let cached = if workload.output_tokens > 0 { self.cache_bytes } else { 0 };
        let tokens = longest.saturating_mul(workload.beams.max(1) as u64);
        let of_text = tokens.saturating_mul(cached).saturating_add(self.result_bytes);
        (texts as u64).saturating_mul(of_text).saturating_add(self.weight_bytes).saturating_add(self.pass_bytes)
    }

    /// The best batch size for a workload.
    ///
    /// # Errors
    /// A workload without input tokens, or one that generates with a model whose steps were not measured.
    pub fn suggest(&self, workload: &Workload, goal: BatchGoal) -> Result<BatchSuggestion> {
        workload.check()?;
        let Workload { input_tokens, output_tokens, .. } = *workload;
        if output_tokens > 0 && self.step.is_empty() {
            return Err(Error::unsupported("output_tokens: the model generates no text; leave it out"));
        }
        let rate = |texts: usize| texts as f64 / self.seconds(workload, texts);
        let keeps = |&texts: &usize| match goal {
            BatchGoal::Throughput => true,
            BatchGoal::Latency(most) => self.seconds(workload, texts) <= most.as_secs_f64(),
            BatchGoal::Memory(most) => self.bytes(workload, texts) <= most,
        };
        let allowed: Vec<usize> = SIZES.into_iter().filter(keeps).collect();
        let best = allowed.iter().map(|&texts| rate(texts)).fold(0.0, f64::max);
        let found = allowed.iter().copied().find(|&texts| rate(texts) >= NEARLY * best);
        let batch_size = found.unwrap_or(1);
        let (seconds, bytes) = (self.seconds(workload, batch_size), self.bytes(workload, batch_size));
        let tokens = if output_tokens > 0 { output_tokens as f64 } else { input_tokens };
        let alone = rate(1);
        let source = match self.measured {
            true => "from times that were measured on this machine",
            false => "from assumed speeds, because no calibration was made: only the order of magnitude is meant",
        };
        let bound = match (goal, found) {
            (_, None) => "no size keeps the bound, not even 1".to_string(),
            (BatchGoal::Throughput, _) => "no bound".to_string(),
            (BatchGoal::Latency(most), _) => format!("a batch may take {:.1} ms", 1e3 * most.as_secs_f64()),
            (BatchGoal::Memory(most), _) => format!("the model may take {:.1} MiB", most as f64 / f64::from(1 << 20)),
        };
        let gain = match found {
            None => String::new(),
            Some(_) => format!(
                ", {:.2} x of one at a time; the smallest of {} sizes with at least {:.0} % of the best throughput ({best:.1} texts/s)",
                rate(batch_size) / alone,
                allowed.len(),
                100.0 * NEARLY,
            ),
        };
        let explanation = format!("{batch_size} texts: {:.1} texts/s{gain}; {bound}; {source}", rate(batch_size));
        Ok(BatchSuggestion {
            batch_size,
            time: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
            texts_per_second: rate(batch_size),
            tokens_per_second: tokens * rate(batch_size),
            bytes,
            within_bound: found.is_some(),
            explanation,
        })
    }
}

/// Cuts a list into batches of texts of similar length, runs them, and returns the results in the order of `texts`. `progress` receives the
/// number of texts that are done after each batch; false ends the work with [`Status::Cancelled`](crate::Status::Cancelled).
///
/// # Errors
/// Those of `run`; a batch for which it returns another number of results.
pub fn in_batches<T>(
    texts: &[&str],
    batch_size: usize,
    mut progress: impl FnMut(usize) -> bool,
    mut run: impl FnMut(&[&str]) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    if batch_size == 0 {
        return Err(Error::invalid_argument("batch_size: 0; give at least 1"));
    }
    let mut order: Vec<usize> = (0..texts.len()).collect();
    // The longest first: what needs the most memory fails at once.
    order.sort_by_key(|&i| std::cmp::Reverse(texts[i].len()));
    let mut results: Vec<Option<T>> = texts.iter().map(|_| None).collect();
    let mut done = 0;
    for part in order.chunks(batch_size) {
        let batch: Vec<&str> = part.iter().map(|&i| texts[i]).collect();
        let of_batch = run(&batch)?;
        if of_batch.len() != part.len() {
            let (found, wanted) = (of_batch.len(), part.len());
            return Err(Error::invalid_argument(format!("run: gave {found} results for {wanted} texts")));
        }
        for (&i, result) in part.iter().zip(of_batch) {
            results[i] = Some(result);
        }
        done += part.len();
        if !progress(done) {
            return Err(Error::cancelled());
        }
    }
    Ok(results.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which a pass costs 1 ms, a token 10 µs, and a step 2 ms and 0.1 ms per text.
    fn table() -> CostTable {
        let read = |length: usize| {
            let points = [1, 2, 4, 8, 16, 32, 64].map(|texts| (texts, 1e-3 + 1e-5 * (texts * length) as f64));
            Curve { length, points: points.to_vec() }
        };
        let step = |length| Curve { length, points: [1, 8, 64].map(|n| (n, 2e-3 + 1e-4 * n as f64)).to_vec() };
        CostTable {
            read: vec![read(16), read(128)],
            step: vec![step(16), step(128)],
            weight_bytes: 1 << 20,
            cache_bytes: 1 << 10,
            pass_bytes: 1 << 16,
            result_bytes: 1 << 8,
            measured: true,
        }
    }

    const SHORT: Workload = Workload { input_tokens: 16.0, input_spread: 0.0, output_tokens: 0, beams: 1 };
    const WRITES: Workload = Workload { input_tokens: 32.0, input_spread: 4.0, output_tokens: 33, beams: 1 };

    #[test]
    fn costs_are_those_of_the_table_and_between_its_points() {
        let table = table();
        assert!((table.seconds(&SHORT, 8) - 2.28e-3).abs() < 1e-9);
        let between = table.seconds(&SHORT, 12);
        assert!(table.seconds(&SHORT, 8) < between && between < table.seconds(&SHORT, 16));
        // Beyond the last point a text costs what it costs there.
        assert!((table.seconds(&SHORT, 128) / table.seconds(&SHORT, 64) - 2.0).abs() < 1e-9);
        let longer = Workload { input_tokens: 60.0, ..SHORT };
        let bounds = [16.0, 128.0].map(|input_tokens| table.seconds(&Workload { input_tokens, ..SHORT }, 8));
        assert!(bounds[0] < table.seconds(&longer, 8) && table.seconds(&longer, 8) < bounds[1]);
        let shorter = Workload { input_tokens: 8.0, ..SHORT };
        assert!(table.seconds(&shorter, 64) < table.seconds(&SHORT, 64));
        // 32 steps of eight texts, or of eight beams.
        let steps = table.seconds(&WRITES, 8) - table.seconds(&Workload { output_tokens: 0, ..WRITES }, 8);
        assert!((steps - 32.0 * 2.8e-3).abs() < 1e-9, "{steps}");
        let beams = Workload { beams: 8, ..WRITES };
        assert!(table.seconds(&beams, 1) > 32.0 * 2.8e-3);
    }

    #[test]
    fn the_smallest_size_with_nearly_the_best_throughput_is_suggested() {
        let table = table();
        let found = table.suggest(&SHORT, BatchGoal::Throughput).unwrap();
        let rate = |texts: usize| texts as f64 / table.seconds(&SHORT, texts);
        let best = SIZES.map(rate).into_iter().fold(0.0, f64::max);
        assert!(rate(found.batch_size) >= NEARLY * best && found.within_bound);
        let smaller = SIZES.into_iter().take_while(|&size| size < found.batch_size);
        assert!(smaller.into_iter().all(|size| rate(size) < NEARLY * best));
        assert!((found.tokens_per_second - 16.0 * found.texts_per_second).abs() < 1e-6);
        assert!(found.explanation.contains("measured on this machine"), "{}", found.explanation);
        let assumed = CostTable { measured: false, ..table };
        assert!(assumed.suggest(&SHORT, BatchGoal::Throughput).unwrap().explanation.contains("assumed"));
    }

    #[test]
    fn bounds_are_kept() {
        let table = table();
        let most = Duration::from_millis(90);
        let found = table.suggest(&WRITES, BatchGoal::Latency(most)).unwrap();
        assert!(found.time <= most && found.within_bound && found.batch_size > 1, "{found:?}");
        let larger = SIZES.into_iter().find(|&size| size > found.batch_size).unwrap();
        assert!(table.seconds(&WRITES, larger) > most.as_secs_f64() || larger > 64);
        let none = table.suggest(&WRITES, BatchGoal::Latency(Duration::from_millis(1))).unwrap();
        assert!(!none.within_bound && none.batch_size == 1 && none.explanation.contains("not even 1"));

        // A text has 32 + 2 * 4 + 33 tokens in the cache.
        let of_text = 73 * 1024 + 256;
        let limit = (1 << 20) + (1 << 16) + 10 * of_text;
        let found = table.suggest(&WRITES, BatchGoal::Memory(limit)).unwrap();
        assert_eq!((found.batch_size, found.bytes), (8, (1 << 20) + (1 << 16) + 8 * of_text));
    }

    #[test]
    fn what_has_no_answer_is_refused() {
        let bad = |workload: Workload, table: &CostTable| {
            table.suggest(&workload, BatchGoal::Throughput).unwrap_err().to_string()
        };
        assert!(bad(Workload { input_tokens: 0.0, ..SHORT }, &table()).contains("input_tokens"));
        assert!(bad(Workload { input_tokens: f64::NAN, ..SHORT }, &table()).contains("input_tokens"));
        assert!(bad(Workload { input_spread: -1.0, ..SHORT }, &table()).contains("input_spread"));
        assert!(bad(WRITES, &CostTable { step: Vec::new(), ..table() }).contains("output_tokens"));
    }

    #[test]
    fn lists_are_cut_by_length_and_come_back_in_order() {
        let texts = ["aaa", "a", "", "aaaaa", "aa", "aaaa"];
        let (mut batches, mut seen) = (Vec::new(), Vec::new());
        let lengths = in_batches(
            &texts,
            4,
            |done| {
                seen.push(done);
                true
            },
            |batch| {
                batches.push(batch.len());
                assert!(batch.is_sorted_by_key(|text| std::cmp::Reverse(text.len())));
                Ok(batch.iter().map(|text| text.len()).collect())
            },
        );
        assert_eq!((lengths.unwrap(), batches, seen), (vec![3, 1, 0, 5, 2, 4], vec![4, 2], vec![4, 6]));
        let ended = in_batches(&texts, 2, |_| false, |batch| Ok(vec![(); batch.len()])).unwrap_err();
        assert_eq!(ended.status(), crate::Status::Cancelled);
        assert!(in_batches(&texts, 2, |_| true, |_| Ok(vec![()])).unwrap_err().message().contains("1 results for 2"));
        assert!(in_batches(&texts, 0, |_| true, |_| Ok(vec![()])).is_err());
    }
}
