//! What does not satisfy a schema, said by keywords that a grammar can enforce.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::facts::Facts;
use super::keywords::Types;
use super::references::join;
use super::{Lowering, patterns};

/// Nested `not`, `properties` and references are negated this far.
const MAX_DEPTH: usize = 8;
/// The maximum number of alternatives in a negation.
const MAX_BRANCHES: usize = 64;
/// The maximum number of values that a negated `enum` has.
const MAX_VALUES: usize = 256;

/// A value of these types that satisfies the (already lowered) schema does not satisfy what is negated.
pub struct Branch {
    pub types: Types,
    pub schema: Value,
}

/// Alternatives: what satisfies one of them does not satisfy the negated schema.
pub struct Negation {
    pub branches: Vec<Branch>,
    /// Whether these are all values that do not satisfy it.
    pub exact: bool,
}

impl Negation {
    fn one(types: Types, schema: Value) -> Self {
        Self { branches: vec![Branch { types, schema }], exact: true }
    }

    fn nothing(exact: bool) -> Self {
        Self { branches: Vec::new(), exact }
    }

    fn or(&mut self, other: Self) {
        self.branches.extend(other.branches);
        self.exact &= other.exact;
        if self.branches.len() > MAX_BRANCHES {
            self.branches.truncate(MAX_BRANCHES);
            self.exact = false;
        }
    }

    /// The alternatives that are not excluded at once by what else is known of the value.
    pub fn within(mut self, facts: &Facts<'_>) -> Self {
        self.branches.retain(|branch| {
            let properties = branch.schema.get("properties").and_then(Value::as_object);
            let absent =
                |name: &String, schema: &Value| schema == &json!(false) && facts.required.contains(name.as_str());
            let required = branch.schema.get("required").and_then(Value::as_array);
            branch.types.meets(facts.types)
                && !properties.into_iter().flatten().any(|(name, schema)| absent(name, schema))
                && !required.into_iter().flatten().filter_map(Value::as_str).any(|name| facts.forbids(name))
        });
        self
    }

    pub fn schema(self) -> Value {
        any_of(self.branches.into_iter().map(|branch| branch.schema).collect())
    }
}

/// One of these schemas.
pub fn any_of(mut schemas: Vec<Value>) -> Value {
    match schemas.len() {
        0 => Value::Bool(false),
        1 => schemas.swap_remove(0),
        _ => json!({ "anyOf": schemas }),
    }
}

impl<'a> Lowering<'a> {
    /// `others` are names of properties that a value may have beside those of a closed object.
    pub fn negation(
        &mut self,
        schema: &'a Value,
        pointer: &str,
        others: &BTreeSet<&'a str>,
        depth: usize,
    ) -> Result<Negation, String> {
        let object = match schema {
            Value::Bool(true) => return Ok(Negation::nothing(true)),
            Value::Bool(false) => return Ok(Negation::one(Types::ALL, Value::Bool(true))),
            Value::Object(object) if depth < MAX_DEPTH => object,
            _ => return Ok(Negation::nothing(false)),
        };
        let mut negation = Negation::nothing(true);
        if let Some((reference, siblings)) = self.document.reference_of(object) {
            match self.document.resolve(reference) {
                Some((pointer, target)) => negation.or(self.negation(target, &pointer, others, depth + 1)?),
                None => negation.exact = false,
            }
            if !siblings {
                return Ok(negation);
            }
        }
        for (keyword, argument) in object {
            let pointer = join(pointer, keyword);
            negation.or(self.negated(object, keyword, argument, &pointer, others, depth)?);
        }
        Ok(negation)
    }

    fn negated(
        &mut self,
        object: &'a Map<String, Value>,
        keyword: &str,
        argument: &'a Value,
        pointer: &str,
        others: &BTreeSet<&'a str>,
        depth: usize,
    ) -> Result<Negation, String> {
        let list = argument.as_array().map_or(&[][..], Vec::as_slice);
        let count = argument.as_u64();
        let bounded = |types: Types, name: &str, key: &str, bound: Option<u64>| match bound {
            Some(bound) => Negation::one(types, json!({"type": name, key: bound})),
            None => Negation::nothing(true),
        };
        Ok(match keyword {
            "type" => negated_types(argument),
            "const" => negated_values(&[argument]),
            "enum" => negated_values(&list.iter().collect::<Vec<_>>()),
            "required" => {
                let absent = |name: &Value| {
                    let name = name.as_str().unwrap_or_default();
                    Branch { types: Types::OBJECT, schema: json!({"type": "object", "properties": {name: false}}) }
                };
                Negation { branches: list.iter().map(absent).collect(), exact: true }
            }
            "properties" => {
                let mut negation = Negation::nothing(true);
                for (name, schema) in argument.as_object().into_iter().flatten() {
                    let inner = self.negation(schema, &join(pointer, name), &BTreeSet::new(), depth + 1)?;
                    let exact = inner.exact;
                    let mut outer = Negation::nothing(exact);
                    if !inner.branches.is_empty() {
                        let schema =
                            json!({"type": "object", "properties": {name: inner.schema()}, "required": [name]});
                        outer.branches.push(Branch { types: Types::OBJECT, schema });
                    }
                    negation.or(outer);
                }
                negation
            }
            "additionalProperties" if argument == &Value::Bool(false) => {
                let own = object.get("properties");
                let patterns = object.contains_key("patternProperties");
                let others = others.iter().filter(|name| !patterns && own.is_none_or(|own| own.get(name).is_none()));
                let schema = |name: &&str| json!({"type": "object", "required": [name]});
                let branches = others.map(|name| Branch { types: Types::OBJECT, schema: schema(name) });
                Negation { branches: branches.collect(), exact: false }
            }
            "additionalProperties" | "items" | "additionalItems" => Negation::nothing(argument == &Value::Bool(true)),
            "minLength" => bounded(Types::STRING, "string", "maxLength", count.and_then(|n| n.checked_sub(1))),
            "maxLength" => bounded(Types::STRING, "string", "minLength", count.map(|n| n + 1)),
            "minItems" => bounded(Types::ARRAY, "array", "maxItems", count.and_then(|n| n.checked_sub(1))),
            "maxItems" => bounded(Types::ARRAY, "array", "minItems", count.map(|n| n + 1)),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => negated_bound(object, keyword, argument),
            "pattern" => match argument.as_str().and_then(patterns::complement) {
                Some(pattern) => Negation::one(Types::STRING, json!({"type": "string", "pattern": pattern})),
                None => Negation::nothing(false),
            },
            "allOf" => {
                let mut negation = Negation::nothing(true);
                for (i, schema) in list.iter().enumerate() {
                    negation.or(self.negation(schema, &join(pointer, &i.to_string()), others, depth + 1)?);
                }
                negation
            }
            "anyOf" | "oneOf" => {
                // None of them. Of several that overlap in a oneOf two at once would do as well.
                let (mut all, mut types, mut exact) = (Vec::new(), Types::ALL, keyword == "anyOf" || list.len() == 1);
                for (i, schema) in list.iter().enumerate() {
                    let negation = self.negation(schema, &join(pointer, &i.to_string()), others, depth + 1)?;
                    exact &= negation.exact;
                    types = types.and(negation.branches.iter().map(|b| b.types).fold(Types::NONE, Types::or));
                    all.push(negation.schema());
                }
                exact |= keyword == "oneOf" && self.all_disjoint(list, None);
                match types.is_empty() {
                    true => Negation::nothing(exact),
                    false => Negation { branches: vec![Branch { types, schema: json!({ "allOf": all }) }], exact },
                }
            }
            "not" => {
                let types = self.facts(&[argument], None).types;
                let before = self.unenforced.len();
                let schema = self.schema(argument, pointer)?;
                Negation { branches: vec![Branch { types, schema }], exact: self.unenforced.len() == before }
            }
            "if"
            | "patternProperties"
            | "propertyNames"
            | "minProperties"
            | "maxProperties"
            | "multipleOf"
            | "contains"
            | "dependentRequired"
            | "dependentSchemas"
            | "dependencies"
            | "prefixItems"
            | "unevaluatedProperties"
            | "unevaluatedItems" => Negation::nothing(false),
            "uniqueItems" => Negation::nothing(argument == &Value::Bool(false)),
            // Annotations, and what belongs to another keyword.
            _ => Negation::nothing(true),
        })
    }
}

fn negated_types(argument: &Value) -> Negation {
    let names = match argument {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => Vec::from_iter(name.as_str()),
    };
    let types = names.into_iter().filter_map(Types::named).fold(Types::NONE, Types::or);
    let others = Types::ALL.without(types);
    // The numbers that are not integers cannot be said.
    let exact = !types.has(Types::INTEGER) || types.has(Types::NUMBER);
    typed(others, exact)
}

/// Any value of some types.
fn typed(types: Types, exact: bool) -> Negation {
    match types.names() {
        names if names.is_empty() => Negation::nothing(exact),
        names => {
            let types = names.iter().filter_map(|name| Types::named(name)).fold(Types::NONE, Types::or);
            Negation { branches: vec![Branch { types, schema: json!({ "type": names }) }], exact }
        }
    }
}

fn negated_values(values: &[&Value]) -> Negation {
    if values.len() > MAX_VALUES {
        return Negation::nothing(false);
    }
    let types = values.iter().map(|value| Types::of(value)).fold(Types::NONE, Types::or);
    // Types with a value among these are looked at one by one.
    let touched = if types.meets(Types::NUMBER) { types.or(Types::NUMBER) } else { types };
    let mut negation = typed(Types::ALL.without(touched), true);
    let strings: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
    if !strings.is_empty() {
        let pattern = patterns::not_in(&strings);
        negation.or(Negation::one(Types::STRING, json!({"type": "string", "pattern": pattern})));
    }
    if types.meets(Types::BOOLEAN) {
        for other in [false, true].into_iter().filter(|other| !values.contains(&&Value::Bool(*other))) {
            negation.or(Negation::one(Types::BOOLEAN, json!({"enum": [other]})));
        }
    }
    let mut numbers: Vec<f64> = values.iter().filter_map(|value| value.as_f64()).collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.dedup();
    if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
        negation.or(Negation::one(Types::NUMBER, json!({"type": "number", "exclusiveMaximum": first})));
        for pair in numbers.windows(2) {
            let between = json!({"type": "number", "exclusiveMinimum": pair[0], "exclusiveMaximum": pair[1]});
            negation.or(Negation::one(Types::NUMBER, between));
        }
        negation.or(Negation::one(Types::NUMBER, json!({"type": "number", "exclusiveMinimum": last})));
    }
    for (one, empty, schema) in [
        (Types::ARRAY, json!([]), json!({"type": "array", "minItems": 1})),
        (Types::OBJECT, json!({}), json!({"type": "object", "minProperties": 1})),
    ] {
        let mut of_type = values.iter().filter(|value| Types::of(value) == one);
        if types.meets(one) && of_type.all(|value| **value == empty) {
            negation.or(Negation::one(one, schema));
        } else if types.meets(one) {
            negation.exact = false;
        }
    }
    negation
}

fn negated_bound(object: &Map<String, Value>, keyword: &str, argument: &Value) -> Negation {
    let sharp = |name: &str| object.get(name).is_some_and(Value::is_boolean);
    let opposite = match keyword {
        "minimum" if !sharp("exclusiveMinimum") => "exclusiveMaximum",
        "maximum" if !sharp("exclusiveMaximum") => "exclusiveMinimum",
        "exclusiveMinimum" if argument.is_number() => "maximum",
        "exclusiveMaximum" if argument.is_number() => "minimum",
        _ => return Negation::nothing(false),
    };
    Negation::one(Types::NUMBER, json!({"type": "number", opposite: argument}))
}
