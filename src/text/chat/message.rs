//! Messages of a chat, with all that transformers' chat templates read of them.

use serde_json::{Map, Value as Json, json};

use crate::base::error::{Error, Result, quoted, shortened};

/// The names that a message's reasoning goes by; the first is the one that templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The maximum length of a text with JSON, in bytes.
const MAX_JSON: usize = 16 << 20;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or another role that the template knows.
    pub role: String,
    /// The text; empty if the content is a list of parts, or none.
    pub content: String,
    /// The whole message, if it has more than a role and a text.
    object: Option<Map<String, Json>>,
}

/// A call of a function that the model asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// What `tool_call_id` of the message with the result names; empty if the message has none.
    pub id: String,
    pub name: String,
    /// A JSON object.
    pub arguments: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), object: None }
    }

    /// A message as transformers' `apply_chat_template` takes it: an object with a `role`, a `content` (a text, a list of parts, or none),
    /// and what else its template reads, for instance `tool_calls`, `tool_call_id`, `name` or `reasoning_content`. Members that are null
    /// are dropped.
    ///
    /// # Errors
    /// `InvalidArgument`: not JSON, not an object, no role, or a member of another type; named as `message`.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::from_value(parsed(json, "message")?, "message")
    }

    /// The messages of a JSON array.
    ///
    /// # Errors
    /// As [`Message::from_json`]; named as `messages[0]` and so on.
    pub fn list_from_json(json: &str) -> Result<Vec<Self>> {
        let messages = list(json, "messages")?.into_iter().enumerate();
        messages.map(|(i, message)| Self::from_value(message, &format!("messages[{i}]"))).collect()
    }

    pub(crate) fn from_value(value: Json, name: &str) -> Result<Self> {
        let Json::Object(mut object) = value else { return Err(wrong(name, "is not a JSON object", &value)) };
        object.retain(|_, value| !value.is_null());
        let role = match object.get("role") {
            Some(Json::String(role)) if !role.is_empty() => role.clone(),
            Some(other) => return Err(wrong(&format!("{name}.role"), "is not the name of a role", other)),
            None => return Err(Error::invalid_argument(format!("{name}.role: is missing"))),
        };
        let content = match object.get("content") {
            Some(Json::String(text)) => text.clone(),
            Some(Json::Array(parts)) => {
                if let Some((i, part)) = parts.iter().enumerate().find(|(_, part)| !part.is_object()) {
                    return Err(wrong(&format!("{name}.content[{i}]"), "is not a JSON object", part));
                }
                String::new()
            }
            None => String::new(),
            Some(other) => {
                return Err(wrong(&format!("{name}.content"), "is neither a text nor a list of parts", other));
            }
        };
        match object.get("tool_calls") {
            None | Some(Json::Array(_)) => {}
            Some(other) => return Err(wrong(&format!("{name}.tool_calls"), "is not a JSON array", other)),
        }
        let plain = object.len() == 2 && object.get("content").is_some_and(Json::is_string);
        Ok(Self { role, content, object: (!plain).then_some(object) })
    }

    /// An answer, of members that are as they should be.
    pub(super) fn assistant(object: Map<String, Json>) -> Self {
        let content = object.get("content").and_then(Json::as_str).unwrap_or_default().to_string();
        let object = (object.len() > 2).then_some(object);
        Self { role: "assistant".into(), content, object }
    }

    /// Whether the message is a role and a text, and nothing else.
    pub fn is_plain(&self) -> bool {
        self.object.is_none()
    }

    /// The whole message as a JSON object.
    pub fn to_json(&self) -> String {
        Json::Object(self.object()).to_string()
    }

    pub(crate) fn object(&self) -> Map<String, Json> {
        let Self { role, content, object } = self;
        let Some(object) = object else {
            return Map::from_iter([("role".into(), json!(role)), ("content".into(), json!(content))]);
        };
        let mut object = object.clone();
        object.insert("role".into(), json!(role));
        // Parts and a missing content stay, unless a text was set since.
        if !content.is_empty() || object.get("content").is_some_and(Json::is_string) {
            object.insert("content".into(), json!(content));
        }
        object
    }

    /// The message as a template gets it from transformers: with its reasoning by the name that templates read.
    pub(super) fn for_template(&self) -> Json {
        let object = self.object();
        let Some(reasoning) = REASONING.iter().find_map(|&name| object.get(name)).cloned() else {
            return Json::Object(object);
        };
        let mut all = Map::from_iter([("thinking".to_string(), reasoning.clone())]);
        all.extend(object);
        all.insert(REASONING[0].into(), reasoning);
        Json::Object(all)
    }

    /// What the model thought before it answered; None if it is not apart from the content.
    pub fn reasoning_content(&self) -> Option<&str> {
        let object = self.object.as_ref()?;
        REASONING.iter().find_map(|&name| object.get(name)).and_then(Json::as_str)
    }

    /// The calls that the message asks for. Entries of `tool_calls` without a function are left out.
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        let call = |call: &Json| {
            let function = call.get("function").unwrap_or(call);
            let arguments = match function.get("arguments") {
                Some(Json::String(text)) => text.clone(),
                Some(arguments) => arguments.to_string(),
                None => "{}".into(),
            };
            let id = call.get("id").and_then(Json::as_str).unwrap_or_default().to_string();
            Some(ToolCall { id, name: function.get("name")?.as_str()?.to_string(), arguments })
        };
        let calls = self.object.as_ref().and_then(|object| object.get("tool_calls")?.as_array());
        calls.into_iter().flatten().filter_map(call).collect()
    }
}

/// The value of a text that is JSON.
pub(super) fn parsed(json: &str, name: &str) -> Result<Json> {
    if json.len() > MAX_JSON {
        let what = format!("{name}: has {} bytes, and at most {MAX_JSON} are accepted", json.len());
        return Err(Error::invalid_argument(what));
    }
    serde_json::from_str(json)
        .map_err(|e| Error::invalid_argument(format!("{name}: is not valid JSON: {}", shortened(e))))
}

/// The entries of a text that is a JSON array.
pub(super) fn list(json: &str, name: &str) -> Result<Vec<Json>> {
    match parsed(json, name)? {
        Json::Array(entries) => Ok(entries),
        other => Err(wrong(name, "is not a JSON array", &other)),
    }
}

/// The members of a text that is a JSON object.
pub(super) fn members(json: &str, name: &str) -> Result<Map<String, Json>> {
    match parsed(json, name)? {
        Json::Object(members) => Ok(members),
        other => Err(wrong(name, "is not a JSON object", &other)),
    }
}

pub(super) fn wrong(name: &str, what: &str, value: &Json) -> Error {
    Error::invalid_argument(format!("{name}: {} {what}", quoted(&value.to_string())))
}
