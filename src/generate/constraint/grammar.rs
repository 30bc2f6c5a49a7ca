//! Grammars as they come, and what llguidance gets of them.

use std::sync::Arc;

use llguidance::JsonCompileOptions;
use llguidance::api::GrammarWithLexer;
use serde_json::{Deserializer, Value};

use crate::base::error::{Error, Result};
use crate::formats::shortened;

use super::schema::{self, Aim, Document, LeftToCheck, Lowered};
use super::{GrammarLimits, first_lines, intersections};

/// The whitespace between the parts of JSON: enough for lines with indentation, but limited, because models can get stuck in endless
/// whitespace.
const WHITESPACE: &str = r"[\x20\x0A\x0D\x09]{1,32}";

/// The letters after a backslash in JSON strings. Without `u` a name has one spelling, and no escaped one passes as another name.
const ESCAPES: &str = "nrbtf\\\"";

/// A constraint on the output. Sources may come from untrusted users: size and compile time are limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grammar {
    /// A JSON schema: the output is JSON that satisfies it.
    JsonSchema(String),
    /// A regular expression that the whole output matches.
    Regex(String),
    /// A grammar in llguidance's variant of Lark, whose first rule is `start`.
    Lark(String),
}

/// What becomes of a JSON schema with keywords that cannot be enforced while the text is generated (`uniqueItems` over many values, a
/// `oneOf` whose alternatives cannot be told apart, and the like). The numbers are part of the C ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SchemaMode {
    /// The finished text is checked against the whole schema. One that does not satisfy it has the finish reason `schema_mismatch`.
    #[default]
    Check = 1,
    /// The schema is refused; the error has the JSON pointers of these keywords.
    Strict = 2,
}

impl SchemaMode {
    pub const ALL: [Self; 2] = [Self::Check, Self::Strict];

    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Strict => "strict",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&mode| mode as u32 == value)
    }
}

/// A grammar for llguidance.
pub(super) struct Parsed {
    pub grammar: GrammarWithLexer,
    /// The schema that finished texts are to be checked against.
    pub check: Option<Arc<Document>>,
}

impl Grammar {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::JsonSchema(_) => "JSON schema",
            Self::Regex(_) => "regular expression",
            Self::Lark(_) => "Lark grammar",
        }
    }

    pub(super) fn source(&self) -> &str {
        match self {
            Self::JsonSchema(source) | Self::Regex(source) | Self::Lark(source) => source,
        }
    }

    pub(super) fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid_argument(format!(
            "grammar: the {} cannot be used: {}",
            self.kind(),
            shortened(first_lines(what))
        ))
    }

    /// Refuses a schema with keywords that cannot be enforced while the text is generated.
    pub fn require_enforced(&self, limits: GrammarLimits) -> Result<()> {
        self.parsed(SchemaMode::Strict, limits, LeftToCheck::default()).map(drop)
    }

    /// `left` is what llguidance refused before.
    pub(super) fn parsed(&self, mode: SchemaMode, limits: GrammarLimits, left: LeftToCheck) -> Result<Parsed> {
        let grammar = match self {
            Self::JsonSchema(source) => {
                let schema: Value = serde_json::from_str(source).map_err(|e| self.error(e))?;
                let document = Document::new(schema);
                let (schema, unenforced) = self.lowered(&document, "", mode, limits, left)?;
                let check = (!unenforced.is_empty()).then(|| Arc::new(document));
                return Ok(Parsed { grammar: GrammarWithLexer::from_json_schema(schema), check });
            }
            Self::Regex(source) => match without_anchors(source) {
                "" => GrammarWithLexer::from_lark("start: \"\"".into()),
                source => GrammarWithLexer::from_regex(source),
            },
            Self::Lark(source) => {
                let source = self.with_lowered_schemas(source, limits)?;
                intersections::check_lark(&source, limits).map_err(|what| self.error(what))?;
                GrammarWithLexer::from_lark(source)
            }
        };
        Ok(Parsed { grammar, check: None })
    }

    /// The subschema at a JSON pointer, rewritten and with llguidance's options, and the keywords that it does not enforce.
    pub(super) fn lowered(
        &self,
        document: &Document,
        pointer: &str,
        mode: SchemaMode,
        limits: GrammarLimits,
        left: LeftToCheck,
    ) -> Result<(Value, Vec<String>)> {
        let options = self.options(document.root())?;
        let aim = if mode == SchemaMode::Strict { Aim::Enforce } else { Aim::Check };
        let lowered = schema::lower(document, pointer, aim, left).map_err(|what| self.error(what))?;
        let Lowered { mut schema, unenforced } = lowered;
        if mode == SchemaMode::Strict && !unenforced.is_empty() {
            return Err(self.error(not_enforced(&unenforced)));
        }
        self.check_size(&schema, limits)?;
        if schema.is_object() {
            options.apply_to(&mut schema);
        }
        Ok((schema, unenforced))
    }

    /// llguidance's options: those that the schema has itself, in `x-guidance`, before ours.
    fn options(&self, schema: &Value) -> Result<JsonCompileOptions> {
        let mut options = match schema.get("x-guidance") {
            Some(options) => {
                let fault = |e| self.error(format!("/x-guidance: {e}"));
                serde_json::from_value::<JsonCompileOptions>(options.clone()).map_err(fault)?
            }
            None => JsonCompileOptions::default(),
        };
        for (set, name) in [(options.lenient, "lenient"), (options.coerce_one_of, "coerce_one_of")] {
            if set {
                return Err(self.error(format!("/x-guidance/{name}: is not supported; see schema_mode")));
            }
        }
        if options.whitespace_flexible {
            options.whitespace_pattern.get_or_insert_with(|| WHITESPACE.into());
        }
        if !has_control_characters(schema) {
            options.json_allowed_escapes.get_or_insert_with(|| ESCAPES.into());
        }
        Ok(options)
    }

    /// A grammar in Lark whose schemas, `%json {…}`, are rewritten as a JSON schema is.
    fn with_lowered_schemas(&self, source: &str, limits: GrammarLimits) -> Result<String> {
        const KEYWORD: &str = "%json";
        let (mut out, mut rest) = (String::with_capacity(source.len()), source);
        while let Some(first) = rest.chars().next() {
            let length = match rest.strip_prefix(KEYWORD) {
                None => intersections::opaque(rest).unwrap_or(first.len_utf8()),
                Some(after) => {
                    let mut values = Deserializer::from_str(after).into_iter::<Value>();
                    match values.next() {
                        Some(Ok(schema)) => {
                            let length = KEYWORD.len() + values.byte_offset();
                            let document = Document::new(schema);
                            // The place of a schema's text in the whole is not known, so it cannot be checked afterwards.
                            let (mode, left) = (SchemaMode::Strict, LeftToCheck::default());
                            let (schema, _) = self.lowered(&document, "", mode, limits, left)?;
                            out.push_str(&format!("{KEYWORD} {schema}"));
                            rest = &rest[length..];
                            continue;
                        }
                        // llguidance says what is wrong.
                        _ => KEYWORD.len(),
                    }
                }
            };
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        }
        Ok(out)
    }

    fn check_size(&self, schema: &Value, limits: GrammarLimits) -> Result<()> {
        // The recursion is limited: serde_json refuses more than 128 levels, and the rewriting its own depth.
        fn squares(value: &Value) -> usize {
            match value {
                Value::Array(items) => items.iter().map(squares).sum(),
                Value::Object(object) => object.len() * object.len() + object.values().map(squares).sum::<usize>(),
                _ => 0,
            }
        }
        if squares(schema) > limits.properties_squared() {
            return Err(self.error("its objects have too many properties"));
        }
        intersections::check_schema(schema, limits).map_err(|what| self.error(what))
    }
}

fn not_enforced(pointers: &[String]) -> String {
    let more = match pointers.len() - pointers.len().min(8) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}: cannot be enforced while the text is generated", pointers[..pointers.len().min(8)].join(", "))
}

/// Whether a text in the schema has a character that JSON can only spell by its number.
fn has_control_characters(schema: &Value) -> bool {
    let text = |text: &str| text.chars().any(|c| c.is_ascii_control() && !"\n\r\t\u{8}\u{c}".contains(c));
    match schema {
        Value::String(value) => text(value),
        Value::Array(items) => items.iter().any(has_control_characters),
        Value::Object(object) => object.iter().any(|(name, value)| text(name) || has_control_characters(value)),
        _ => false,
    }
}

/// The expression without `^` and `$` around it: the whole output is matched anyway.
fn without_anchors(source: &str) -> &str {
    let source = source.strip_prefix('^').unwrap_or(source);
    match source.strip_suffix('$') {
        Some(inner) if (inner.len() - inner.trim_end_matches('\\').len()) % 2 == 0 => inner,
        _ => source,
    }
}
