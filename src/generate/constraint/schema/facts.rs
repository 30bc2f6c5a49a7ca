//! What is known of the values of a schema, enough to prove that no value satisfies two of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Lowering;
use super::keywords::Types;
use super::patterns;

/// Nested references and groups of alternatives are followed this far.
const MAX_DEPTH: usize = 24;
/// The maximum number of pairs of schemas that are compared for one document.
const MAX_COMPARISONS: usize = 20_000;

/// What schemas that hold at the same time say of a value.
#[derive(Clone)]
pub struct Facts<'a> {
    pub types: Types,
    /// The objects of keywords that all hold, through `allOf` and `$ref`.
    pub parts: Vec<&'a Map<String, Value>>,
    /// The finite values that remain, with the schemas that they are to satisfy.
    values: Option<Vec<&'a Value>>,
    schemas: Vec<&'a Value>,
    pub required: BTreeSet<&'a str>,
    /// Of each group, one holds: `anyOf` and `oneOf`.
    groups: Vec<&'a Vec<Value>>,
    /// No value at all.
    never: bool,
}

/// What a schema says of one property.
enum Property<'a> {
    Never,
    Any,
    Schemas(Vec<&'a Value>),
}

impl<'a> Facts<'a> {
    fn number(&self, key: &str) -> impl Iterator<Item = f64> {
        self.parts.iter().filter_map(move |part| part.get(key)?.as_f64())
    }

    fn least(&self, keys: &[&str]) -> f64 {
        keys.iter().flat_map(|key| self.number(key)).fold(f64::NEG_INFINITY, f64::max)
    }

    fn most(&self, keys: &[&str]) -> f64 {
        keys.iter().flat_map(|key| self.number(key)).fold(f64::INFINITY, f64::min)
    }

    fn property(&self, name: &str) -> Property<'a> {
        let mut schemas = Vec::new();
        for part in &self.parts {
            let own = part.get("properties").and_then(|properties| properties.get(name));
            let closed = part.get("additionalProperties") == Some(&Value::Bool(false))
                && !part.contains_key("patternProperties");
            match own {
                Some(Value::Bool(false)) => return Property::Never,
                None if closed => return Property::Never,
                own => schemas.extend(own),
            }
        }
        if schemas.is_empty() { Property::Any } else { Property::Schemas(schemas) }
    }

    pub fn forbids(&self, name: &str) -> bool {
        matches!(self.property(name), Property::Never)
    }

    /// The names of all properties that are described.
    pub fn names(&self) -> BTreeSet<&'a str> {
        let properties = self.parts.iter().filter_map(|part| part.get("properties")?.as_object());
        properties.flat_map(|properties| properties.keys().map(String::as_str)).collect()
    }

    fn first_item(&self) -> Vec<&'a Value> {
        let first = |part: &&'a Map<String, Value>| match (part.get("prefixItems"), part.get("items")) {
            (Some(Value::Array(items)), _) | (None, Some(Value::Array(items))) => items.first(),
            (None, items) => items,
            _ => None,
        };
        self.parts.iter().filter_map(first).collect()
    }
}

impl<'a> Lowering<'a> {
    /// The facts of schemas that all hold. `context` holds too; its own alternatives are left out, as they are what is looked at.
    pub fn facts(&self, schemas: &[&'a Value], context: Option<&'a Map<String, Value>>) -> Facts<'a> {
        let mut facts = Facts {
            types: Types::ALL,
            parts: Vec::new(),
            values: None,
            schemas: schemas.to_vec(),
            required: BTreeSet::new(),
            groups: Vec::new(),
            never: false,
        };
        if let Some(object) = context {
            self.gather_object(object, &mut facts, MAX_DEPTH / 2);
            facts.groups.clear();
            facts.values = None;
        }
        schemas.iter().for_each(|schema| self.gather(schema, &mut facts, 0));
        facts
    }

    fn gather(&self, schema: &'a Value, facts: &mut Facts<'a>, depth: usize) {
        match schema {
            Value::Bool(false) => facts.never = true,
            Value::Object(object) if depth < MAX_DEPTH => self.gather_object(object, facts, depth),
            _ => {}
        }
    }

    fn gather_object(&self, object: &'a Map<String, Value>, facts: &mut Facts<'a>, depth: usize) {
        if let Some((reference, siblings)) = self.document.reference_of(object) {
            if let Some((_, target)) = self.document.resolve(reference) {
                self.gather(target, facts, depth + 1);
            }
            if !siblings {
                return;
            }
        }
        facts.parts.push(object);
        let list = |key: &str| object.get(key).and_then(Value::as_array);
        match object.get("type") {
            Some(Value::String(name)) => facts.types = facts.types.and(Types::named(name).unwrap_or(Types::ALL)),
            Some(Value::Array(names)) => {
                let each = names.iter().filter_map(Value::as_str).filter_map(Types::named);
                facts.types = facts.types.and(each.fold(Types::NONE, Types::or));
            }
            _ => {}
        }
        let values: Option<Vec<_>> = match (object.get("const"), list("enum")) {
            (Some(value), _) => Some(vec![value]),
            (None, Some(values)) => Some(values.iter().collect()),
            (None, None) => None,
        };
        if let Some(values) = values {
            facts.types = facts.types.and(values.iter().map(|value| Types::of(value)).fold(Types::NONE, Types::or));
            facts.values = Some(values);
        }
        facts.required.extend(list("required").into_iter().flatten().filter_map(Value::as_str));
        facts.groups.extend(["anyOf", "oneOf"].into_iter().filter_map(list));
        list("allOf").into_iter().flatten().for_each(|schema| self.gather(schema, facts, depth + 1));
    }

    /// Whether no value has both facts: false if that cannot be proved.
    pub fn disjoint(&mut self, a: &Facts<'a>, b: &Facts<'a>, depth: usize) -> bool {
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            return false;
        }
        let types = a.types.and(b.types);
        if a.never || b.never || types.is_empty() {
            return true;
        }
        for (finite, other) in [(a, b), (b, a)] {
            if let Some(values) = &finite.values
                && values.iter().all(|value| !other.schemas.iter().all(|schema| self.check.admits(schema, value)))
            {
                return true;
            }
        }
        if types.each().all(|one| self.apart(one, a, b, depth)) {
            return true;
        }
        if depth >= MAX_DEPTH / 4 {
            return false;
        }
        for (grouped, other) in [(a, b), (b, a)] {
            for i in 0..grouped.groups.len() {
                let mut rest = grouped.clone();
                let group = rest.groups.swap_remove(i);
                let apart = group.iter().all(|alternative| {
                    let mut one = rest.clone();
                    one.schemas.push(alternative);
                    self.gather(alternative, &mut one, 0);
                    self.disjoint(&one, other, depth + 1)
                });
                if apart {
                    return true;
                }
            }
        }
        false
    }

    /// Whether no value of one type has both facts.
    fn apart(&mut self, one: Types, a: &Facts<'a>, b: &Facts<'a>, depth: usize) -> bool {
        let ranges = |least: &[&str], most: &[&str]| {
            a.most(most) < b.least(least) || b.most(most) < a.least(least) || a.most(most) < a.least(least)
        };
        if one == Types::OBJECT {
            let names: Vec<_> = a.required.union(&b.required).copied().collect();
            return ranges(&["minProperties"], &["maxProperties"])
                || names.into_iter().any(|name| match (a.property(name), b.property(name)) {
                    (Property::Never, _) | (_, Property::Never) => true,
                    (Property::Schemas(a), Property::Schemas(b)) if depth < MAX_DEPTH / 4 => {
                        let (a, b) = (self.facts(&a, None), self.facts(&b, None));
                        self.disjoint(&a, &b, depth + 1)
                    }
                    _ => false,
                });
        }
        if one == Types::ARRAY {
            let (first, second) = (a.first_item(), b.first_item());
            let nonempty = a.least(&["minItems"]).max(b.least(&["minItems"])) >= 1.0;
            return ranges(&["minItems"], &["maxItems"])
                || nonempty && !first.is_empty() && !second.is_empty() && depth < MAX_DEPTH / 4 && {
                    let (a, b) = (self.facts(&first, None), self.facts(&second, None));
                    self.disjoint(&a, &b, depth + 1)
                };
        }
        if one == Types::STRING {
            let patterns = |facts: &Facts<'a>| -> Vec<&'a str> {
                facts.parts.iter().filter_map(|part| part.get("pattern")?.as_str()).collect()
            };
            let (first, second) = (patterns(a), patterns(b));
            return ranges(&["minLength"], &["maxLength"])
                || first.iter().any(|a| second.iter().any(|b| self.disjoint_patterns(a, b)));
        }
        if one == Types::NUMBER {
            let (least, most) = (["minimum", "exclusiveMinimum"], ["maximum", "exclusiveMaximum"]);
            let touches = |below: &Facts<'a>, above: &Facts<'a>| {
                let (most, least) = (below.most(&most), above.least(&least));
                most == least
                    && (below.number("exclusiveMaximum").any(|x| x == most)
                        || above.number("exclusiveMinimum").any(|x| x == least))
            };
            return ranges(&least, &most) || touches(a, b) || touches(b, a);
        }
        false
    }

    fn disjoint_patterns(&mut self, a: &'a str, b: &'a str) -> bool {
        *self.disjoint_patterns.entry((a, b)).or_insert_with(|| patterns::disjoint(a, b))
    }
}
