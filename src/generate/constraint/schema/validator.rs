//! Checks a value against a JSON schema (drafts 4 to 2020-12, `format` as an annotation): for what the grammar does not enforce, and to
//! sort out the values of an `enum` when a schema is compiled.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use super::keywords::Types;
use super::patterns::Patterns;
use super::references::Document;

/// The maximum number of subschemas that a check applies: exponential schemas end here.
const MAX_STEPS: usize = 2_000_000;
/// Nested subschemas without a step into the value: references that lead back to themselves end here.
const MAX_DEPTH: usize = 256;

/// A check with its limits and compiled patterns.
pub struct Check<'a> {
    document: &'a Document,
    patterns: Patterns,
    steps: usize,
    depth: usize,
}

impl<'a> Check<'a> {
    pub fn new(document: &'a Document) -> Self {
        Self { document, patterns: Patterns::default(), steps: 0, depth: 0 }
    }

    /// As [`Self::valid`], with a limit of its own.
    pub fn admits(&mut self, schema: &Value, value: &Value) -> bool {
        self.steps = 0;
        self.valid(schema, value)
    }

    /// Whether the value satisfies a schema of the document. Beyond the limits, and where a keyword cannot be applied, it does not.
    pub fn valid(&mut self, schema: &Value, value: &Value) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.depth > MAX_DEPTH {
            return false;
        }
        self.depth += 1;
        let valid = match schema {
            Value::Bool(valid) => *valid,
            Value::Object(schema) => self.object(schema, value),
            _ => false,
        };
        self.depth -= 1;
        valid
    }

    fn object(&mut self, schema: &Map<String, Value>, value: &Value) -> bool {
        let document = self.document;
        if let Some((reference, siblings)) = document.reference_of(schema) {
            let Some((_, target)) = document.resolve(reference) else { return false };
            if !self.valid(target, value) {
                return false;
            }
            if !siblings {
                return true;
            }
        }
        schema.iter().all(|(keyword, argument)| self.keyword(schema, keyword, argument, value))
    }

    fn keyword(&mut self, schema: &Map<String, Value>, keyword: &str, argument: &Value, value: &Value) -> bool {
        let list = || argument.as_array().map_or(&[][..], Vec::as_slice);
        match keyword {
            "type" => is_type(argument, value),
            "enum" => list().iter().any(|one| equal(one, value)),
            "const" => equal(argument, value),
            "allOf" => list().iter().all(|schema| self.valid(schema, value)),
            "anyOf" => list().iter().any(|schema| self.valid(schema, value)),
            "oneOf" => list().iter().filter(|schema| self.valid(schema, value)).count() == 1,
            "not" => !self.valid(argument, value),
            "if" => {
                let branch = if self.valid(argument, value) { "then" } else { "else" };
                schema.get(branch).is_none_or(|schema| self.valid(schema, value))
            }
            _ => match value {
                Value::Object(object) => self.of_object(schema, keyword, argument, object, value),
                Value::Array(items) => self.of_array(schema, keyword, argument, items, value),
                Value::String(text) => self.of_string(keyword, argument, text),
                Value::Number(number) => of_number(schema, keyword, argument, number),
                _ => true,
            },
        }
    }

    fn of_object(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        argument: &Value,
        object: &Map<String, Value>,
        value: &Value,
    ) -> bool {
        let named = || argument.as_object().into_iter().flatten();
        let all = |names: &Value| {
            let mut names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
            names.all(|name| object.contains_key(name))
        };
        match keyword {
            "properties" => {
                named().all(|(name, schema)| object.get(name).is_none_or(|inner| self.valid(schema, inner)))
            }
            "patternProperties" => named().all(|(pattern, schema)| {
                object.iter().all(|(name, inner)| match self.patterns.is_match(pattern, name) {
                    Some(matches) => !matches || self.valid(schema, inner),
                    None => false,
                })
            }),
            "additionalProperties" => object
                .iter()
                .all(|(name, inner)| self.is_named(schema, name).is_some_and(|is| is || self.valid(argument, inner))),
            "propertyNames" => object.keys().all(|name| self.valid(argument, &Value::String(name.clone()))),
            "required" => all(argument),
            "minProperties" => at_least(object.len(), argument),
            "maxProperties" => at_most(object.len(), argument),
            "dependentRequired" => named().all(|(name, names)| !object.contains_key(name) || all(names)),
            "dependentSchemas" => named().all(|(name, schema)| !object.contains_key(name) || self.valid(schema, value)),
            "dependencies" => named().all(|(name, dependency)| {
                !object.contains_key(name)
                    || match dependency {
                        Value::Array(_) => all(dependency),
                        // Draft 3 had a single name.
                        Value::String(name) => object.contains_key(name),
                        schema => self.valid(schema, value),
                    }
            }),
            "unevaluatedProperties" => {
                let mut evaluated = BTreeSet::new();
                self.evaluated(schema, value, &mut evaluated);
                let others = object.iter().filter(|(name, _)| !evaluated.contains(&Place::Name(name)));
                others.fold(true, |valid, (_, inner)| valid && self.valid(argument, inner))
            }
            _ => true,
        }
    }

    /// Whether `properties` or `patternProperties` describe a name; None if a pattern cannot be used.
    fn is_named(&mut self, schema: &Map<String, Value>, name: &str) -> Option<bool> {
        if schema.get("properties").is_some_and(|properties| properties.get(name).is_some()) {
            return Some(true);
        }
        let mut named = false;
        for pattern in schema.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            named |= self.patterns.is_match(pattern, name)?;
        }
        Some(named)
    }

    fn of_array(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        argument: &Value,
        items: &[Value],
        value: &Value,
    ) -> bool {
        let tuple = |argument: &Value| argument.as_array().map(Vec::len);
        match keyword {
            "items" | "prefixItems" if argument.is_array() => {
                let schemas = argument.as_array().map_or(&[][..], Vec::as_slice);
                items.iter().zip(schemas).all(|(item, schema)| self.valid(schema, item))
            }
            "items" => {
                let first = schema.get("prefixItems").and_then(tuple).unwrap_or(0);
                items.iter().skip(first).all(|item| self.valid(argument, item))
            }
            // Only beside a list of items.
            "additionalItems" => match schema.get("items").and_then(tuple) {
                Some(first) => items.iter().skip(first).all(|item| self.valid(argument, item)),
                None => true,
            },
            "minItems" => at_least(items.len(), argument),
            "maxItems" => at_most(items.len(), argument),
            "uniqueItems" => {
                let unique = |i: usize| !items[..i].iter().any(|before| equal(before, &items[i]));
                argument != &Value::Bool(true) || (0..items.len()).all(unique)
            }
            "contains" => {
                let count = items.iter().filter(|item| self.valid(argument, item)).count();
                let least = schema.get("minContains").and_then(Value::as_f64).unwrap_or(1.0);
                let most = schema.get("maxContains").and_then(Value::as_f64).unwrap_or(f64::INFINITY);
                (least..=most).contains(&(count as f64))
            }
            "unevaluatedItems" => {
                let mut evaluated = BTreeSet::new();
                self.evaluated(schema, value, &mut evaluated);
                let others = items.iter().enumerate().filter(|(i, _)| !evaluated.contains(&Place::Item(*i)));
                others.fold(true, |valid, (_, item)| valid && self.valid(argument, item))
            }
            _ => true,
        }
    }

    fn of_string(&mut self, keyword: &str, argument: &Value, text: &str) -> bool {
        match keyword {
            "minLength" => at_least(text.chars().count(), argument),
            "maxLength" => at_most(text.chars().count(), argument),
            "pattern" => argument.as_str().is_some_and(|pattern| self.patterns.is_match(pattern, text) == Some(true)),
            _ => true,
        }
    }

    /// The properties and items of a value that a schema and what it applies in place describe.
    fn evaluated<'v>(&mut self, schema: &Map<String, Value>, value: &'v Value, places: &mut BTreeSet<Place<'v>>) {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            for (keyword, argument) in schema {
                self.evaluated_by(schema, keyword, argument, value, places);
            }
        }
        self.depth -= 1;
    }

    fn evaluated_by<'v>(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        argument: &Value,
        value: &'v Value,
        places: &mut BTreeSet<Place<'v>>,
    ) {
        match (keyword, value) {
            ("properties" | "patternProperties" | "additionalProperties", Value::Object(object)) => {
                let open = keyword == "additionalProperties";
                let names = object.keys().filter(|name| open || self.is_named(schema, name) == Some(true));
                places.extend(names.map(Place::Name));
            }
            ("items" | "prefixItems", Value::Array(items)) => {
                let count = argument.as_array().map_or(items.len(), Vec::len).min(items.len());
                places.extend((0..count).map(Place::Item));
            }
            ("additionalItems", Value::Array(items)) => places.extend((0..items.len()).map(Place::Item)),
            ("contains", Value::Array(items)) => {
                let found: Vec<_> = (0..items.len()).filter(|&i| self.valid(argument, &items[i])).collect();
                places.extend(found.into_iter().map(Place::Item));
            }
            ("allOf" | "anyOf" | "oneOf", _) => {
                for schema in argument.as_array().into_iter().flatten() {
                    self.evaluated_if_valid(schema, value, places);
                }
            }
            ("if", _) => {
                self.evaluated_if_valid(argument, value, places);
                let branch = if self.valid(argument, value) { "then" } else { "else" };
                schema.get(branch).into_iter().for_each(|schema| self.evaluated_if_valid(schema, value, places));
            }
            ("dependentSchemas", Value::Object(object)) => {
                for (name, schema) in argument.as_object().into_iter().flatten() {
                    if object.contains_key(name) {
                        self.evaluated_if_valid(schema, value, places);
                    }
                }
            }
            ("$ref" | "$dynamicRef" | "$recursiveRef", _) => {
                let document = self.document;
                let target = argument.as_str().and_then(|name| document.resolve(name));
                target.into_iter().for_each(|(_, schema)| self.evaluated_if_valid(schema, value, places));
            }
            _ => {}
        }
    }

    fn evaluated_if_valid<'v>(&mut self, schema: &Value, value: &'v Value, places: &mut BTreeSet<Place<'v>>) {
        if let Some(object) = schema.as_object()
            && self.valid(schema, value)
        {
            self.evaluated(object, value, places);
            if object.contains_key("unevaluatedProperties") {
                places.extend(value.as_object().into_iter().flat_map(Map::keys).map(Place::Name));
            }
            if object.contains_key("unevaluatedItems") {
                places.extend((0..value.as_array().map_or(0, Vec::len)).map(Place::Item));
            }
        }
    }
}

/// A property or an item.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<'v> {
    Name(&'v String),
    Item(usize),
}

fn is_type(argument: &Value, value: &Value) -> bool {
    let is = |name: &Value| name.as_str().and_then(Types::named).is_some_and(|types| types.meets(Types::of(value)));
    match argument {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

fn at_least(count: usize, argument: &Value) -> bool {
    argument.as_f64().is_none_or(|least| count as f64 >= least)
}

fn at_most(count: usize, argument: &Value) -> bool {
    argument.as_f64().is_none_or(|most| count as f64 <= most)
}

fn of_number(schema: &Map<String, Value>, keyword: &str, argument: &Value, number: &Number) -> bool {
    // In draft 4, `exclusiveMinimum: true` sharpens `minimum`.
    let sharp = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    let (Some(x), Some(bound)) = (number.as_f64(), argument.as_f64()) else { return true };
    match keyword {
        "minimum" => {
            if sharp("exclusiveMinimum") {
                x > bound
            } else {
                x >= bound
            }
        }
        "maximum" => {
            if sharp("exclusiveMaximum") {
                x < bound
            } else {
                x <= bound
            }
        }
        "exclusiveMinimum" => x > bound,
        "exclusiveMaximum" => x < bound,
        "multipleOf" => match (number.as_i64(), argument.as_i64()) {
            (Some(x), Some(divisor)) if divisor != 0 => x % divisor == 0,
            _ => {
                let quotient = x / bound;
                (quotient - quotient.round()).abs() <= 1e-9 * quotient.abs().max(1.0)
            }
        },
        _ => true,
    }
}

/// Whether two values are equal: numbers by their value, objects in any order.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_u64(), b.as_u64()) {
            (Some(a), Some(b), ..) => a == b,
            (.., Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}
