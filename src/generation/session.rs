//! Work that is done once for several requests: a prefix that prompts share, and a chat that goes on.

use std::sync::Arc;

use crate::call::{Call, Cancellation};
use crate::counters::Stage;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::tokenizer::EncodeOptions;
use crate::transformer::network::{Feed, Sequence, Want};

use super::engine::Listener;
use super::options::GenerateOptions;
use super::search::Output;
use super::template::Message;

/// The beginning of a prompt, computed: a system prompt, an instruction, a document that many questions are asked of. Clones share it.
#[derive(Clone)]
pub struct Prefix {
    /// Whose keys and values they are.
    model: Model,
    tokens: Vec<u32>,
    sequence: Sequence,
}

impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prefix of {} tokens", self.tokens.len())
    }
}

impl Prefix {
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Whether it was made by this model.
    pub(crate) fn is_of(&self, model: &Model) -> bool {
        Arc::ptr_eq(&self.model.0, &model.0)
    }

    /// A sequence that holds as much of `prompt` as this prefix has, but not its last token, whose logits are still needed.
    pub(crate) fn begin(&self, prompt: &[u32]) -> Sequence {
        let common = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let mut sequence = self.sequence.clone();
        sequence.truncate(common.min(prompt.len().saturating_sub(1)));
        sequence
    }
}

impl Model {
    /// Computes the beginning of prompts. Prompts that begin with the same tokens, as far as they do, are then generated from without
    /// computing it again ([`GenerateOptions::prefix`]).
    ///
    /// # Errors
    /// A model with an encoder, whose prompts have no beginning to share; a prefix longer than the model takes.
    pub fn prefix(&self, text: &str, add_special_tokens: bool, cancellation: Option<&Cancellation>) -> Result<Prefix> {
        self.require_plain_decoder("a prefix")?;
        let work = |call: Call<'_>| {
            let options = EncodeOptions { add_special_tokens, max_length: Some(usize::MAX), offsets: false };
            let encoding = self.encode(&[text], None, &options, call)?;
            let tokens = encoding.ids().to_vec();
            let mut sequence = self.0.network.sequence()?;
            call.counters.time(Stage::Prefill, 1, tokens.len(), || {
                let feed = Feed { sequence: &mut sequence, ids: &tokens, want: Want::None };
                self.0.network.step(&mut [feed], &mut Vec::new(), call)
            })?;
            Ok(Prefix { model: self.clone(), tokens, sequence })
        };
        self.call(cancellation, work, |prefix| (1, prefix.tokens.len()))
    }

    /// Whether [`Model::session`] works.
    pub fn can_chat(&self) -> bool {
        self.require_plain_decoder("a chat").is_ok() && self.chat_template().is_ok()
    }

    pub(crate) fn require_plain_decoder(&self, what: &str) -> Result<()> {
        let spec = &self.0.spec;
        if spec.language.is_some() && spec.encoder.is_none() {
            return Ok(());
        }
        let (family, path) = (spec.family, self.0.directory.display());
        Err(Error::unsupported(format!("{path}: {what} needs a decoder, and {family} is none; use generate or embed")))
    }

    /// Begins a chat.
    ///
    /// # Errors
    /// A model without a chat template, or with one that is broken.
    pub fn session(&self) -> Result<Session> {
        self.require_plain_decoder("a chat")?;
        self.chat_template()?;
        Ok(Session { model: self.clone(), messages: Vec::new(), held: None, prompt_tokens: 0 })
    }
}

/// A chat with a model. What was computed for earlier turns is kept, so that a turn costs its own tokens alone.
pub struct Session {
    model: Model,
    messages: Vec<Message>,
    held: Option<Prefix>,
    prompt_tokens: usize,
}

impl Session {
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
        let prompt = self.model.chat_template()?.render(&self.messages, None, true)?;
        // The template writes the special tokens itself.
        let options = GenerateOptions {
            add_special_tokens: Some(false),
            prefix: self.held.clone().or(options.prefix.clone()),
            // Whatever the model's files say.
            num_return_sequences: Some(1),
            ..options.clone()
        };
        let (outputs, prompt, sequence) = self.model.generate_one(&prompt, &options, listener)?;
        let output = outputs.into_iter().next().ok_or_else(|| Error::internal("a reply without an output"))?;
        self.messages.push(Message { role: "assistant".into(), content: output.text.clone() });
        self.prompt_tokens = prompt.len();
        // With beams there is no single sequence to go on from: then what was held before stays.
        if let Some(sequence) = sequence {
            let mut tokens = prompt;
            tokens.extend_from_slice(&output.tokens);
            tokens.truncate(sequence.length());
            self.held = Some(Prefix { model: self.model.clone(), tokens, sequence });
        }
        Ok(output)
    }
}
