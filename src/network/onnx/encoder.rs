//! Graphs that run whole texts: encoders with or without a classification head, and decoders exported for embedding. Graphs take padded
//! batches, so texts of similar length run together, and the results are packed again.

use std::borrow::Cow;

use ort::value::DynValue;

use super::graph::{Graph, Inputs};
use super::past::{PAST, Past};
use crate::backend::pooling;
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::network::{check_ids, check_length};
use crate::spec::{Batch, HeadKind, Pooling, Position, Spec};

/// The maximum number of tokens of a run of several texts, padding included. It bounds the activations.
const RUN_TOKENS: usize = 1024;

/// Padding in tokens that is always accepted: a separate run costs about as much.
const FREE_PADDING: usize = 32;

/// The maximum width of `sentence_embedding`.
const MAX_WIDTH: usize = 1 << 16;

pub const IDS: &str = "input_ids";
pub const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
pub const POSITIONS: &str = "position_ids";

const LOGITS: &str = "logits";
/// The names of the outputs with one vector per token and with one per text in transformers and sentence-transformers.
const TOKENS: [&str; 2] = ["last_hidden_state", "token_embeddings"];
const SENTENCE: &str = "sentence_embedding";

/// The output that vectors are read from.
#[derive(Clone, Debug)]
enum States {
    /// `[texts, tokens, hidden]`.
    Tokens(String),
    /// `[texts, hidden]`: the graph pools in this way.
    Sentence(String, Pooling),
    /// The graph has none.
    None,
}

/// A graph that runs whole texts.
pub struct EncoderGraph {
    pub graph: Graph,
    states: States,
    /// The output of a classification head.
    logits: Option<String>,
    hidden: usize,
    labels: Option<(HeadKind, usize)>,
    vocabulary: usize,
    token_types: usize,
    max_tokens: usize,
    position: Position,
    /// The KV cache inputs of a decoder that embeds; they are empty for whole texts.
    past: Vec<Past>,
    /// The padding token.
    padding: u32,
}

/// Texts that run as one padded batch.
struct PaddedRun<'a> {
    pass: &'a Batch<'a>,
    /// Indices of texts in the pass.
    texts: &'a [usize],
    longest: usize,
}

impl EncoderGraph {
    /// Whether a decoder's graph is for embedding: it returns vectors and no logits.
    pub fn embeds(graph: &Graph) -> bool {
        graph.output(LOGITS).is_none() && TOKENS.into_iter().chain([SENTENCE]).any(|name| graph.output(name).is_some())
    }

    /// Finds the graph's inputs and outputs. If the graph pools, sets the Spec's hidden size to the output's width. `pooling` is the
    /// pooling of the model's files, None if Kinglet does not support it; `padding` is their padding token.
    pub fn new(graph: Graph, spec: &mut Spec, pooling: Option<Pooling>, padding: u32) -> Result<Self> {
        graph.check_inputs(|name| [IDS, MASK, TYPES, POSITIONS].contains(&name) || name.starts_with(PAST))?;
        if graph.input(IDS).is_none() {
            return Err(graph.error(format!("the graph has no input `{IDS}`")));
        }
        let tokens = TOKENS.into_iter().find_map(|name| graph.output(name).filter(|port| port.shape.len() == 3));
        let sentence = graph.output(SENTENCE).filter(|port| port.shape.len() == 2);
        let states = match (tokens, sentence) {
            (Some(port), None) => States::Tokens(port.name.clone()),
            (Some(port), Some(_)) if pooling.is_some() => States::Tokens(port.name.clone()),
            (_, Some(port)) => States::Sentence(port.name.clone(), pooling.unwrap_or(Pooling::Mean)),
            (None, None) => States::None,
        };
        let logits = graph.output(LOGITS).map(|port| port.name.clone());
        let Some(stack) = &mut spec.encoder else { return Err(Error::internal("an encoder graph without an encoder")) };
        match &states {
            States::Sentence(name, _) => match graph.output(name).and_then(|port| port.axis(-1)) {
                Some(width) if width == 0 || width > MAX_WIDTH => {
                    return Err(graph.error(format!("output `{name}` is {width} wide; 1 to {MAX_WIDTH} are supported")));
                }
                Some(width) => stack.hidden = width,
                None => {}
            },
            States::Tokens(name) => {
                let width = graph.output(name).and_then(|port| port.axis(-1));
                if let Some(width) = width.filter(|&width| width != stack.hidden) {
                    let hidden = stack.hidden;
                    return Err(graph.error(format!("output `{name}` is {width} wide; config.json says {hidden}")));
                }
            }
            States::None if spec.head.is_some() && logits.is_some() => {}
            States::None => {
                return Err(graph.error(format!(
                    "the graph has none of the outputs last_hidden_state, token_embeddings, sentence_embedding{}; its outputs are {}",
                    if spec.head.is_some() { ", logits" } else { "" },
                    graph.output_names()
                )));
            }
        }
        if let Some(head) = &spec.head {
            let port = graph.require_output(LOGITS)?;
            let rank = if head.kind == HeadKind::Token { 3 } else { 2 };
            let width = port.axis(-1).unwrap_or(head.labels);
            if port.shape.len() != rank || width != head.labels {
                return Err(graph.error(format!(
                    "output `{LOGITS}` has shape {:?}; config.json's head has {} labels in {rank} dimensions",
                    port.shape, head.labels
                )));
            }
        }
        let past = graph.inputs.iter().filter(|port| port.name.starts_with(PAST));
        let past = past.map(|port| Past::new(&graph, port, stack.heads)).collect::<Result<_>>()?;
        Ok(Self {
            states,
            past,
            logits,
            hidden: stack.hidden,
            labels: spec.head.as_ref().map(|head| (head.kind, head.labels)),
            vocabulary: spec.vocabulary,
            token_types: stack.token_types,
            max_tokens: stack.max_tokens,
            position: stack.position,
            padding: if (padding as usize) < spec.vocabulary { padding } else { 0 },
            graph,
        })
    }

    /// The pooling inside the graph, if its vectors per text are used.
    pub fn built_in_pooling(&self) -> Option<Pooling> {
        match self.states {
            States::Sentence(_, pooling) => Some(pooling),
            _ => None,
        }
    }

    /// Packed rows with this pooling.
    pub fn pooled(&self, pass: &Batch, pooling: Pooling, call: Call<'_>) -> Result<Vec<f32>> {
        let (items, tokens) = (pass.layout.sequences(), pass.layout.tokens());
        match &self.states {
            States::Tokens(name) => {
                let mut states = vec![0.0; tokens * self.hidden];
                self.runs(pass, name, call, |run, values| self.unpad(run, name, values, self.hidden, &mut states))?;
                call.counters.time(Stage::Pool, items, tokens, || {
                    Ok(pooling::pool(states, pass.layout.starts(), self.hidden, pooling))
                })
            }
            States::Sentence(name, inside) if pooling == *inside => {
                let mut rows = vec![0.0; items * self.hidden];
                self.runs(pass, name, call, |run, value| self.rows(run, name, value, self.hidden, &mut rows))?;
                Ok(rows)
            }
            States::Sentence(_, inside) => {
                let (path, inside, asked) = (self.graph.path().display(), inside.name(), pooling.name());
                Err(Error::unsupported(format!(
                    "pooling {asked}: {path} has built-in pooling ({inside}) and returns one vector per text; leave pooling out"
                )))
            }
            States::None => Err(Error::unsupported(format!(
                "{}: the graph returns no hidden states (its outputs are {}); classify with it, or export it for feature-extraction",
                self.graph.path().display(),
                self.graph.output_names()
            ))),
        }
    }

    pub fn classify(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<f32>> {
        let (Some(name), Some((kind, labels))) = (&self.logits, self.labels) else {
            return Err(Error::internal("logits of a graph without them"));
        };
        let by_token = kind == HeadKind::Token;
        let rows = if by_token { pass.layout.tokens() } else { pass.layout.sequences() };
        let mut logits = vec![0.0; rows * labels];
        self.runs(pass, name, call, |run, value| match by_token {
            true => self.unpad(run, name, value, labels, &mut logits),
            false => self.rows(run, name, value, labels, &mut logits),
        })?;
        Ok(logits)
    }

    /// Runs a whole pass and calls `take` for each run: its texts, the length of the longest, and the hidden states
    /// `[texts, longest, hidden]`.
    pub fn hidden_states(
        &self,
        pass: &Batch,
        call: Call<'_>,
        mut take: impl FnMut(&[usize], usize, DynValue) -> Result<()>,
    ) -> Result<()> {
        let States::Tokens(name) = &self.states else {
            return Err(self.graph.error("the encoder graph has no output `last_hidden_state`"));
        };
        self.runs(pass, name, call, |run, value| {
            let shape = [run.texts.len(), run.longest, self.hidden];
            self.graph.floats(name, &value, &shape)?;
            take(run.texts, run.longest, value)
        })
    }

    /// Runs all texts of a pass that have tokens, texts of similar length together.
    fn runs(
        &self,
        pass: &Batch,
        output: &str,
        call: Call<'_>,
        mut take: impl FnMut(&PaddedRun, DynValue) -> Result<()>,
    ) -> Result<()> {
        self.check(pass)?;
        let lengths: Vec<_> = (0..pass.layout.sequences()).map(|i| pass.layout.range(i).len()).collect();
        let groups = groups(&lengths, self.graph.input(MASK).is_some());
        for texts in groups {
            call.check()?;
            let longest = texts.iter().map(|&text| lengths[text]).max().unwrap_or(0);
            let tokens = texts.iter().map(|&text| lengths[text]).sum();
            let run = PaddedRun { pass, texts: &texts, longest };
            let value = call.counters.time(Stage::Linear, texts.len(), tokens, || {
                let mut values = self.graph.run(self.inputs(&run)?, &[output])?;
                values.pop().ok_or_else(|| Error::internal("a run without an output"))
            })?;
            take(&run, value)?;
        }
        call.check()
    }

    fn check(&self, pass: &Batch) -> Result<()> {
        check_ids("ids", pass.ids, self.vocabulary)?;
        if self.token_types > 0 {
            check_ids("type_ids", pass.type_ids, self.token_types)?;
            if self.graph.input(TYPES).is_none() && pass.type_ids.iter().any(|&kind| kind != 0) {
                let path = self.graph.path().display();
                return Err(Error::unsupported(format!(
                    "type_ids: {path}: the graph has no input `{TYPES}`; export the model with it, or run the safetensors"
                )));
            }
        }
        let longest = pass.positions.iter().max().map_or(0, |&last| last as usize + 1);
        check_length(longest, self.max_tokens)
    }

    fn inputs(&self, run: &PaddedRun) -> Result<Inputs<'static>> {
        let shape = [run.texts.len(), run.longest];
        let mut inputs: Inputs = Vec::with_capacity(4);
        for name in [IDS, MASK, TYPES, POSITIONS] {
            let Some(port) = self.graph.input(name) else { continue };
            let values = match name {
                IDS => run.padded(run.pass.ids, self.padding),
                MASK => run.padded(&vec![1; run.pass.ids.len()], 0),
                TYPES => run.padded(run.pass.type_ids, 0),
                _ => run.padded(&self.positions(run.pass), 0),
            };
            inputs.push((Cow::Borrowed(name), self.graph.integers(port, &shape, &values)?));
        }
        for past in &self.past {
            inputs.push((Cow::Owned(past.input.clone()), past.empty(&self.graph, run.texts.len())?));
        }
        Ok(inputs)
    }

    /// Positions as in transformers: RoBERTa's begin after the padding token's row.
    fn positions<'a>(&self, pass: &'a Batch) -> Cow<'a, [u32]> {
        match self.position {
            Position::LearnedAfterPadding { .. } => {
                let mut rows = Vec::new();
                self.position.rows(pass.ids, &pass.positions, &mut rows);
                Cow::Owned(rows)
            }
            _ => Cow::Borrowed(&pass.positions),
        }
    }

    /// Packs a run's `[texts, longest, width]`, without padding.
    fn unpad(&self, run: &PaddedRun, name: &str, value: DynValue, width: usize, packed: &mut [f32]) -> Result<()> {
        let values = self.graph.floats(name, &value, &[run.texts.len(), run.longest, width])?;
        for (row, &text) in run.texts.iter().enumerate() {
            let range = run.pass.layout.range(text);
            let from = &values[row * run.longest * width..][..range.len() * width];
            packed[range.start * width..range.end * width].copy_from_slice(from);
        }
        Ok(())
    }

    /// Copies a run's `[texts, width]` to the rows of the texts in the pass.
    fn rows(&self, run: &PaddedRun, name: &str, value: DynValue, width: usize, rows: &mut [f32]) -> Result<()> {
        let values = self.graph.floats(name, &value, &[run.texts.len(), width])?;
        for (from, &text) in values.chunks_exact(width.max(1)).zip(run.texts) {
            rows[text * width..][..width].copy_from_slice(from);
        }
        Ok(())
    }
}

impl PaddedRun<'_> {
    /// The run's part of a pass's values, padded with `fill`.
    fn padded(&self, values: &[u32], fill: u32) -> Vec<u32> {
        let mut padded = Vec::with_capacity(self.texts.len() * self.longest);
        for (row, &text) in self.texts.iter().enumerate() {
            padded.extend_from_slice(&values[self.pass.layout.range(text)]);
            padded.resize((row + 1) * self.longest, fill);
        }
        padded
    }
}

/// Groups texts of similar length; texts without tokens are in no group. Without an attention mask, all texts of a group have the same
/// length.
fn groups(lengths: &[usize], masked: bool) -> Vec<Vec<usize>> {
    let mut order: Vec<_> = (0..lengths.len()).filter(|&text| lengths[text] > 0).collect();
    order.sort_by_key(|&text| lengths[text]);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for text in order {
        let longest = lengths[text];
        if let Some(group) = groups.last_mut() {
            let (padded, real) = ((group.len() + 1) * longest, tokens + longest);
            let alike = longest == lengths[group[0]] || (masked && padded - real <= FREE_PADDING + real / 8);
            if alike && padded <= RUN_TOKENS {
                group.push(text);
                tokens = real;
                continue;
            }
        }
        groups.push(vec![text]);
        tokens = longest;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_similar_lengths_and_every_text_once() {
        for masked in [true, false] {
            let lengths = [5, 0, 500, 7, 2000, 5, 6, 480, 1, 5];
            let groups = groups(&lengths, masked);
            let mut seen: Vec<_> = groups.iter().flatten().copied().collect();
            seen.sort();
            assert_eq!(seen, [0, 2, 3, 4, 5, 6, 7, 8, 9]);
            for group in &groups {
                let longest = group.iter().map(|&text| lengths[text]).max().unwrap();
                let real: usize = group.iter().map(|&text| lengths[text]).sum();
                let padding = longest * group.len() - real;
                assert!(padding <= if masked { FREE_PADDING + real / 8 } else { 0 }, "{group:?}");
                assert!(longest * group.len() <= RUN_TOKENS || group.len() == 1, "{group:?}");
            }
            assert_eq!(groups.len(), if masked { 3 } else { 7 }, "{groups:?}");
        }
    }
}
