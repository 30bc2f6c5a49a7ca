//! The decoder: causal attention over a KV cache and, with an encoder, cross-attention to the source text, whose keys and values are
//! computed once.

use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::{Backend, CachedSequence, Projection, Rotations, Sequences, Slot};
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::emptied;
use crate::network::activation_memory::more_bytes;
use crate::spec::{Batch, LanguageHead, RotarySwitch};

use super::Transformer;
use super::stack::{LoadedStack, PassContext};
use crate::network::{Feed, Sequence, SequenceState, StepOutput, check_ids, check_length};

/// A sequence on a backend: its own keys and values, and those of the source text, which beams share.
struct TransformerSequence<B: Backend> {
    own: B::Sequence,
    source: Option<Arc<B::Sequence>>,
    /// For LongRoPE: the tokens of `own`, and whether their keys have the long factors.
    tokens: Vec<u32>,
    long: bool,
}

impl<B: Backend> TransformerSequence<B> {
    fn new(own: B::Sequence, source: Option<Arc<B::Sequence>>) -> Self {
        Self { own, source, tokens: Vec::new(), long: false }
    }
}

impl<B: Backend> SequenceState for TransformerSequence<B> {
    fn fork(&self) -> Box<dyn SequenceState> {
        Box::new(Self {
            own: self.own.clone(),
            source: self.source.clone(),
            tokens: self.tokens.clone(),
            long: self.long,
        })
    }

    fn copy_to(&self, other: &mut dyn SequenceState) -> bool {
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

fn downcast<B: Backend>(sequence: &mut Sequence) -> Result<&mut TransformerSequence<B>> {
    let own = sequence.state().as_any().downcast_mut();
    own.ok_or_else(|| Error::invalid_argument("a sequence of another model's"))
}

/// One pass through the decoder: sequences and the tokens to append to them.
struct DecoderPass<'a, B: Backend> {
    slots: Vec<Slot<&'a mut B::Sequence>>,
    /// The keys and values of each slot's source text.
    sources: Vec<Slot<&'a B::Sequence>>,
    tokens: Tokens,
}

/// The tokens of a pass, end to end.
#[derive(Default)]
struct Tokens {
    ids: Vec<u32>,
    positions: Vec<u32>,
    /// For each token the length of its sequence at the end of the step.
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

impl<'a, B: Backend> DecoderPass<'a, B> {
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

/// Lists of one step, kept so that the next step does not allocate.
pub(super) struct StepBuffers<B: Backend> {
    pending: Vec<PendingFeed<'static, B>>,
    slots: Vec<Slot<&'static mut B::Sequence>>,
    sources: Vec<Slot<&'static B::Sequence>>,
    tokens: Tokens,
    wanted: Vec<Vec<usize>>,
    rotations: Rotations,
}

impl<B: Backend> Default for StepBuffers<B> {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            slots: Vec::new(),
            sources: Vec::new(),
            tokens: Tokens::default(),
            wanted: Vec::new(),
            rotations: Rotations::default(),
        }
    }
}

/// A feed to run: its tokens, or all tokens of its sequence if LongRoPE's keys are recomputed.
struct PendingFeed<'a, B: Backend> {
    /// The feed's index.
    feed: usize,
    sequence: &'a mut TransformerSequence<B>,
    ids: Cow<'a, [u32]>,
    /// The part of `ids` whose logits are wanted.
    wanted: Range<usize>,
    /// The sequence's length before the step.
    before: usize,
    flag: Option<&'a AtomicBool>,
}

impl<'a, B: Backend> PendingFeed<'a, B> {
    /// Where a sequence grows beyond LongRoPE's original context length, or was truncated to less, all of its keys are recomputed, as in
    /// the reference. Beyond that of dynamic NTK the reference keeps its cached keys as they were rotated; here too, if one token is
    /// added. All keys are recomputed if several are, or if the sequence was truncated, so that the result is that of the same tokens as a
    /// new prompt.
    fn new(number: usize, feed: &'a mut Feed, switch: Option<RotarySwitch>) -> Result<Self> {
        let (rows, flag, cancelled) = (feed.rows(), feed.cancelled, feed.is_cancelled());
        let sequence = downcast::<B>(feed.sequence)?;
        let mut ids = Cow::Borrowed(feed.ids);
        if let Some(switch) = switch.filter(|_| !cancelled) {
            let past = sequence.own.length();
            let long = past + feed.ids.len() > switch.length;
            let continues = feed.ids.len() == 1 && sequence.tokens.len() == past;
            sequence.tokens.truncate(past);
            sequence.tokens.extend_from_slice(feed.ids);
            let stale = match switch.grows {
                true => {
                    if long {
                        !continues
                    } else {
                        sequence.long
                    }
                }
                false => sequence.long != long,
            };
            if past > 0 && stale {
                sequence.own.truncate(0);
                ids = Cow::Owned(sequence.tokens.clone());
            }
            sequence.long = long;
        }
        if !cancelled {
            sequence.own.reserve(ids.len())?;
        }
        let (before, all) = (sequence.own.length(), ids.len());
        Ok(Self { feed: number, sequence, ids, wanted: all - rows..all, before, flag })
    }

    /// Whether it is cancelled; the sequence is then as before the step.
    fn is_cancelled(&mut self) -> bool {
        let cancelled = self.flag.is_some_and(|flag| flag.load(Ordering::Relaxed));
        if cancelled {
            self.sequence.own.truncate(self.before);
        }
        cancelled
    }
}

impl<B: Backend> Transformer<B> {
    fn require_decoder(&self) -> Result<(&LoadedStack<B>, &B::Cache)> {
        let both = self.decoder.as_ref().zip(self.cache.as_ref());
        both.ok_or_else(|| Error::internal("a step of a model without a decoder"))
    }

    pub(super) fn empty_sequence(&self) -> Result<Sequence> {
        let (_, cache) = self.require_decoder()?;
        Ok(Sequence::new(Box::new(TransformerSequence::<B>::new(self.backend.sequence(cache), None))))
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
        let run = PassContext { backend, call, items: layout.sequences(), tokens: layout.tokens() };
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
            Sequence::new(Box::new(TransformerSequence::<B>::new(backend.sequence(cache), Some(Arc::new(source)))))
        });
        Ok(finished.collect())
    }

    /// As [`Network::step`](crate::network::Network::step).
    pub(super) fn feed(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        let (decoder, _) = self.require_decoder()?;
        let Some((weight, LanguageHead { softcap, .. })) = &self.language else {
            return Err(Error::internal("logits of a model without a language head"));
        };
        let head = Projection { norm: decoder.final_norm.as_ref(), weight: &**weight, softcap: *softcap };
        let buffers = || self.buffers.lock();
        let StepBuffers { pending, mut slots, mut sources, mut tokens, mut wanted, mut rotations } =
            buffers().pop().unwrap_or_default();
        output.begin(feeds, self.spec.vocabulary);
        wanted.resize_with(wanted.len().max(output.lists()), Vec::new);
        let mut pending: Vec<PendingFeed<B>> = emptied(pending);
        for (number, feed) in feeds.iter_mut().enumerate() {
            check_ids("ids", feed.ids, self.spec.vocabulary)?;
            check_length(feed.sequence.length() + feed.ids.len(), decoder.spec.max_tokens)?;
            if !feed.ids.is_empty() {
                pending.push(PendingFeed::new(number, feed, decoder.rotary_switch())?);
            }
        }
        // Cuts the feeds into passes of about `pass_tokens`, with each feed at most once in a pass.
        let pass_tokens = self.backend.pass_tokens();
        let (mut next, mut start) = (0, 0);
        while next < pending.len() {
            let begun = (next, start);
            let mut step = DecoderPass::<B> { slots: emptied(slots), sources: emptied(sources), tokens };
            step.tokens.clear();
            wanted.iter_mut().for_each(Vec::clear);
            // The flag that all feeds of the pass have, if any.
            let mut shared = None;
            for entry in &mut pending[next..] {
                if entry.is_cancelled() {
                    output.cancel(entry.feed, entry.wanted.end - entry.wanted.start.max(start));
                    (next, start) = (next + 1, 0);
                    continue;
                }
                let PendingFeed { feed, sequence, ids, wanted: rows, flag, .. } = entry;
                shared = match shared {
                    _ if step.slots.is_empty() => *flag,
                    Some(other) => flag.filter(|flag| std::ptr::eq(*flag, other)),
                    None => None,
                };
                let first = step.tokens.ids.len();
                let end = ids.len().min(start + pass_tokens - first);
                if let Some(list) = output.list_of(*feed) {
                    wanted[list].extend((rows.start.max(start)..rows.end.min(end)).map(|i| first + i - start));
                }
                let reach = sequence.own.length() + ids.len() - start;
                step.add(&mut sequence.own, sequence.source.as_deref(), &ids[start..end], reach);
                let whole = end == ids.len();
                (next, start) = if whole { (next + 1, 0) } else { (next, end) };
                if !whole || step.tokens.ids.len() == pass_tokens {
                    break;
                }
            }
            let (items, rows) = (step.slots.len(), step.tokens.ids.len());
            let inner = Call { cancelled: call.cancelled.or(shared), ..call };
            let x = if items == 0 { None } else { Some(self.decode(decoder, &mut step, &mut rotations, inner)) };
            (slots, sources, tokens) = (emptied(step.slots), emptied(step.sources), step.tokens);
            let x = match x {
                Some(Ok(x)) => x,
                // The next round marks the feeds of this pass as cancelled.
                Some(Err(_)) if call.check().is_ok() && inner.check().is_err() => {
                    (next, start) = begun;
                    continue;
                }
                Some(Err(error)) => return Err(error),
                None => continue,
            };
            if wanted.iter().all(Vec::is_empty) {
                continue;
            }
            call.counters.time(Stage::Linear, items, rows, || {
                for (list, wanted) in wanted.iter().enumerate().filter(|(_, wanted)| !wanted.is_empty()) {
                    let some = (wanted.len() < rows).then(|| self.backend.rows(&x, wanted)).transpose()?;
                    self.backend.logits(some.as_ref().unwrap_or(&x), &head, output.list(list))?;
                }
                Ok(())
            })?;
        }
        buffers().push(StepBuffers { pending: emptied(pending), slots, sources, tokens, wanted, rotations });
        Ok(())
    }

    /// The last hidden states of whole texts, for embedding with a decoder.
    pub(super) fn decode_pass(&self, decoder: &LoadedStack<B>, pass: &Batch, call: Call<'_>) -> Result<B::Tensor> {
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
        let mut step = DecoderPass::<B> { slots: Vec::new(), sources: Vec::new(), tokens: Tokens::default() };
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

    /// Runs tokens through all layers and appends them to their sequences, which have reserved space. Returns the residual stream
    /// before the final norm, one row per token.
    fn decode(
        &self,
        decoder: &LoadedStack<B>,
        step: &mut DecoderPass<B>,
        rotations: &mut Rotations,
        call: Call<'_>,
    ) -> Result<B::Tensor> {
        let (backend, spec) = (&self.backend, &decoder.spec);
        let DecoderPass { slots, sources, tokens: Tokens { ids, positions, reach, rows } } = step;
        if spec.cross && sources.len() != slots.len() {
            return Err(Error::internal("a sequence without its source"));
        }
        let run = PassContext { backend, call, items: slots.len(), tokens: ids.len() };
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
