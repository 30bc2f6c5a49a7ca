//! What cross-encoders read of a pair if a chat template renders it, and the scores that decoders give it: the logits of one token or
//! the difference of two, after the last token.

use serde_json::{Value, json};

use crate::base::call::{Call, Cancellation};
use crate::base::error::{Error, Result, quoted};
use crate::engine::Engine;
use crate::families::{LogitScore, PairTemplate};
use crate::network::{Feed, StepOutput, Want};
use crate::text::chat::ChatTemplate;
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

/// The maximum number of rows of logits at a time.
const ROWS: usize = 16;

/// The roles of a pair's messages.
const ROLES: [&str; 2] = ["query", "document"];

/// A chat template that renders pairs.
pub struct PairRenderer<'a> {
    chat: &'a ChatTemplate,
    how: &'a PairTemplate,
    /// The text of the system message.
    prompt: Option<&'a str>,
}

impl<'a> PairRenderer<'a> {
    /// # Errors
    /// A template that leaves a part of the pair out, as those of plain chats do.
    pub fn new(chat: &'a Result<ChatTemplate>, how: &'a PairTemplate, prompt: Option<&'a str>) -> Result<Self> {
        let renderer = Self { chat: chat.as_ref().map_err(Error::clone)?, how, prompt };
        let base = renderer.render(["alpha", "bravo"], None)?;
        for (role, pair) in ROLES.into_iter().zip([["charlie", "bravo"], ["alpha", "foxtrot"]]) {
            if renderer.render(pair, None)? == base {
                return Err(Error::unsupported(format!(
                    "{}: the chat template does not render messages of the role {}, as sentence-transformers' cross-encoders \
                     need it",
                    renderer.chat.origin().display(),
                    quoted(role)
                )));
            }
        }
        Ok(renderer)
    }

    fn render(&self, pair: [&str; 2], cancellation: Option<&Cancellation>) -> Result<String> {
        let content = |text: &str| match self.how.structured {
            true => json!([{ "type": "text", "text": text }]),
            false => Value::from(text),
        };
        let system = self.prompt.map(|prompt| ("system", prompt));
        let messages = system.into_iter().chain(ROLES.into_iter().zip(pair));
        let messages = messages.map(|(role, text)| json!({ "role": role, "content": content(text) }));
        self.chat.render_with(messages.collect(), &self.how.variables, cancellation)
    }

    /// Tokenises pairs. Of a pair that is cut, what the template puts after the document replaces the last tokens.
    pub fn encode(
        &self,
        engine: &Engine,
        (texts, pairs): (&[&str], &[&str]),
        options: &EncodeOptions,
        cancellation: Option<&Cancellation>,
        call: Call<'_>,
    ) -> Result<Encoding> {
        let rendered = texts.iter().zip(pairs).map(|(a, b)| {
            call.check()?;
            self.render([a, b], cancellation)
        });
        let rendered = rendered.collect::<Result<Vec<_>>>()?;
        let refs: Vec<&str> = rendered.iter().map(String::as_str).collect();
        let options = EncodeOptions { add_special_tokens: false, ..options.clone() };
        let mut encoding = engine.encode(&refs, None, &options, call)?;
        if self.how.restore_suffix && encoding.truncated().contains(&1) {
            let suffix = self.suffix(engine, cancellation)?;
            encoding.restore_ends(&suffix);
        }
        Ok(encoding)
    }

    /// The tokens after the pair: those that chats of different texts end with.
    fn suffix(&self, engine: &Engine, cancellation: Option<&Cancellation>) -> Result<Vec<u32>> {
        let ids = |text: &str| engine.tokenizer.ids(&self.render([text; 2], cancellation)?, false);
        let (first, second) = (ids("0")?, ids("1 2 3 4")?);
        let same = first.iter().rev().zip(second.iter().rev()).take_while(|(a, b)| a == b).count();
        // Nothing of it is to be trusted if the chats are the same.
        Ok(if same < first.len().min(second.len()) { first[first.len() - same..].to_vec() } else { Vec::new() })
    }
}

/// One score per sequence.
pub fn scores(engine: &Engine, from: LogitScore, encoding: &Encoding, call: Call<'_>) -> Result<Vec<f32>> {
    let (starts, vocabulary) = (encoding.starts(), engine.spec.vocabulary);
    let mut scores = Vec::with_capacity(encoding.len());
    let mut output = StepOutput::default();
    let mut next = 0;
    while next < encoding.len() {
        let first = next;
        next += 1;
        let fits = |next: usize| starts[next + 1] - starts[first] <= engine.network.pass_tokens();
        while next < encoding.len() && next - first < ROWS && fits(next) {
            next += 1;
        }
        let _held = engine.budget.hold(((next - first) * vocabulary * size_of::<f32>()) as u64, "the logits")?;
        let mut sequences = (first..next).map(|_| engine.network.sequence()).collect::<Result<Vec<_>>>()?;
        let mut feeds: Vec<Feed> = (first..next)
            .zip(&mut sequences)
            .map(|(i, sequence)| {
                let ids = &encoding.ids()[starts[i]..starts[i + 1]];
                Feed { sequence, ids, want: Want::Logits, last: 1, cancelled: None }
            })
            .collect();
        engine.step_once(&mut feeds, &mut output, call)?;
        scores.extend(output.logits.chunks_exact(vocabulary).map(|row| {
            let no = from.false_token.map_or(0.0, |token| row[token as usize]);
            row[from.true_token as usize] - no
        }));
    }
    engine.finite(scores)
}
