//! The decoder: causal attention over a KV cache, and with an encoder cross-attention to the source text, whose keys and values are
//! computed once.

use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use crate::backend::{Backend, CachedSequence, Likeliest, Rotations, Sequences, Slot};
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::emptied;
use crate::network::activation_memory::more_bytes;
use crate::spec::Batch;

use super::Transformer;
use super::stack::{Run, Stack};
use crate::network::{Feed, Memory, Sequence, Want, check_ids, check_length};

/// A sequence on a backend: its own keys and values, and those of the source text, which beams share.
struct Held<B: Backend> {
    own: B::Sequence,
    source: Option<Arc<B::Sequence>>,
    /// The tokens that `own` was made of, and whether as a long text's, for models whose keys depend on that.
    tokens: Vec<u32>,
    long: bool,
}

impl<B: Backend> Held<B> {
    fn new(own: B::Sequence, source: Option<Arc<B::Sequence>>) -> Self {
        Self { own, source, tokens: Vec::new(), long: false }
    }
}

impl<B: Backend> Memory for Held<B> {
    fn fork(&self) -> Box<dyn Memory> {
        Box::new(Self {
            own: self.own.clone(),
            source: self.source.clone(),
            tokens: self.tokens.clone(),
            long: self.long,
        })
    }

    fn copy_to(&self, other: &mut dyn Memory) -> bool {
        let Some(other) = other.as_any().downcast_mut::<Self>() else { return false };
        other.own.clone_from(&self.own);
        other.source.clone_from(&self.source);
        other.tokens.clone_from(&self.tokens);
        other.long = self.long;
        true
    }

    fn length(&self) -> usize {
        self.own.length()
    }

    fn truncate(&mut self, length: usize) {
        self.own.truncate(length);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

fn held<B: Backend>(sequence: &mut Sequence) -> Result<&mut Held<B>> {
    let held = sequence.memory().as_any().downcast_mut();
    held.ok_or_else(|| Error::invalid_argument("a sequence of another model's"))
}

/// What becomes of the rows that logits are wanted of.
pub(super) enum Wanted<'a> {
    Logits(&'a mut Vec<f32>),
    /// The likeliest token of each, without the forbidden ones.
    Tokens(&'a [u32], &'a mut Vec<Option<u32>>),
    /// Several of each, likewise.
    Likeliest(&'a [u32], &'a mut Likeliest),
}

/// One pass through the decoder: sequences, and the tokens to append to them.
struct Step<'a, B: Backend> {
    slots: Vec<Slot<&'a mut B::Sequence>>,
    /// What each slot's tokens see of a source text.
    sources: Vec<Slot<&'a B::Sequence>>,
    tokens: Tokens,
}

/// The tokens of a pass, end to end.
#[derive(Default)]
struct Tokens {
    ids: Vec<u32>,
    positions: Vec<u32>,
    /// For each the length that its sequence will have once all that was fed is there.
    reach: Vec<u32>,
    /// The rows of the position table.
    rows: Vec<u32>,
}

impl Tokens {
    fn clear(&mut self) {
        for list in [&mut self.ids, &mut self.positions, &mut self.reach, &mut self.rows] {
            list.clear();
        }
    }
}

impl<'a, B: Backend> Step<'a, B> {
    /// Appends tokens to a sequence that is not yet in the pass.
    fn add(&mut self, own: &'a mut B::Sequence, source: Option<&'a B::Sequence>, ids: &[u32], reach: usize) {
        let t = &mut self.tokens;
        let (first, past) = (t.ids.len(), own.length() as u32);
        let rows = first..first + ids.len();
        t.ids.extend_from_slice(ids);
        t.positions.extend(past..past + ids.len() as u32);
        t.reach.resize(rows.end, reach as u32);
        self.sources.extend(source.map(|sequence| Slot { rows: rows.clone(), sequence }));
        self.slots.push(Slot { rows, sequence: own });
    }
}

/// The memory of one step's lists, which the next one uses again.
pub(super) struct Lists<B: Backend> {
    works: Vec<Work<'static, B>>,
    slots: Vec<Slot<&'static mut B::Sequence>>,
    sources: Vec<Slot<&'static B::Sequence>>,
    tokens: Tokens,
    wanted: Vec<usize>,
    rotations: Rotations,
}

impl<B: Backend> Default for Lists<B> {
    fn default() -> Self {
        Self {
            works: Vec::new(),
            slots: Vec::new(),
            sources: Vec::new(),
            tokens: Tokens::default(),
            wanted: Vec::new(),
            rotations: Rotations::default(),
        }
    }
}

/// A feed as it is run: usually its own tokens, but all that the sequence holds again where that has to be computed anew.
struct Work<'a, B: Backend> {
    held: &'a mut Held<B>,
    ids: Cow<'a, [u32]>,
    /// Which of `ids` logits are wanted for.
    wanted: Range<usize>,
}

impl<'a, B: Backend> Work<'a, B> {
    /// `switch` is the length beyond which a sequence's keys are made otherwise, if there is one. Where a sequence passes it, or
    /// was cut back to less, what it holds is forgotten and fed again, as in the reference.
    fn new(feed: &'a mut Feed, switch: Option<usize>) -> Result<Self> {
        let held = held::<B>(feed.sequence)?;
        let mut ids = Cow::Borrowed(feed.ids);
        if let Some(most) = switch {
            let past = held.own.length();
            let long = past + feed.ids.len() > most;
            held.tokens.truncate(past);
            held.tokens.extend_from_slice(feed.ids);
            if past > 0 && held.long != long {
                held.own.truncate(0);
                ids = Cow::Owned(held.tokens.clone());
            }
            held.long = long;
        }
        let (all, new) = (ids.len(), feed.ids.len());
        let wanted = match feed.want {
            Want::None => all..all,
            Want::Last => all - new.min(1)..all,
            Want::All => all - new..all,
        };
        held.own.reserve(all)?;
        Ok(Self { held, ids, wanted })
    }
}

impl<B: Backend> Transformer<B> {
    fn require_decoder(&self) -> Result<(&Stack<B>, &B::Cache)> {
        let both = self.decoder.as_ref().zip(self.cache.as_ref());
        both.ok_or_else(|| Error::internal("a step was asked of a model without a decoder"))
    }

    pub(super) fn empty_sequence(&self) -> Result<Sequence> {
        let (_, cache) = self.require_decoder()?;
        Ok(Sequence::new(Box::new(Held::<B>::new(self.backend.sequence(cache), None))))
    }

    pub(super) fn sequences_of(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        let (decoder, cache) = self.require_decoder()?;
        let encoder = self.encoder.as_ref().ok_or_else(|| Error::internal("a model without an encoder"))?;
        let (backend, layout) = (&self.backend, &pass.layout);
        let mut sources: Vec<_> = (0..layout.sequences()).map(|_| backend.sequence(cache)).collect();
        for (i, source) in sources.iter_mut().enumerate() {
            source.reserve(layout.range(i).len())?;
        }
        let hidden = self.encode(encoder, pass, call)?;
        let run = Run { backend, call, items: layout.sequences(), tokens: layout.tokens() };
        let slots: Vec<_> =
            (sources.iter_mut().enumerate()).map(|(i, sequence)| Slot { rows: layout.range(i), sequence }).collect();
        let mut rotations = Rotations::default();
        let sequences = Sequences::Appended { own: &slots, sources: &[] };
        let shared = decoder.begin(backend, &[], &[], &mut rotations, sequences)?;
        for index in 0..decoder.spec.layers {
            call.check()?;
            let kv = run.time(Stage::Linear, || decoder.cross_key_value(backend, index, &hidden))?;
            let kv = kv.ok_or_else(|| Error::internal("a decoder without cross-attention"))?;
            run.time(Stage::Attention, || backend.store(&shared, index, kv))?;
        }
        drop(shared);
        drop(slots);
        let finished = sources.into_iter().enumerate().map(|(i, mut source)| {
            source.advance(layout.range(i).len());
            Sequence::new(Box::new(Held::<B>::new(backend.sequence(cache), Some(Arc::new(source)))))
        });
        Ok(finished.collect())
    }

    pub(super) fn feed(&self, feeds: &mut [Feed], mut out: Wanted, call: Call<'_>) -> Result<()> {
        let (decoder, _) = self.require_decoder()?;
        let Some((language, head)) = &self.language else {
            return Err(Error::internal("logits were asked of a model without a language head"));
        };
        let lists = || self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let Lists { works, mut slots, mut sources, mut tokens, mut wanted, mut rotations } =
            lists().pop().unwrap_or_default();
        let mut works: Vec<Work<B>> = emptied(works);
        for feed in feeds {
            check_ids("ids", feed.ids, self.spec.vocabulary)?;
            check_length(feed.sequence.length() + feed.ids.len(), decoder.spec.max_tokens)?;
            if !feed.ids.is_empty() {
                works.push(Work::new(feed, decoder.switch())?);
            }
        }
        // The works are cut into passes of about the backend's number of tokens, each work at most once in a pass.
        let most = self.backend.pass_tokens();
        let (mut next, mut start) = (0, 0);
        while next < works.len() {
            let mut step = Step::<B> { slots: emptied(slots), sources: emptied(sources), tokens };
            step.tokens.clear();
            wanted.clear();
            for Work { held, ids, wanted: rows } in &mut works[next..] {
                let first = step.tokens.ids.len();
                let end = ids.len().min(start + most - first);
                wanted.extend((rows.start.max(start)..rows.end.min(end)).map(|i| first + i - start));
                let reach = held.own.length() + ids.len() - start;
                step.add(&mut held.own, held.source.as_deref(), &ids[start..end], reach);
                let whole = end == ids.len();
                (next, start) = if whole { (next + 1, 0) } else { (next, end) };
                if !whole || step.tokens.ids.len() == most {
                    break;
                }
            }
            let x = self.decode(decoder, &mut step, &mut rotations, call)?;
            let (items, rows) = (step.slots.len(), step.tokens.ids.len());
            (slots, sources, tokens) = (emptied(step.slots), emptied(step.sources), step.tokens);
            if wanted.is_empty() {
                continue;
            }
            call.counters.time(Stage::Linear, items, rows, || {
                let x = if wanted.len() == rows { x } else { self.backend.rows(&x, &wanted)? };
                let norm = decoder.final_norm.as_ref();
                match &mut out {
                    Wanted::Tokens(forbidden, tokens) => {
                        self.backend.project_arg_max(&x, norm, language, head.softcap, forbidden, tokens)
                    }
                    Wanted::Likeliest(forbidden, rows) => {
                        self.backend.project_top_k(&x, norm, language, head.softcap, forbidden, rows)
                    }
                    Wanted::Logits(logits) => self.backend.project_logits(&x, norm, language, head.softcap, logits),
                }
            })?;
        }
        lists().push(Lists { works: emptied(works), slots, sources, tokens, wanted, rotations });
        Ok(())
    }

    /// The hidden states of a pass of whole texts, for a decoder that is used as an encoder.
    pub(super) fn decode_pass(&self, decoder: &Stack<B>, pass: &Batch, call: Call<'_>) -> Result<B::Tensor> {
        let (_, cache) = self.require_decoder()?;
        check_ids("ids", pass.ids, self.spec.vocabulary)?;
        let more = more_bytes(&decoder.spec, pass.layout.tokens(), self.backend.pass_tokens());
        let _held = self.budget.hold(more, "the activations of a long text")?;
        let mut sequences = Vec::with_capacity(pass.layout.sequences());
        for i in 0..pass.layout.sequences() {
            let tokens = pass.layout.range(i).len();
            check_length(tokens, decoder.spec.max_tokens)?;
            let mut own = self.backend.sequence(cache);
            own.reserve(tokens)?;
            sequences.push(own);
        }
        let mut step = Step::<B> { slots: Vec::new(), sources: Vec::new(), tokens: Tokens::default() };
        for (i, own) in sequences.iter_mut().enumerate() {
            let ids = &pass.ids[pass.layout.range(i)];
            step.add(own, None, ids, ids.len());
        }
        let x = self.decode(decoder, &mut step, &mut Rotations::default(), call)?;
        match &decoder.final_norm {
            Some(norm) => self.backend.norm(x, norm),
            None => Ok(x),
        }
    }

    /// Runs tokens through all layers and appends them to their sequences, which have room for them. Returns the residual stream
    /// before the last norm, one row per token.
    fn decode(
        &self,
        decoder: &Stack<B>,
        step: &mut Step<B>,
        rotations: &mut Rotations,
        call: Call<'_>,
    ) -> Result<B::Tensor> {
        let (backend, spec) = (&self.backend, &decoder.spec);
        let Step { slots, sources, tokens: Tokens { ids, positions, reach, rows } } = step;
        if spec.cross && sources.len() != slots.len() {
            return Err(Error::internal("a sequence without its source"));
        }
        let run = Run { backend, call, items: slots.len(), tokens: ids.len() };
        spec.position.rows(ids, positions, rows);
        let mut x = decoder.embed(run, ids, &[], rows)?;
        let sequences = Sequences::Appended { own: slots, sources };
        let pass = decoder.begin(backend, positions, reach, rotations, sequences)?;
        for index in 0..spec.layers {
            x = decoder.layer(run, &pass, index, x)?;
        }
        drop(pass);
        for slot in slots {
            slot.sequence.advance(slot.rows.len());
        }
        Ok(x)
    }
}
