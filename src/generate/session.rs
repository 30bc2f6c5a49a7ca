//! KV caches that outlive a call: prompt prefixes and chat sessions.

use std::sync::Arc;

use crate::base::call::{Call, CallLimits, Cancellation};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::network::{Feed, Sequence, StepOutput};
use crate::text::chat::Message;
use crate::text::tokenizer::EncodeOptions;

use super::Generator;
use super::decoding::Listener;
use super::options::GenerateOptions;
use super::search::Output;

/// A prompt prefix with its KV cache, for instance a system prompt, an instruction, or a document that many questions refer to. Clones
/// share the cache.
#[derive(Clone)]
pub struct Prefix {
    /// The model that the KV cache belongs to.
    generator: Arc<Generator>,
    tokens: Vec<u32>,
    sequence: Sequence,
}

impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prefix of {} tokens", self.tokens.len())
    }
}

impl Prefix {
    /// As [`crate::Model::prefix`].
    pub(crate) fn new(
        generator: &Arc<Generator>,
        text: &str,
        add_special_tokens: bool,
        cancellation: Option<&Cancellation>,
    ) -> Result<Self> {
        let engine = &generator.engine;
        generator.require_plain_decoder("a prefix")?;
        let work = |call: Call<'_>| {
            let options =
                EncodeOptions { add_special_tokens, max_length: Some(usize::MAX), ..EncodeOptions::default() };
            let encoding = engine.encode(&[text], None, &options, call)?;
            let tokens = encoding.ids().to_vec();
            let mut sequence = engine.network.sequence()?;
            call.counters.time(Stage::Prefill, 1, tokens.len(), || {
                let feed = Feed::prefill(&mut sequence, &tokens);
                engine.step_once(&mut [feed], &mut StepOutput::default(), call)
            })?;
            Ok(Self { generator: generator.clone(), tokens, sequence })
        };
        engine.call(CallLimits { bytes: text.len(), ..CallLimits::cancelled_by(cancellation) }, work, |prefix| {
            (1, prefix.tokens.len())
        })
    }

    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(super) fn generator(&self) -> &Generator {
        &self.generator
    }

    /// A sequence with the leading tokens that `prompt` shares with this prefix, except the prompt's last token, whose logits are
    /// needed.
    pub(crate) fn begin(&self, prompt: &[u32]) -> Sequence {
        let common = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let mut sequence = self.sequence.clone();
        sequence.truncate(common.min(prompt.len().saturating_sub(1)));
        sequence
    }
}

impl Generator {
    /// As [`crate::Model::can_chat`].
    pub fn can_chat(&self) -> bool {
        self.require_plain_decoder("a chat").is_ok() && self.chat_template().is_ok()
    }

    pub(super) fn require_plain_decoder(&self, what: &str) -> Result<()> {
        let spec = &self.engine.spec;
        if spec.language.is_some() && spec.encoder.is_none() {
            return Ok(());
        }
        let (family, path) = (spec.family, self.engine.path.display());
        Err(Error::unsupported(format!(
            "{path}: {what} needs a decoder without encoder; use {family} to generate or embed"
        )))
    }
}

/// A chat session. The KV cache of earlier turns is kept, so a turn processes only its own tokens.
pub struct Session {
    generator: Arc<Generator>,
    messages: Vec<Message>,
    cached: Option<Prefix>,
    prompt_tokens: usize,
}

impl Session {
    /// As [`crate::Model::session`].
    pub(crate) fn new(generator: &Arc<Generator>) -> Result<Self> {
        generator.require_plain_decoder("a chat")?;
        generator.chat_template()?;
        Ok(Self { generator: generator.clone(), messages: Vec::new(), cached: None, prompt_tokens: 0 })
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds a message without generating a reply: a system prompt, an example, a tool's result.
    pub fn add(&mut self, role: impl Into<String>, content: impl Into<String>) {
        self.messages.push(Message { role: role.into(), content: content.into() });
    }

    /// Drops the messages from index `messages` on. The KV cache of the others stays.
    pub fn rewind(&mut self, messages: usize) {
        self.messages.truncate(messages);
    }

    /// Tokens in the KV cache.
    pub fn held_tokens(&self) -> usize {
        self.cached.as_ref().map_or(0, |cached| cached.tokens.len())
    }

    /// Tokens of the prompt of the last reply.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Adds a user message, generates the reply and adds it. After an error or a cancellation the chat is unchanged.
    pub fn send(
        &mut self,
        content: impl Into<String>,
        options: &GenerateOptions,
        listener: Option<Listener<'_>>,
    ) -> Result<Output> {
        self.add("user", content);
        let result = self.reply(options, listener);
        if result.is_err() {
            self.messages.pop();
        }
        result
    }

    /// Generates the assistant's next message and adds it.
    pub fn reply(&mut self, options: &GenerateOptions, listener: Option<Listener<'_>>) -> Result<Output> {
        if options.num_return_sequences.is_some_and(|n| n > 1) {
            return Err(Error::invalid_argument("num_return_sequences: a chat returns one reply"));
        }
        if options.max_input_length.is_some() {
            return Err(Error::invalid_argument("max_input_length: a chat is not cut; leave it out"));
        }
        let prompt = self.generator.chat_template()?.render(&self.messages, options.cancellation.as_ref())?;
        // The template contains the special tokens.
        let options = GenerateOptions {
            add_special_tokens: Some(false),
            prefix: self.cached.clone().or(options.prefix.clone()),
            // Overrides the model's files.
            num_return_sequences: Some(1),
            ..options.clone()
        };
        let (outputs, prompt, sequence) = self.generator.generate_one(&prompt, &options, listener)?;
        let output = outputs.into_iter().next().ok_or_else(|| Error::internal("a reply without an output"))?;
        self.messages.push(Message { role: "assistant".into(), content: output.text.clone() });
        self.prompt_tokens = prompt.len();
        // Beam search gives no single sequence to continue from; the KV cache of earlier turns stays.
        if let Some(sequence) = sequence {
            let mut tokens = prompt;
            tokens.extend_from_slice(&output.tokens);
            tokens.truncate(sequence.length());
            self.cached = Some(Prefix { generator: self.generator.clone(), tokens, sequence });
        }
        Ok(output)
    }
}
