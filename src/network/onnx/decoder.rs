//! Graphs that write: decoders as Optimum exports them, with the keys and values of the past as inputs and outputs, or without.
//!
//! Texts go on together in one run where their pasts are of one length, others in runs of their own, so that no past has padding. Source
//! texts of an encoder may differ in length: what they lack is masked.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorElementType as Element};

use super::graph::{Graph, Inputs, Port};
use super::past::{Block, PAST, Past, Row, element, together};
use super::reader::{IDS, MASK, POSITIONS, Reader};
use crate::backend::PASS_TOKENS;
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::Budget;
use crate::network::{Feed, Sequence, SequenceState, StepOutput, check_ids, check_length};
use crate::spec::{Batch, Spec};

const OWN_MASK: &str = "decoder_attention_mask";
const TYPES: &str = "token_type_ids";
const PLACES: &str = "cache_position";
const KEPT: &str = "num_logits_to_keep";
const BRANCH: &str = "use_cache_branch";
const HIDDEN: &str = "encoder_hidden_states";
const SOURCE_MASK: &str = "encoder_attention_mask";
const LOGITS: &str = "logits";

/// A decoder in one graph or two.
pub struct Decoder {
    /// The graph that begins a text, and goes on with it unless `with_past` does.
    first: Graph,
    with_past: Option<Graph>,
    /// Keys and values of the decoder's own tokens; none where the graph remembers nothing.
    own: Vec<Past>,
    /// Those of the source text, which the first run makes.
    cross: Vec<Past>,
    /// Whether a graph that goes on takes one token only: Optimum traces it with one, and some families' masks are made for one then.
    single: bool,
    encodes: bool,
    hidden: usize,
    vocabulary: usize,
    max_tokens: usize,
    budget: Arc<Budget>,
}

/// What a sequence holds.
#[derive(Clone)]
struct Held {
    past: Option<Row>,
    length: usize,
    /// The tokens themselves, for a graph that remembers nothing.
    ids: Vec<u32>,
    source: Option<Source>,
}

#[derive(Clone)]
struct Source {
    /// The encoder's output.
    hidden: Row,
    tokens: usize,
    cross: Option<Row>,
}

impl SequenceState for Held {
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

/// A feed that is being run.
struct Work<'a> {
    /// The feed's number.
    feed: usize,
    held: &'a mut Held,
    ids: &'a [u32],
    done: usize,
    /// The first of `ids` that logits are wanted for.
    wanted: usize,
    /// What the sequence was before the step, where it may be cancelled, and what cancels it.
    before: Option<(Held, &'a AtomicBool)>,
}

impl Decoder {
    pub fn new(first: Graph, with_past: Option<Graph>, spec: &Spec, budget: &Arc<Budget>) -> Result<Self> {
        let Some(stack) = &spec.decoder else { return Err(Error::internal("a graph's decoder without a decoder")) };
        let known = [IDS, MASK, OWN_MASK, POSITIONS, TYPES, PLACES, KEPT, BRANCH, HIDDEN, SOURCE_MASK];
        let graphs = || [Some(&first), with_past.as_ref()].into_iter().flatten();
        let encodes = spec.encoder.is_some();
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
                    "output `{LOGITS}` has shape {shape:?}, and config.json's vocabulary has {vocabulary} tokens"
                )));
            }
            let hidden = graph.input(HIDDEN);
            if let Some(width) = hidden.and_then(|port| port.axis(-1)).filter(|&width| width != spec.hidden()) {
                let wanted = spec.hidden();
                return Err(graph.error(format!("input `{HIDDEN}` is {width} wide, and the encoder gives {wanted}")));
            }
            if hidden.is_some() && !encodes {
                return Err(graph.error(format!("the graph has an input `{HIDDEN}`, and config.json has no encoder")));
            }
        }
        if encodes && first.input(HIDDEN).is_none() {
            return Err(first.error(format!("the graph has no input `{HIDDEN}`, and config.json has an encoder")));
        }
        let going_on = with_past.as_ref().unwrap_or(&first);
        let (mut own, mut cross) = (Vec::new(), Vec::new());
        for port in &going_on.inputs {
            let Some(rest) = port.name.strip_prefix(PAST) else { continue };
            let of_source = rest.contains(".encoder.");
            let past = Past::new(going_on, port, stack.heads)?;
            for graph in graphs() {
                // A graph that goes on hands the source's keys through at most.
                if !of_source || std::ptr::eq(graph, &first) {
                    graph.require_output(&past.output)?;
                }
            }
            if of_source { cross.push(past) } else { own.push(past) }
        }
        if own.is_empty() && (with_past.is_some() || !cross.is_empty()) {
            return Err(going_on.error("the graph has no past_key_values of its own tokens"));
        }
        let single = with_past.is_some()
            || encodes
            || going_on.input(BRANCH).is_some()
            || going_on.input(IDS).and_then(|port| port.axis(1)) == Some(1);
        Ok(Self {
            own,
            cross,
            single,
            encodes,
            hidden: spec.hidden(),
            vocabulary: spec.vocabulary,
            max_tokens: stack.max_tokens,
            budget: budget.clone(),
            first,
            with_past,
        })
    }

    pub fn remembers(&self) -> bool {
        !self.own.is_empty()
    }

    pub fn graphs(&self) -> impl Iterator<Item = &Graph> {
        [Some(&self.first), self.with_past.as_ref()].into_iter().flatten()
    }

    pub fn sequence(&self) -> Result<Sequence> {
        match self.encodes {
            true => Err(Error::internal("a sequence without its source")),
            false => Ok(Sequence::new(Box::new(Held { past: None, length: 0, ids: Vec::new(), source: None }))),
        }
    }

    /// An empty sequence for each source text.
    pub fn read_sources(&self, reader: &Reader, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        let mut found: Vec<Option<Source>> = vec![None; pass.layout.sequences()];
        let port = self.first.input(HIDDEN).ok_or_else(|| Error::internal("a decoder without a source"))?;
        reader.blocks(pass, call, |texts, longest, value| {
            let value = self.in_type_of(port, value, &[texts.len(), longest, self.hidden])?;
            let block = Block::new(vec![value], texts.len(), longest, &self.budget)?;
            for (row, &text) in texts.iter().enumerate() {
                let hidden = Row { block: block.clone(), row };
                found[text] = Some(Source { hidden, tokens: pass.layout.range(text).len(), cross: None });
            }
            Ok(())
        })?;
        let held = found.into_iter().map(|source| {
            let source = source.ok_or_else(|| Error::invalid_argument("a source text without tokens"))?;
            Ok(Sequence::new(Box::new(Held { past: None, length: 0, ids: Vec::new(), source: Some(source) })))
        });
        held.collect()
    }

    /// The encoder's output as the decoder takes it: their graphs may differ in type.
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
        let mut works = Vec::with_capacity(feeds.len());
        for (number, feed) in feeds.iter_mut().enumerate() {
            check_ids("ids", feed.ids, self.vocabulary)?;
            check_length(feed.sequence.length() + feed.ids.len(), self.max_tokens)?;
            let (wanted, flag) = (feed.ids.len() - feed.rows(), feed.cancelled);
            let held = feed.sequence.state().as_any().downcast_mut::<Held>();
            let held = held.ok_or_else(|| Error::invalid_argument("a sequence of another model's"))?;
            let before = flag.map(|flag| (held.clone(), flag));
            works.push(Work { feed: number, held, ids: feed.ids, done: 0, wanted, before });
        }
        let mut pending: Vec<usize> = Vec::with_capacity(works.len());
        for (number, work) in works.iter_mut().enumerate() {
            // A graph that remembers nothing needs no run for what nobody asks.
            if !self.remembers() && work.wanted == work.ids.len() {
                work.held.ids.extend_from_slice(work.ids);
                work.held.length += work.ids.len();
            } else if !work.ids.is_empty() {
                pending.push(number);
            }
        }
        loop {
            pending.retain(|&number| {
                let Work { feed, held, ids, done, before, .. } = &mut works[number];
                let cancelled = before.take_if(|(_, flag)| flag.load(Ordering::Relaxed));
                if let Some((before, _)) = cancelled {
                    **held = before;
                    output.cancel(*feed, 0);
                    return false;
                }
                *done < ids.len()
            });
            let Some(&first) = pending.first() else { return Ok(()) };
            call.check()?;
            let key = self.key(&works[first]);
            let mut group: Vec<usize> = Vec::new();
            for &number in &pending {
                let fits = group.is_empty() || (group.len() + 1) * key.1 <= PASS_TOKENS;
                if fits && self.key(&works[number]) == key {
                    group.push(number);
                }
            }
            let tokens = group.len() * key.1;
            call.counters.time(Stage::Linear, group.len(), tokens, || self.run(&mut works, &group, output))?;
        }
    }

    /// What must be the same for works of one run: the past's tokens, those to run, and the source's where no mask can hide any.
    fn key(&self, work: &Work) -> (usize, usize, usize) {
        let source = match &work.held.source {
            Some(source) if self.first.input(SOURCE_MASK).is_none() => source.tokens,
            _ => 0,
        };
        if !self.remembers() {
            return (0, work.held.ids.len() + work.ids.len(), source);
        }
        let (past, left) = (work.held.length, work.ids.len() - work.done);
        let now = match (past, self.single) {
            (0, true) => left,
            (_, true) => 1,
            (_, false) => left.min(PASS_TOKENS),
        };
        (past, now, source)
    }

    /// Runs a group of works, which have one key.
    fn run(&self, works: &mut [Work], group: &[usize], output: &mut StepOutput) -> Result<()> {
        let (past, now, _) = self.key(&works[group[0]]);
        let graph = if past > 0 { self.with_past.as_ref().unwrap_or(&self.first) } else { &self.first };
        let blocks = Blocks::new(self, graph, works, group, past)?;
        let inputs = self.inputs(graph, works, group, (past, now), &blocks)?;
        let wants = group.iter().any(|&number| {
            let Work { ids, done, wanted, .. } = &works[number];
            !self.remembers() || (*wanted < done + now && *wanted < ids.len())
        });
        let cross = if past == 0 { self.cross.as_slice() } else { &[] };
        let names = wants.then_some(LOGITS).into_iter();
        let names: Vec<&str> = names.chain(self.own.iter().chain(cross).map(|past| past.output.as_str())).collect();
        let mut values = graph.run(inputs, &names)?.into_iter();
        if wants {
            let logits = values.next().ok_or_else(|| Error::internal("a run without logits"))?;
            self.give(graph, works, group, now, &logits, output)?;
        }
        self.keep(graph, works, group, (past, now), values, blocks)
    }

    fn inputs<'a>(
        &self,
        graph: &'a Graph,
        works: &[Work],
        group: &[usize],
        (past, now): (usize, usize),
        blocks: &'a Blocks,
    ) -> Result<Inputs<'a>> {
        let rows = group.len();
        let mut inputs: Inputs = Vec::with_capacity(graph.inputs.len());
        let places: Vec<u32> = (past..past + now).map(|place| place as u32).collect();
        for port in &graph.inputs {
            let value: SessionInputValue = match port.name.as_str() {
                IDS => {
                    let mut ids = Vec::with_capacity(rows * now);
                    for &number in group {
                        let Work { held, ids: new, done, .. } = &works[number];
                        ids.extend_from_slice(&held.ids);
                        ids.extend_from_slice(&new[*done..(done + now - held.ids.len()).min(new.len())]);
                    }
                    graph.integers(port, &[rows, now], &ids)?
                }
                MASK | OWN_MASK => graph.integers(port, &[rows, past + now], &vec![1; rows * (past + now)])?,
                POSITIONS => graph.integers(port, &[rows, now], &places.repeat(rows))?,
                TYPES => graph.integers(port, &[rows, now], &vec![0; rows * now])?,
                PLACES => graph.integers(port, &[now], &places)?,
                // 0 keeps all.
                KEPT => graph.integers(port, &vec![1; port.shape.len()], &[0])?,
                BRANCH => graph.integers(port, &vec![1; port.shape.len()], &[u32::from(past > 0)])?,
                HIDDEN => blocks.value(&blocks.hidden, 0)?.into(),
                SOURCE_MASK => {
                    let mut mask = Vec::with_capacity(rows * blocks.source_tokens);
                    for (row, &number) in group.iter().enumerate() {
                        let tokens = works[number].held.source.as_ref().map_or(0, |source| source.tokens);
                        mask.resize(mask.len() + tokens, 1);
                        mask.resize((row + 1) * blocks.source_tokens, 0);
                    }
                    graph.integers(port, &[rows, blocks.source_tokens], &mask)?
                }
                name => {
                    let place = |list: &[Past]| list.iter().position(|past| past.input == name);
                    let (list, block, at) = match (place(&self.own), place(&self.cross)) {
                        (Some(at), _) => (&self.own, &blocks.own, at),
                        (None, Some(at)) => (&self.cross, &blocks.cross, at),
                        (None, None) => return Err(graph.error(format!("input `{name}` is of no past"))),
                    };
                    match block {
                        Some(_) => blocks.value(block, at)?.into(),
                        None => list[at].nothing(graph, rows)?,
                    }
                }
            };
            inputs.push((Cow::Borrowed(port.name.as_str()), value));
        }
        Ok(inputs)
    }

    /// Hands out the rows of logits that are wanted.
    fn give(
        &self,
        graph: &Graph,
        works: &[Work],
        group: &[usize],
        now: usize,
        logits: &DynValue,
        output: &mut StepOutput,
    ) -> Result<()> {
        let width = self.vocabulary;
        let shape = graph.shape(LOGITS, logits)?;
        // Some graphs give the last token's alone.
        let last_alone = now > 1 && shape.get(1) == Some(&1);
        let given = if last_alone { 1 } else { now };
        let values = graph.floats(LOGITS, logits, &[group.len(), given, width])?;
        for (place, &number) in group.iter().enumerate() {
            let Work { feed, held, ids, done, wanted, .. } = &works[number];
            let end = (done + now - held.ids.len()).min(ids.len());
            for token in (*wanted).max(*done)..end {
                let at = held.ids.len() + token - done;
                if last_alone && at + 1 != now {
                    return Err(
                        graph.error("the graph gives the last token's logits alone, and those of others are needed")
                    );
                }
                let at = if last_alone { 0 } else { at };
                let from = &values[(place * given + at) * width..][..width];
                output.put(*feed, token - wanted, from);
            }
        }
        Ok(())
    }

    /// Gives the sequences of a group what came out.
    fn keep(
        &self,
        graph: &Graph,
        works: &mut [Work],
        group: &[usize],
        (past, now): (usize, usize),
        mut values: impl Iterator<Item = DynValue>,
        blocks: Blocks,
    ) -> Result<()> {
        let rows = group.len();
        let mut block = |list: &[Past], tokens: usize| -> Result<Option<Arc<Block>>> {
            let mut kept = Vec::with_capacity(list.len());
            for past in list {
                let value = values.next().ok_or_else(|| Error::internal("a run without its past"))?;
                let (found, wanted) = (graph.shape(&past.output, &value)?, [rows, past.heads, tokens, past.width]);
                if found != wanted || element(&value) != Some(past.element) {
                    let (name, dtype) = (&past.output, value.dtype());
                    return Err(
                        graph.error(format!("output `{name}` is {dtype}, and {wanted:?} was expected of what went in"))
                    );
                }
                kept.push(value);
            }
            if kept.is_empty() { Ok(None) } else { Block::new(kept, rows, tokens, &self.budget).map(Some) }
        };
        let own = block(&self.own, past + now)?;
        let cross = if past == 0 { block(&self.cross, blocks.source_tokens)? } else { blocks.cross };
        for (row, &number) in group.iter().enumerate() {
            let work = &mut works[number];
            let held = &mut *work.held;
            let of = |block: &Option<Arc<Block>>| block.clone().map(|block| Row { block, row });
            if self.remembers() {
                held.past = of(&own);
                held.length += now;
                work.done += now;
            } else {
                held.ids.extend_from_slice(work.ids);
                held.length = held.ids.len();
                work.done = work.ids.len();
            }
            if let Some(source) = &mut held.source {
                source.cross = of(&cross);
                if let Some(hidden) = of(&blocks.hidden) {
                    source.hidden = hidden;
                }
            }
        }
        Ok(())
    }
}

/// What a run's texts bring along, each in one block.
struct Blocks {
    own: Option<Arc<Block>>,
    cross: Option<Arc<Block>>,
    hidden: Option<Arc<Block>>,
    source_tokens: usize,
}

impl Blocks {
    fn new(decoder: &Decoder, graph: &Graph, works: &[Work], group: &[usize], past: usize) -> Result<Self> {
        let held = || group.iter().map(|&number| &*works[number].held);
        let missing = || Error::internal("a sequence without its past");
        let sources: Vec<_> = held().filter_map(|held| held.source.as_ref()).collect();
        let source_tokens = sources.iter().map(|source| source.tokens).max().unwrap_or(0);
        let gather = |rows: Vec<Option<(&Row, usize)>>, tokens: usize| {
            let rows: Vec<_> = rows.into_iter().collect::<Option<_>>().ok_or_else(missing)?;
            together(graph, &rows, tokens, &decoder.budget).map(Some)
        };
        let own = match past {
            0 => None,
            _ => gather(held().map(|held| held.past.as_ref().map(|row| (row, past))).collect(), past)?,
        };
        let cross = match past {
            0 => None,
            _ if decoder.cross.is_empty() => None,
            _ => gather(sources.iter().map(|s| s.cross.as_ref().map(|row| (row, s.tokens))).collect(), source_tokens)?,
        };
        // A graph that goes on from the source's keys may not need the source.
        let hidden = match graph.input(HIDDEN) {
            Some(_) => gather(sources.iter().map(|s| Some((&s.hidden, s.tokens))).collect(), source_tokens)?,
            None => None,
        };
        Ok(Self { own, cross, hidden, source_tokens })
    }

    fn value<'a>(&self, block: &'a Option<Arc<Block>>, place: usize) -> Result<&'a DynValue> {
        let value = block.as_ref().and_then(|block| block.values.get(place));
        value.ok_or_else(|| Error::internal("a run without its past"))
    }
}
