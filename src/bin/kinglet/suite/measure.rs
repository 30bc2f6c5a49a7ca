//! One round: a process of its own that loads a model and runs the cases of the suites. It reads a plan from standard input and writes
//! what it measured to standard output.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kinglet::{
    Aggregation, ClassifyOptions, CompressOptions, Counters, Device, EmbedOptions, EncodeOptions, Format,
    GenerateOptions, Generations, Model, Precision, Stage,
};
use serde::{Deserialize, Serialize};

use super::config::{Batches, Config, Documents};
use super::delay::Delay;
use super::figure::{Measure, NotMeasured, Samples, SuiteName, Target};
use crate::args::ModelArgs;
use crate::failure::{Failure, Outcome};
use crate::machine;
use crate::metrics::latency::LatencyStatistics;
use crate::output::Output;
use crate::random::SplitMix64;
use crate::words::Words;

/// The seed of texts and token ids.
const SEED: u64 = 1;
/// A case that takes too long has at least so many samples, unless it is to have fewer.
const FEW: usize = 3;

#[derive(Deserialize, Serialize)]
pub struct Plan {
    pub config: Config,
    pub target: Target,
    pub path: PathBuf,
}

/// What a round found.
#[derive(Deserialize, Serialize)]
pub struct Round {
    /// The model's files, and what was chosen where the settings say `auto` or 0.
    pub path: PathBuf,
    pub family: String,
    pub precision: String,
    pub threads: usize,
    pub isa: String,
    pub weight_bytes: u64,
    pub generates: bool,
    pub samples: Vec<Samples>,
    pub not_measured: Vec<NotMeasured>,
}

pub fn run() -> Outcome<()> {
    let plan: Plan = serde_json::from_reader(io::stdin().lock()).map_err(Failure::new)?;
    let args = model_args(&plan)?;
    let mut runner =
        Runner { config: &plan.config, delay: Delay::read()?, samples: Vec::new(), not_measured: Vec::new() };
    let model = runner.loading(&args)?;
    for suite in &plan.config.suites {
        match suite {
            // The parent runs other verbs for the last two.
            SuiteName::Loading | SuiteName::Load | SuiteName::Quality => {}
            SuiteName::Tokenising => runner.tokenising(&model),
            SuiteName::Inference => runner.inference(&model),
            SuiteName::Statistics => runner.statistics(),
            SuiteName::EndToEnd => runner.end_to_end(&model),
            SuiteName::Documents => runner.documents(&model),
        }
    }
    let info = model.info();
    let Runner { samples, not_measured, .. } = runner;
    let round = Round {
        path: info["path"].as_str().unwrap_or_default().into(),
        family: model.family().into(),
        precision: model.precision().name().into(),
        threads: model.threads(),
        isa: machine::isa(&model)?,
        weight_bytes: model.weight_bytes(),
        generates: model.can_generate(),
        samples,
        not_measured,
    };
    let mut out = Output::new();
    out.json(&round)?;
    out.flush()
}

fn model_args(plan: &Plan) -> Outcome<ModelArgs> {
    let Target { precision, device, threads, .. } = &plan.target;
    let unknown = |name: &str| Failure::new(format!("{name:?} is not known"));
    Ok(ModelArgs {
        model: plan.path.clone(),
        device: Device::ALL.into_iter().find(|d| d.name() == device).ok_or_else(|| unknown(device))?,
        device_index: 0,
        precision: Precision::ALL.into_iter().find(|p| p.name() == precision).ok_or_else(|| unknown(precision))?,
        threads: *threads,
        memory_limit: 0,
        no_mmap: false,
        max_text_bytes: None,
        answer_cache: 0,
        onnxruntime: None,
    })
}

/// What one call did.
#[derive(Default)]
struct Done {
    tokens: usize,
    /// When the first and the last token came, and how many there were.
    stream: Option<(Duration, Duration, usize)>,
}

/// A case of a suite.
struct Case {
    suite: SuiteName,
    name: String,
    batch: Option<usize>,
    /// Calls before those that count, and calls that count.
    runs: (usize, usize),
}

struct Runner<'a> {
    config: &'a Config,
    delay: Delay,
    samples: Vec<Samples>,
    not_measured: Vec<NotMeasured>,
}

impl Runner<'_> {
    fn add(&mut self, case: &Case, measure: Measure, values: Vec<f64>) {
        if !values.is_empty() {
            let Case { suite, ref name, batch, .. } = *case;
            self.samples.push(Samples { suite, case: name.clone(), batch, measure, values });
        }
    }

    fn refuse(&mut self, suite: SuiteName, case: &str, why: String) {
        self.not_measured.push(NotMeasured { suite, case: case.into(), why });
    }

    /// Measures a case. Returns the median of its times in seconds, if it could be measured.
    fn measure(&mut self, case: &Case, mut work: impl FnMut() -> Outcome<Done>) -> Option<f64> {
        let (warm_up, repeats) = case.runs;
        let delay = &self.delay;
        let mut measured = || -> Outcome<_> {
            let (mut times, mut done) = (Vec::new(), Vec::new());
            let resets = machine::reset_peak_rss();
            for _ in 0..warm_up {
                work()?;
            }
            let begun = Instant::now();
            while times.len() < repeats
                && (times.len() < FEW || begun.elapsed().as_secs_f64() < self.config.max_seconds)
            {
                let start = Instant::now();
                done.push(work()?);
                delay.follow(start);
                times.push(start.elapsed().as_secs_f64());
            }
            Ok((times, done, machine::peak_rss_mb().filter(|_| resets && case.suite != SuiteName::Statistics)))
        };
        let (times, done, peak) = match measured() {
            Ok(measured) => measured,
            Err(failure) => {
                self.refuse(case.suite, &case.name, failure.message());
                return None;
            }
        };
        self.add(case, Measure::Latency, times.iter().map(|time| 1e3 * time).collect());
        let rates = times.iter().zip(&done).filter(|(_, done)| done.tokens > 0);
        self.add(case, Measure::Throughput, rates.map(|(time, done)| done.tokens as f64 / time).collect());
        let streams = || done.iter().filter_map(|done| done.stream);
        let ms = |time: Duration| 1e3 * time.as_secs_f64();
        self.add(case, Measure::FirstToken, streams().map(|(first, ..)| ms(first)).collect());
        let each = streams().filter(|(.., tokens)| *tokens > 1);
        let each = each.map(|(first, last, tokens)| ms(last - first) / (tokens - 1) as f64);
        self.add(case, Measure::OutputToken, each.collect());
        self.add(case, Measure::Memory, peak.into_iter().collect());
        Some(super::figure::median(&times))
    }

    /// Loads the model, several times if that is to be measured. The files are in the page cache but for the first time.
    fn loading(&mut self, args: &ModelArgs) -> Outcome<Model> {
        if !self.config.suites.contains(&SuiteName::Loading) {
            return crate::load(args);
        }
        let runs @ (warm_up, repeats) = (self.config.loading.warm_up, self.config.loading.repeats);
        let case = Case { suite: SuiteName::Loading, name: "load".into(), batch: None, runs };
        let mut times = Vec::new();
        let mut peak = None;
        for i in 0..warm_up + repeats {
            let start = Instant::now();
            let model = crate::load(args)?;
            let time = start.elapsed();
            // Later loads use what the first has given back to the allocator.
            peak = peak.or_else(machine::peak_rss_mb);
            if i >= warm_up {
                times.push(1e3 * time.as_secs_f64());
            }
            if i + 1 == warm_up + repeats {
                self.add(&case, Measure::Latency, times);
                self.add(&case, Measure::Memory, peak.into_iter().collect());
                return Ok(model);
            }
        }
        unreachable!("the configuration asks for at least one repeat")
    }

    /// Texts of a number of tokens each, which may be more than the model takes.
    fn texts(&mut self, suite: SuiteName, model: &Model, count: usize, tokens: usize) -> Option<Vec<String>> {
        let mut random = SplitMix64(SEED);
        let made = Words::of(model, &mut random)
            .and_then(|words| (0..count).map(|_| words.text(tokens, &mut random)).collect::<Outcome<Vec<_>>>());
        made.map_err(|failure| self.refuse(suite, "texts", failure.message())).ok()
    }

    fn tokenising(&mut self, model: &Model) {
        let Batches { warm_up, repeats, batches, input_tokens, .. } = &self.config.tokenising;
        let (suite, runs) = (SuiteName::Tokenising, (*warm_up, *repeats));
        let most = batches.iter().copied().max().unwrap_or(0);
        let Some(texts) = self.texts(suite, model, most, *input_tokens) else { return };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = EncodeOptions { max_length: Some(usize::MAX), ..EncodeOptions::default() };
        for &batch in batches {
            let name = format!("batch {batch} of {input_tokens} tokens");
            self.measure(&Case { suite, name, batch: Some(batch), runs }, || {
                let tokens = model.tokenize(&texts[..batch], None, &options, None)?.tokens();
                Ok(Done { tokens, stream: None })
            });
        }
    }

    fn inference(&mut self, model: &Model) {
        let Batches { warm_up, repeats, batches, input_tokens, output_tokens } = &self.config.inference;
        let (suite, runs, length) = (SuiteName::Inference, (*warm_up, *repeats), (*input_tokens, *input_tokens));
        let inputs = |batch| SplitMix64(SEED).sequences(batch, length, model.vocabulary_size());
        let Some(output_tokens) = output_tokens.filter(|_| model.can_generate()) else {
            for &batch in batches {
                let (ids, lengths) = inputs(batch);
                let name = format!("hidden states, batch {batch} of {input_tokens} tokens");
                self.measure(&Case { suite, name, batch: Some(batch), runs }, || {
                    model.hidden_states(&ids, &lengths, None, None)?;
                    Ok(Done { tokens: ids.len(), stream: None })
                });
            }
            return;
        };
        let options = exactly(output_tokens);
        let (ids, lengths) = inputs(1);
        let name = format!("streaming, {input_tokens} + {output_tokens} tokens");
        self.measure(&Case { suite, name, batch: None, runs }, || {
            let start = Instant::now();
            let (mut first, mut last, mut tokens) = (None, Duration::ZERO, 0);
            let mut listener = |_: kinglet::Piece| {
                last = start.elapsed();
                first.get_or_insert(last);
                tokens += 1;
                true
            };
            let result = model.generate_ids(&ids, &lengths, &options, Some(&mut listener))?;
            whole(model, &result, output_tokens)?;
            Ok(Done { tokens, stream: first.map(|first| (first, last, tokens)) })
        });
        for &batch in batches {
            let (ids, lengths) = inputs(batch);
            let name = format!("generate, batch {batch} of {input_tokens} + {output_tokens} tokens");
            self.measure(&Case { suite, name, batch: Some(batch), runs }, || {
                let result = model.generate_ids(&ids, &lengths, &options, None)?;
                Ok(Done { tokens: whole(model, &result, batch * output_tokens)?, stream: None })
            });
        }
    }

    /// Reading the counters, and the statistics of a list of times.
    fn statistics(&mut self) {
        let suite = SuiteName::Statistics;
        let runs = (self.config.statistics.warm_up, self.config.statistics.repeats);
        for &records in &self.config.statistics.records {
            let counters = Counters::default();
            let mut random = SplitMix64(SEED);
            // Spread over three orders of magnitude, as calls are.
            let times: Vec<f64> = (0..records).map(|_| random.between(50, 50_000) as f64 / 1e3).collect();
            for &ms in &times {
                counters.call(1, 16, Duration::from_secs_f64(ms / 1e3));
                counters.add(Stage::Linear, 1, 16, Duration::from_secs_f64(ms / 1e3));
            }
            let case = |what: &str| Case { suite, name: format!("{what} of {records} records"), batch: None, runs };
            self.measure(&case("counters"), || {
                std::hint::black_box(counters.read().export(Format::Json));
                Ok(Done::default())
            });
            self.measure(&case("latencies"), || {
                std::hint::black_box(LatencyStatistics::of(&mut times.clone()));
                Ok(Done::default())
            });
        }
    }

    /// From texts to what the model is made for.
    fn end_to_end(&mut self, model: &Model) {
        let Batches { warm_up, repeats, batches, input_tokens, output_tokens } = &self.config.end_to_end;
        let (suite, runs) = (SuiteName::EndToEnd, (*warm_up, *repeats));
        let most = batches.iter().copied().max().unwrap_or(0);
        if *input_tokens > model.max_length() {
            let why =
                format!("end-to-end.input_tokens: {input_tokens}; the model takes at most {}", model.max_length());
            return self.refuse(suite, "texts", why);
        }
        let Some(texts) = self.texts(suite, model, most, *input_tokens) else { return };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let output = output_tokens.unwrap_or(1);
        let options = exactly(output);
        let head = model.info()["head"].as_str().map(str::to_string);
        let verb = match head.as_deref() {
            _ if model.can_generate() => "generate",
            None => "embed",
            Some("token") => "classify tokens",
            Some(_) => "classify",
        };
        for &batch in batches {
            let (name, texts) = (format!("{verb}, batch {batch} of {input_tokens} tokens"), &texts[..batch]);
            self.measure(&Case { suite, name, batch: Some(batch), runs }, || {
                model.reset_counters();
                match verb {
                    "generate" => {
                        whole(model, &model.generate(texts, &options, None)?, batch * output)?;
                    }
                    "embed" => drop(model.embed(texts, &EmbedOptions::default())?),
                    "classify" => drop(model.classify(texts, None, &ClassifyOptions::default())?),
                    _ => drop(model.classify_tokens(texts, Aggregation::Simple, &ClassifyOptions::default())?),
                }
                Ok(Done { tokens: model.counters().stage(Stage::Call).tokens as usize, stream: None })
            });
        }
    }

    /// Long texts, in windows that overlap: embedded or, by a model that generates, summarised until one window is left; and shortened.
    fn documents(&mut self, model: &Model) {
        let (suite, documents) = (SuiteName::Documents, &self.config.documents);
        let verb = if model.can_generate() { "summarise" } else { "embed" };
        self.of_lengths(&|tokens| format!("{verb} {tokens} tokens"), &mut |runner, case, tokens| {
            if model.can_generate() {
                let ids = SplitMix64(SEED).sequences(1, (tokens, tokens), model.vocabulary_size()).0;
                return runner.measure(case, || summarise(model, ids.clone(), documents));
            }
            let texts = runner.texts(suite, model, 1, tokens)?;
            let words: Vec<&str> = texts[0].split(' ').collect();
            runner.measure(case, || embed_document(model, &words, documents))
        });
        for &ratio in &documents.compression_ratios {
            let options = CompressOptions { ratio: Some(ratio), ..CompressOptions::default() };
            self.of_lengths(&|tokens| format!("compress {tokens} tokens by {ratio}"), &mut |runner, case, tokens| {
                let text = in_sentences(&runner.texts(suite, model, 1, tokens)?[0]);
                runner.measure(case, || {
                    let tokens = model.compress(&text, &options)?.tokens_before;
                    Ok(Done { tokens, stream: None })
                })
            });
        }
    }

    /// Runs a case for each length of documents, unless the one before says that it would take too long.
    fn of_lengths(
        &mut self,
        name: &dyn Fn(usize) -> String,
        run: &mut dyn FnMut(&mut Self, &Case, usize) -> Option<f64>,
    ) {
        let (documents, most) = (&self.config.documents, self.config.max_seconds);
        let mut before: Option<(usize, f64)> = None;
        for &tokens in &documents.tokens {
            let runs = (documents.warm_up, documents.repeats);
            let case = Case { suite: SuiteName::Documents, name: name(tokens), batch: None, runs };
            let estimate = before.map_or(0.0, |(fewer, seconds)| seconds * tokens as f64 / fewer as f64);
            if estimate > most {
                self.refuse(case.suite, &case.name, format!("would take about {estimate:.0} s; max_seconds is {most}"));
                continue;
            }
            before = run(self, &case, tokens).map(|seconds| (tokens, seconds)).or(before);
        }
    }
}

/// Words with a full stop after every few of them.
fn in_sentences(words: &str) -> String {
    const WORDS: usize = 16;
    let words: Vec<&str> = words.split(' ').collect();
    words.chunks(WORDS).map(|words| words.join(" ") + ". ").collect()
}

fn exactly(output_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: Some(output_tokens),
        num_beams: Some(1),
        do_sample: Some(false),
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

/// The number of tokens that were generated, which the model's limit may have made fewer.
fn whole(model: &Model, result: &Generations, wanted: usize) -> Outcome<usize> {
    let made = result.outputs.iter().flatten().map(|output| output.tokens.len()).sum();
    match made == wanted {
        true => Ok(made),
        false => Err(Failure::new(format!(
            "{made} tokens were generated, not {wanted}: the model takes {}",
            model.max_length()
        ))),
    }
}

/// Windows that overlap; the last one may be shorter.
fn windows<T>(all: &[T], window: usize, overlap: usize) -> Vec<&[T]> {
    let count = all.len().saturating_sub(overlap).div_ceil(window - overlap).max(1);
    (0..count).map(|i| i * (window - overlap)).map(|start| &all[start..all.len().min(start + window)]).collect()
}

/// The window of a model that takes at most `most` tokens.
fn window(documents: &Documents, most: usize, least: usize) -> Outcome<usize> {
    let window = documents.window.min(most);
    if window > least {
        Ok(window)
    } else {
        Err(Failure::new(format!("windows of {window} tokens are all that the model takes")))
    }
}

fn embed_document(model: &Model, words: &[&str], documents: &Documents) -> Outcome<Done> {
    // Room for special tokens.
    let window = window(documents, model.max_length().saturating_sub(2), documents.overlap)?;
    let texts: Vec<String> = windows(words, window, documents.overlap).iter().map(|words| words.join(" ")).collect();
    let mut tokens = 0;
    for texts in texts.chunks(documents.batch) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        tokens += model.embed(&texts, &EmbedOptions::default())?.tokens.iter().sum::<usize>();
    }
    Ok(Done { tokens, stream: None })
}

fn summarise(model: &Model, mut ids: Vec<u32>, documents: &Documents) -> Outcome<Done> {
    let Documents { overlap, batch, output_tokens, .. } = *documents;
    // Of a decoder, the summary follows the window.
    let room = if model.has_encoder() { model.max_length() } else { model.max_length().saturating_sub(output_tokens) };
    // More than this, or summaries would never fit into one window.
    let window = window(documents, room, overlap + 2 * output_tokens - 1)?;
    let options = exactly(output_tokens);
    let mut tokens = 0;
    loop {
        let pieces = windows(&ids, window, overlap);
        let mut summaries = Vec::with_capacity(pieces.len() * output_tokens);
        for pieces in pieces.chunks(batch) {
            let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
            let result = model.generate_ids(&pieces.concat(), &lengths, &options, None)?;
            tokens += lengths.iter().sum::<usize>();
            summaries.extend(result.outputs.iter().flat_map(|outputs| outputs[0].tokens.iter().copied()));
        }
        if pieces.len() == 1 {
            return Ok(Done { tokens, stream: None });
        }
        ids = summaries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_and_overlap() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(windows(&all, 4, 1), [&[0, 1, 2, 3][..], &[3, 4, 5, 6], &[6, 7, 8, 9]]);
        assert_eq!(windows(&all, 4, 0), [&[0, 1, 2, 3][..], &[4, 5, 6, 7], &[8, 9]]);
        assert_eq!(windows(&all[..2], 4, 3), [&[0, 1]]);
    }
}
