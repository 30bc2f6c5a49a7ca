//! The loop that generates: all texts of a call advance together, one token a step; a text that ends leaves the batch at once, and
//! one that waits takes its place. What a text becomes does not depend on the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::emptied;
use crate::engine::passes::passes;
use crate::network::{Feed, Sequence, StepOutput, StepRows};
use crate::spec::Batch;
use crate::text::encoding::Encoding;

use super::Generator;
use super::beam::BeamSearch;
use super::constraint::Constraint;
use super::detokenize::Watch;
use super::options::Settings;
use super::prompt_lookup::Lookup;
use super::sampling::fresh_seed;
use super::search::{Context, FinishReason, Fresh, Output, Search, Start, Workspaces};
use super::session::Prefix;
use super::single::Single;

/// Bytes of logits that one step may make.
const LOGITS_BYTES: usize = 32 << 20;

/// The most sequences that one step advances.
const MOST_ROWS: usize = 256;

/// Rows of a step that drafts fill up to. A row more costs a fifth of a step of one row, but in a step of this many, where the
/// weights are read for all of them anyway, hardly less than what an accepted token saves.
const DRAFT_ROWS: usize = 32;

/// A piece of a text as it grows.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The number of the text in the call.
    pub index: usize,
    /// The number of the sequence, where several are drawn for a text.
    pub sequence: usize,
    /// What came to the text since the last event: whole characters.
    pub text: &'a str,
    /// The token of this step.
    pub token: u32,
    /// Set with the last piece.
    pub finish_reason: Option<FinishReason>,
}

/// Gets the pieces; returning false cancels the call.
pub type Listener<'a> = &'a mut dyn FnMut(Event) -> bool;

/// What becomes of one input: the outputs, best first, and the state that a session goes on from.
pub(crate) struct Answer {
    pub outputs: Vec<Output>,
    pub prompt: Vec<u32>,
    pub sequence: Option<Sequence>,
}

/// One call's work.
pub(crate) struct Job<'a> {
    pub generator: &'a Generator,
    /// The inputs as token ids: source texts, or prompts.
    pub inputs: &'a Encoding,
    /// What the caller numbers the inputs, where these are some of all.
    pub numbers: Option<&'a [usize]>,
    pub settings: &'a Arc<Settings>,
    pub constraint: Option<Constraint>,
    pub prefix: Option<&'a Prefix>,
    pub call: Call<'a>,
}

/// A search that runs.
struct Active {
    input: usize,
    number: usize,
    rows: usize,
    /// Whether its first step is still to come.
    first: bool,
    search: Box<dyn Search>,
}

/// A search's part of a step, which any thread may do: what it is given, and whether it ended.
type Advance<'a> = Mutex<(&'a mut Active, StepRows<'a>, Result<bool>)>;

/// The memory of one step's lists, which the next one uses again.
#[derive(Default)]
struct Lists {
    feeds: Vec<Feed<'static>>,
    /// Feeds of each search, and the rows that they ask for.
    counts: Vec<(usize, usize)>,
    output: StepOutput,
    work: Vec<Advance<'static>>,
}

impl Job<'_> {
    /// Runs all inputs. `done` gets each input's answer as soon as it stands.
    pub(crate) fn run(&self, mut listener: Option<Listener<'_>>, mut done: impl FnMut(usize, Answer)) -> Result<()> {
        let begun = Instant::now();
        let s = self.settings;
        let inputs = self.inputs.len();
        let copies = if s.num_beams > 1 { 1 } else { s.num_return_sequences };
        let width = self.generator.engine.spec.vocabulary;
        let most_rows = (LOGITS_BYTES / 4 / width.max(1)).clamp(s.num_beams.max(8), MOST_ROWS);
        let mut waiting = Waiting {
            job: self,
            forbidden: s.plainly_forbidden().filter(|_| self.constraint.is_none()).map(Arc::from),
            next: 0,
            passes: Box::new(passes(self.inputs, self.generator.engine.network.pass_tokens())),
            sources: VecDeque::new(),
        };
        let mut active: Vec<Active> = Vec::new();
        let mut lists = Lists::default();
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
            self.step(&mut active, &mut lists, context, begun, most_rows, &mut listener)?;
            // Those that ended leave; the order of the others stays.
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
                    return Err(Error::invalid_argument("no text could be finished under these options"));
                }
                let all = &mut collected[active.input];
                all.push((active.number, outputs));
                tails[active.input] = sequence;
                if all.len() == copies {
                    let mut all = std::mem::take(all);
                    all.sort_by_key(|(number, _)| *number);
                    let outputs = all.into_iter().flat_map(|(_, outputs)| outputs).collect();
                    let prompt = self.prompt(active.input)?;
                    done(active.input, Answer { outputs, prompt, sequence: tails[active.input].take() });
                }
            }
        }
    }

    /// Runs all active searches one step further. Those that end have no rows left.
    fn step(
        &self,
        active: &mut [Active],
        lists: &mut Lists,
        context: Context<'_>,
        begun: Instant,
        most_rows: usize,
        listener: &mut Option<Listener<'_>>,
    ) -> Result<()> {
        let call = self.call;
        let Lists { feeds, counts, output, work } = lists;
        let mut feeds: Vec<Feed> = emptied(std::mem::take(feeds));
        counts.clear();
        let prefill = active.iter().any(|a| a.first);
        let start = Instant::now();
        // What all drafts may take together. It decides when texts are done, never what they become.
        let mut room = most_rows.min(DRAFT_ROWS).saturating_sub(active.iter().map(|a| a.rows).sum());
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
        let network = &self.generator.engine.network;
        call.counters.time(stage, feeds.len(), tokens, || network.step(&mut feeds, output, call))?;
        let sequences = feeds.len();
        lists.feeds = emptied(feeds);
        // Each search has rows of its own, and so may advance on any thread.
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
        let mut accepted = 0;
        for (entry, (_, count)) in work.iter_mut().zip(&*counts) {
            let (active, _, result) = entry.get_mut().unwrap_or_else(PoisonError::into_inner);
            let ended = std::mem::replace(result, Ok(false))?;
            accepted += active.search.accepted();
            if active.first {
                call.counters.add(Stage::FirstToken, 1, 1, begun.elapsed());
                active.first = false;
                active.rows = active.rows.max(*count);
            }
            if ended {
                active.rows = 0;
            }
            if let Some(listener) = listener {
                active.tell(context, ended, call, listener)?;
            }
        }
        lists.work = emptied(work);
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
                "decoder_start_token_id: neither the options nor the model's files say with which token an answer begins",
            )
        })?;
        Ok(vec![start])
    }
}

impl Active {
    /// Hands a step's text to whoever listens.
    fn tell(&mut self, context: Context<'_>, ended: bool, call: Call<'_>, listener: &mut Listener<'_>) -> Result<()> {
        let Some(Fresh { watch, tokens, ends, reason }) = self.search.fresh() else { return Ok(()) };
        for (place, (&token, &end)) in tokens.iter().zip(ends).enumerate() {
            // A call that was cancelled with one piece hands out no other, whatever the step brought.
            if place > 0 {
                call.check()?;
            }
            let ended = ended && place + 1 == tokens.len();
            let text = if ended { watch.rest(context.tokenizer)? } else { watch.until(end) };
            let finish_reason = ended.then_some(reason);
            let event = Event { index: self.input, sequence: self.number, text, token, finish_reason };
            if !listener(event) {
                return Err(Error::cancelled());
            }
        }
        Ok(())
    }
}

/// Inputs that have not begun.
struct Waiting<'a> {
    job: &'a Job<'a>,
    forbidden: Option<Arc<[u32]>>,
    next: usize,
    passes: Box<dyn Iterator<Item = Batch<'a>> + 'a>,
    /// Sources that the encoder has read, in order.
    sources: VecDeque<Sequence>,
}

impl Waiting<'_> {
    /// Begins the next input, if there is one.
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
            let what = format!("texts[{number}]: has no tokens, and the model needs one to begin");
            return Err(Error::invalid_argument(what));
        }
        let positions = model.spec.decoder.as_ref().map_or(0, |stack| stack.max_tokens);
        let left = (positions + 1).saturating_sub(prompt.len()).min(positions);
        if prompt.len() > positions {
            let tokens = prompt.len();
            return Err(Error::invalid_argument(format!(
                "texts[{number}]: has {tokens} tokens, and the model takes at most {positions} with what it generates"
            )));
        }
        let limit = s.limit(prompt.len()).min(left.max(1));
        let mut sequence = if model.spec.encoder.is_some() {
            if self.sources.is_empty()
                && let Some(pass) = self.passes.next()
            {
                self.sources.extend(model.network.read_sources(&pass, job.call)?);
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
                model.network.step(&mut [feed], &mut StepOutput::default(), job.call)
            })?;
        }
        let watch = (streams || !s.stop_strings.is_empty()).then(|| Watch::new(&s.stop_strings, s.skip_special_tokens));
        let seed = s.sampling.as_ref().and_then(|sampling| sampling.seed).unwrap_or_else(fresh_seed);
        let lookup = || {
            let source = match &model.spec.encoder {
                Some(_) => &job.inputs.ids()[job.inputs.starts()[input]..job.inputs.starts()[input + 1]],
                None => &[],
            };
            Lookup::new(&prompt, source, model.network.switch(), limit, s.lookup)
        };
        for number in 0..copies {
            let start = Start {
                settings: s.clone(),
                forbidden: self.forbidden.clone(),
                sequence: sequence.clone(),
                prompt: prompt.clone(),
                limit,
                constraint: job.constraint.clone(),
                lookup: (s.lookup.tokens > 0).then(lookup),
                number,
            };
            let search: Box<dyn Search> = if s.num_beams > 1 {
                Box::new(BeamSearch::new(start, model.spec.vocabulary, watch.clone()))
            } else {
                Box::new(Single::new(start, seed, watch.clone()))
            };
            active.push(Active { input, number, rows: s.num_beams, first: true, search });
        }
        // A step that is full of prompts begins at once.
        let pending: usize = active.iter().filter(|a| a.first).count() * prompt.len();
        Ok(pending < 4 * model.network.pass_tokens())
    }
}
