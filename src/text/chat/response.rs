//! Reads an answer: what the model thought, what it says, and the tools that it calls. Nothing is lost: what is no whole call of a tool
//! that there is stays in the content.

use serde_json::{Deserializer, Map, Value as Json, json};

use super::format::{THOUGHTS, ToolFormat};
use super::message::Message;
use super::options::Function;

/// How an answer is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// How calls are written; None reads none.
    pub format: Option<ToolFormat>,
    /// The tools that there are.
    pub functions: &'a [Function],
    /// The texts around what the model thinks, if its template knows some.
    pub thoughts: Option<(&'static str, &'static str)>,
    /// The prompt has begun what the model thinks.
    pub is_thinking: bool,
}

/// A call as an answer has it.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: Map<String, Json>,
}

/// The parts of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Response {
    content: String,
    reasoning: Option<String>,
    /// The beginning of the answer that has the reasoning, as it was written.
    head: String,
    calls: Vec<Call>,
}

/// What a template can write again of an earlier answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    pub calls: bool,
    pub reasoning: bool,
}

impl Response {
    pub fn read(text: &str, rules: Rules<'_>) -> Self {
        let (reasoning, rest) = split_thought(text, rules);
        let head = text[..text.len() - rest.len()].to_string();
        let reasoning = reasoning.map(str::trim).filter(|thought| !thought.is_empty()).map(str::to_string);
        let rest = if head.is_empty() { rest } else { rest.trim_start() };
        let mut reader = Reader { text: rest, functions: rules.functions, content: String::new(), calls: Vec::new() };
        match rules.format.filter(|_| !rules.functions.is_empty()) {
            None => reader.content.push_str(rest),
            Some(ToolFormat::Hermes) => reader.hermes(),
            Some(ToolFormat::Llama3) => reader.llama3(),
            Some(ToolFormat::Mistral) => reader.mistral(),
            Some(ToolFormat::QwenXml) => reader.qwen_xml(),
        }
        let Reader { content, calls, .. } = reader;
        let content = if calls.is_empty() { content } else { content.trim().to_string() };
        Self { content, reasoning, head, calls }
    }

    /// Whether the answer is content alone.
    pub fn is_plain(&self) -> bool {
        self.head.is_empty() && self.calls.is_empty()
    }

    /// The answer as a message; calls without an id are numbered after `calls_before` others of the chat.
    pub fn message(&self, calls_before: usize) -> Message {
        self.written(self.content.clone(), self.reasoning.as_deref(), calls_before)
    }

    /// The answer as the message that a chat keeps: what its template does not write again by itself stays in the content. `text` is the
    /// answer as it was read.
    pub fn kept(&self, text: &str, writes: Writes, calls_before: usize) -> Message {
        let as_written = if self.calls.is_empty() { !writes.reasoning } else { !writes.calls };
        if as_written {
            return Message::new("assistant", text);
        }
        match writes.reasoning {
            true => self.message(calls_before),
            false => self.written(format!("{}{}", self.head, self.content), None, calls_before),
        }
    }

    fn written(&self, content: String, reasoning: Option<&str>, calls_before: usize) -> Message {
        let mut object = Map::from_iter([("role".to_string(), json!("assistant")), ("content".into(), content.into())]);
        if let Some(reasoning) = reasoning {
            object.insert("reasoning_content".into(), reasoning.into());
        }
        if !self.calls.is_empty() {
            let calls = self.calls.iter().enumerate().map(|(i, Call { id, name, arguments })| {
                // Nine letters and digits, as templates of Mistral demand.
                let id = id.clone().unwrap_or_else(|| format!("call{:05}", calls_before + i));
                json!({"type": "function", "id": id, "function": {"name": name, "arguments": arguments}})
            });
            object.insert("tool_calls".into(), calls.collect());
        }
        Message::assistant(object)
    }
}

/// What the model thought, and the answer after it.
fn split_thought<'t>(text: &'t str, rules: Rules<'_>) -> (Option<&'t str>, &'t str) {
    let start = text.trim_start();
    for (begin, end) in THOUGHTS {
        if let Some(after) = start.strip_prefix(begin) {
            return match after.split_once(end) {
                Some((thought, rest)) => (Some(thought), rest),
                // Cut by the limit of tokens.
                None => (Some(after), ""),
            };
        }
    }
    let Some((begin, end)) = rules.thoughts else { return (None, text) };
    match text.split_once(end) {
        Some((thought, rest)) if rules.is_thinking || !thought.contains(begin) => (Some(thought), rest),
        None if rules.is_thinking => (Some(text), ""),
        _ => (None, text),
    }
}

/// Takes the calls out of a text. The time is linear in its length: an attempt that fails has read no further than the next place where
/// one may begin, or is not begun again within what it has read.
struct Reader<'a> {
    text: &'a str,
    functions: &'a [Function],
    /// What is no call.
    content: String,
    calls: Vec<Call>,
}

impl Reader<'_> {
    fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// A call of a tool that there is; `arguments` are the names that its arguments may have.
    fn call(&self, value: &Json, arguments: &[&str]) -> Option<Call> {
        let name = value.get("name")?.as_str().filter(|name| self.function(name).is_some())?.to_string();
        let arguments = match arguments.iter().find_map(|&name| value.get(name))? {
            Json::Object(arguments) => arguments.clone(),
            // Some models write them as a text, as OpenAI's messages have them.
            Json::String(text) => match serde_json::from_str(text).ok()? {
                Json::Object(arguments) => arguments,
                _ => return None,
            },
            _ => return None,
        };
        let id = value.get("id").and_then(Json::as_str).filter(|id| !id.is_empty()).map(str::to_string);
        Some(Call { id, name, arguments })
    }

    /// `<tool_call>{…}</tool_call>`.
    fn hermes(&mut self) {
        const BEGIN: &str = "<tool_call>";
        const END: &str = "</tool_call>";
        let mut rest = self.text;
        while let Some((before, after)) = rest.split_once(BEGIN) {
            self.content.push_str(before);
            let found = value(after).and_then(|(value, after)| {
                let after = after.trim_start();
                let after = match after.strip_prefix(END) {
                    Some(after) => after,
                    // The answer ended, or the next call begins.
                    None if after.is_empty() || after.starts_with(BEGIN) => after,
                    None => return None,
                };
                Some((self.call(&value, &["arguments", "parameters"])?, after))
            });
            match found {
                Some((call, after)) => {
                    self.calls.push(call);
                    rest = after;
                }
                None => {
                    self.content.push_str(BEGIN);
                    rest = after;
                }
            }
        }
        self.content.push_str(rest);
    }

    /// `{"name": …, "parameters": {…}}`, several of them with semicolons between.
    fn llama3(&mut self) {
        const TAG: &str = "<|python_tag|>";
        let (before, mut rest) = self.text.split_once(TAG).unwrap_or(("", self.text));
        while let Some((value, after)) = value(rest)
            && let Some(call) = self.call(&value, &["parameters", "arguments"])
        {
            self.calls.push(call);
            let after = after.trim_start();
            rest = after.strip_prefix([';', ',']).unwrap_or(after);
        }
        match self.calls.is_empty() {
            true => self.content.push_str(self.text),
            false => self.content = format!("{before}{rest}"),
        }
    }

    /// `[TOOL_CALLS]` and a list of calls, or a name and its arguments.
    fn mistral(&mut self) {
        const BEGIN: &str = "[TOOL_CALLS]";
        // A text that was decoded without special tokens lacks the mark.
        if !self.text.contains(BEGIN)
            && let Some((calls, rest)) = self.mistral_calls(self.text)
        {
            (self.calls, self.content) = (calls, rest.to_string());
            return;
        }
        let mut rest = self.text;
        while let Some((before, after)) = rest.split_once(BEGIN) {
            self.content.push_str(before);
            match self.mistral_calls(after) {
                Some((calls, after)) => {
                    self.calls.extend(calls);
                    rest = after;
                }
                None => {
                    self.content.push_str(BEGIN);
                    rest = after;
                }
            }
        }
        self.content.push_str(rest);
    }

    /// The calls that a text begins with, and the rest.
    fn mistral_calls<'t>(&self, text: &'t str) -> Option<(Vec<Call>, &'t str)> {
        let text = text.trim_start();
        if text.starts_with('[') {
            let (value, rest) = value(text)?;
            let calls: Option<Vec<_>> =
                value.as_array()?.iter().map(|value| self.call(value, &["arguments"])).collect();
            return Some((calls.filter(|calls| !calls.is_empty())?, rest));
        }
        let names = self.functions.iter().map(|function| &function.name).filter(|name| text.starts_with(&***name));
        let name = names.max_by_key(|name| name.len())?;
        let (mut id, mut rest) = (None, &text[name.len()..]);
        if let Some(after) = rest.strip_prefix("[CALL_ID]") {
            let end = after.find(['[', '{'])?;
            (id, rest) = (Some(after[..end].trim().to_string()), &after[end..]);
        }
        let rest = rest.strip_prefix("[ARGS]").unwrap_or(rest);
        match value(rest)? {
            (Json::Object(arguments), rest) => Some((vec![Call { id, name: name.clone(), arguments }], rest)),
            _ => None,
        }
    }

    /// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`, with or without the outer tags.
    fn qwen_xml(&mut self) {
        const BEGIN: &str = "<tool_call>";
        const FUNCTION: &str = "<function=";
        let mut rest = self.text;
        while let Some(at) = rest.find(FUNCTION) {
            let before = &rest[..at];
            match self.xml_function(&rest[at + FUNCTION.len()..]) {
                Ok((call, after)) => {
                    let outer = before.trim_end().strip_suffix(BEGIN);
                    self.content.push_str(outer.unwrap_or(before));
                    self.calls.push(call);
                    let closed = after.trim_start().strip_prefix("</tool_call>");
                    rest = closed.filter(|_| outer.is_some()).unwrap_or(after);
                }
                Err(after) => {
                    let read = rest.len() - after.len();
                    self.content.push_str(&rest[..read]);
                    rest = after;
                }
            }
        }
        self.content.push_str(rest);
    }

    /// A call from its name on, and the rest; or what is behind the part that was tried.
    fn xml_function<'t>(&self, text: &'t str) -> Result<(Call, &'t str), &'t str> {
        let (name, mut rest) = text.split_once('>').ok_or("")?;
        let function = self.function(name.trim()).ok_or(text)?;
        let mut arguments = Map::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("</function>") {
                return Ok((Call { id: None, name: function.name.clone(), arguments }, after));
            }
            let after = rest.strip_prefix("<parameter=").ok_or(rest)?;
            let (key, after) = after.split_once('>').ok_or("")?;
            // Without it no call can follow either.
            let (text, after) = after.split_once("</parameter>").ok_or("")?;
            let text = text.strip_prefix('\n').unwrap_or(text);
            let text = text.strip_suffix('\n').unwrap_or(text);
            let key = key.trim();
            arguments
                .insert(key.into(), typed(text, function.parameters.get("properties").and_then(|all| all.get(key))));
            rest = after;
        }
    }
}

/// A value that is written without quotation marks, by its schema: a text, or JSON.
fn typed(text: &str, schema: Option<&Json>) -> Json {
    match schema.and_then(|schema| schema.get("type")) {
        Some(kind) if kind == "string" => text.into(),
        _ => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

/// The JSON object or array that a text begins with, and the rest.
fn value(text: &str) -> Option<(Json, &str)> {
    let text = text.trim_start();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let mut values = Deserializer::from_str(text).into_iter::<Json>();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}

#[cfg(test)]
mod tests;
