//! Chat templates: the Jinja source that comes with a model and turns the messages of a chat into one prompt.

use std::path::{Path, PathBuf};

use kinglet_jinja::{ErrorKind, Limits, Template};
use serde_json::{Map, Value as Json, json};

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result};

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or another role that the template knows.
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A chat template and the special tokens that are variables of it.
#[derive(Debug)]
pub struct ChatTemplate {
    template: Template,
    origin: PathBuf,
    special: Vec<(String, String)>,
}

impl ChatTemplate {
    /// Parses `source`. `special` are pairs of name and text such as `("bos_token", "<s>")`, which become variables of the
    /// template; `origin` is the file that errors name.
    ///
    /// # Errors
    /// `InvalidFile`: the source is too long or has a syntax error.
    pub fn new(source: &str, special: &[(&str, &str)], origin: &Path) -> Result<Self> {
        let template = Template::parse(source).map_err(|e| error(origin, &e))?;
        let special = special.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        Ok(Self { template, origin: origin.to_owned(), special })
    }

    /// The file that the template is from.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Renders the prompt, with `add_generation_prompt` set.
    ///
    /// # Errors
    /// `InvalidArgument`: the template rejects the messages by `raise_exception`. `InvalidFile`: the template fails, uses
    /// undefined values, or exceeds the limits. `Cancelled`.
    pub fn render(&self, messages: &[Message], cancellation: Option<&Cancellation>) -> Result<String> {
        let chat = messages.iter().map(|Message { role, content }| json!({"role": role, "content": content}));
        let more = Map::from_iter([("add_generation_prompt".to_string(), Json::Bool(true))]);
        self.render_with(chat.collect(), &more, cancellation)
    }

    /// Renders messages of any form, with variables that overrule those that every template has. `add_generation_prompt` is false
    /// unless they say otherwise.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with(
        &self,
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
        let rendered = self.template.render(&variables, Limits::default(), cancellation.map(Cancellation::flag));
        rendered.map_err(|e| error(&self.origin, &e))
    }

    /// The source of a model's template: the text of `chat_template.jinja` if there is such a file, else `chat_template` of
    /// `tokenizer_config.json`, which is a string or a list of named templates; of a list, `default` is taken.
    pub fn source_of(jinja_file: Option<&str>, tokenizer_config: Option<&Json>) -> Option<String> {
        if let Some(source) = jinja_file {
            return Some(source.to_owned());
        }
        match tokenizer_config?.get("chat_template")? {
            Json::String(source) => Some(source.clone()),
            Json::Array(named) => {
                let default = named.iter().find(|entry| entry.get("name").and_then(Json::as_str) == Some("default"))?;
                default.get("template")?.as_str().map(str::to_owned)
            }
            _ => None,
        }
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
            ChatTemplate::new(source, &[], origin)?.render(&[Message::new("user", "hello")], cancellation)
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
        assert_eq!(ChatTemplate::source_of(Some("file"), Some(&config(list))).as_deref(), Some("file"));
        for none in
            [r#"{}"#, r#"{"chat_template": null}"#, r#"{"chat_template": 5}"#, r#"{"chat_template": [1, {}]}"#, r#"[]"#]
        {
            assert_eq!(of(&config(none)), None, "{none}");
        }
        assert_eq!(ChatTemplate::source_of(None, None), None);
    }
}
