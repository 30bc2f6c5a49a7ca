//! Decoder graphs as Optimum exports them, with or without a KV cache as inputs and outputs.
//!
//! Sequences of the same length run together, so KV caches have no padding. Source texts may differ in length: their padding is masked.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorElementType as Element};

use super::encoder::{EncoderGraph, IDS, MASK, POSITIONS};
use super::graph::{Graph, Inputs, Port};
use super::past::{Block, PAST, Past, Row, element, gather};
use crate::backend::PASS_TOKENS;
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::Budget;
use crate::network::{Feed, Sequence, SequenceState, StepOutput, check_ids, check_length};
use crate::spec::{Batch, Spec};

const OWN_MASK: &str = "decoder_attention_mask";
const TYPES: &str = "token_type_ids";
const CACHE_POSITION: &str = "cache_position";
const NUM_LOGITS: &str = "num_logits_to_keep";
const BRANCH: &str = "use_cache_branch";
const HIDDEN: &str = "encoder_hidden_states";
const SOURCE_MASK: &str = "encoder_attention_mask";
const LOGITS: &str = "logits";

/// A decoder in one graph or two.
pub struct Decoder {
    /// The graph for the first step, and for later ones if there is no `with_past`.
    first: Graph,
    with_past: Option<Graph>,
    /// The KV cache of self-attention; empty if the graph has none.
    own: Vec<Past>,
    /// The KV cache of cross-attention, which the first step computes.
    cross: Vec<Past>,
    /// Whether later steps take one token only: Optimum traces them with one, and for some families the causal mask is then missing.
    single: bool,
    has_encoder: bool,
    hidden: usize,
    vocabulary: usize,
    max_tokens: usize,
    budget: Arc<Budget>,
}

/// A sequence of a decoder graph.
#[derive(Clone)]
struct OnnxSequence {
    past: Option<Row>,
    length: usize,
    /// The tokens, for a graph without a KV cache.
    ids: Vec<u32>,
    source: Option<EncodedSource>,
}

#[derive(Clone)]
struct EncodedSource {
    /// The encoder's output.
    hidden: Row,
    tokens: usize,
    cross: Option<Row>,
}

impl SequenceState for OnnxSequence {
    fn fork(&self) -> Box<dyn SequenceState> {
        Box::new(self.clone())
    }

    fn length(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        self.ids.truncate(length);
        if self.length == 0 {
            self.past = None;
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// A feed that has tokens to run.
struct PendingFeed<'a> {
    /// The feed's index.
    feed: usize,
    sequence: &'a mut OnnxSequence,
    ids: &'a [u32],
    done: usize,
    /// The first of `ids` whose logits are wanted.
    wanted: usize,
    /// If it can be cancelled: the sequence before the step, and the flag.
    before: Option<(OnnxSequence, &'a AtomicBool)>,
}

impl Decoder {
    pub fn new(first: Graph, with_past: Option<Graph>, spec: &Spec, budget: &Arc<Budget>) -> Result<Self> {
        let Some(stack) = &spec.decoder else { return Err(Error::internal("a decoder graph without a decoder")) };
        let known = [IDS, MASK, OWN_MASK, POSITIONS, TYPES, CACHE_POSITION, NUM_LOGITS, BRANCH, HIDDEN, SOURCE_MASK];
        let graphs = || [Some(&first), with_past.as_ref()].into_iter().flatten();
        let has_encoder = spec.encoder.is_some();
        for graph in graphs() {
            graph.check_inputs(|name| known.contains(&name) || name.starts_with(PAST))?;
            if graph.input(IDS).is_none() {
                return Err(graph.error(format!("the graph has no input `{IDS}`")));
            }
            let logits = graph.require_output(LOGITS)?;
            let width = logits.axis(-1).unwrap_or(spec.vocabulary);
            if logits.shape.len() != 3 || width != spec.vocabulary {
                let (shape, vocabulary) = (&logits.shape, spec.vocabulary);
                return Err(graph.error(format!(
                    "output `{LOGITS}` has shape {shape:?}; config.json's vocabulary has {vocabulary} tokens"
                )));
            }
            let hidden = graph.input(HIDDEN);
            if let Some(width) = hidden.and_then(|port| port.axis(-1)).filter(|&width| width != spec.hidden()) {
                let wanted = spec.hidden();
                return Err(graph.error(format!("input `{HIDDEN}` is {width} wide; the encoder's output is {wanted}")));
            }
            if hidden.is_some() && !has_encoder {
                return Err(graph.error(format!("the graph has an input `{HIDDEN}`, but config.json has no encoder")));
            }
        }
        if has_encoder && first.input(HIDDEN).is_none() {
            return Err(first.error(format!("the graph has no input `{HIDDEN}`, but config.json has an encoder")));
        }
        let later = with_past.as_ref().unwrap_or(&first);
        let (mut own, mut cross) = (Vec::new(), Vec::new());
        for port in &later.inputs {
            let Some(rest) = port.name.strip_prefix(PAST) else { continue };
            let of_source = rest.contains(".encoder.");
            let past = Past::new(later, port, stack.heads)?;
            for graph in graphs() {
                // In later steps the cross-attention cache does not change, so it need not be an output.
                if !of_source || std::ptr::eq(graph, &first) {
                    graph.require_output(&past.output)?;
                }
            }
            if of_source { cross.push(past) } else { own.push(past) }
        }
        if own.is_empty() && (with_past.is_some() || !cross.is_empty()) {
            return Err(later.error("the graph has no past_key_values for self-attention"));
        }
        let single = with_past.is_some()
            || has_encoder
            || later.input(BRANCH).is_some()
            || later.input(IDS).and_then(|port| port.axis(1)) == Some(1);
        Ok(Self {
            own,
            cross,
            single,
            has_encoder,
            hidden: spec.hidden(),
            vocabulary: spec.vocabulary,
            max_tokens: stack.max_tokens,
            budget: budget.clone(),
            first,
            with_past,
        })
    }

    pub fn has_kv_cache(&self) -> bool {
        !self.own.is_empty()
    }

    pub fn graphs(&self) -> impl Iterator<Item = &Graph> {
        [Some(&self.first), self.with_past.as_ref()].into_iter().flatten()
    }

    pub fn sequence(&self) -> Result<Sequence> {
        match self.has_encoder {
            true => Err(Error::internal("a sequence without its source text")),
            false => Ok(Sequence::new(Box::new(OnnxSequence { past: None, length: 0, ids: Vec::new(), source: None }))),
        }
    }

    /// An empty sequence for each source text.
    pub fn read_sources(&self, encoder: &EncoderGraph, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        let mut found: Vec<Option<EncodedSource>> = vec![None; pass.layout.sequences()];
        let port = self.first.input(HIDDEN).ok_or_else(|| Error::internal("a decoder without cross-attention"))?;
        encoder.hidden_states(pass, call, |texts, longest, value| {
            let value = self.in_type_of(port, value, &[texts.len(), longest, self.hidden])?;
            let block = Block::new(vec![value], texts.len(), longest, &self.budget)?;
            for (row, &text) in texts.iter().enumerate() {
                let hidden = Row { block: block.clone(), row };
                found[text] = Some(EncodedSource { hidden, tokens: pass.layout.range(text).len(), cross: None });
            }
            Ok(())
        })?;
        let sequences = found.into_iter().map(|source| {
            let source = source.ok_or_else(|| Error::invalid_argument("a source text without tokens"))?;
            Ok(Sequence::new(Box::new(OnnxSequence { past: None, length: 0, ids: Vec::new(), source: Some(source) })))
        });
        sequences.collect()
    }

    /// The encoder's output in the type of the decoder's input.
    fn in_type_of(&self, port: &Port, value: DynValue, shape: &[usize]) -> Result<DynValue> {
        match port.element {
            wanted if wanted == element(&value) => Ok(value),
            Some(Element::Float32) => {
                let values = self.first.numbers(HIDDEN, &value)?.into_owned();
                self.first.value(shape, values)
            }
            Some(Element::Float16) => {
                let values: Vec<_> = self.first.numbers(HIDDEN, &value)?.iter().map(|&v| f16::from_f32(v)).collect();
                self.first.value(shape, values)
            }
            _ => Err(self.first.error(format!("input `{HIDDEN}` is neither f32 nor f16"))),
        }
    }

    /// As [`Network::step`](crate::network::Network::step).
    pub fn feed(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        output.begin(feeds, self.vocabulary);
        output.fill();
        let mut pending = Vec::with_capacity(feeds.len());
        for (number, feed) in feeds.iter_mut().enumerate() {
            check_ids("ids", feed.ids, self.vocabulary)?;
            check_length(feed.sequence.length() + feed.ids.len(), self.max_tokens)?;
            let (wanted, flag) = (feed.ids.len() - feed.rows(), feed.cancelled);
            let sequence = feed.sequence.state().as_any().downcast_mut::<OnnxSequence>();
            let sequence = sequence.ok_or_else(|| Error::invalid_argument("a sequence of another model"))?;
            let before = flag.map(|flag| (sequence.clone(), flag));
            pending.push(PendingFeed { feed: number, sequence, ids: feed.ids, done: 0, wanted, before });
        }
        let mut left: Vec<usize> = Vec::with_capacity(pending.len());
        for (number, entry) in pending.iter_mut().enumerate() {
            // Prefill without a KV cache only stores the ids.
            if !self.has_kv_cache() && entry.wanted == entry.ids.len() {
                entry.sequence.ids.extend_from_slice(entry.ids);
                entry.sequence.length += entry.ids.len();
            } else if !entry.ids.is_empty() {
                left.push(number);
            }
        }
        loop {
            left.retain(|&number| {
                let PendingFeed { feed, sequence, ids, done, before, .. } = &mut pending[number];
                let cancelled = before.take_if(|(_, flag)| flag.load(Ordering::Relaxed));
                if let Some((before, _)) = cancelled {
                    **sequence = before;
                    output.cancel(*feed, 0);
                    return false;
                }
                *done < ids.len()
            });
            let Some(&first) = left.first() else { return Ok(()) };
            call.check()?;
            let key = self.key(&pending[first]);
            let mut group: Vec<usize> = Vec::new();
            for &number in &left {
                let fits = group.is_empty() || (group.len() + 1) * key.1 <= PASS_TOKENS;
                if fits && self.key(&pending[number]) == key {
                    group.push(number);
                }
            }
            let tokens = group.len() * key.1;
            call.counters.time(Stage::Linear, group.len(), tokens, || self.run(&mut pending, &group, output))?;
        }
    }

    /// What must be equal for feeds of one run: the cached tokens, the tokens to run, and the source text's if there is no mask.
    fn key(&self, entry: &PendingFeed) -> (usize, usize, usize) {
        let source = match &entry.sequence.source {
            Some(source) if self.first.input(SOURCE_MASK).is_none() => source.tokens,
            _ => 0,
        };
        if !self.has_kv_cache() {
            return (0, entry.sequence.ids.len() + entry.ids.len(), source);
        }
        let (past, left) = (entry.sequence.length, entry.ids.len() - entry.done);
        let now = match (past, self.single) {
            (0, true) => left,
            (_, true) => 1,
            (_, false) => left.min(PASS_TOKENS),
        };
        (past, now, source)
    }

    /// Runs a group of feeds with the same key.
    fn run(&self, pending: &mut [PendingFeed], group: &[usize], output: &mut StepOutput) -> Result<()> {
        let (past, now, _) = self.key(&pending[group[0]]);
        let graph = if past > 0 { self.with_past.as_ref().unwrap_or(&self.first) } else { &self.first };
        let caches = RunCaches::new(self, graph, pending, group, past)?;
        let inputs = self.inputs(graph, pending, group, (past, now), &caches)?;
        let wants = group.iter().any(|&number| {
            let PendingFeed { ids, done, wanted, .. } = &pending[number];
            !self.has_kv_cache() || (*wanted < done + now && *wanted < ids.len())
        });
        let cross = if past == 0 { self.cross.as_slice() } else { &[] };
        let names = wants.then_some(LOGITS).into_iter();
        let names: Vec<&str> = names.chain(self.own.iter().chain(cross).map(|past| past.output.as_str())).collect();
        let mut values = graph.run(inputs, &names)?.into_iter();
        if wants {
            let logits = values.next().ok_or_else(|| Error::internal("a run without logits"))?;
            self.write_logits(graph, pending, group, now, &logits, output)?;
        }
        self.store(graph, pending, group, (past, now), values, caches)
    }

    fn inputs<'a>(
        &self,
        graph: &'a Graph,
        pending: &[PendingFeed],
        group: &[usize],
        (past, now): (usize, usize),
        caches: &'a RunCaches,
    ) -> Result<Inputs<'a>> {
        let rows = group.len();
        let mut inputs: Inputs = Vec::with_capacity(graph.inputs.len());
        let positions: Vec<u32> = (past..past + now).map(|position| position as u32).collect();
        for port in &graph.inputs {
            let value: SessionInputValue = match port.name.as_str() {
                IDS => {
                    let mut ids = Vec::with_capacity(rows * now);
                    for &number in group {
                        let PendingFeed { sequence, ids: new, done, .. } = &pending[number];
                        ids.extend_from_slice(&sequence.ids);
                        ids.extend_from_slice(&new[*done..(done + now - sequence.ids.len()).min(new.len())]);
                    }
                    graph.integers(port, &[rows, now], &ids)?
                }
                MASK | OWN_MASK => graph.integers(port, &[rows, past + now], &vec![1; rows * (past + now)])?,
                POSITIONS => graph.integers(port, &[rows, now], &positions.repeat(rows))?,
                TYPES => graph.integers(port, &[rows, now], &vec![0; rows * now])?,
                CACHE_POSITION => graph.integers(port, &[now], &positions)?,
                // 0: all logits.
                NUM_LOGITS => graph.integers(port, &vec![1; port.shape.len()], &[0])?,
                BRANCH => graph.integers(port, &vec![1; port.shape.len()], &[u32::from(past > 0)])?,
                HIDDEN => caches.value(&caches.hidden, 0)?.into(),
                SOURCE_MASK => {
                    let mut mask = Vec::with_capacity(rows * caches.source_tokens);
                    for (row, &number) in group.iter().enumerate() {
                        let tokens = pending[number].sequence.source.as_ref().map_or(0, |source| source.tokens);
                        mask.resize(mask.len() + tokens, 1);
                        mask.resize((row + 1) * caches.source_tokens, 0);
                    }
                    graph.integers(port, &[rows, caches.source_tokens], &mask)?
                }
                name => {
                    let find = |list: &[Past]| list.iter().position(|past| past.input == name);
                    let (list, block, at) = match (find(&self.own), find(&self.cross)) {
                        (Some(at), _) => (&self.own, &caches.own, at),
                        (None, Some(at)) => (&self.cross, &caches.cross, at),
                        (None, None) => return Err(graph.error(format!("input `{name}` is not supported"))),
                    };
                    match block {
                        Some(_) => caches.value(block, at)?.into(),
                        None => list[at].empty(graph, rows)?,
                    }
                }
            };
            inputs.push((Cow::Borrowed(port.name.as_str()), value));
        }
        Ok(inputs)
    }

    /// Writes the rows of logits that are wanted.
    fn write_logits(
        &self,
        graph: &Graph,
        pending: &[PendingFeed],
        group: &[usize],
        now: usize,
        logits: &DynValue,
        output: &mut StepOutput,
    ) -> Result<()> {
        let width = self.vocabulary;
        let shape = graph.shape(LOGITS, logits)?;
        // Some graphs return only the last token's logits.
        let last_only = now > 1 && shape.get(1) == Some(&1);
        let returned = if last_only { 1 } else { now };
        let values = graph.floats(LOGITS, logits, &[group.len(), returned, width])?;
        for (place, &number) in group.iter().enumerate() {
            let PendingFeed { feed, sequence, ids, done, wanted, .. } = &pending[number];
            let end = (done + now - sequence.ids.len()).min(ids.len());
            for token in (*wanted).max(*done)..end {
                let at = sequence.ids.len() + token - done;
                if last_only && at + 1 != now {
                    return Err(graph.error("the graph returns only the last token's logits; others are needed"));
                }
                let at = if last_only { 0 } else { at };
                let from = &values[(place * returned + at) * width..][..width];
                output.put(*feed, token - wanted, from);
            }
        }
        Ok(())
    }

    /// Stores the new KV caches in the sequences of a group.
    fn store(
        &self,
        graph: &Graph,
        pending: &mut [PendingFeed],
        group: &[usize],
        (past, now): (usize, usize),
        mut values: impl Iterator<Item = DynValue>,
        caches: RunCaches,
    ) -> Result<()> {
        let rows = group.len();
        let mut block = |list: &[Past], tokens: usize| -> Result<Option<Arc<Block>>> {
            let mut tensors = Vec::with_capacity(list.len());
            for past in list {
                let value = values.next().ok_or_else(|| Error::internal("a run without a KV cache"))?;
                let (found, wanted) = (graph.shape(&past.output, &value)?, [rows, past.heads, tokens, past.width]);
                if found != wanted || element(&value) != Some(past.element) {
                    let (name, dtype) = (&past.output, value.dtype());
                    return Err(
                        graph.error(format!("output `{name}` is {dtype}; {wanted:?} is expected for these inputs"))
                    );
                }
                tensors.push(value);
            }
            if tensors.is_empty() { Ok(None) } else { Block::new(tensors, rows, tokens, &self.budget).map(Some) }
        };
        let own = block(&self.own, past + now)?;
        let cross = if past == 0 { block(&self.cross, caches.source_tokens)? } else { caches.cross };
        for (row, &number) in group.iter().enumerate() {
            let entry = &mut pending[number];
            let sequence = &mut *entry.sequence;
            let of = |block: &Option<Arc<Block>>| block.clone().map(|block| Row { block, row });
            if self.has_kv_cache() {
                sequence.past = of(&own);
                sequence.length += now;
                entry.done += now;
            } else {
                sequence.ids.extend_from_slice(entry.ids);
                sequence.length = sequence.ids.len();
                entry.done = entry.ids.len();
            }
            if let Some(source) = &mut sequence.source {
                source.cross = of(&cross);
                if let Some(hidden) = of(&caches.hidden) {
                    source.hidden = hidden;
                }
            }
        }
        Ok(())
    }
}

/// The KV caches and encoder outputs of a run's sequences, gathered.
struct RunCaches {
    own: Option<Arc<Block>>,
    cross: Option<Arc<Block>>,
    hidden: Option<Arc<Block>>,
    source_tokens: usize,
}

impl RunCaches {
    fn new(decoder: &Decoder, graph: &Graph, pending: &[PendingFeed], group: &[usize], past: usize) -> Result<Self> {
        let sequences = || group.iter().map(|&number| &*pending[number].sequence);
        let missing = || Error::internal("a sequence without its KV cache");
        let sources: Vec<_> = sequences().filter_map(|sequence| sequence.source.as_ref()).collect();
        let source_tokens = sources.iter().map(|source| source.tokens).max().unwrap_or(0);
        let gathered = |rows: Vec<Option<(&Row, usize)>>, tokens: usize| {
            let rows: Vec<_> = rows.into_iter().collect::<Option<_>>().ok_or_else(missing)?;
            gather(graph, &rows, tokens, &decoder.budget).map(Some)
        };
        let own = match past {
            0 => None,
            _ => gathered(sequences().map(|s| s.past.as_ref().map(|row| (row, past))).collect(), past)?,
        };
        let cross = match past {
            0 => None,
            _ if decoder.cross.is_empty() => None,
            _ => {
                gathered(sources.iter().map(|s| s.cross.as_ref().map(|row| (row, s.tokens))).collect(), source_tokens)?
            }
        };
        // A graph with a cross-attention cache may not take the encoder's output.
        let hidden = match graph.input(HIDDEN) {
            Some(_) => gathered(sources.iter().map(|s| Some((&s.hidden, s.tokens))).collect(), source_tokens)?,
            None => None,
        };
        Ok(Self { own, cross, hidden, source_tokens })
    }

    fn value<'a>(&self, block: &'a Option<Arc<Block>>, place: usize) -> Result<&'a DynValue> {
        let value = block.as_ref().and_then(|block| block.values.get(place));
        value.ok_or_else(|| Error::internal("a run without its KV cache"))
    }
}
