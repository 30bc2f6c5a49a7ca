//! KV caches that outlive a call: prompt prefixes and chat sessions.

use std::sync::Arc;

use crate::base::call::{Call, CallLimits, Cancellation};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::network::{Feed, Sequence, StepOutput};
use crate::text::chat::{ChatOptions, Message, Response, Setup, ToolChoice, Writes};
use crate::text::tokenizer::EncodeOptions;

use super::Generator;
use super::chat::rules;
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
    setup: Setup,
    messages: Vec<Message>,
    cached: Option<Prefix>,
    prompt_tokens: usize,
}

impl Session {
    /// As [`crate::Model::session_with`].
    pub(crate) fn new(generator: &Arc<Generator>, options: &ChatOptions) -> Result<Self> {
        generator.require_plain_decoder("a chat")?;
        if options.continue_final_message {
            return Err(Error::invalid_argument("continue_final_message: a session begins its replies; leave it out"));
        }
        let setup = Setup { add_generation_prompt: true, ..options.read()? };
        generator.chat_template()?.habits(&setup)?;
        Ok(Self { generator: generator.clone(), setup, messages: Vec::new(), cached: None, prompt_tokens: 0 })
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds a message without generating a reply: a system prompt, an example.
    pub fn add(&mut self, role: impl Into<String>, content: impl Into<String>) {
        self.add_message(Message::new(role, content));
    }

    /// Adds a message of any form without generating a reply: a tool's result, a reply with its calls.
    pub fn add_message(&mut self, message: Message) {
        self.messages.push(message);
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

    /// The prompt that the next reply continues: the messages as the chat template writes them.
    ///
    /// # Errors
    /// As [`crate::Model::apply_chat_template`].
    pub fn prompt(&self, cancellation: Option<&Cancellation>) -> Result<String> {
        self.generator.chat_template()?.prompt(&self.messages, &self.setup, cancellation)
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

    /// Generates the assistant's next message and adds it. [`Output::message`] has its reasoning and its calls apart. In the chat they are
    /// so only if the template writes them again from there; otherwise they stay in the content.
    pub fn reply(&mut self, options: &GenerateOptions, listener: Option<Listener<'_>>) -> Result<Output> {
        if options.num_return_sequences.is_some_and(|n| n > 1) {
            return Err(Error::invalid_argument("num_return_sequences: a chat returns one reply"));
        }
        if options.max_input_length.is_some() {
            return Err(Error::invalid_argument("max_input_length: a chat is not cut; leave it out"));
        }
        let without_tools;
        let setup = match options.tool_choice {
            ToolChoice::None => {
                without_tools = self.setup.without_tools();
                &without_tools
            }
            _ => &self.setup,
        };
        let template = self.generator.chat_template()?;
        let habits = template.habits(setup)?;
        let text = template.prompt(&self.messages, setup, options.cancellation.as_ref())?;
        let grammar = self.generator.tool_grammar(setup, &habits, &text, options)?;
        if grammar.is_some() && options.grammar.is_some() {
            return Err(Error::invalid_argument("tool_choice: contradicts grammar; choose one"));
        }
        // The template contains the special tokens.
        let options = GenerateOptions {
            add_special_tokens: Some(false),
            prefix: self.cached.clone().or(options.prefix.clone()),
            // Overrides the model's files.
            num_return_sequences: Some(1),
            tool_choice: ToolChoice::Auto,
            grammar: grammar.or(options.grammar.clone()),
            ..options.clone()
        };
        let (outputs, prompt, sequence) = self.generator.generate_one(&text, &options, listener)?;
        let mut output = outputs.into_iter().next().ok_or_else(|| Error::internal("a reply without an output"))?;
        let marked = self.generator.marked_text(&output, &options)?;
        let response = Response::read(&marked, rules(setup, &habits, &text));
        let calls_before = self.messages.iter().map(|message| message.tool_calls().len()).sum();
        let writes = Writes { calls: habits.writes_calls, reasoning: habits.writes_reasoning };
        self.messages.push(match response.is_plain() {
            true => Message::new("assistant", &*output.text),
            false => response.kept(&marked, writes, calls_before),
        });
        output.message = Some(response.message(calls_before));
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
