//! Text generation: options, the decoding loop, searches, logits processors, constraints, chat sessions and the answer cache.

pub(crate) mod answer_cache;
mod beam;
pub(crate) mod chat;
pub(crate) mod constraint;
mod decoding;
pub(crate) mod defaults;
mod detokenize;
mod logits_processors;
pub(crate) mod options;
mod prompt_lookup;
mod sampling;
mod search;
pub(crate) mod session;
mod settings;
mod single;
mod tool_grammar;

use std::sync::Arc;

use crate::base::call::{Call, CallLimits, Cancellation};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::fork::Lock;
use crate::engine::Engine;
use crate::network::{Feed, Sequence, StepOutput, Want};
use crate::text::chat::{ChatTemplate, ToolChoice};
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use answer_cache::{AnswerCache, Key};
use constraint::GrammarVocabulary;
use decoding::{Generated, Job};
use defaults::Defaults;
use options::GenerateOptions;
use settings::Settings;

pub use decoding::{Listener, Piece};
pub use search::{FinishReason, Output};

/// The result of generation for a batch.
#[derive(Clone, Debug, Default)]
pub struct Generations {
    /// The outputs of each text, the best first.
    pub outputs: Vec<Vec<Output>>,
    /// The number of tokens of each input, special tokens included.
    pub input_tokens: Vec<usize>,
    /// 1 for each input that was truncated to the encoder's maximum length, else 0.
    pub truncated: Vec<u8>,
}

impl Generations {
    fn shape(&self) -> (usize, usize) {
        (self.outputs.len(), self.outputs.iter().flatten().map(|output| output.tokens.len()).sum())
    }
}

/// The raw logits of a sequence.
#[derive(Clone, Debug)]
pub struct Logits {
    /// `[tokens, vocabulary]`.
    pub values: Vec<f32>,
    pub vocabulary: usize,
}

/// Generation over an engine: the defaults of the model's files, answer cache, chat template and grammar vocabulary.
pub(crate) struct Generator {
    pub engine: Arc<Engine>,
    pub defaults: Defaults,
    pub answers: AnswerCache,
    /// The chat template, or why the model has none.
    pub chat: Result<ChatTemplate>,
    /// The vocabulary for grammars, built when it is first needed.
    grammar: Lock<Option<Result<Arc<GrammarVocabulary>>>>,
}

impl Generator {
    pub fn new(engine: Arc<Engine>, defaults: Defaults, answers: AnswerCache, chat: Result<ChatTemplate>) -> Self {
        Self { engine, defaults, answers, chat, grammar: Lock::default() }
    }

    fn chat_template(&self) -> Result<&ChatTemplate> {
        self.chat.as_ref().map_err(Error::clone)
    }

    fn grammar_vocabulary(&self) -> Result<Arc<GrammarVocabulary>> {
        let made = self.grammar.lock().clone();
        made.unwrap_or_else(|| {
            // Outside the lock, because it takes long. Of two threads that do the same the second one's result stays.
            let tokenizer = self.engine.tokenizer.inner()?;
            let made =
                GrammarVocabulary::new(tokenizer, self.engine.spec.vocabulary, self.defaults.eos()).map(Arc::new);
            *self.grammar.lock() = Some(made.clone());
            made
        })
    }

    pub(crate) fn require_language(&self) -> Result<()> {
        if self.engine.spec.language.is_some() {
            return Ok(());
        }
        let (path, family) = (self.engine.path.display(), self.engine.spec.family);
        Err(Error::unsupported(match self.engine.spec.decoder {
            Some(_) => format!(
                "{path}: generates no text, because the weights have no language head (lm_head.weight); it can embed"
            ),
            None => format!("{path}: {family} generates no text; it can embed or classify"),
        }))
    }

    /// As [`crate::Model::generate`].
    pub fn generate(
        &self,
        texts: &[&str],
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<Generations> {
        self.require_language()?;
        let work = |call: Call<'_>| {
            let encoding = self.encode_prompts(texts, options, call)?;
            self.run(&encoding, options, listener, call)
        };
        let bytes = texts.iter().map(|text| text.len()).sum();
        self.engine.call(options.limits(bytes), work, Generations::shape)
    }

    /// As [`crate::Model::generate_ids`].
    pub fn generate_ids(
        &self,
        ids: &[u32],
        lengths: &[usize],
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<Generations> {
        self.require_language()?;
        if options.max_input_length.is_some() {
            return Err(Error::invalid_argument("max_input_length: token ids are taken as they are; leave it out"));
        }
        let encoding = Encoding::from_ids(ids, lengths, None)?;
        let work = |call: Call<'_>| self.run(&encoding, options, listener, call);
        self.engine.call(options.limits(size_of_val(ids)), work, Generations::shape)
    }

    /// As [`crate::Model::logits`].
    pub fn logits(
        &self,
        ids: &[u32],
        decoder_ids: Option<&[u32]>,
        stepwise: bool,
        cancellation: Option<&Cancellation>,
    ) -> Result<Logits> {
        self.require_language()?;
        let has_encoder = self.engine.spec.encoder.is_some();
        if has_encoder != decoder_ids.is_some() {
            return Err(Error::invalid_argument(match has_encoder {
                true => {
                    "decoder_ids: required, because the model has an encoder; they begin with decoder_start_token_id"
                }
                false => "decoder_ids: the model has no encoder; pass all tokens as ids",
            }));
        }
        if has_encoder && ids.is_empty() {
            return Err(Error::invalid_argument("ids: empty; the encoder needs at least one token"));
        }
        let tokens = decoder_ids.unwrap_or(ids);
        let max = self.engine.spec.decoder.as_ref().map_or(0, |stack| stack.max_tokens);
        if tokens.len() > max {
            let (name, count) = (if has_encoder { "decoder_ids" } else { "ids" }, tokens.len());
            return Err(Error::invalid_argument(format!("{name}: {count} tokens; the model takes at most {max}")));
        }
        let network = &self.engine.network;
        let work = |call: Call<'_>| {
            let encoding = Encoding::from_ids(ids, &[ids.len()], None)?;
            let mut sequence = match has_encoder {
                true => self.engine.read_sources(&encoding, 0..1, call)?.swap_remove(0),
                false => network.sequence()?,
            };
            let count = tokens.len() * self.engine.spec.vocabulary;
            let _held = self.engine.budget.hold((count * size_of::<f32>()) as u64, "the logits")?;
            let mut values = Vec::new();
            values
                .try_reserve_exact(count)
                .map_err(|_| Error::out_of_memory(format!("no memory for {count} logits")))?;
            let mut output = StepOutput::default();
            if !stepwise {
                output.logits = std::mem::take(&mut values);
            }
            for ids in tokens.chunks(if stepwise { 1 } else { tokens.len().max(1) }) {
                let sequence = &mut sequence;
                let feed = Feed { sequence, ids, want: Want::Logits, last: ids.len(), cancelled: None };
                self.engine.step_once(&mut [feed], &mut output, call)?;
                if stepwise {
                    values.append(&mut output.logits);
                }
            }
            if !stepwise {
                values = output.logits;
            }
            Ok(Logits { values, vocabulary: self.engine.spec.vocabulary })
        };
        let bytes = size_of_val(tokens);
        self.engine.call(CallLimits { bytes, ..CallLimits::cancelled_by(cancellation) }, work, |logits| {
            (1, logits.values.len() / logits.vocabulary.max(1))
        })
    }

    /// As [`Self::generate`] for one prompt; also returns the prompt's tokens and the sequence to continue from.
    pub(crate) fn generate_one(
        &self,
        text: &str,
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<(Vec<Output>, Vec<u32>, Option<Sequence>)> {
        let work = |call: Call<'_>| {
            let encoding = self.encode_prompts(&[text], options, call)?;
            let settings = Arc::new(self.settle(options, listener.is_some())?);
            // A chat's model has no encoder.
            self.decoder_inputs(options, 1)?;
            let mut result = None;
            self.job(&encoding, &settings, options, call)?.run(listener, |_, done| result = Some(done))?;
            let Generated { outputs, prompt, sequence } = result.ok_or_else(|| Error::internal("no output"))?;
            Ok((outputs, prompt, sequence))
        };
        self.engine.call(options.limits(text.len()), work, |(outputs, ..)| {
            (1, outputs.iter().map(|output| output.tokens.len()).sum())
        })
    }

    fn encode_prompts(&self, texts: &[&str], options: &GenerateOptions, call: Call<'_>) -> Result<Encoding> {
        let bounded = options.max_input_length.map(|n| n.min(self.engine.spec.max_tokens()));
        // Without the option a source text may be truncated; a prompt without its end would give wrong output.
        let max_length = if self.engine.spec.encoder.is_some() { bounded } else { bounded.or(Some(usize::MAX)) };
        let add_special_tokens = options.add_special_tokens.unwrap_or(true);
        self.engine.encode(
            texts,
            None,
            &EncodeOptions { add_special_tokens, max_length, ..EncodeOptions::default() },
            call,
        )
    }

    fn settle(&self, options: &GenerateOptions, streams: bool) -> Result<Settings> {
        if options.tool_choice != ToolChoice::Auto {
            return Err(Error::invalid_argument("tool_choice: is for chats with tools"));
        }
        let settings = options.settle(&self.defaults, self.engine.spec.vocabulary)?;
        if options.grammar.is_some() && options.eos_token_id.is_some() {
            return Err(Error::invalid_argument(
                "eos_token_id: cannot be set with a grammar, which ends with the model's own end tokens",
            ));
        }
        if streams && settings.num_beams > 1 {
            return Err(Error::invalid_argument("num_beams: beam search cannot stream; set it to 1, or do not stream"));
        }
        if settings.num_beams > 1 && !self.engine.network.has_kv_cache() {
            return Err(Error::unsupported(format!(
                "num_beams: {}: the graph has no past_key_values, so each token of a beam would reprocess the whole text; set it to 1, \
                 or export with a KV cache (optimum-cli export onnx --task …-with-past)",
                self.engine.path.display()
            )));
        }
        if !settings.stop_strings.is_empty() && !self.engine.tokenizer.is_present() {
            return Err(Error::invalid_argument("stop_strings: the model has no tokenizer"));
        }
        if let Some(prefix) = &options.prefix {
            self.require_plain_decoder("a prefix")?;
            if !std::ptr::eq(prefix.generator(), self) {
                return Err(Error::invalid_argument("prefix: made by another model"));
            }
        }
        Ok(settings)
    }

    /// The tokens that the decoder of an encoder-decoder model continues: none, one list for all inputs, or one per input.
    fn decoder_inputs(&self, options: &GenerateOptions, inputs: usize) -> Result<Vec<Vec<u32>>> {
        let (name, lists) = match (&options.decoder_input_ids, &options.decoder_input_texts) {
            (Some(lists), _) => ("decoder_input_ids", lists.clone()),
            (None, Some(texts)) => {
                let tokenizer = &self.engine.tokenizer;
                let lists: Result<_> = texts.iter().map(|text| tokenizer.ids(text, false)).collect();
                ("decoder_input_texts", lists?)
            }
            (None, None) => return Ok(Vec::new()),
        };
        if self.engine.spec.encoder.is_none() {
            return Err(Error::invalid_argument(format!(
                "{name}: the model has no encoder; put what it is to continue at the end of the prompt"
            )));
        }
        if lists.len() != 1 && lists.len() != inputs {
            let count = lists.len();
            return Err(Error::invalid_argument(format!(
                "{name}: has {count} entries for {inputs} inputs; give one for all, or one per input"
            )));
        }
        Ok(lists)
    }

    fn job<'a>(
        &'a self,
        inputs: &'a Encoding,
        settings: &'a Arc<Settings>,
        options: &'a GenerateOptions,
        call: Call<'a>,
    ) -> Result<Job<'a>> {
        let constraint = match &settings.grammar {
            Some(grammar) => {
                let vocabulary = self.grammar_vocabulary()?;
                Some(vocabulary.constraint(grammar, settings.schema_mode, settings.grammar_limits, call.cancelled)?)
            }
            None => None,
        };
        Ok(Job {
            generator: self,
            inputs,
            decoder_inputs: &[],
            numbers: None,
            settings,
            constraint,
            prefix: options.prefix.as_ref(),
            call,
        })
    }

    fn run(
        &self,
        inputs: &Encoding,
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
        call: Call<'_>,
    ) -> Result<Generations> {
        let settings = Arc::new(self.settle(options, listener.is_some())?);
        let decoder_inputs = self.decoder_inputs(options, inputs.len())?;
        let mut result = Generations {
            outputs: vec![Vec::new(); inputs.len()],
            input_tokens: inputs.starts().windows(2).map(|w| w[1] - w[0]).collect(),
            truncated: inputs.truncated().to_vec(),
        };
        let answers = &self.answers;
        // Streaming does not use the cache.
        if !answers.is_on() || listener.is_some() {
            let job = Job { decoder_inputs: &decoder_inputs, ..self.job(inputs, &settings, options, call)? };
            job.run(listener, |i, generated| result.outputs[i] = generated.outputs)?;
            return Ok(result);
        }
        let starts = inputs.starts();
        // Speculative decoding does not change the output.
        let deciding = Settings { lookup: Default::default(), ..Settings::clone(&settings) };
        let decoder_input = |i: usize| decoder_inputs.get(i).or(decoder_inputs.first()).map_or(&[][..], Vec::as_slice);
        let key = |i: usize| Key::new(&inputs.ids()[starts[i]..starts[i + 1]], decoder_input(i), &deciding);
        let keys: Vec<_> = (0..inputs.len()).map(key).collect();
        let mut missing = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            let start = std::time::Instant::now();
            match key.as_ref().and_then(|key| answers.get(key)) {
                Some(outputs) => {
                    let tokens = outputs.iter().map(|output| output.tokens.len()).sum();
                    call.counters.add(Stage::AnswerHit, 1, tokens, start.elapsed());
                    result.outputs[i] = outputs;
                }
                None => {
                    if key.is_some() {
                        call.counters.add(Stage::AnswerMiss, 1, 0, start.elapsed());
                    }
                    missing.push(i);
                }
            }
        }
        let inputs = inputs.select(&missing);
        let job = self.job(&inputs, &settings, options, call)?;
        let job = Job { decoder_inputs: &decoder_inputs, numbers: Some(&missing), ..job };
        job.run(None, |i, generated| {
            if let Some(key) = &keys[missing[i]] {
                answers.put(key.clone(), &generated.outputs);
            }
            result.outputs[missing[i]] = generated.outputs;
        })?;
        Ok(result)
    }
}
