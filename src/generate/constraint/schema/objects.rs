//! Keywords of objects that llguidance has not: dependencies, names and numbers of properties, overlapping patterns of names.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::keywords::Types;
use super::negation::any_of;
use super::references::join;
use super::{Lowering, Target, count, fault, patterns};

/// The maximum number of alternatives that dependencies, or counts of properties, are spelled out to.
const MAX_CHOICES: usize = 64;

/// Properties that are there, and properties that are not.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Presence {
    required: BTreeSet<String>,
    absent: BTreeSet<String>,
}

impl Presence {
    fn schema(&self) -> Value {
        let absent: Map<String, Value> = self.absent.iter().map(|name| (name.clone(), Value::Bool(false))).collect();
        json!({"type": "object", "properties": absent, "required": self.required})
    }
}

impl<'a> Lowering<'a> {
    /// `dependentRequired`, `dependentSchemas` and `dependencies`, which has both.
    pub fn dependencies(&mut self, target: &mut Target<'a>, argument: &'a Value, pointer: &str) -> Result<(), String> {
        let dependencies = argument.as_object().ok_or_else(|| fault(pointer, "must be an object"))?;
        if !target.types.meets(Types::OBJECT) {
            return Ok(());
        }
        let facts = self.facts(&[], Some(target.original));
        let start = Presence {
            required: facts.required.iter().map(|&name| name.to_owned()).collect(),
            absent: dependencies.keys().filter(|name| facts.forbids(name)).cloned().collect(),
        };
        let others = target.types.without(Types::OBJECT).names();
        let others = (!others.is_empty()).then(|| json!({ "type": others }));
        let mut presences = vec![start.clone()];
        for (name, dependency) in dependencies {
            let pointer = join(pointer, name);
            let needed = match dependency {
                Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                Value::String(name) => vec![name.as_str()],
                schema => {
                    let absent = json!({"type": "object", "properties": {name: false}});
                    let present =
                        json!({"allOf": [{"type": "object", "required": [name]}, self.schema(schema, &pointer)?]});
                    let mut alternatives = Vec::new();
                    if !start.required.contains(name) {
                        alternatives.push(absent);
                    }
                    if !start.absent.contains(name) {
                        alternatives.push(present);
                    }
                    alternatives.extend(others.clone());
                    self.add_condition(target, any_of(alternatives), &pointer);
                    continue;
                }
            };
            let mut next = BTreeSet::new();
            for presence in &presences {
                if !presence.required.contains(name) {
                    let mut without = presence.clone();
                    without.absent.insert(name.clone());
                    next.insert(without);
                }
                let mut with = presence.clone();
                with.required.insert(name.clone());
                with.required.extend(needed.iter().map(|&name| name.to_owned()));
                if with.required.is_disjoint(&with.absent) && !needed.iter().any(|name| facts.forbids(name)) {
                    next.insert(with);
                }
            }
            if next.len() > MAX_CHOICES {
                self.leave(&pointer);
            } else {
                presences = next.into_iter().collect();
            }
        }
        if presences != [start] {
            let alternatives = presences.iter().map(Presence::schema).chain(others);
            self.add_condition(target, any_of(alternatives.collect()), pointer);
        }
        Ok(())
    }

    /// `minProperties` and `maxProperties`, both at the first of them. llguidance counts only where all described properties are
    /// required.
    pub fn property_count(
        &mut self,
        target: &mut Target<'a>,
        keyword: &str,
        argument: &Value,
        pointer: &str,
    ) -> Result<(), String> {
        count(argument, pointer)?;
        let bound = |key: &str| target.original.get(key).and_then(Value::as_f64).map(|bound| bound as usize);
        let (least, most) = (bound("minProperties").unwrap_or(0), bound("maxProperties"));
        if !target.types.meets(Types::OBJECT) || keyword == "maxProperties" && least > 0 {
            return Ok(());
        }
        let facts = self.facts(&[], Some(target.original));
        let required = facts.required.len();
        let optional: Vec<&str> =
            facts.names().into_iter().filter(|name| !facts.required.contains(name) && !facts.forbids(name)).collect();
        let closed = facts.parts.iter().any(|part| {
            part.get("additionalProperties") == Some(&Value::Bool(false)) && !part.contains_key("patternProperties")
        });
        let needless = |most: usize| closed && required + optional.len() <= most;
        let most = most.filter(|most| !needless(*most));
        if least <= required && most.is_none() {
            return Ok(());
        }
        // A name may come twice among the additional ones, and then counts once.
        let counts_twice = !closed && least > required + 1;
        let choices =
            choices(&optional, least.saturating_sub(required), most.map(|n| n.saturating_sub(required)), closed);
        let grouped = ["anyOf", "oneOf", "if", "dependentRequired", "dependentSchemas", "dependencies"];
        if self.left.property_counts
            || grouped.iter().any(|key| target.original.contains_key(*key)) && !optional.is_empty()
        {
            self.leave(pointer);
            return Ok(());
        }
        let Some(choices) = choices else {
            self.leave(pointer);
            return Ok(());
        };
        if counts_twice {
            self.leave(pointer);
        }
        let others = target.types.without(Types::OBJECT).names();
        let others = (!others.is_empty()).then(|| json!({ "type": others }));
        let schema = |choice: Choice<'_>| {
            let absent: Map<String, Value> = choice.absent.iter().map(|&name| (name.into(), json!(false))).collect();
            let mut schema = json!({"type": "object", "properties": absent, "required": choice.required});
            if choice.counted {
                if least > required {
                    schema["minProperties"] = least.into();
                }
                if let Some(most) = most {
                    schema["maxProperties"] = most.into();
                }
            }
            schema
        };
        let alternatives = choices.into_iter().map(schema).chain(others).collect();
        self.add_condition(target, any_of(alternatives), pointer);
        Ok(())
    }

    /// `propertyNames` as `properties` and `patternProperties`.
    pub fn property_names(
        &mut self,
        target: &mut Target<'a>,
        argument: &'a Value,
        pointer: &str,
    ) -> Result<(), String> {
        if !target.types.meets(Types::OBJECT) || argument == &Value::Bool(true) {
            return Ok(());
        }
        let facts = self.facts(&[argument], None);
        let original = target.original;
        // Described names that are not allowed.
        let properties = original.get("properties").and_then(Value::as_object);
        for name in properties.into_iter().flat_map(Map::keys) {
            if !self.check.admits(argument, &Value::String(name.clone())) {
                target.conjoin(json!({"properties": {name: false}}));
            }
        }
        let closed = original.get("additionalProperties") == Some(&Value::Bool(false));
        let has_patterns = original.contains_key("patternProperties");
        if closed && !has_patterns {
            return Ok(());
        }
        let others = match original.get("additionalProperties") {
            Some(schema) => self.schema(schema, &join(&target.pointer, "additionalProperties"))?,
            None => Value::Bool(true),
        };
        let lists = facts.parts.iter().filter_map(|part| part.get("enum")?.as_array()).flatten();
        let values: Vec<&Value> = lists.chain(facts.parts.iter().filter_map(|part| part.get("const"))).collect();
        let patterns: Vec<String> = facts.parts.iter().flat_map(|part| name_patterns(part)).collect();
        let beyond = ["anyOf", "oneOf", "not", "if"];
        let told =
            !facts.parts.iter().any(|part| beyond.iter().any(|key| part.contains_key(*key))) || !values.is_empty();
        if has_patterns || !told {
            self.leave(pointer);
        } else if !facts.types.meets(Types::STRING) || argument == &Value::Bool(false) {
            target.out.insert("additionalProperties".into(), Value::Bool(false));
            target.conjoin(json!({"maxProperties": 0}));
        } else if !values.is_empty() {
            let named =
                |value: &&Value| properties.is_some_and(|p| value.as_str().is_some_and(|name| p.contains_key(name)));
            let mut allowed: Vec<&Value> = values.into_iter().filter(|value| !named(value)).collect();
            allowed.retain(|value| self.check.admits(argument, value));
            let own = allowed.iter().filter_map(|value| value.as_str()).map(|name| (name.to_owned(), others.clone()));
            let own: Map<String, Value> = own.collect();
            match target.out.entry("properties").or_insert_with(|| json!({})) {
                Value::Object(properties) => properties.extend(own),
                other => *other = Value::Object(own),
            }
            target.out.insert("additionalProperties".into(), Value::Bool(false));
        } else {
            match patterns.as_slice() {
                [] => {}
                [pattern] if patterns::fault(pattern).is_none() => {
                    let pattern = patterns::without_nul(pattern);
                    target.out.insert("patternProperties".into(), json!({ pattern: others }));
                    target.out.insert("additionalProperties".into(), Value::Bool(false));
                }
                _ => self.leave(pointer),
            }
        }
        Ok(())
    }

    /// llguidance takes patterns of names only if no name matches two. Those that overlap become one, under which both schemas hold:
    /// what it allows is allowed by all of them.
    pub fn pattern_properties(&mut self, target: &mut Target<'a>) {
        let Some(Value::Object(named)) = target.out.get_mut("patternProperties") else { return };
        let mut apart: Vec<(String, Value)> = Vec::new();
        for (mut pattern, mut schema) in std::mem::take(named) {
            while let Some(at) = apart.iter().position(|(other, _)| !patterns::disjoint(other, &pattern)) {
                let (other, also) = apart.swap_remove(at);
                pattern = format!("(?:{other})|(?:{pattern})");
                schema = match (also, schema) {
                    (also, schema) if also == schema => schema,
                    (Value::Bool(true), schema) | (schema, Value::Bool(true)) => schema,
                    (also, schema) => json!({"allOf": [also, schema]}),
                };
            }
            apart.push((pattern, schema));
        }
        named.extend(apart);
    }
}

/// Properties that are required, properties that are absent, and whether the others are to be counted.
struct Choice<'n> {
    required: Vec<&'n str>,
    absent: Vec<&'n str>,
    counted: bool,
}

/// The ways to choose from optional properties so that there are `least` to `most` of them and others together.
fn choices<'n>(optional: &[&'n str], least: usize, most: Option<usize>, closed: bool) -> Option<Vec<Choice<'n>>> {
    let count = optional.len();
    let largest = most.unwrap_or(least).min(count);
    let mut choices = Vec::new();
    for size in 0..=largest {
        if closed && size < least {
            continue;
        }
        for chosen in subsets(count, size)? {
            let others = || (0..count).filter(|i| !chosen.contains(i)).map(|i| optional[i]).collect();
            let required = chosen.iter().map(|&i| optional[i]).collect();
            // As many as are needed, and no limit: the others may be there or not.
            let free = most.is_none() && size == least;
            choices.push(Choice {
                required,
                absent: if free { Vec::new() } else { others() },
                counted: !closed && !free,
            });
            if choices.len() > MAX_CHOICES {
                return None;
            }
        }
    }
    Some(choices)
}

/// All subsets of one size, if they are few.
fn subsets(count: usize, size: usize) -> Option<Vec<Vec<usize>>> {
    let mut subsets = vec![Vec::new()];
    for _ in 0..size {
        subsets = subsets
            .iter()
            .flat_map(|subset: &Vec<usize>| {
                let from = subset.last().map_or(0, |last| last + 1);
                (from..count).map(|i| [&subset[..], &[i]].concat()).collect::<Vec<_>>()
            })
            .collect();
        if subsets.len() > 16 * MAX_CHOICES {
            return None;
        }
    }
    Some(subsets)
}

/// The patterns that the names of properties match by a schema for names.
fn name_patterns(part: &Map<String, Value>) -> Vec<String> {
    let bound = |key: &str| part.get(key).and_then(Value::as_u64);
    let mut patterns: Vec<String> =
        part.get("pattern").and_then(Value::as_str).map(str::to_owned).into_iter().collect();
    let (least, most) = (bound("minLength").unwrap_or(0), bound("maxLength"));
    if least > 0 || most.is_some() {
        let most = most.map_or_else(String::new, |most| most.to_string());
        patterns.push(format!("^(?s:.{{{least},{most}}})$"));
    }
    patterns
}
