//! The decoder: every token sees those before it, whose keys and values a cache holds, and with an encoder the source text, whose
//! keys and values were computed once.

use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::{Backend, CachedSequence, Scores, Slot};
use crate::batching::{PASS_TOKENS, Pass, more_bytes};
use crate::call::Call;
use crate::counters::Stage;
use crate::error::{Error, Result};

use super::network::{Feed, Memory, Sequence, Transformer, Want};
use super::spec::{Activation, Position};
use super::stack::{Run, Stack};

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
    let held = sequence.0.as_any().downcast_mut();
    held.ok_or_else(|| Error::invalid_argument("a sequence of another model's"))
}

/// A sequence of a pass, the tokens to append to it, and the length that it will have once all that was fed is there.
struct Chosen<'a, B: Backend> {
    held: &'a mut Held<B>,
    ids: &'a [u32],
    reach: usize,
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

/// A pass through the decoder: which part of which work, each at most once.
struct Part {
    work: usize,
    ids: Range<usize>,
}

/// Cuts works into passes of about `PASS_TOKENS` tokens.
fn parts<B: Backend>(works: &[Work<B>]) -> Vec<Vec<Part>> {
    let (mut passes, mut pass, mut tokens) = (Vec::new(), Vec::new(), 0);
    for (work, Work { ids, .. }) in works.iter().enumerate() {
        let mut start = 0;
        while start < ids.len() {
            let end = ids.len().min(start + PASS_TOKENS - tokens);
            pass.push(Part { work, ids: start..end });
            tokens += end - start;
            start = end;
            if tokens == PASS_TOKENS {
                passes.push(std::mem::take(&mut pass));
                tokens = 0;
            }
        }
    }
    if !pass.is_empty() {
        passes.push(pass);
    }
    passes
}

impl<B: Backend> Transformer<B> {
    fn require_decoder(&self) -> Result<(&Stack<B>, &B::Cache)> {
        let both = self.decoder.as_ref().zip(self.cache.as_ref());
        both.ok_or_else(|| Error::internal("a step was asked of a model without a decoder"))
    }

    pub(super) fn empty_sequence(&self) -> Result<Sequence> {
        let (_, cache) = self.require_decoder()?;
        Ok(Sequence(Box::new(Held::<B>::new(self.backend.sequence(cache), None))))
    }

    pub(super) fn sequences_of(&self, pass: &Pass, call: Call<'_>) -> Result<Vec<Sequence>> {
        let (decoder, cache) = self.require_decoder()?;
        let encoder = self.encoder.as_ref().ok_or_else(|| Error::internal("a model without an encoder"))?;
        let (backend, layout) = (&self.backend, &pass.layout);
        let mut sources: Vec<_> = (0..layout.sequences()).map(|_| backend.sequence(cache)).collect();
        for (i, source) in sources.iter_mut().enumerate() {
            source.reserve(layout.range(i).len())?;
        }
        let hidden = self.encode(encoder, pass, call)?;
        let run = Run { backend, call, items: layout.sequences(), tokens: layout.tokens() };
        for index in 0..decoder.spec.layers {
            call.check()?;
            let kv = run.time(Stage::Linear, || decoder.cross_key_value(backend, index, &hidden))?;
            let kv = kv.ok_or_else(|| Error::internal("a decoder without cross-attention"))?;
            let slots = sources.iter_mut().enumerate();
            let mut slots: Vec<_> = slots.map(|(i, sequence)| Slot { rows: layout.range(i), sequence }).collect();
            run.time(Stage::Attention, || backend.store(&kv, 0, &mut slots, index))?;
        }
        let finished = sources.into_iter().enumerate().map(|(i, mut source)| {
            source.advance(layout.range(i).len());
            Sequence(Box::new(Held::<B>::new(backend.sequence(cache), Some(Arc::new(source)))))
        });
        Ok(finished.collect())
    }

    pub(super) fn feed(&self, feeds: &mut [Feed], call: Call<'_>) -> Result<Vec<f32>> {
        let (decoder, _) = self.require_decoder()?;
        let Some((language, head)) = &self.language else {
            return Err(Error::internal("logits were asked of a model without a language head"));
        };
        let mut works: Vec<Work<B>> = Vec::with_capacity(feeds.len());
        for feed in feeds {
            self.check_ids("ids", feed.ids, self.spec.vocabulary)?;
            self.check_length(feed.sequence.length() + feed.ids.len(), decoder.spec.max_tokens)?;
            works.push(Work::new(feed, decoder.switch())?);
        }
        let mut logits = Vec::new();
        for pass in parts(&works) {
            // Which rows of the pass logits are wanted of.
            let (mut wanted, mut rows) = (Vec::new(), 0);
            let mut chosen: Vec<Chosen<B>> = Vec::with_capacity(pass.len());
            let mut rest = works.iter_mut().enumerate();
            for Part { work, ids } in pass {
                let found = rest.find(|(i, _)| *i == work);
                let (_, work) = found.ok_or_else(|| Error::internal("a part of no feed"))?;
                let first = work.wanted.start.max(ids.start);
                wanted.extend((first..work.wanted.end.min(ids.end)).map(|i| rows + i - ids.start));
                rows += ids.len();
                let reach = work.held.own.length() + work.ids.len() - ids.start;
                chosen.push(Chosen { held: work.held, ids: &work.ids[ids], reach });
            }
            let x = self.decode(decoder, &mut chosen, call)?;
            if wanted.is_empty() {
                continue;
            }
            let all = wanted.len() == rows;
            let part = call.counters.time(Stage::Linear, chosen.len(), rows, || {
                let x = if all { x } else { self.backend.rows(&x, &wanted)? };
                let x = match &decoder.final_norm {
                    Some(norm) => self.backend.norm(x, norm)?,
                    None => x,
                };
                self.backend.read(&self.backend.project(&x, language, Activation::None)?)
            })?;
            // The usual case, one pass, without a copy.
            if logits.is_empty() { logits = part } else { logits.extend(part) }
        }
        if head.softcap > 0.0 {
            logits.iter_mut().for_each(|x| *x = head.softcap * (*x / head.softcap).tanh());
        }
        Ok(logits)
    }

    /// The hidden states of a pass of whole texts, for a decoder that is used as an encoder.
    pub(super) fn decode_pass(&self, decoder: &Stack<B>, pass: &Pass, call: Call<'_>) -> Result<B::Tensor> {
        let (_, cache) = self.require_decoder()?;
        self.check_ids("ids", pass.ids, self.spec.vocabulary)?;
        let more = more_bytes(&decoder.spec, pass.layout.tokens(), PASS_TOKENS);
        let _held = self.budget.hold(more, "the activations of a long text")?;
        let mut sequences = Vec::with_capacity(pass.layout.sequences());
        for i in 0..pass.layout.sequences() {
            let tokens = pass.layout.range(i).len();
            self.check_length(tokens, decoder.spec.max_tokens)?;
            let mut own = self.backend.sequence(cache);
            own.reserve(tokens)?;
            sequences.push(Held::<B>::new(own, None));
        }
        let ids = (0..sequences.len()).map(|i| &pass.ids[pass.layout.range(i)]);
        let chosen = sequences.iter_mut().zip(ids).map(|(held, ids)| Chosen { held, ids, reach: ids.len() });
        let mut chosen: Vec<_> = chosen.collect();
        let x = self.decode(decoder, &mut chosen, call)?;
        match &decoder.final_norm {
            Some(norm) => self.backend.norm(x, norm),
            None => Ok(x),
        }
    }

    /// Runs tokens through all layers and appends them to their sequences, which have room for them. Returns the residual stream
    /// before the last norm, a row a token.
    fn decode(&self, decoder: &Stack<B>, pass: &mut [Chosen<B>], call: Call<'_>) -> Result<B::Tensor> {
        let (backend, spec) = (&self.backend, &decoder.spec);
        let (mut ids, mut positions, mut reach) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = Vec::with_capacity(pass.len());
        for Chosen { held, ids: new, reach: whole } in &*pass {
            let past = held.own.length() as u32;
            reach.resize(reach.len() + new.len(), *whole as u32);
            rows.push(ids.len()..ids.len() + new.len());
            ids.extend_from_slice(new);
            positions.extend(past..past + new.len() as u32);
        }
        let run = Run { backend, call, items: pass.len(), tokens: ids.len() };
        let table_rows = match spec.position {
            Position::Learned { first, .. } => positions.iter().map(|p| p + first as u32).collect(),
            _ => positions.clone(),
        };
        let mut x = decoder.embed(run, &ids, &[], &table_rows)?;
        let rotations = decoder.rotations(&positions, &reach);
        for index in 0..spec.layers {
            let scores = Scores {
                scale: spec.attention.scale,
                softcap: spec.attention.softcap,
                bias: decoder.relative_bias.as_ref(),
                causal: true,
                window: spec.attention.window(index),
            };
            let sources: Vec<_> = pass.iter().map(|chosen| chosen.held.source.clone()).collect();
            let attend = |qkv: B::Tensor| {
                let slots = pass.iter_mut().zip(&rows);
                let mut slots: Vec<_> =
                    slots.map(|(chosen, rows)| Slot { rows: rows.clone(), sequence: &mut chosen.held.own }).collect();
                backend.store(&qkv, spec.heads.query_width(), &mut slots, index)?;
                let slots: Vec<_> =
                    slots.iter().map(|slot| Slot { rows: slot.rows.clone(), sequence: &*slot.sequence }).collect();
                backend.attend_cached(&qkv, &slots, index, spec.heads, scores)
            };
            let cross = |query: B::Tensor| {
                let slots = sources.iter().zip(&rows).map(|(source, rows)| {
                    let sequence = source.as_deref().ok_or_else(|| Error::internal("a sequence without its source"))?;
                    Ok(Slot { rows: rows.clone(), sequence })
                });
                let scores = Scores { bias: None, causal: false, window: 0, ..scores };
                backend.attend_cached(&query, &slots.collect::<Result<Vec<_>>>()?, index, spec.heads, scores)
            };
            x = decoder.layer(run, index, x, &rotations, attend, cross)?;
        }
        for chosen in pass {
            chosen.held.own.advance(chosen.ids.len());
        }
        Ok(x)
    }
}
