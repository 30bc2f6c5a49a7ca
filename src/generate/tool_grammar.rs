//! The grammar of an answer that must call tools: the model's format around the schemas of the tools' parameters.

use serde_json::{Map, Value as Json, json};

use crate::base::error::{Error, Result, quoted};
use crate::text::chat::{Function, Habits, ToolFormat};
use crate::text::tokenizer::Tokenizer;

use super::constraint::{Grammar, GrammarLimits};

/// The most calls of an answer that must have some, so that a model that repeats itself comes to an end.
const MAX_CALLS: usize = 16;

/// Keywords of a schema that say nothing of its values.
const ANNOTATIONS: [&str; 7] = ["description", "title", "default", "examples", "$comment", "deprecated", "$schema"];

/// What is to be called, and how.
pub(super) struct ToolGrammar<'a> {
    pub tokenizer: &'a Tokenizer,
    pub format: ToolFormat,
    pub habits: Habits,
    /// One of these is called.
    pub functions: Vec<&'a Function>,
    /// Exactly one call.
    pub once: bool,
    /// The prompt has begun what the model thinks.
    pub is_thinking: bool,
    pub limits: GrammarLimits,
}

impl ToolGrammar<'_> {
    pub fn grammar(&self) -> Result<Grammar> {
        let mut rules = vec![format!("start: {}calls", self.lead())];
        if self.is_thinking || self.habits.thoughts.is_some() {
            rules.extend(self.thought());
            rules.push("gap: /[ \\n]{0,4}/".into());
        }
        // Llama's templates write one call only.
        let once = self.once || self.format == ToolFormat::Llama3;
        let more = |between: &str| match once {
            true => String::new(),
            false => format!(" ({between} call){{0,{}}}", MAX_CALLS - 1),
        };
        match self.format {
            ToolFormat::Hermes | ToolFormat::QwenXml => {
                let (begin, end) = (self.mark("<tool_call>"), self.mark("</tool_call>"));
                rules.push(format!("calls: call{}", more("\"\\n\"")));
                rules.push(format!("call: {begin} \"\\n\" body \"\\n\" {end}"));
            }
            ToolFormat::Llama3 => rules.push("calls: body".into()),
            ToolFormat::Mistral if self.habits.mistral_args => {
                rules.push(format!("calls: call{}", more("")));
                rules.push(format!("call: {} body", self.mark("[TOOL_CALLS]")));
            }
            ToolFormat::Mistral => {
                let between = more("\", \"");
                rules.push(format!("calls: {} \"[\" call{between} \"]\"", self.mark("[TOOL_CALLS]")));
                rules.push("call: body".into());
            }
        }
        let bodies: Vec<_> = (0..self.functions.len()).map(|i| format!("body{i}")).collect();
        rules.push(format!("body: {}", bodies.join(" | ")));
        for (i, function) in self.functions.iter().enumerate() {
            self.body(i, function, &mut rules)?;
        }
        Ok(Grammar::Lark(rules.join("\n") + "\n"))
    }

    /// A text of the format: a special token, if the tokenizer has it as one, since texts do not match those.
    fn mark(&self, text: &str) -> String {
        match self.tokenizer.special_id(text) {
            Some(id) => format!("<[{id}]>"),
            None => literal(text),
        }
    }

    /// What the model may think before it calls.
    fn lead(&self) -> String {
        match self.habits.thoughts {
            _ if self.is_thinking => "thought gap ".into(),
            Some((begin, _)) => format!("({} thought gap)? ", self.mark(begin)),
            None => String::new(),
        }
    }

    /// The rule of a thought and of its end.
    fn thought(&self) -> Option<String> {
        let (_, end) = self.habits.thoughts?;
        Some(match self.tokenizer.special_id(end) {
            Some(id) => format!("thought: /(?s:.*)/ <[{id}]>"),
            None => format!("thought[suffix={}]: /(?s:.*)/", literal(end)),
        })
    }

    /// The rules of a call of one function.
    fn body(&self, i: usize, function: &Function, rules: &mut Vec<String>) -> Result<()> {
        let name = &function.name;
        let arguments = |key: &str| literal(&format!("{{\"name\": \"{name}\", \"{key}\": "));
        let body = match self.format {
            ToolFormat::QwenXml => return self.xml_body(i, function, rules),
            ToolFormat::Hermes => format!("{} arguments{i} \"}}\"", arguments("arguments")),
            ToolFormat::Llama3 => format!("{} arguments{i} \"}}\"", arguments("parameters")),
            ToolFormat::Mistral if self.habits.mistral_args => {
                format!("{} {} arguments{i}", literal(name), self.mark("[ARGS]"))
            }
            ToolFormat::Mistral => format!("{} arguments{i} \"}}\"", arguments("arguments")),
        };
        rules.push(format!("body{i}: {body}"));
        let mut schema = function.parameters.clone();
        schema.entry("type").or_insert_with(|| "object".into());
        rules.push(format!("arguments{i}: {}", self.json(schema, &format!("{name}.parameters"))?));
        Ok(())
    }

    /// `<function=name>` and its parameters, in the order of the schema.
    fn xml_body(&self, i: usize, function: &Function, rules: &mut Vec<String>) -> Result<()> {
        let name = &function.name;
        let schema = &function.parameters;
        let known = ["type", "properties", "required", "additionalProperties", "$defs", "definitions"];
        refuse_others(schema, &known, &format!("{name}.parameters"))?;
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        let required: Vec<&str> = match schema.get("required").and_then(Json::as_array) {
            Some(names) => names.iter().filter_map(Json::as_str).collect(),
            None => Vec::new(),
        };
        if let Some(missing) = required.iter().find(|&&key| !properties.contains_key(key)) {
            let what = format!("tools: {name}.parameters.required: {} is no property", quoted(missing));
            return Err(Error::invalid_argument(what));
        }
        let mut body = format!("body{i}: {}", literal(&format!("<function={name}>\n")));
        for (j, (key, property)) in properties.iter().enumerate() {
            if key.is_empty() || !key.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
                let what =
                    format!("tools: {name}.parameters.properties: {} cannot be written in this format", quoted(key));
                return Err(Error::invalid_argument(what));
            }
            let optional = if required.contains(&key.as_str()) { "" } else { "?" };
            body += &format!(" (parameter{i}x{j}){optional}");
            let begin = literal(&format!("<parameter={key}>\n"));
            rules.push(format!("parameter{i}x{j}: {begin} value{i}x{j}"));
            let place = format!("{name}.parameters.properties.{key}");
            rules.extend(self.xml_value(&format!("value{i}x{j}"), property, schema, &place)?);
        }
        rules.push(body + " \"</function>\"");
        Ok(())
    }

    /// The rules of a parameter's value and of the tag that ends it.
    fn xml_value(&self, rule: &str, property: &Json, schema: &Map<String, Json>, place: &str) -> Result<Vec<String>> {
        const END: &str = "\n</parameter>\n";
        let is_text = property.get("type").is_some_and(|kind| kind == "string");
        let Some(object) = property.as_object().filter(|_| is_text) else {
            let json = match property {
                Json::Object(property) => {
                    let mut property = property.clone();
                    for key in ["$defs", "definitions"] {
                        if let Some(definitions) = schema.get(key) {
                            property.entry(key).or_insert_with(|| definitions.clone());
                        }
                    }
                    self.json(property, place)?
                }
                any => format!("%json {any}"),
            };
            return Ok(vec![format!("{rule}: {rule}json {}", literal(END)), format!("{rule}json: {json}")]);
        };
        refuse_others(object, &["type", "enum", "const"], place)?;
        let choices = match (object.get("enum"), object.get("const")) {
            (None, None) => return Ok(vec![format!("{rule}[suffix={}]: /(?s:.*)/", literal(END))]),
            (Some(Json::Array(choices)), None) => choices.iter().collect(),
            (None, Some(only)) => vec![only],
            _ => {
                return Err(Error::invalid_argument(format!("tools: {place}.enum: cannot be enforced in this format")));
            }
        };
        let choices: Vec<String> = choices.into_iter().filter_map(Json::as_str).map(literal).collect();
        if choices.is_empty() {
            return Err(Error::invalid_argument(format!("tools: {place}.enum: has no text")));
        }
        Ok(vec![format!("{rule}: ({}) {}", choices.join(" | "), literal(END))])
    }

    /// The grammar of values of a schema, spelled as templates spell them again (`tojson`), so that the KV cache of a call stays of use.
    fn json(&self, mut schema: Map<String, Json>, place: &str) -> Result<String> {
        let spelling = json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "});
        schema.entry("x-guidance").or_insert(spelling);
        let schema = Json::Object(schema).to_string();
        // The compiler of the whole would not say which tool's it is.
        let enforced = Grammar::JsonSchema(schema.clone()).require_enforced(self.limits);
        enforced.map_err(|error| Error::new(error.status(), format!("tools: {place}: {}", error.message())))?;
        Ok(format!("%json {schema}"))
    }
}

/// Keywords that the grammar of a format without quotation marks does not enforce.
fn refuse_others(schema: &Map<String, Json>, known: &[&str], place: &str) -> Result<()> {
    match schema.keys().find(|key| !known.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str())) {
        Some(key) => Err(Error::unsupported(format!(
            "tools: {place}.{key}: cannot be enforced while a call is generated in the format {}; set tool_choice to auto",
            ToolFormat::QwenXml.name()
        ))),
        None => Ok(()),
    }
}

/// A text as a grammar in Lark has it.
fn literal(text: &str) -> String {
    Json::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::constraint::{Constraint, GrammarLimits, GrammarVocabulary, SchemaMode};
    use super::*;
    use crate::text::chat::{ChatOptions, Setup};

    const TOOLS: &str = r##"[
        {"name": "go", "parameters": {"type": "object", "properties": {"where": {"type": "string"},
            "how": {"type": "string", "enum": ["fast", "slow"]}, "at": {"$ref": "#/$defs/place"}},
            "required": ["where"], "additionalProperties": false,
            "$defs": {"place": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}}}},
        {"name": "stop"}]"##;

    fn setup() -> Setup {
        ChatOptions { tools: Some(TOOLS.into()), ..ChatOptions::default() }.read().unwrap()
    }

    /// For each text: whether it may be an answer.
    fn check(format: ToolFormat, template: &str, once: bool, is_thinking: bool, cases: &[(bool, &str)]) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generation/llama");
        let tokenizer = &Tokenizer::from_directory(&folder).unwrap();
        let (setup, habits) = (setup(), Habits::of(template));
        let functions: Vec<_> = setup.functions().iter().filter(|function| !once || function.name == "go").collect();
        let grammar =
            ToolGrammar { tokenizer, format, habits, functions, once, is_thinking, limits: GrammarLimits::default() }
                .grammar()
                .unwrap();
        let vocabulary = GrammarVocabulary::of(tokenizer, tokenizer.vocabulary_size(), &[1]).unwrap();
        let start = vocabulary.constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None).unwrap();
        for &(is_answer, text) in cases {
            assert_eq!(accepts(start.clone(), tokenizer, text), is_answer, "{text}\n{grammar:?}");
        }
    }

    fn accepts(mut constraint: Constraint, tokenizer: &Tokenizer, text: &str) -> bool {
        let ids = tokenizer.ids(text, false).unwrap();
        ids.into_iter().all(|id| constraint.accept(id).is_ok()) && constraint.may_end()
    }

    #[test]
    fn answers_are_calls_in_the_model_s_format() {
        let go = r#"{"name": "go", "arguments": {"where": "a\"}b", "how": "slow", "at": [1, 2]}}"#;
        let one = &format!("<tool_call>\n{go}\n</tool_call>");
        let two = &format!("{one}\n<tool_call>\n{{\"name\": \"stop\", \"arguments\": {{}}}}\n</tool_call>");
        let hermes = [
            (true, one.as_str()),
            (true, two),
            (false, go),
            (false, "<tool_call>"),
            (false, "<tool_call>\n{\"name\": \"go\", \"arguments\": {}}\n</tool_call>"),
            (false, "<tool_call>\n{\"name\": \"fly\", \"arguments\": {}}\n</tool_call>"),
            (false, &one.replace("slow", "late")),
            (false, &one.replace("[1, 2]", "[1, 2, 3]")),
            (false, &one.replace("{\"where", "{ \"where")),
            (false, &format!("I go. {one}")),
            (false, &format!("{one}.")),
        ];
        check(ToolFormat::Hermes, "<tool_call>", false, false, &hermes);
        check(ToolFormat::Hermes, "<tool_call>", true, false, &[(true, one), (false, two)]);
        let go = &go.replace("arguments", "parameters");
        let both = &format!("{go}; {go}");
        check(ToolFormat::Llama3, "ipython", false, false, &[(true, go), (false, both), (false, one)]);
        let list = "[TOOL_CALLS][{\"name\": \"stop\", \"arguments\": {}}, {\"name\": \"go\", \"arguments\": {\"where\": \"\"}}]";
        check(ToolFormat::Mistral, "", false, false, &[(true, list), (false, "[TOOL_CALLS][]"), (false, go)]);
        let named = "[TOOL_CALLS]go[ARGS]{\"where\": \"x\"}";
        let several = &format!("{named}[TOOL_CALLS]stop[ARGS]{{}}");
        check(ToolFormat::Mistral, "[ARGS]", false, false, &[(true, named), (true, several), (false, list)]);
    }

    #[test]
    fn xml_has_values_without_quotation_marks() {
        let call = |parameters: &str| format!("<tool_call>\n<function=go>\n{parameters}</function>\n</tool_call>");
        let parameter = |key: &str, value: &str| format!("<parameter={key}>\n{value}\n</parameter>\n");
        let place = parameter("where", "up <b> \"and\"\n\ndown");
        let all = call(&(place.clone() + &parameter("how", "fast") + &parameter("at", "[1]")));
        let cases = [
            (true, all.as_str()),
            (true, &call(&place)),
            (true, &call(&(place.clone() + &parameter("at", "[1]")))),
            (false, &call("")),
            (false, &call(&parameter("how", "fast"))),
            (false, &all.replace("fast", "late")),
            (false, &all.replace("[1]", "x")),
            (true, &format!("{all}\n<tool_call>\n<function=stop>\n</function>\n</tool_call>")),
        ];
        check(ToolFormat::QwenXml, "", false, false, &cases);
    }

    #[test]
    fn a_thought_may_come_first() {
        let call = "<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>";
        let thought = &format!("<think>\nHm <b>?\n</think>\n\n{call}");
        let rest = &thought["<think>".len()..];
        let habits = "<tool_call></think>";
        check(
            ToolFormat::Hermes,
            habits,
            false,
            false,
            &[(true, call), (true, thought), (false, "<think>Hm.</think>")],
        );
        check(ToolFormat::Hermes, habits, false, true, &[(true, rest), (false, call), (false, "Hm.</think>")]);
        check(ToolFormat::Hermes, "<tool_call>", false, false, &[(false, thought)]);
    }

    #[test]
    fn what_a_format_cannot_enforce_is_refused_by_name() {
        let refused = |schema: &str| {
            let tools = format!(r#"[{{"name": "f", "parameters": {schema}}}]"#);
            let setup = ChatOptions { tools: Some(tools), ..ChatOptions::default() }.read().unwrap();
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generation/llama");
            let tokenizer = &Tokenizer::from_directory(&folder).unwrap();
            let (format, habits) = (ToolFormat::QwenXml, Habits::default());
            let functions = setup.functions().iter().collect();
            let limits = GrammarLimits::default();
            let grammar = ToolGrammar { tokenizer, format, habits, functions, once: true, is_thinking: false, limits };
            grammar.grammar().unwrap_err().message().to_string()
        };
        for (schema, says) in [
            (r#"{"minProperties": 1}"#, "f.parameters.minProperties: cannot be enforced"),
            (r#"{"required": ["a"]}"#, "f.parameters.required: `a` is no property"),
            (r#"{"properties": {"a b": {}}}"#, "f.parameters.properties: `a b` cannot be written"),
            (
                r#"{"properties": {"a": {"type": "string", "pattern": "x"}}}"#,
                "f.parameters.properties.a.pattern: cannot",
            ),
            (
                r#"{"properties": {"a": {"type": "string", "enum": [1]}}}"#,
                "f.parameters.properties.a.enum: has no text",
            ),
        ] {
            let message = refused(schema);
            assert!(message.contains(says), "{message}");
        }
    }
}
