//! Graphs that run whole texts: encoders with or without a classification head, and decoders exported for embedding. Graphs take padded
//! batches, so texts of similar length run together, and the results are packed again.

use std::borrow::Cow;

use ort::value::DynValue;
use serde_json::Value;

use super::graph::{Graph, Inputs, Port};
use super::past::{PAST, Past};
use crate::backend::pooling;
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result, quoted};
use crate::formats::json::Config;
use crate::network::{check_ids, check_length};
use crate::spec::{Batch, EncodeOutput, Head, HeadKind, HeadToken, Layers, Layout, Modules, Pooling, Position, Spec};

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

/// Of a graph with an encoder and a decoder (BART, T5), of which only the encoder's output is read.
const DECODER_IDS: &str = "decoder_input_ids";
const DECODER_MASK: &str = "decoder_attention_mask";
const ENCODER_STATES: &str = "encoder_last_hidden_state";

const LOGITS: &str = "logits";
/// The names of the outputs with one vector per token and with one per text in transformers and sentence-transformers.
const TOKENS: [&str; 2] = ["last_hidden_state", "token_embeddings"];
const SENTENCE: &str = "sentence_embedding";

/// A graph that runs whole texts.
pub struct EncoderGraph {
    pub graph: Graph,
    /// The output with a vector per token, `[texts, tokens, hidden]`.
    tokens: Option<String>,
    /// The output with a vector per text, `[texts, width]`, and its width.
    texts: Option<(String, usize)>,
    /// Whether the embedding is that vector, or else made of the tokens' vectors.
    own: bool,
    /// The poolings that gave the vector per text; empty if they are unknown.
    poolings: Vec<Pooling>,
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
    /// What the decoder begins with, in a graph that has one beside its encoder.
    decoder_start: u32,
}

/// Texts that run as one padded batch.
struct PaddedRun<'a> {
    pass: &'a Batch<'a>,
    /// Indices of texts in the pass.
    texts: &'a [usize],
    longest: usize,
}

/// Gives the Spec a head where the configuration names no class of models and the graph's logits show what it is.
pub fn infer_head(graph: &Graph, spec: &mut Spec, config: &Config) -> Result<()> {
    let unnamed = config.strings("architectures")?.is_empty();
    let Some(port) = graph.output(LOGITS).filter(|_| unnamed && spec.head.is_none() && spec.encoder.is_some()) else {
        return Ok(());
    };
    let width = port.axis(-1);
    let kind = match port.shape.len() {
        2 => HeadKind::Sequence,
        3 if width.is_some_and(|width| width != spec.vocabulary) => HeadKind::Token,
        _ => return Ok(()),
    };
    let labels = if config.has("id2label") || config.has("num_labels") { None } else { width };
    let labels = labels.map_or_else(|| crate::families::labels(config), Ok)?;
    spec.head = Some(Head { kind, token: HeadToken::First, layers: Vec::new(), labels });
    Ok(())
}

impl EncoderGraph {
    /// Whether a decoder's graph is for embedding: it returns vectors and no logits.
    pub fn embeds(graph: &Graph) -> bool {
        graph.output(LOGITS).is_none() && TOKENS.into_iter().chain([SENTENCE]).any(|name| graph.output(name).is_some())
    }

    /// Finds what the graph takes and gives. `modules` is what the model's files ask for, if that is known.
    pub fn new(graph: Graph, spec: &mut Spec, config: &Config, modules: Option<&Modules>) -> Result<Self> {
        let both = graph.input(DECODER_IDS).is_some();
        let known = [IDS, MASK, TYPES, POSITIONS, DECODER_IDS, DECODER_MASK];
        graph.check_inputs(|name| {
            known.contains(&name) && (both || !name.starts_with("decoder_")) || name.starts_with(PAST)
        })?;
        if graph.input(IDS).is_none() {
            return Err(graph.error(format!("the graph has no input `{IDS}`")));
        }
        let Some(stack) = &mut spec.encoder else { return Err(Error::internal("an encoder graph without an encoder")) };
        let tokens = tokens_of(&graph, both, stack.hidden)?;
        let texts = texts_of(&graph, tokens.is_some());
        let own = texts.is_some() && (tokens.is_none() || modules.is_none());
        let logits = graph.output(LOGITS).map(|port| port.name.clone());
        match (&tokens, &texts) {
            (Some(port), _) => {
                let (name, hidden) = (&port.name, stack.hidden);
                if let Some(width) = port.axis(-1).filter(|&width| width != hidden) {
                    return Err(graph.error(format!("output `{name}` is {width} wide; config.json says {hidden}")));
                }
            }
            (None, Some(_)) => {}
            (None, None) if spec.head.is_some() && logits.is_some() => {}
            (None, None) => {
                return Err(graph.error(format!(
                    "the graph has no output with a vector per token (last_hidden_state, token_embeddings) and not exactly one with a \
                     vector per text{}; its outputs are {}",
                    if spec.head.is_some() { ", and no logits" } else { "" },
                    graph.output_names()
                )));
            }
        }
        if let Some(head) = &mut spec.head {
            let port = graph.require_output(LOGITS)?;
            let rank = if head.kind == HeadKind::Token { 3 } else { 2 };
            let width = port.axis(-1).unwrap_or(head.labels);
            if !config.has("id2label") && !config.has("num_labels") && (1..=MAX_WIDTH).contains(&width) {
                head.labels = width;
            }
            if port.shape.len() != rank || width != head.labels {
                return Err(graph.error(format!(
                    "output `{LOGITS}` has shape {:?}; config.json's head has {} labels in {rank} dimensions",
                    port.shape, head.labels
                )));
            }
        }
        let past = graph.inputs.iter().filter(|port| port.name.starts_with(PAST));
        let past = past.map(|port| Past::new(&graph, port, stack.heads)).collect::<Result<_>>()?;
        let token = |key: &str| {
            let id = config.get(key).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
            id.filter(|&id| (id as usize) < spec.vocabulary)
        };
        let padding = token("pad_token_id").unwrap_or(0);
        let mut reader = Self {
            tokens: tokens.map(|port| port.name.clone()),
            texts: None,
            own,
            poolings: modules.map_or(Vec::new(), |modules| modules.poolings.clone()),
            past,
            logits,
            hidden: stack.hidden,
            labels: spec.head.as_ref().map(|head| (head.kind, head.labels)),
            vocabulary: spec.vocabulary,
            token_types: stack.token_types,
            max_tokens: stack.max_tokens,
            position: stack.position,
            padding,
            decoder_start: token("decoder_start_token_id").unwrap_or(padding),
            graph,
        };
        if let Some(port) = texts {
            let width = port.axis(-1).map_or_else(|| reader.width_of(&port.name), Ok)?;
            if !(1..=MAX_WIDTH).contains(&width) {
                let name = quoted(&port.name);
                return Err(reader
                    .graph
                    .error(format!("output {name} is {width} wide; 1 to {MAX_WIDTH} are supported")));
            }
            if reader.tokens.is_none() {
                (stack.hidden, reader.hidden) = (width, width);
            }
            reader.texts = Some((port.name, width));
        }
        Ok(reader)
    }

    /// The width of the vector per text where the graph leaves it open: that of a text of one token.
    fn width_of(&self, name: &str) -> Result<usize> {
        let (ids, layout) = ([self.padding], Layout::new(vec![0, 1]));
        let pass = Batch { layout, ids: &ids, type_ids: &[0], positions: vec![0] };
        let run = PaddedRun { pass: &pass, texts: &[0], longest: 1 };
        let values = self.graph.run(self.inputs(&run)?, &[name])?;
        let value = values.first().ok_or_else(|| Error::internal("a run without an output"))?;
        match self.graph.shape(name, value)?.as_slice() {
            [1, width] => Ok(*width),
            shape => Err(self.graph.error(format!("output {} has shape {shape:?} of one text", quoted(name)))),
        }
    }

    /// The width of the vector per text that the graph gives, where that is the embedding.
    pub fn own_vectors(&self) -> Option<usize> {
        self.texts.as_ref().filter(|_| self.own).map(|(_, width)| *width)
    }

    pub fn gives_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// The width of a token's vector.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// A vector per token, `[tokens, hidden]`.
    pub fn states(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<f32>> {
        let Some(name) = &self.tokens else { return Err(self.no_states()) };
        let mut states = vec![0.0; pass.layout.tokens() * self.hidden];
        self.runs(pass, name, call, |run, values| self.unpad(run, name, values, self.hidden, &mut states))?;
        Ok(states)
    }

    /// Rows, pooled as asked.
    pub fn pooled(&self, pass: &Batch, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        let (items, tokens) = (pass.layout.sequences(), pass.layout.tokens());
        if self.tokens.is_some() && output.layers != Layers::Graph {
            let states = self.states(pass, call)?;
            return call.counters.time(Stage::Pool, items, tokens, || {
                Ok(pooling::pool(states, pass.layout.starts(), self.hidden, &output.poolings, output.skip))
            });
        }
        let Some((name, width)) = &self.texts else { return Err(self.no_states()) };
        if output.layers != Layers::Graph && (output.poolings != self.poolings || output.skip > 0) {
            let path = self.graph.path().display();
            let asked: Vec<_> = output.poolings.iter().map(|pooling| pooling.name()).collect();
            return Err(Error::unsupported(format!(
                "pooling {}: {path} has built-in pooling and returns one vector per text; leave pooling out",
                asked.join(" + ")
            )));
        }
        let mut rows = vec![0.0; items * width];
        self.runs(pass, name, call, |run, value| self.rows(run, name, value, *width, &mut rows))?;
        Ok(rows)
    }

    fn no_states(&self) -> Error {
        Error::unsupported(format!(
            "{}: the graph gives no hidden states (its outputs are {}); classify with it, or export it for feature-extraction",
            self.graph.path().display(),
            self.graph.output_names()
        ))
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
        let Some(name) = &self.tokens else {
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
        let one = [run.texts.len(), 1];
        for (name, fill) in [(DECODER_IDS, self.decoder_start), (DECODER_MASK, 1)] {
            let Some(port) = self.graph.input(name) else { continue };
            inputs.push((Cow::Borrowed(name), self.graph.integers(port, &one, &vec![fill; run.texts.len()])?));
        }
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

/// The output with a vector per token; `both`: of a graph that also has a decoder.
fn tokens_of(graph: &Graph, both: bool, hidden: usize) -> Result<Option<Port>> {
    let by_token = |port: &&Port| port.shape.len() == 3;
    if both {
        let Some(port) = graph.output(ENCODER_STATES).filter(by_token) else {
            return Err(Error::unsupported(format!(
                "{}: the graph runs a decoder ({DECODER_IDS}) and has no output `{ENCODER_STATES}`; export the encoder by itself, as \
                 optimum-cli export onnx --task text2text-generation does (encoder_model.onnx)",
                graph.path().display()
            )));
        };
        return Ok(Some(port.clone()));
    }
    if let Some(port) = TOKENS.into_iter().find_map(|name| graph.output(name).filter(by_token)) {
        return Ok(Some(port.clone()));
    }
    // Under another name: the only one of this shape, in a graph without one vector per text.
    let mut others = graph.outputs.iter().filter(|port| by_token(port) && port.is_float() && port.name != LOGITS);
    let wide = |port: &&Port| port.axis(-1) == Some(hidden);
    let other = others.next().filter(wide).filter(|_| others.next().is_none());
    Ok(other.filter(|_| texts_of(graph, false).is_none()).cloned())
}

/// The output with a vector per text: that of sentence-transformers' name or, where no output has a vector per token,
/// the only one of its shape.
fn texts_of(graph: &Graph, tokens: bool) -> Option<Port> {
    let by_text = |port: &&Port| port.shape.len() == 2 && port.is_float() && port.name != LOGITS;
    let mut others = graph.outputs.iter().filter(by_text);
    let only = others.next().filter(|_| others.next().is_none() && !tokens);
    graph.output(SENTENCE).filter(by_text).or(only).cloned()
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
