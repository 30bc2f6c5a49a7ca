//! The inputs of a load test and the calls on them.

use std::time::{Duration, Instant};

use kinglet::{EmbedOptions, GenerateOptions, Model, Output, Priority};

use crate::args::{Task, WorkloadArgs};
use crate::failure::{Failure, Outcome};
use crate::random::SplitMix64;
use crate::words::Words;

/// The result of one input.
pub struct Answer {
    /// A hash of all bits of the result.
    pub hash: u64,
    /// Input tokens of an embedding, output tokens of a generation.
    pub tokens: usize,
    /// When the first and the last token came, from the beginning of the call; only of generation without beams, one input per call.
    pub stream: Option<(Duration, Duration)>,
}

/// How urgent a call is, and how long it may take.
#[derive(Clone, Copy, Default)]
pub struct Calling {
    pub priority: Priority,
    pub limit: Option<Duration>,
}

pub struct Workload<'a> {
    model: &'a Model,
    inputs: Inputs,
}

enum Inputs {
    Texts(Vec<String>),
    Prompts { prompts: Vec<Vec<u32>>, options: Box<GenerateOptions> },
}

impl<'a> Workload<'a> {
    pub fn new(model: &'a Model, args: &WorkloadArgs) -> Outcome<Self> {
        let mut random = SplitMix64(args.seed);
        let inputs = match args.task {
            Task::Embed => Inputs::Texts(texts(model, args, &mut random)?),
            Task::Generate => {
                let (ids, lengths) = random.sequences(args.inputs, args.input_tokens, model.vocabulary_size());
                let mut rest = &ids[..];
                let prompts = lengths.iter().map(|&length| rest.split_off(..length).unwrap_or_default().to_vec());
                let options = GenerateOptions {
                    max_new_tokens: Some(args.output_tokens),
                    num_beams: Some(args.beams),
                    do_sample: Some(args.sample),
                    // The same for all calls, so that a text of a batch draws as it does alone.
                    seed: args.sample.then_some(args.seed),
                    ignore_eos: true,
                    ..GenerateOptions::default()
                };
                Inputs::Prompts { prompts: prompts.collect(), options: Box::new(options) }
            }
        };
        Ok(Self { model, inputs })
    }

    pub fn inputs(&self) -> usize {
        match &self.inputs {
            Inputs::Texts(texts) => texts.len(),
            Inputs::Prompts { prompts, .. } => prompts.len(),
        }
    }

    /// One call with one input, counted on beyond the last from the first.
    pub fn call(&self, input: usize, calling: Calling) -> kinglet::Result<Answer> {
        let input = input % self.inputs();
        let Inputs::Prompts { prompts, options } = &self.inputs else {
            return self.batch(input..input + 1, calling).map(|mut answers| answers.swap_remove(0));
        };
        let prompt = &prompts[input];
        if options.num_beams != Some(1) {
            return self.batch(input..input + 1, calling).map(|mut answers| answers.swap_remove(0));
        }
        let start = Instant::now();
        let mut stream: Option<(Duration, Duration)> = None;
        let mut listener = |_: kinglet::Piece| {
            let now = start.elapsed();
            stream = Some((stream.map_or(now, |(first, _)| first), now));
            true
        };
        let result = self.model.generate_ids(prompt, &[prompt.len()], &timed(options, calling), Some(&mut listener))?;
        Ok(Answer { stream, ..answer(&result.outputs[0]) })
    }

    /// One call with several inputs.
    pub fn batch(&self, inputs: std::ops::Range<usize>, calling: Calling) -> kinglet::Result<Vec<Answer>> {
        let inputs = inputs.map(|i| i % self.inputs());
        match &self.inputs {
            Inputs::Texts(texts) => {
                let texts: Vec<&str> = inputs.map(|i| texts[i].as_str()).collect();
                let Calling { priority, limit } = calling;
                let deadline = limit.map(|limit| Instant::now() + limit);
                let embeddings =
                    self.model.embed(&texts, &EmbedOptions { priority, deadline, ..EmbedOptions::default() })?;
                let answer = |i: usize| {
                    let mut hash = Fnv::default();
                    embeddings.row(i).iter().for_each(|value| hash.add(value.to_bits()));
                    Answer { hash: hash.0, tokens: embeddings.tokens[i], stream: None }
                };
                Ok((0..texts.len()).map(answer).collect())
            }
            Inputs::Prompts { prompts, options } => {
                let (mut ids, mut lengths) = (Vec::new(), Vec::new());
                for prompt in inputs.map(|i| &prompts[i]) {
                    ids.extend_from_slice(prompt);
                    lengths.push(prompt.len());
                }
                let result = self.model.generate_ids(&ids, &lengths, &timed(options, calling), None)?;
                Ok(result.outputs.iter().map(|outputs| answer(outputs)).collect())
            }
        }
    }
}

fn timed(options: &GenerateOptions, calling: Calling) -> GenerateOptions {
    let deadline = calling.limit.map(|limit| Instant::now() + limit);
    GenerateOptions { priority: calling.priority, deadline, ..options.clone() }
}

fn answer(outputs: &[Output]) -> Answer {
    let mut hash = Fnv::default();
    for output in outputs {
        output.tokens.iter().for_each(|&token| hash.add(token));
        hash.add(output.score.to_bits());
    }
    Answer { hash: hash.0, tokens: outputs.iter().map(|output| output.tokens.len()).sum(), stream: None }
}

/// FNV-1a of 64 bits, by words of 32 bits: small, and the same on every machine.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, word: u32) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Texts of the wanted numbers of tokens.
fn texts(model: &Model, args: &WorkloadArgs, random: &mut SplitMix64) -> Outcome<Vec<String>> {
    let (low, high) = args.input_tokens;
    if high > model.max_length() {
        let most = model.max_length();
        return Err(Failure::usage(format!("--input-tokens: {high} tokens; the model takes at most {most}")));
    }
    let words = Words::of(model, random)?;
    (0..args.inputs)
        .map(|_| {
            let wanted = random.between(low, high + 1);
            words.text(wanted, random)
        })
        .collect()
}
