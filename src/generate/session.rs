//! Work that is done once for several requests: a prefix that prompts share, and a chat that goes on.

use std::sync::Arc;

use crate::base::call::{Call, Cancellation};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::network::{Feed, Sequence, StepOutput};
use crate::text::tokenizer::EncodeOptions;

use super::Generator;
use super::chat::Message;
use super::decoding::Listener;
use super::options::GenerateOptions;
use super::search::Output;

/// The beginning of a prompt, computed: a system prompt, an instruction, a document that many questions are asked of. Clones share it.
#[derive(Clone)]
pub struct Prefix {
    /// Whose keys and values they are.
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
            let options = EncodeOptions { add_special_tokens, max_length: Some(usize::MAX), offsets: false };
            let encoding = engine.encode(&[text], None, &options, call)?;
            let tokens = encoding.ids().to_vec();
            let mut sequence = engine.network.sequence()?;
            call.counters.time(Stage::Prefill, 1, tokens.len(), || {
                let feed = Feed::prefill(&mut sequence, &tokens);
                engine.network.step(&mut [feed], &mut StepOutput::default(), call)
            })?;
            Ok(Self { generator: generator.clone(), tokens, sequence })
        };
        engine.call(cancellation, work, |prefix| (1, prefix.tokens.len()))
    }

    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Whose it is.
    pub(super) fn generator(&self) -> &Generator {
        &self.generator
    }

    /// A sequence that holds as much of `prompt` as this prefix has, but not its last token, whose logits are still needed.
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
        Err(Error::unsupported(format!("{path}: {what} needs a decoder, and {family} is none; use generate or embed")))
    }
}

/// A chat with a model. What was computed for earlier turns is kept, so that a turn costs its own tokens alone.
pub struct Session {
    generator: Arc<Generator>,
    messages: Vec<Message>,
    held: Option<Prefix>,
    prompt_tokens: usize,
}

impl Session {
    /// As [`crate::Model::session`].
    pub(crate) fn new(generator: &Arc<Generator>) -> Result<Self> {
        generator.require_plain_decoder("a chat")?;
        generator.chat_template()?;
        Ok(Self { generator: generator.clone(), messages: Vec::new(), held: None, prompt_tokens: 0 })
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds a message without asking for a reply: a system prompt, an example, a tool's answer.
    pub fn add(&mut self, role: impl Into<String>, content: impl Into<String>) {
        self.messages.push(Message { role: role.into(), content: content.into() });
    }

    /// Forgets the messages from number `messages` on. The rest stays computed.
    pub fn rewind(&mut self, messages: usize) {
        self.messages.truncate(messages);
    }

    /// Tokens whose keys and values are held.
    pub fn held_tokens(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.tokens.len())
    }

    /// Tokens of the last reply's whole prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Adds a user's message and generates the reply, which is added too. On failure, a cancelled one too, the chat is as it was.
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

    /// Generates the next message from what has been said, and adds it as the assistant's.
    pub fn reply(&mut self, options: &GenerateOptions, listener: Option<Listener<'_>>) -> Result<Output> {
        if options.num_return_sequences.is_some_and(|n| n > 1) {
            return Err(Error::invalid_argument("num_return_sequences: a chat has one reply"));
        }
        if options.max_input_length.is_some() {
            return Err(Error::invalid_argument("max_input_length: a chat is not cut; leave it out"));
        }
        let prompt = self.generator.chat_template()?.render(&self.messages, options.cancellation.as_ref())?;
        // The template writes the special tokens itself.
        let options = GenerateOptions {
            add_special_tokens: Some(false),
            prefix: self.held.clone().or(options.prefix.clone()),
            // Whatever the model's files say.
            num_return_sequences: Some(1),
            ..options.clone()
        };
        let (outputs, prompt, sequence) = self.generator.generate_one(&prompt, &options, listener)?;
        let output = outputs.into_iter().next().ok_or_else(|| Error::internal("a reply without an output"))?;
        self.messages.push(Message { role: "assistant".into(), content: output.text.clone() });
        self.prompt_tokens = prompt.len();
        // With beams there is no single sequence to go on from: then what was held before stays.
        if let Some(sequence) = sequence {
            let mut tokens = prompt;
            tokens.extend_from_slice(&output.tokens);
            tokens.truncate(sequence.length());
            self.held = Some(Prefix { generator: self.generator.clone(), tokens, sequence });
        }
        Ok(output)
    }
}
