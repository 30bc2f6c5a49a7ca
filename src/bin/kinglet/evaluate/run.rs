//! One model's answers to all cases, and what they score.

use std::time::Instant;

use kinglet::{ClassifyOptions, EmbedOptions, EncodeOptions, GenerateOptions, Model, Stage};
use serde_json::{Value, json};

use super::cases::Cases;
use crate::failure::{Failure, Outcome};
use crate::metrics::Metric;
use crate::metrics::answers::{macro_f1, word_f1};
use crate::metrics::bleu::{Bleu, Chrf};
use crate::metrics::latency::LatencyStatistics;
use crate::metrics::ranking::{cosine, ndcg, pearson, reciprocal_rank, spearman};
use crate::metrics::rouge::Rouge;
use crate::progress::Meter;

/// The depth of nDCG and recall.
const DEPTH: usize = 10;
/// The longest windows of a text whose perplexity is measured, in tokens.
const WINDOW: usize = 512;

pub struct Run {
    pub metrics: Vec<Metric>,
    /// A JSON object per case.
    pub answers: Vec<Value>,
    pub latency: LatencyStatistics,
    pub tokens_per_s: f64,
}

/// Calls of one verb, batch after batch.
struct Clock<'a> {
    model: &'a Model,
    bar: Meter,
    /// Milliseconds of each case's batch; the texts of a batch arrive together.
    times: Vec<f64>,
    seconds: f64,
    tokens: u64,
}

impl<'a> Clock<'a> {
    fn new(model: &'a Model, cases: usize) -> Self {
        let bar = Meter::new("cases", Some(cases as u64), false);
        Self { model, bar, times: Vec::new(), seconds: 0.0, tokens: 0 }
    }

    fn call<T>(&mut self, cases: usize, call: impl FnOnce() -> kinglet::Result<T>) -> Outcome<T> {
        self.model.reset_counters();
        let start = Instant::now();
        let result = call()?;
        let seconds = start.elapsed().as_secs_f64();
        self.seconds += seconds;
        self.times.resize(self.times.len() + cases, seconds * 1e3);
        self.tokens += self.model.counters().stage(Stage::Call).tokens;
        self.bar.add(cases as u64);
        Ok(result)
    }

    fn finish(mut self, metrics: Vec<Metric>, answers: Vec<Value>) -> Run {
        let latency = LatencyStatistics::of(&mut self.times);
        Run { metrics, answers, latency, tokens_per_s: self.tokens as f64 / self.seconds.max(1e-9) }
    }
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

pub fn run(model: &Model, cases: &Cases, options: &GenerateOptions, batch: usize) -> Outcome<Run> {
    let clock = Clock::new(model, cases.count());
    match cases {
        Cases::Generate(cases) => generate(clock, cases, options, batch),
        Cases::Classify { texts, pairs, labels } => classify(clock, texts, pairs.as_deref(), labels, batch),
        Cases::Similarity { first, second, scores } => similarity(clock, first, second, scores, batch),
        Cases::Retrieval { corpus, queries, relevant } => {
            let (documents, _) = embed(model, corpus, batch, &mut Clock::new(model, corpus.len()))?;
            let mut clock = clock;
            let (vectors, width) = embed(model, queries, batch, &mut clock)?;
            let mut values = [Vec::new(), Vec::new(), Vec::new()];
            let mut answers = Vec::new();
            for (query, relevant) in vectors.chunks(width).zip(relevant) {
                let scores: Vec<f64> = documents.chunks(width).map(|document| cosine(query, document)).collect();
                let mut order: Vec<usize> = (0..scores.len()).collect();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                let gains: Vec<f64> = order.iter().map(|i| relevant.get(i).copied().unwrap_or(0.0)).collect();
                let all: Vec<f64> = relevant.values().copied().collect();
                let positive = |gains: &[f64]| gains.iter().filter(|&&gain| gain > 0.0).count() as f64;
                let recall = positive(&gains[..DEPTH.min(gains.len())]) / positive(&all).max(1.0);
                let scores = [ndcg(&gains, &all, DEPTH), reciprocal_rank(&gains), recall];
                values.iter_mut().zip(scores).for_each(|(values, score)| values.push(score));
                answers.push(json!({ "query": answers.len(), "first": order.iter().take(DEPTH).collect::<Vec<_>>() }));
            }
            let [gain, rank, recall] = values;
            let metrics = vec![
                Metric::mean("ndcg_at_10", "nDCG@10", gain),
                Metric::mean("mrr", "MRR", rank),
                Metric::mean("recall_at_10", "recall@10", recall),
            ];
            Ok(clock.finish(metrics, answers))
        }
        Cases::Perplexity(texts) => perplexity(clock, texts),
    }
}

fn generate(mut clock: Clock, cases: &[(String, String)], options: &GenerateOptions, batch: usize) -> Outcome<Run> {
    let model = clock.model;
    let mut outputs = Vec::with_capacity(cases.len());
    for batch in cases.chunks(batch) {
        let texts: Vec<&str> = batch.iter().map(|(input, _)| input.as_str()).collect();
        let result = clock.call(batch.len(), || model.generate(&texts, options, None))?;
        for mut answers in result.outputs {
            outputs.push(if answers.is_empty() { String::new() } else { answers.swap_remove(0).text });
        }
    }
    let pairs = || outputs.iter().zip(cases).map(|(answer, (_, expected))| (answer.as_str(), expected.as_str()));
    let mean = |key, name, score: &dyn Fn(&str, &str) -> f64| {
        Metric::mean(key, name, pairs().map(|(answer, expected)| score(answer, expected)).collect())
    };
    let bleu: Vec<Bleu> = pairs().map(|(answer, expected)| Bleu::of(answer, expected)).collect();
    let chrf: Vec<Chrf> = pairs().map(|(answer, expected)| Chrf::of(answer, expected)).collect();
    let rouge: Vec<Rouge> = pairs().map(|(answer, expected)| Rouge::of(answer, expected)).collect();
    let of_rouge = |key, name, one: fn(&Rouge) -> f64| Metric::mean(key, name, rouge.iter().map(one).collect());
    let metrics = vec![
        mean("exact_match", "exact match", &|answer, expected| f64::from(answer == expected)),
        mean("f1", "F1", &word_f1),
        Metric::new("bleu", "BLEU", move |cases| Bleu::score(cases.iter().map(|&i| bleu[i]))),
        Metric::new("chrf", "chrF", move |cases| Chrf::score(cases.iter().map(|&i| chrf[i]))),
        of_rouge("rouge_1", "ROUGE-1", |rouge| rouge.one),
        of_rouge("rouge_2", "ROUGE-2", |rouge| rouge.two),
        of_rouge("rouge_l", "ROUGE-L", |rouge| rouge.l),
        of_rouge("rouge_l_sum", "ROUGE-Lsum", |rouge| rouge.l_sum),
    ];
    let answers = outputs.iter().zip(cases).map(|(output, (input, expected))| {
        json!({ "input": input, "expected": expected, "output": output, "exact": output == expected })
    });
    let answers = answers.collect();
    Ok(clock.finish(metrics, answers))
}

fn classify(
    mut clock: Clock,
    texts: &[String],
    pairs: Option<&[String]>,
    labels: &[String],
    batch: usize,
) -> Outcome<Run> {
    let model = clock.model;
    if let Some(label) = labels.iter().find(|label| !model.labels().contains(label)) {
        let known = model.labels().join(", ");
        return Err(Failure::new(format!("label {label:?} is not one of the model's: {known}")));
    }
    let mut given = Vec::with_capacity(texts.len());
    for start in (0..texts.len()).step_by(batch) {
        let range = start..texts.len().min(start + batch);
        let (first, second) = (refs(&texts[range.clone()]), pairs.map(|pairs| refs(&pairs[range.clone()])));
        let result =
            clock.call(range.len(), || model.classify(&first, second.as_deref(), &ClassifyOptions::default()))?;
        given.extend(result.best.iter().map(|&best| model.labels()[best as usize].clone()));
    }
    let right = given.iter().zip(labels).map(|(given, label)| f64::from(given == label)).collect();
    let answers = texts.iter().zip(given.iter().zip(labels)).map(
        |(text, (given, label))| json!({ "text": text, "expected": label, "output": given, "exact": given == label }),
    );
    let answers = answers.collect();
    let both: Vec<(String, String)> = given.iter().cloned().zip(labels.iter().cloned()).collect();
    let metrics = vec![
        Metric::mean("accuracy", "accuracy", right),
        Metric::new("macro_f1", "macro F1", move |cases| {
            macro_f1(cases.iter().map(|&i| (both[i].0.as_str(), both[i].1.as_str())))
        }),
    ];
    Ok(clock.finish(metrics, answers))
}

fn similarity(mut clock: Clock, first: &[String], second: &[String], wanted: &[f64], batch: usize) -> Outcome<Run> {
    let model = clock.model;
    let (a, width) = embed(model, first, batch, &mut clock)?;
    let (b, _) = embed(model, second, batch, &mut Clock::new(model, second.len()))?;
    let found: Vec<f64> = a.chunks(width).zip(b.chunks(width)).map(|(a, b)| cosine(a, b)).collect();
    let answers = found.iter().zip(wanted).map(|(found, wanted)| json!({ "expected": wanted, "output": found }));
    let answers = answers.collect();
    let metric = |key, name, correlation: fn(&[f64], &[f64]) -> f64| {
        let (found, wanted) = (found.clone(), wanted.to_vec());
        Metric::new(key, name, move |cases| {
            let side = |values: &[f64]| cases.iter().map(|&i| values[i]).collect::<Vec<_>>();
            correlation(&side(&found), &side(&wanted))
        })
    };
    let metrics = vec![metric("spearman", "Spearman", spearman), metric("pearson", "Pearson", pearson)];
    Ok(clock.finish(metrics, answers))
}

/// The vectors of texts, end to end, and their width.
fn embed(model: &Model, texts: &[String], batch: usize, clock: &mut Clock) -> Outcome<(Vec<f32>, usize)> {
    let (mut vectors, mut width) = (Vec::new(), 1);
    for texts in texts.chunks(batch) {
        let result = clock.call(texts.len(), || model.embed(&refs(texts), &EmbedOptions::default()))?;
        width = (result.values.len() / texts.len()).max(1);
        vectors.extend(result.values);
    }
    Ok((vectors, width))
}

/// Windows are evaluated independently; every token but a window's first counts.
fn perplexity(mut clock: Clock, texts: &[String]) -> Outcome<Run> {
    let model = clock.model;
    let options = EncodeOptions { max_length: Some(usize::MAX), ..EncodeOptions::default() };
    let mut surprises = Vec::with_capacity(texts.len());
    for text in texts {
        let encoding = model.tokenize(&[text], None, &options, None)?;
        let window = WINDOW.min(model.max_length().max(2));
        let surprise = clock.call(1, || {
            let (mut sum, mut count) = (0.0, 0.0);
            for ids in encoding.ids().chunks(window).filter(|ids| ids.len() > 1) {
                let logits = model.logits(ids, None, false, None)?;
                for (row, &next) in logits.values.chunks_exact(logits.vocabulary).zip(&ids[1..]) {
                    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let all: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
                    sum += all.ln() - f64::from(row[next as usize] - largest);
                    count += 1.0;
                }
            }
            Ok((sum, count))
        })?;
        surprises.push(surprise);
    }
    let answers = surprises.iter().map(|(sum, count)| json!({ "tokens": count, "perplexity": (sum / count).exp() }));
    let answers = answers.collect();
    let perplexity = move |cases: &[usize]| {
        let (sum, count) =
            cases.iter().fold((0.0, 0.0), |(sum, count), &i| (sum + surprises[i].0, count + surprises[i].1));
        (sum / count).exp()
    };
    Ok(clock.finish(vec![Metric::new("perplexity", "perplexity", perplexity)], answers))
}
