//! What a chat has beside its messages: tools, documents, variables of the template.

use serde_json::{Map, Value as Json, json};

use crate::base::error::{Error, Result, quoted};

use super::format::ToolFormat;
use super::message::{list, members, wrong};

/// Variables that have a place of their own.
const RESERVED: [&str; 5] = ["messages", "tools", "documents", "add_generation_prompt", "continue_final_message"];

/// What a chat has beside its messages, by the names of transformers' `apply_chat_template`. The JSON is read when a call gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatOptions {
    /// A JSON array of the functions that the model may call: `{"type": "function", "function": {"name", "description", "parameters"}}`,
    /// or what `function` is there alone. `parameters` is a JSON schema of type object.
    pub tools: Option<String>,
    /// A JSON array of documents, objects with the members that the template reads: `title` and `text`, as a rule.
    pub documents: Option<String>,
    /// A JSON object of further variables of the template, for instance `{"enable_thinking": false}`.
    pub template_variables: Option<String>,
    /// How the model writes its calls. Default: as the template says.
    pub tool_format: Option<ToolFormat>,
    /// Ends the prompt with what begins an answer. A session does so always.
    pub add_generation_prompt: bool,
    /// Ends the prompt in the last message, so that the model continues it. Not for a session.
    pub continue_final_message: bool,
}

/// Which of its tools a model is to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// None: the prompt does not name the tools.
    None,
    /// One or more, of the model's choice.
    Required,
    /// This one, once.
    Function(String),
}

impl ToolChoice {
    /// `auto`, `none`, `required`, or the name of a tool.
    pub fn named(name: &str) -> Self {
        match name {
            "auto" => Self::Auto,
            "none" => Self::None,
            "required" => Self::Required,
            name => Self::Function(name.into()),
        }
    }
}

/// A function that the model may call.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub name: String,
    /// A JSON schema of type object.
    pub parameters: Map<String, Json>,
}

/// The functions that the model may call.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// As the template gets them.
    json: Json,
    pub functions: Vec<Function>,
}

impl Tools {
    fn read(json: &str) -> Result<Self> {
        let tools = list(json, "tools")?;
        let mut functions: Vec<Function> = Vec::with_capacity(tools.len());
        for (i, tool) in tools.iter().enumerate() {
            let function = Function::read(tool, &format!("tools[{i}]"))?;
            if functions.iter().any(|other| other.name == function.name) {
                let what = format!("tools[{i}]: there is another tool with the name {}", quoted(&function.name));
                return Err(Error::invalid_argument(what));
            }
            functions.push(function);
        }
        Ok(Self { json: Json::Array(tools), functions })
    }
}

impl Function {
    fn read(tool: &Json, place: &str) -> Result<Self> {
        if !tool.is_object() {
            return Err(wrong(place, "is not a JSON object", tool));
        }
        match tool.get("type") {
            None => {}
            Some(kind) if kind == "function" => {}
            Some(kind) => return Err(wrong(&format!("{place}.type"), "is not \"function\"", kind)),
        }
        let (function, place) = match tool.get("function") {
            Some(function) => (function, format!("{place}.function")),
            None => (tool, place.to_string()),
        };
        let fault = |member: &str, what: &str| Error::invalid_argument(format!("{place}.{member}: {what}"));
        let name =
            function.get("name").and_then(Json::as_str).ok_or_else(|| fault("name", "is missing, or not a text"))?;
        let good = |c: char| c.is_alphanumeric() || "_-.:/".contains(c);
        if name.is_empty() || !name.chars().all(good) {
            return Err(fault("name", &format!("{} has more than letters, digits and _ - . : /", quoted(name))));
        }
        if ToolChoice::named(name) != ToolChoice::Function(name.into()) {
            return Err(fault("name", &format!("{name} means something else as a choice of tools")));
        }
        let parameters = match function.get("parameters") {
            // As OpenAI has it: a function without parameters.
            None | Some(Json::Null) => Map::from_iter([
                ("type".to_string(), json!("object")),
                ("additionalProperties".to_string(), json!(false)),
            ]),
            Some(Json::Object(schema)) => schema.clone(),
            Some(other) => {
                return Err(wrong(&format!("{place}.parameters"), "is not a JSON schema of type object", other));
            }
        };
        match parameters.get("type") {
            None => {}
            Some(kind) if kind == "object" => {}
            Some(kind) => return Err(wrong(&format!("{place}.parameters.type"), "is not \"object\"", kind)),
        }
        Ok(Self { name: name.into(), parameters })
    }
}

/// The options as a template and a parser take them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub tools: Option<Tools>,
    pub documents: Option<Json>,
    pub variables: Map<String, Json>,
    pub tool_format: Option<ToolFormat>,
    pub add_generation_prompt: bool,
    pub continue_final_message: bool,
}

impl ChatOptions {
    pub(crate) fn read(&self) -> Result<Setup> {
        let Self { tools, documents, template_variables, tool_format, add_generation_prompt, continue_final_message } =
            self;
        if *continue_final_message && *add_generation_prompt {
            return Err(Error::invalid_argument(
                "add_generation_prompt: begins another message, and continue_final_message goes on with the last one",
            ));
        }
        let documents = documents.as_deref().map(|json| list(json, "documents")).transpose()?;
        let mut each = documents.iter().flatten().enumerate();
        if let Some((i, document)) = each.find(|(_, document)| !document.is_object()) {
            return Err(wrong(&format!("documents[{i}]"), "is not a JSON object", document));
        }
        let variables = template_variables.as_deref().map(|json| members(json, "template_variables")).transpose()?;
        let variables = variables.unwrap_or_default();
        if let Some(name) = RESERVED.into_iter().find(|&name| variables.contains_key(name)) {
            let what = format!("template_variables.{name}: is no variable of the caller's; there is an option for it");
            return Err(Error::invalid_argument(what));
        }
        Ok(Setup {
            tools: tools.as_deref().map(Tools::read).transpose()?,
            documents: documents.map(Json::Array),
            variables,
            tool_format: *tool_format,
            add_generation_prompt: *add_generation_prompt,
            continue_final_message: *continue_final_message,
        })
    }
}

impl Setup {
    /// The functions that the model may call.
    pub fn functions(&self) -> &[Function] {
        self.tools.as_ref().map_or(&[], |tools| &tools.functions)
    }

    /// As the template gets them; null for none.
    pub(super) fn tools_json(&self) -> Json {
        self.tools.as_ref().map_or(Json::Null, |tools| tools.json.clone())
    }

    /// The same chat without tools.
    pub fn without_tools(&self) -> Self {
        Self { tools: None, ..self.clone() }
    }
}
