//! Rewrites a JSON schema into keywords that llguidance compiles, so that finished texts validate and few schemas are refused.
//!
//! - Conditions (`oneOf`, `not`, `if`, `dependentRequired` and the like) become alternatives of what llguidance has. An alternative may
//!   allow less than the schema, never more.
//! - What cannot be said so is left out and named: the caller checks the finished text (`validator.rs`) or refuses the schema.
//! - `format` is an annotation in the standard: names that llguidance does not know are dropped. Dates and times become exact patterns;
//!   llguidance's have a 29 February in every year and a second of 60.
//! - References lead to definitions of the rewritten schema, whatever they were in the original.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

mod arrays;
mod exclusive;
mod facts;
mod keywords;
mod negation;
mod objects;
mod patterns;
mod references;
#[cfg(test)]
mod tests;
mod validator;

use keywords::Types;
use patterns::{DATE, LookAheads, TIME, without_nul};
use references::join;
use validator::Check;

pub use references::Document;

/// The formats that llguidance enforces.
const KNOWN_FORMATS: [&str; 8] = ["duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "unknown"];

/// Keywords that are rewritten in place of others: of `additionalProperties`, `items` and the like.
const REPLACING: [&str; 4] = ["propertyNames", "uniqueItems", "unevaluatedProperties", "unevaluatedItems"];

/// The maximum number of subschemas after rewriting.
const MAX_NODES: usize = 100_000;
/// The maximum nesting, through references too.
const MAX_DEPTH: usize = 1000;
/// The maximum number of alternatives that the conditions of one schema multiply to.
const MAX_ALTERNATIVES: usize = 256;

/// A rewritten schema.
pub struct Lowered {
    pub schema: Value,
    /// JSON pointers of the keywords of the original that the rewritten schema does not enforce.
    pub unenforced: Vec<String>,
}

/// What else is left to the check of the finished text, because llguidance refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftToCheck {
    /// `minProperties` and `maxProperties`.
    pub property_counts: bool,
    /// All conditions, whose alternatives are too many together.
    pub conditions: bool,
}

impl LeftToCheck {
    /// What to leave to the check after an error of llguidance; None if nothing more helps.
    pub fn after(self, error: &str) -> Option<Self> {
        let more = match error {
            _ if error.contains("min/maxProperties only supported") => Self { property_counts: true, ..self },
            _ if ["too large", "stack level exceeded", "circular references"]
                .iter()
                .any(|what| error.contains(what)) =>
            {
                Self { conditions: true, ..self }
            }
            _ => return None,
        };
        (more != self).then_some(more)
    }
}

/// Whether values are finally checked against the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// What cannot be said exactly is rather left to the check than narrowed to a part of what the schema allows.
    Check,
    /// All is to be enforced: a part of what the schema allows will do.
    Enforce,
}

/// Rewrites the subschema at a JSON pointer of a document, `""` for all of it.
///
/// # Errors
/// What is wrong in the schema, after the JSON pointer of the keyword.
pub fn lower(document: &Document, pointer: &str, aim: Aim, left: LeftToCheck) -> Result<Lowered, String> {
    let mut lowering = Lowering {
        document,
        check: Check::new(document),
        definitions: Map::new(),
        names: HashMap::new(),
        unenforced: BTreeSet::new(),
        nodes: 0,
        depth: 0,
        comparisons: 0,
        disjoint_patterns: HashMap::new(),
        aim,
        left,
    };
    let schema = document.root().pointer(pointer).unwrap_or(&Value::Null);
    let mut schema = lowering.schema(schema, pointer)?;
    if let Value::Object(object) = &mut schema
        && !lowering.definitions.is_empty()
    {
        object.insert("$defs".into(), Value::Object(lowering.definitions));
    }
    Ok(Lowered { schema, unenforced: lowering.unenforced.into_iter().collect() })
}

/// Whether a value satisfies a document.
pub fn satisfies(document: &Document, value: &Value) -> bool {
    Check::new(document).valid(document.root(), value)
}

struct Lowering<'a> {
    document: &'a Document,
    check: Check<'a>,
    /// The targets of references, rewritten.
    definitions: Map<String, Value>,
    /// The names of definitions by their JSON pointers.
    names: HashMap<String, String>,
    unenforced: BTreeSet<String>,
    nodes: usize,
    depth: usize,
    comparisons: usize,
    disjoint_patterns: HashMap<(&'a str, &'a str), bool>,
    aim: Aim,
    left: LeftToCheck,
}

/// One schema while it is rewritten.
struct Target<'a> {
    original: &'a Map<String, Value>,
    pointer: String,
    types: Types,
    out: Map<String, Value>,
}

impl Target<'_> {
    /// Adds a schema that holds too.
    fn conjoin(&mut self, schema: Value) {
        match self.out.entry("allOf").or_insert_with(|| json!([])) {
            Value::Array(all) => all.push(schema),
            other => *other = json!([schema]),
        }
    }
}

impl<'a> Lowering<'a> {
    fn schema(&mut self, schema: &'a Value, pointer: &str) -> Result<Value, String> {
        let object = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(object) => object,
            _ => return Err(fault(pointer, "a schema must be an object or a boolean")),
        };
        self.nodes += 1;
        self.depth += 1;
        if self.nodes > MAX_NODES {
            return Err(fault(pointer, "the schema is too large"));
        }
        if self.depth > MAX_DEPTH {
            return Err(fault(pointer, "the schema is nested too deeply"));
        }
        let lowered = self.object(schema, object, pointer);
        self.depth -= 1;
        lowered
    }

    fn object(&mut self, schema: &'a Value, object: &'a Map<String, Value>, pointer: &str) -> Result<Value, String> {
        let mut out = Map::new();
        if let Some((reference, siblings)) = self.document.reference_of(object) {
            out.insert("$ref".into(), self.reference(reference, pointer)?.into());
            if !siblings {
                return Ok(Value::Object(out));
            }
        }
        if let Some(values) = self.finite(schema, object, pointer)? {
            return Ok(if values.is_empty() { Value::Bool(false) } else { json!({ "enum": values }) });
        }
        let types = types(object, pointer)?;
        let mut target = Target { original: object, pointer: pointer.to_owned(), types, out };
        // Some replace what other keywords say: they come last.
        for last in [false, true] {
            for (keyword, argument) in
                object.iter().filter(|(keyword, _)| REPLACING.contains(&keyword.as_str()) == last)
            {
                self.keyword(&mut target, keyword, argument, &join(pointer, keyword))?;
            }
        }
        self.pattern_properties(&mut target);
        Ok(Value::Object(target.out))
    }

    /// A reference to the definition of what another one leads to.
    fn reference(&mut self, reference: &str, pointer: &str) -> Result<String, String> {
        let found = self.document.resolve(reference);
        let Some((target_pointer, target)) = found else {
            let what = format!("{} leads to nothing in the schema", crate::formats::quoted(reference));
            return Err(fault(&join(pointer, "$ref"), &what));
        };
        let number = self.names.len();
        let name = match self.names.get(&target_pointer) {
            Some(name) => name.clone(),
            None => {
                let name = format!("r{number}");
                self.names.insert(target_pointer.clone(), name.clone());
                self.definitions.insert(name.clone(), Value::Bool(true));
                let lowered = self.schema(target, &target_pointer)?;
                self.definitions.insert(name.clone(), lowered);
                name
            }
        };
        Ok(format!("#/$defs/{name}"))
    }

    /// The values of a schema with `enum` or `const` that satisfy the rest of it.
    fn finite(
        &mut self,
        schema: &'a Value,
        object: &'a Map<String, Value>,
        pointer: &str,
    ) -> Result<Option<Vec<&'a Value>>, String> {
        let list = match object.get("enum") {
            None => None,
            Some(Value::Array(values)) => Some(values),
            Some(_) => return Err(fault(&join(pointer, "enum"), "must be an array")),
        };
        let values: Vec<&Value> = match (object.get("const"), list) {
            (Some(value), _) => vec![value],
            (None, Some(values)) => values.iter().collect(),
            (None, None) => return Ok(None),
        };
        // The rest without the list itself, to which each value belongs.
        let rest = match object.contains_key("const") {
            true => schema.clone(),
            false => Value::Object(
                object.iter().filter(|(key, _)| *key != "enum").map(|(k, v)| (k.clone(), v.clone())).collect(),
            ),
        };
        Ok(Some(values.into_iter().filter(|value| self.check.admits(&rest, value)).collect()))
    }

    fn keyword(
        &mut self,
        target: &mut Target<'a>,
        keyword: &str,
        argument: &'a Value,
        pointer: &str,
    ) -> Result<(), String> {
        let lowered = match keyword {
            "type" => argument.clone(),
            "properties" | "patternProperties" => self.named_schemas(argument, keyword, pointer)?,
            "additionalProperties" | "additionalItems" => self.schema(argument, pointer)?,
            "items" | "prefixItems" if argument.is_array() => Value::Array(self.schemas(argument, pointer)?),
            "items" => self.schema(argument, pointer)?,
            "allOf" => {
                // Beside what other keywords have added.
                for schema in self.schemas(argument, pointer)? {
                    target.conjoin(schema);
                }
                return Ok(());
            }
            "anyOf" => Value::Array(self.schemas(argument, pointer)?),
            "required" => names(argument, pointer)?,
            "minLength" | "maxLength" | "minItems" | "maxItems" => count(argument, pointer)?.into(),
            "minimum" | "maximum" | "multipleOf" => number(argument, pointer)?,
            "exclusiveMinimum" | "exclusiveMaximum" if argument.is_boolean() => argument.clone(),
            "exclusiveMinimum" | "exclusiveMaximum" => number(argument, pointer)?,
            "pattern" => self.pattern(target, argument, pointer)?.into(),
            "format" => {
                format(target, argument);
                return Ok(());
            }
            "oneOf" => return self.one_of(target, argument, pointer),
            "not" => return self.not(target, argument, pointer),
            "if" => return self.if_then_else(target, argument, pointer),
            "dependentRequired" | "dependentSchemas" | "dependencies" => {
                return self.dependencies(target, argument, pointer);
            }
            "minProperties" | "maxProperties" => return self.property_count(target, keyword, argument, pointer),
            "propertyNames" => return self.property_names(target, argument, pointer),
            "unevaluatedProperties" | "unevaluatedItems" => {
                return self.unevaluated(target, keyword, argument, pointer);
            }
            "uniqueItems" => return self.unique_items(target, argument, pointer),
            "contains" => return self.contains(target, argument, pointer),
            // Annotations, keywords of others, and those that only count beside another one.
            _ => return Ok(()),
        };
        target.out.insert(keyword.into(), lowered);
        Ok(())
    }

    fn schemas(&mut self, argument: &'a Value, pointer: &str) -> Result<Vec<Value>, String> {
        let list = argument.as_array().ok_or_else(|| fault(pointer, "must be an array of schemas"))?;
        list.iter().enumerate().map(|(i, schema)| self.schema(schema, &join(pointer, &i.to_string()))).collect()
    }

    fn named_schemas(&mut self, argument: &'a Value, keyword: &str, pointer: &str) -> Result<Value, String> {
        let named = argument.as_object().ok_or_else(|| fault(pointer, "must be an object of schemas"))?;
        let mut out = Map::new();
        for (name, schema) in named {
            let pointer = join(pointer, name);
            let name = match keyword {
                "patternProperties" => {
                    let pattern = without_nul(name);
                    if let Some(what) = patterns::fault(&pattern) {
                        return Err(fault(&pointer, &format!("the pattern is not supported: {what}")));
                    }
                    pattern
                }
                _ => name.clone(),
            };
            out.insert(name, self.schema(schema, &pointer)?);
        }
        Ok(Value::Object(out))
    }

    /// A pattern without the look-aheads at its front, which become patterns of their own.
    fn pattern(&mut self, target: &mut Target<'a>, argument: &Value, pointer: &str) -> Result<String, String> {
        let usable = |pattern: &str| match patterns::fault(pattern) {
            Some(what) => Err(fault(pointer, &format!("the pattern is not supported: {what}"))),
            None => Ok(()),
        };
        let pattern = argument.as_str().ok_or_else(|| fault(pointer, "must be a string"))?;
        let mut pattern = without_nul(pattern);
        if let Some(LookAheads { all, rest }) = LookAheads::of(&pattern) {
            for (positive, inside) in all {
                usable(&inside)?;
                match if positive { Some(inside) } else { patterns::complement(&inside) } {
                    Some(also) => target.conjoin(json!({ "pattern": also })),
                    None => self.leave(pointer),
                }
            }
            pattern = rest;
        }
        usable(&pattern)?;
        Ok(pattern)
    }

    /// Adds a condition, unless it has too many alternatives together with those that are there.
    fn add_condition(&mut self, target: &mut Target<'_>, condition: Value, pointer: &str) {
        if condition == Value::Bool(true) {
            return;
        }
        let alternatives = width(&Value::Object(target.out.clone())).saturating_mul(width(&condition));
        if self.left.conditions || alternatives > MAX_ALTERNATIVES {
            self.leave(pointer);
        } else {
            target.conjoin(condition);
        }
    }

    /// Leaves a keyword to the check of the finished text.
    fn leave(&mut self, pointer: &str) {
        self.unenforced.insert(pointer.to_owned());
    }
}

/// The number of alternatives that a schema multiplies out to.
fn width(schema: &Value) -> usize {
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let all = list("allOf").into_iter().flatten().map(width).fold(1, usize::saturating_mul);
    let any = list("anyOf").map_or(1, |any| any.iter().map(width).fold(0, usize::saturating_add).max(1));
    all.saturating_mul(any)
}

fn fault(pointer: &str, what: &str) -> String {
    format!("{}: {what}", if pointer.is_empty() { "the schema" } else { pointer })
}

fn types(object: &Map<String, Value>, pointer: &str) -> Result<Types, String> {
    let named = |name: &Value| {
        let types = name.as_str().and_then(Types::named);
        types.ok_or_else(|| fault(&join(pointer, "type"), &format!("{name} is no type of JSON")))
    };
    match object.get("type") {
        None => Ok(Types::ALL),
        Some(Value::Array(names)) => names.iter().try_fold(Types::NONE, |types, name| Ok(types.or(named(name)?))),
        Some(name) => named(name),
    }
}

fn names(argument: &Value, pointer: &str) -> Result<Value, String> {
    match argument {
        Value::Array(names) if names.iter().all(Value::is_string) => Ok(argument.clone()),
        // Draft 3: whether the property itself is required, which its parent says from draft 4 on.
        Value::Bool(_) => Ok(json!([])),
        _ => Err(fault(pointer, "must be an array of strings")),
    }
}

fn number(argument: &Value, pointer: &str) -> Result<Value, String> {
    if argument.is_number() { Ok(argument.clone()) } else { Err(fault(pointer, "must be a number")) }
}

/// A count, which may be written as 2.0.
fn count(argument: &Value, pointer: &str) -> Result<u64, String> {
    let whole = argument.as_f64().filter(|x| x.fract() == 0.0 && (0.0..1e15).contains(x));
    whole.map(|x| x as u64).ok_or_else(|| fault(pointer, "must be a whole number from 0 on"))
}

fn format(target: &mut Target<'_>, argument: &Value) {
    let pattern = match argument.as_str() {
        Some("date") => DATE.to_owned(),
        Some("time") => TIME.to_owned(),
        Some("date-time") => format!("{DATE}[tT]{TIME}"),
        Some(known) if KNOWN_FORMATS.contains(&known) => {
            target.out.insert("format".into(), known.into());
            return;
        }
        _ => return,
    };
    let pattern = format!("^{pattern}$");
    match target.original.contains_key("pattern") {
        false => _ = target.out.insert("pattern".into(), pattern.into()),
        true => target.conjoin(json!({ "pattern": pattern })),
    }
}
