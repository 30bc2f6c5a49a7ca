//! Chat templates: the Jinja source that comes with a model and turns the messages of a chat into one prompt.

use std::path::{Path, PathBuf};

use kinglet_jinja::{ErrorKind, Limits, Template};
use serde_json::{Map, Value as Json};

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result};

mod format;
mod message;
mod options;
#[cfg(test)]
mod renderings;
mod response;

pub use format::ToolFormat;
pub use message::{Message, ToolCall};
pub use options::{ChatOptions, ToolChoice};

pub(crate) use format::{Habits, is_marker};
pub(crate) use options::{Function, Setup};
pub(crate) use response::{Response, Rules, Writes};

/// Marks the place in a message where its rendering is cut, for `continue_final_message`. As in transformers, the space at its end tells
/// whether the template trims texts.
const CUT: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// A chat template and the special tokens that are variables of it.
#[derive(Debug)]
pub struct ChatTemplate {
    default: Source,
    /// The template that the files name for chats with tools, if they have one.
    tool_use: Option<Result<Source>>,
    special: Vec<(String, String)>,
}

/// A parsed source.
#[derive(Debug)]
struct Source {
    template: Template,
    origin: PathBuf,
    habits: Habits,
}

impl Source {
    fn new(source: &str, origin: &Path) -> Result<Self> {
        let template = Template::parse(source).map_err(|e| error(origin, &e))?;
        Ok(Self { template, origin: origin.to_owned(), habits: Habits::of(source) })
    }
}

impl ChatTemplate {
    /// Parses `source`. `special` are pairs of name and text such as `("bos_token", "<s>")`, which become variables of the
    /// template; `origin` is the file that errors name.
    ///
    /// # Errors
    /// `InvalidFile`: the source is too long or has a syntax error.
    pub fn new(source: &str, special: &[(&str, &str)], origin: &Path) -> Result<Self> {
        let special = special.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        Ok(Self { default: Source::new(source, origin)?, tool_use: None, special })
    }

    /// Adds the template for chats with tools. What is wrong with it is the error of such a chat.
    pub fn with_tool_use(self, source: &str, origin: &Path) -> Self {
        Self { tool_use: Some(Source::new(source, origin)), ..self }
    }

    /// The file that the template is from.
    pub fn origin(&self) -> &Path {
        &self.default.origin
    }

    fn source(&self, has_tools: bool) -> Result<&Source> {
        match &self.tool_use {
            Some(source) if has_tools => source.as_ref().map_err(Error::clone),
            _ => Ok(&self.default),
        }
    }

    /// What the template of these chats says of answers.
    pub(crate) fn habits(&self, setup: &Setup) -> Result<Habits> {
        let habits = self.source(setup.tools.is_some())?.habits;
        Ok(Habits { tools: setup.tool_format.or(habits.tools), ..habits })
    }

    /// Renders the prompt of a chat.
    ///
    /// # Errors
    /// `InvalidArgument`: the template rejects the messages by `raise_exception`, or the last message cannot be continued.
    /// `InvalidFile`: the template fails, uses undefined values, or exceeds the limits. `Cancelled`.
    pub(crate) fn prompt(
        &self,
        messages: &[Message],
        setup: &Setup,
        cancellation: Option<&Cancellation>,
    ) -> Result<String> {
        let source = self.source(setup.tools.is_some())?;
        let mut more = setup.variables.clone();
        more.insert("tools".into(), setup.tools_json());
        more.insert("documents".into(), setup.documents.clone().unwrap_or_default());
        more.insert("add_generation_prompt".into(), setup.add_generation_prompt.into());
        let mut chat: Vec<Json> = messages.iter().map(Message::for_template).collect();
        if !setup.continue_final_message {
            return self.render_source(source, chat.into(), &more, cancellation);
        }
        let place = format!("messages[{}].content", chat.len().saturating_sub(1));
        let fault =
            |what: &str| Error::invalid_argument(format!("{place}: {what}, so continue_final_message cannot be"));
        let text = chat.last_mut().and_then(last_text).ok_or_else(|| fault("has no text"))?;
        let last = text.trim().to_string();
        text.push_str(CUT);
        let mut rendered = self.render_source(source, chat.into(), &more, cancellation)?;
        let at = rendered.rfind(CUT.trim_end()).filter(|_| rendered.contains(&last));
        let at = at.ok_or_else(|| fault("is not in what the template writes"))?;
        let trims = !rendered[at..].starts_with(CUT);
        rendered.truncate(at);
        if trims {
            rendered.truncate(rendered.trim_end().len());
        }
        Ok(rendered)
    }

    /// Renders messages of any form, with variables that overrule those that every template has. `add_generation_prompt` is false
    /// unless they say otherwise.
    ///
    /// # Errors
    /// As [`ChatTemplate::prompt`].
    pub fn render_with(
        &self,
        messages: Json,
        more: &Map<String, Json>,
        cancellation: Option<&Cancellation>,
    ) -> Result<String> {
        self.render_source(&self.default, messages, more, cancellation)
    }

    fn render_source(
        &self,
        source: &Source,
        messages: Json,
        more: &Map<String, Json>,
        cancellation: Option<&Cancellation>,
    ) -> Result<String> {
        let fixed = [
            ("messages", messages),
            ("tools", Json::Null),
            ("documents", Json::Null),
            ("add_generation_prompt", Json::Bool(false)),
        ];
        let special = self.special.iter().map(|(name, text)| (&**name, Json::from(&**text)));
        let own = special.chain(fixed).filter(|(name, _)| !more.contains_key(*name));
        let mut variables: Vec<(&str, Json)> = own.collect();
        variables.extend(more.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let rendered = source.template.render(&variables, Limits::default(), cancellation.map(Cancellation::flag));
        rendered.map_err(|e| error(&source.origin, &e))
    }

    /// The source of a model's template: the text of `chat_template.jinja` if there is such a file, else `chat_template` of
    /// `tokenizer_config.json`, which is a string or a list of named templates; of a list, `default` is taken.
    pub fn source_of(jinja_file: Option<&str>, tokenizer_config: Option<&Json>) -> Option<String> {
        if let Some(source) = jinja_file {
            return Some(source.to_owned());
        }
        match tokenizer_config?.get("chat_template")? {
            Json::String(source) => Some(source.clone()),
            _ => Self::named_source(tokenizer_config, "default"),
        }
    }

    /// The source of a template that `tokenizer_config.json` names in a list.
    pub fn named_source(tokenizer_config: Option<&Json>, name: &str) -> Option<String> {
        let mut named = tokenizer_config?.get("chat_template")?.as_array()?.iter();
        let found = named.find(|entry| entry.get("name").and_then(Json::as_str) == Some(name))?;
        found.get("template")?.as_str().map(str::to_owned)
    }
}

/// The text of a message that is continued: its content, or the last of its parts that is a text.
fn last_text(message: &mut Json) -> Option<&mut String> {
    match message.get_mut("content")? {
        Json::String(text) => Some(text),
        Json::Array(parts) => match parts.iter_mut().rev().find_map(|part| part.get_mut("text"))? {
            Json::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The error of a template, with the file that the template comes from.
fn error(origin: &Path, error: &kinglet_jinja::Error) -> Error {
    match error.kind() {
        ErrorKind::Template | ErrorKind::Limit => Error::invalid_file(origin, error),
        ErrorKind::Raised => Error::invalid_argument(format!("{}: {error}", origin.display())),
        ErrorKind::Cancelled => Error::cancelled(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Status;

    #[test]
    fn errors_have_the_status_and_the_file() {
        let origin = Path::new("model/chat_template.jinja");
        let rendered = |source: &str, cancellation: Option<&Cancellation>| {
            let setup = ChatOptions::default().read()?;
            ChatTemplate::new(source, &[], origin)?.prompt(&[Message::new("user", "hello")], &setup, cancellation)
        };
        let failed = |source: &str| {
            let error = rendered(source, None).unwrap_err();
            (error.status(), error.message().strip_prefix("model/chat_template.jinja: ").unwrap().to_owned())
        };
        let invalid_file = |message: &str| (Status::InvalidFile, message.to_owned());
        assert_eq!(failed("\n{{ x.y }}"), invalid_file("chat template, line 2: `x` is undefined"));
        assert_eq!(failed("{% nosuch %}"), invalid_file("chat template, line 1: unknown statement `nosuch`"));
        assert_eq!(
            failed("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"),
            invalid_file("chat template, line 1: the template takes more than 3000000 steps")
        );
        assert_eq!(
            failed(&" ".repeat(300_000)),
            invalid_file("the chat template has 300000 bytes, and at most 262144 are accepted")
        );
        let rejected = "chat template, line 1: the template rejects the messages: not\\nuser".to_owned();
        assert_eq!(failed("{{ raise_exception('not\\n' ~ messages[0].role) }}"), (Status::InvalidArgument, rejected));
        let cancellation = Cancellation::new();
        cancellation.cancel();
        assert_eq!(rendered("a", Some(&cancellation)).unwrap_err().status(), Status::Cancelled);
        assert_eq!(rendered("a", None).unwrap(), "a");
    }

    #[test]
    fn sources_are_found() {
        let config = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        let of = |config: &Json| ChatTemplate::source_of(None, Some(config));
        assert_eq!(of(&config(r#"{"chat_template": "a"}"#)).as_deref(), Some("a"));
        let list =
            r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(of(&config(list)).as_deref(), Some("d"));
        assert_eq!(ChatTemplate::named_source(Some(&config(list)), "tool_use").as_deref(), Some("t"));
        assert_eq!(ChatTemplate::source_of(Some("file"), Some(&config(list))).as_deref(), Some("file"));
        for none in
            [r#"{}"#, r#"{"chat_template": null}"#, r#"{"chat_template": 5}"#, r#"{"chat_template": [1, {}]}"#, r#"[]"#]
        {
            assert_eq!(of(&config(none)), None, "{none}");
        }
        assert_eq!(ChatTemplate::source_of(None, None), None);
    }
}
