//! The decoding loop with continuous batching: all texts of a call advance together, one token per step. A finished text leaves the
//! batch at once, and the next one takes its place. The output for a text does not depend on the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::emptied;
use crate::engine::StepTurns;
use crate::network::{Feed, Sequence, StepOutput, StepRows};
use crate::text::encoding::Encoding;

use super::Generator;
use super::beam::BeamSearch;
use super::constraint::Constraint;
use super::detokenize::Detokenizer;
use super::prompt_lookup::Lookup;
use super::sampling::fresh_seed;
use super::search::{Context, FinishReason, NewText, Output, Search, Start, Workspaces};
use super::session::Prefix;
use super::settings::Settings;
use super::single::Single;

/// The maximum size of a step's logits, in bytes.
const LOGITS_BYTES: usize = 32 << 20;

/// The maximum number of sequences in a step.
const MAX_ROWS: usize = 256;

/// The number of rows up to which drafts fill a step. One more row costs a fifth of a step of one row; in a step of this many rows it
/// costs about as much as an accepted token saves.
const DRAFT_ROWS: usize = 32;

/// A piece of streamed text.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The index of the text in the call.
    pub index: usize,
    /// The index among the text's `num_return_sequences`.
    pub sequence: usize,
    /// The new text since the last piece: whole characters.
    pub text: &'a str,
    /// The token of this step.
    pub token: u32,
    /// Set in the last piece of a sequence.
    pub finish_reason: Option<FinishReason>,
}

/// Called with each piece; returning false cancels the call.
pub type Listener<'a> = &'a mut dyn FnMut(Piece) -> bool;

/// The result for one input: the outputs, the best first, and the sequence that a session continues.
pub(crate) struct Generated {
    pub outputs: Vec<Output>,
    pub prompt: Vec<u32>,
    pub sequence: Option<Sequence>,
}

/// One call of `generate`.
pub(crate) struct Job<'a> {
    pub generator: &'a Generator,
    /// The inputs as token ids: source texts, or prompts.
    pub inputs: &'a Encoding,
    /// Tokens that an encoder-decoder model's decoder continues: none, one list for all inputs, or one per input of the call.
    pub decoder_inputs: &'a [Vec<u32>],
    /// The caller's index of each input, if the inputs are a selection.
    pub numbers: Option<&'a [usize]>,
    pub settings: &'a Arc<Settings>,
    pub constraint: Option<Constraint>,
    pub prefix: Option<&'a Prefix>,
    pub call: Call<'a>,
}

/// A running search.
struct Active {
    input: usize,
    number: usize,
    rows: usize,
    /// Whether it has not done its first step.
    first: bool,
    search: Box<dyn Search>,
}

/// The steps of a call: when it began, and when its last step ended.
struct Steps<'e> {
    turns: StepTurns<'e>,
    begun: Instant,
    last: Instant,
}

/// A search with its rows of a step, and whether it has ended. Any thread may process it.
type Advance<'a> = Mutex<(&'a mut Active, StepRows<'a>, Result<bool>)>;

/// Lists of one step, kept so that the next step does not allocate.
#[derive(Default)]
struct LoopBuffers {
    feeds: Vec<Feed<'static>>,
    /// The feeds of each search and their rows.
    counts: Vec<(usize, usize)>,
    output: StepOutput,
    work: Vec<Advance<'static>>,
}

impl Job<'_> {
    /// Runs all inputs. `done` gets the result of each input as soon as it is finished.
    pub(crate) fn run(&self, mut listener: Option<Listener<'_>>, mut done: impl FnMut(usize, Generated)) -> Result<()> {
        let begun = Instant::now();
        let mut steps = Steps { turns: self.generator.engine.turns(), begun, last: begun };
        let s = self.settings;
        let inputs = self.inputs.len();
        let copies = if s.num_beams > 1 { 1 } else { s.num_return_sequences };
        let width = self.generator.engine.spec.vocabulary;
        let most_rows = (LOGITS_BYTES / 4 / width.max(1)).clamp(s.num_beams.max(8), MAX_ROWS);
        let mut waiting = Waiting {
            job: self,
            forbidden: s.always_forbidden().filter(|_| self.constraint.is_none()).map(Arc::from),
            next: 0,
            read: 0,
            sources: VecDeque::new(),
        };
        let mut active: Vec<Active> = Vec::new();
        let mut buffers = LoopBuffers::default();
        let mut collected: Vec<Vec<(usize, Vec<Output>)>> = vec![Vec::new(); inputs];
        let mut tails: Vec<Option<Sequence>> = (0..inputs).map(|_| None).collect();
        let tokenizer = &self.generator.engine.tokenizer;
        let workspaces = Workspaces::default();
        let context = Context { tokenizer, workspaces: &workspaces };
        loop {
            while active.iter().map(|a| a.rows).sum::<usize>() + copies * s.num_beams
                <= most_rows.max(copies * s.num_beams)
            {
                if !waiting.admit(&mut active, listener.is_some())? {
                    break;
                }
            }
            if active.is_empty() {
                return Ok(());
            }
            self.call.check()?;
            self.step(&mut active, &mut steps, &mut buffers, context, most_rows, &mut listener)?;
            // Not `swap_remove`: the order stays.
            let mut ended = Vec::new();
            let mut i = 0;
            while i < active.len() {
                if active[i].rows == 0 { ended.push(active.remove(i)) } else { i += 1 }
            }
            for active in ended {
                let start = Instant::now();
                let (outputs, sequence) = active.search.finish(context)?;
                let tokens = outputs.iter().map(|o| o.tokens.len()).sum();
                self.call.counters.add(Stage::Detokenize, outputs.len(), tokens, start.elapsed());
                if outputs.is_empty() {
                    return Err(Error::invalid_argument("no beam could finish a text under these options"));
                }
                let all = &mut collected[active.input];
                all.push((active.number, outputs));
                tails[active.input] = sequence;
                if all.len() == copies {
                    let mut all = std::mem::take(all);
                    all.sort_by_key(|(number, _)| *number);
                    let outputs = all.into_iter().flat_map(|(_, outputs)| outputs).collect();
                    let prompt = self.prompt(active.input)?;
                    done(active.input, Generated { outputs, prompt, sequence: tails[active.input].take() });
                }
            }
        }
    }

    /// Runs one step of all active searches. Sets `rows` of searches that end to 0.
    fn step(
        &self,
        active: &mut [Active],
        steps: &mut Steps<'_>,
        buffers: &mut LoopBuffers,
        context: Context<'_>,
        most_rows: usize,
        listener: &mut Option<Listener<'_>>,
    ) -> Result<()> {
        let call = self.call;
        let LoopBuffers { feeds, counts, output, work } = buffers;
        let mut feeds: Vec<Feed> = emptied(std::mem::take(feeds));
        counts.clear();
        let prefill = active.iter().any(|a| a.first);
        let start = Instant::now();
        // The rows that all drafts may use together. They change the speed, never the output.
        let own = active.iter().map(|a| a.rows).sum();
        let others = self.generator.engine.scheduler.other_rows(own);
        let mut room = most_rows.min(DRAFT_ROWS).saturating_sub(own + others);
        let (mut drafts, mut drafted) = (0, 0);
        for active in &mut *active {
            let before = feeds.len();
            active.search.feeds(&mut feeds, room);
            let rows: usize = feeds[before..].iter().map(Feed::rows).sum();
            let feeds = feeds.len() - before;
            counts.push((feeds, rows));
            let more = rows - feeds;
            room -= more;
            drafted += more;
            drafts += usize::from(more > 0);
        }
        if self.settings.lookup.tokens > 0 {
            call.counters.add(Stage::Draft, drafts, drafted, start.elapsed());
        }
        let tokens = feeds.iter().map(|feed| feed.ids.len()).sum();
        let stage = if prefill { Stage::Prefill } else { Stage::Decode };
        call.counters.time(stage, feeds.len(), tokens, || steps.turns.step(&mut feeds, output, call))?;
        let sequences = feeds.len();
        buffers.feeds = emptied(feeds);
        // The rows of different searches do not overlap, so any thread may process them.
        let start = Instant::now();
        let mut work: Vec<Advance> = emptied(std::mem::take(work));
        let mut split = output.split();
        for (active, (feeds, _)) in active.iter_mut().zip(&*counts) {
            work.push(Mutex::new((active, split.take(*feeds), Ok(false))));
        }
        self.generator.engine.pool.run(work.len(), |i| {
            let mut entry = work[i].lock().unwrap_or_else(PoisonError::into_inner);
            let (active, rows, result) = &mut *entry;
            *result = active.search.advance(std::mem::replace(rows, StepRows::None), context);
        });
        let sampling = start.elapsed();
        let (mut accepted, mut firsts) = (0, 0);
        let texts = work.len();
        for (entry, (_, count)) in work.iter_mut().zip(&*counts) {
            let (active, _, result) = entry.get_mut().unwrap_or_else(PoisonError::into_inner);
            let ended = std::mem::replace(result, Ok(false))?;
            accepted += active.search.accepted();
            if active.first {
                let elapsed = steps.begun.elapsed();
                call.counters.add(Stage::FirstToken, 1, 1, elapsed);
                call.counters.add(call.priority.first_token(), 1, 1, elapsed);
                firsts += 1;
                active.first = false;
                active.rows = active.rows.max(*count);
            }
            if ended {
                active.rows = 0;
            }
            if let Some(listener) = listener {
                active.emit(context, ended, call, listener)?;
            }
        }
        buffers.work = emptied(work);
        let now = Instant::now();
        let since = now - std::mem::replace(&mut steps.last, now);
        if texts > firsts {
            call.counters.add(call.priority.output_token(), texts - firsts, texts - firsts + accepted, since);
        }
        call.counters.add(Stage::Sample, sequences, sequences + accepted, sampling);
        if drafted > 0 {
            call.counters.add(Stage::Accept, drafts, accepted, Duration::ZERO);
        }
        Ok(())
    }

    /// The decoder's prompt for an input.
    fn prompt(&self, input: usize) -> Result<Vec<u32>> {
        if self.generator.engine.spec.encoder.is_none() {
            let starts = self.inputs.starts();
            return Ok(self.inputs.ids()[starts[input]..starts[input + 1]].to_vec());
        }
        let start = self.settings.decoder_start.ok_or_else(|| {
            Error::invalid_argument(
                "decoder_start_token_id: missing; neither the options nor the model's files give the decoder's first token",
            )
        })?;
        let number = self.numbers.map_or(input, |numbers| numbers[input]);
        let given = self.decoder_inputs.get(number).or(self.decoder_inputs.first()).map_or(&[][..], Vec::as_slice);
        // As in transformers, the start token may be among them.
        Ok([&[start][..], given.strip_prefix(&[start]).unwrap_or(given)].concat())
    }
}

impl Active {
    /// Calls the listener with the new text of a step.
    fn emit(&mut self, context: Context<'_>, ended: bool, call: Call<'_>, listener: &mut Listener<'_>) -> Result<()> {
        let Some(NewText { detokenizer, tokens, ends, reason }) = self.search.new_text() else { return Ok(()) };
        for (place, (&token, &end)) in tokens.iter().zip(ends).enumerate() {
            // No piece after a cancellation, even if the step gave several tokens.
            if place > 0 {
                call.check()?;
            }
            let ended = ended && place + 1 == tokens.len();
            let text = if ended { detokenizer.rest(context.tokenizer)? } else { detokenizer.until(end) };
            let finish_reason = ended.then_some(reason);
            let piece = Piece { index: self.input, sequence: self.number, text, token, finish_reason };
            if !listener(piece) {
                return Err(Error::cancelled());
            }
        }
        Ok(())
    }
}

/// Inputs that are not active yet.
struct Waiting<'a> {
    job: &'a Job<'a>,
    forbidden: Option<Arc<[u32]>>,
    next: usize,
    /// The inputs that the encoder has read.
    read: usize,
    /// Empty decoder sequences of source texts that the encoder has read, in order.
    sources: VecDeque<Sequence>,
}

impl Waiting<'_> {
    /// Activates the next input. Returns whether more may be activated before the next step.
    fn admit(&mut self, active: &mut Vec<Active>, streams: bool) -> Result<bool> {
        let job = self.job;
        let (model, s, input) = (&job.generator.engine, job.settings, self.next);
        if input == job.inputs.len() {
            return Ok(false);
        }
        self.next += 1;
        let prompt = job.prompt(input)?;
        let number = job.numbers.map_or(input, |numbers| numbers[input]);
        if job.inputs.starts()[input] == job.inputs.starts()[input + 1] {
            let what = format!("texts[{number}]: has no tokens; the model needs at least one");
            return Err(Error::invalid_argument(what));
        }
        let positions = model.spec.decoder.as_ref().map_or(0, |stack| stack.max_tokens);
        let left = (positions + 1).saturating_sub(prompt.len()).min(positions);
        if prompt.len() > positions {
            let tokens = prompt.len();
            return Err(Error::invalid_argument(format!(
                "texts[{number}]: has {tokens} tokens; the model takes at most {positions}, generated tokens included"
            )));
        }
        let limit = s.limit(prompt.len()).min(left.max(1));
        let mut sequence = if model.spec.encoder.is_some() {
            if self.sources.is_empty() {
                // As many as fill a pass.
                let (starts, first) = (job.inputs.starts(), self.read);
                let most = starts[first] + model.network.pass_tokens();
                let fit = starts[first + 1..].partition_point(|&end| end <= most).max(1);
                self.read = first + fit;
                self.sources.extend(model.read_sources(job.inputs, first..self.read, job.call)?);
            }
            self.sources.pop_front().ok_or_else(|| Error::internal("an input without its source"))?
        } else {
            job.prefix.map_or_else(|| model.network.sequence(), |prefix| Ok(prefix.begin(&prompt)))?
        };
        let copies = if s.num_beams > 1 { 1 } else { s.num_return_sequences };
        if copies > 1 && prompt.len() > sequence.length() + 1 {
            let ids = &prompt[sequence.length()..prompt.len() - 1];
            let tokens = ids.len();
            job.call.counters.time(Stage::Prefill, 1, tokens, || {
                let feed = Feed::prefill(&mut sequence, ids);
                model.step_once(&mut [feed], &mut StepOutput::default(), job.call)
            })?;
        }
        let source = match &model.spec.encoder {
            Some(_) => &job.inputs.ids()[job.inputs.starts()[input]..job.inputs.starts()[input + 1]],
            None => &[],
        };
        let context: Arc<[u32]> = if model.spec.encoder.is_some() { prompt[1..].into() } else { Arc::default() };
        let processed: Arc<[u32]> = match s.encoder_repetition_penalty != 1.0 || s.encoder_no_repeat_ngram_size > 0 {
            true if model.spec.encoder.is_some() => source.into(),
            true => prompt.as_slice().into(),
            false => Arc::default(),
        };
        let detokenizer = (streams || !s.stop_strings.is_empty())
            .then(|| Detokenizer::new(&context, &s.stop_strings, s.skip_special_tokens));
        let seed = s.sampling.as_ref().and_then(|sampling| sampling.seed).unwrap_or_else(fresh_seed);
        let lookup = || Lookup::new(&prompt, source, model.network.rotary_switch(), limit, s.lookup);
        for number in 0..copies {
            let start = Start {
                settings: s.clone(),
                forbidden: self.forbidden.clone(),
                sequence: sequence.clone(),
                prompt: prompt.clone(),
                source: processed.clone(),
                context: context.clone(),
                limit,
                constraint: job.constraint.clone(),
                lookup: (s.lookup.tokens > 0).then(lookup),
                number,
            };
            let search: Box<dyn Search> = if s.num_beams > 1 {
                Box::new(BeamSearch::new(start, model.spec.vocabulary, detokenizer.clone()))
            } else {
                Box::new(Single::new(start, seed, detokenizer.clone()))
            };
            active.push(Active { input, number, rows: s.num_beams, first: true, search });
        }
        // Enough prompts for several passes: run them before activating more.
        let pending: usize = active.iter().filter(|a| a.first).count() * prompt.len();
        Ok(pending < 4 * model.network.pass_tokens())
    }
}
