//! A limit on intersections of regular expressions. llguidance limits its work between the steps of a derivation, but not within one:
//! a step of an intersection pairs each character class of one expression with each overlapping class of the next, so that 17 small
//! patterns under `allOf` take hours and gigabytes. The number of these pairs is bounded here before anything is compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

use super::GrammarLimits;

/// Nested references are followed this far. llguidance refuses those that lead back to themselves.
const MAX_DEPTH: usize = 64;
/// The number of overlapping classes assumed of a `format`, whose expression is llguidance's own.
const FORMAT_OVERLAPS: f64 = 4.0;

const TOO_MUCH: &str = "it intersects too many patterns";

/// The maximum number of distinct character classes in an expression that share a character: the factor by which an intersection with
/// it multiplies the work of a step. 1 for what is no regular expression; the compiler reports that.
fn overlaps(pattern: &str) -> f64 {
    let Ok(expression) = regex_syntax::parse(pattern) else { return 1.0 };
    let mut classes = HashSet::new();
    collect(&expression, &mut classes);
    // JSON schema's patterns may match anywhere: one more class, of all characters, before and after.
    let mut edges: Vec<(u32, i32)> = vec![(0, 1)];
    for (first, last) in classes.iter().flatten() {
        edges.extend([(*first, 1), (*last + 1, -1)]);
    }
    // At one position ends (-1) come before beginnings (1).
    edges.sort_unstable();
    let mut open = 0;
    let deepest = edges.iter().map(|(_, change)| {
        open += change;
        open
    });
    f64::from(deepest.max().unwrap_or(1).max(1))
}

fn collect(expression: &Hir, classes: &mut HashSet<Vec<(u32, u32)>>) {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => match str::from_utf8(&literal.0) {
            Ok(text) => classes.extend(text.chars().map(|c| vec![(u32::from(c), u32::from(c))])),
            Err(_) => classes.extend(literal.0.iter().map(|&byte| vec![(u32::from(byte), u32::from(byte))])),
        },
        HirKind::Class(Class::Unicode(class)) => {
            classes.insert(class.iter().map(|range| (range.start().into(), range.end().into())).collect());
        }
        HirKind::Class(Class::Bytes(class)) => {
            classes.insert(class.iter().map(|range| (range.start().into(), range.end().into())).collect());
        }
        HirKind::Repetition(repetition) => collect(&repetition.sub, classes),
        HirKind::Capture(capture) => collect(&capture.sub, classes),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().for_each(|part| collect(part, classes)),
    }
}

/// Refuses a grammar in Lark whose terminals have so many intersections (`&`) that their overlapping classes could multiply beyond the
/// limit. Complements are left out: their classes never overlap.
pub(super) fn check_lark(source: &str, limits: GrammarLimits) -> Result<(), String> {
    let mut factors = Vec::new();
    let mut intersections = 0;
    let mut complement = false;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = opaque(rest).unwrap_or(first.len_utf8());
        if first == '/' && !rest.starts_with("//") && !complement && length > 2 {
            factors.push(overlaps(&rest[1..length - 1]));
        }
        intersections += usize::from(first == '&');
        complement = first == '~' || complement && (first == '(' || first.is_whitespace());
        rest = &rest[length..];
    }
    if intersections == 0 {
        return Ok(());
    }
    factors.sort_unstable_by(|a, b| b.total_cmp(a));
    match factors.iter().take(intersections + 1).product::<f64>() > limits.combinations() {
        true => Err(TOO_MUCH.into()),
        false => Ok(()),
    }
}

/// The length of the string, regular expression or comment that a grammar in Lark begins with.
pub(super) fn opaque(grammar: &str) -> Option<usize> {
    match grammar.chars().next()? {
        '/' if grammar.starts_with("//") => Some(grammar.find('\n').unwrap_or(grammar.len())),
        '#' => Some(grammar.find('\n').unwrap_or(grammar.len())),
        delimiter @ ('"' | '/') => Some(delimited(grammar, delimiter)),
        _ => None,
    }
}

/// The length of a string or regular expression with its delimiters.
fn delimited(text: &str, delimiter: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == delimiter => return at + c.len_utf8(),
            '\n' => return at,
            _ => {}
        }
    }
    text.len()
}

/// Refuses a JSON schema of which one place (a value, a property, an item) must match so many patterns at the same time that their
/// overlapping classes multiply beyond the limit.
pub(super) fn check_schema(schema: &Value, limits: GrammarLimits) -> Result<(), String> {
    Walk { root: schema, limits, visits: 0, seen: HashSet::new(), overlaps: HashMap::new() }.all(schema)
}

/// What holds at one place together with its neighbours.
#[derive(Clone)]
enum Part<'a> {
    Schema(&'a Value),
    /// One of these.
    Any(Vec<&'a Value>),
}

struct Walk<'a> {
    root: &'a Value,
    limits: GrammarLimits,
    visits: usize,
    /// The intersections that have been looked at, by the addresses of their schemas.
    seen: HashSet<Vec<*const Value>>,
    /// The overlaps of the patterns so far.
    overlaps: HashMap<&'a str, f64>,
}

impl<'a> Walk<'a> {
    /// Every object of the document is taken for a schema. The recursion is limited: serde_json refuses more than 128 levels.
    fn all(&mut self, value: &'a Value) -> Result<(), String> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.all(item)),
            Value::Object(object) => {
                let parts = self.flat(value, 0)?;
                self.place(&parts, 0)?;
                object.values().try_for_each(|value| self.all(value))
            }
            _ => Ok(()),
        }
    }

    fn visit(&mut self) -> Result<(), String> {
        self.visits += 1;
        match self.visits > self.limits.visits() {
            true => Err("its allOf and $ref combine too many subschemas".into()),
            false => Ok(()),
        }
    }

    /// A schema with all that it includes by `allOf` and `$ref`.
    fn flat(&mut self, schema: &'a Value, depth: usize) -> Result<Vec<Part<'a>>, String> {
        self.visit()?;
        let Some(object) = schema.as_object().filter(|_| depth < MAX_DEPTH) else { return Ok(Vec::new()) };
        let mut parts = vec![Part::Schema(schema)];
        if let Some(target) = object.get("$ref").and_then(Value::as_str).and_then(|name| self.target(name)) {
            parts.extend(self.flat(target, depth + 1)?);
        }
        for part in object.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            parts.extend(self.flat(part, depth + 1)?);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = object.get(key).and_then(Value::as_array) {
                parts.push(Part::Any(choices.iter().collect()));
            }
        }
        Ok(parts)
    }

    /// What a reference within the document names.
    fn target(&self, name: &str) -> Option<&'a Value> {
        name.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer))
    }

    /// The combinations at one place, and then at the properties and items that several of its parts describe.
    fn place(&mut self, parts: &[Part<'a>], depth: usize) -> Result<(), String> {
        if depth >= MAX_DEPTH || parts.len() < 2 && matches!(parts, [Part::Schema(_)] | []) {
            return Ok(());
        }
        if self.factors(parts, depth)? > self.limits.combinations() {
            return Err(TOO_MUCH.into());
        }
        let mut names = BTreeSet::new();
        for part in parts {
            self.names(part, depth, &mut names)?;
        }
        for name in names {
            let mut children = Vec::new();
            for part in parts {
                children.extend(self.child(part, name, depth)?);
            }
            if children.len() < 2 {
                // Looked at as a schema of the document.
                continue;
            }
            let mut address: Vec<*const Value> = children.iter().flat_map(Part::addresses).collect();
            address.sort_unstable();
            address.dedup();
            if self.seen.insert(address) {
                let mut flat = Vec::new();
                for child in children {
                    match child {
                        Part::Schema(schema) => flat.extend(self.flat(schema, depth + 1)?),
                        any => flat.push(any),
                    }
                }
                self.place(&flat, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The product of the overlaps of all patterns that hold at a place.
    fn factors(&mut self, parts: &[Part<'a>], depth: usize) -> Result<f64, String> {
        let mut product = 1.0;
        for part in parts {
            self.visit()?;
            product *= match part {
                Part::Schema(schema) => {
                    let pattern = schema.get("pattern").and_then(Value::as_str);
                    let pattern =
                        pattern.map_or(1.0, |text| *self.overlaps.entry(text).or_insert_with(|| overlaps(text)));
                    pattern * if schema.get("format").is_some() { FORMAT_OVERLAPS } else { 1.0 }
                }
                Part::Any(choices) => {
                    let mut most = 1.0;
                    for choice in choices {
                        let parts = self.flat(choice, depth + 1)?;
                        most = f64::max(most, self.factors(&parts, depth + 1)?);
                    }
                    most
                }
            };
        }
        Ok(product)
    }

    /// The names of the properties, and the numbers of the items, that a part describes.
    fn names(&mut self, part: &Part<'a>, depth: usize, names: &mut BTreeSet<Name<'a>>) -> Result<(), String> {
        self.visit()?;
        match part {
            Part::Schema(schema) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                names.extend(
                    properties.into_iter().flat_map(|properties| properties.keys()).map(|name| Name::Property(name)),
                );
                if schema.get("additionalProperties").is_some() || schema.get("patternProperties").is_some() {
                    names.insert(Name::OtherProperty);
                }
                let items = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                names.extend((0..items).map(Name::Item));
                if schema.get("items").is_some() {
                    names.insert(Name::OtherItem);
                }
            }
            Part::Any(choices) => {
                for choice in choices {
                    for part in self.flat(choice, depth + 1)? {
                        self.names(&part, depth + 1, names)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What a part says of a property or an item.
    fn child(&mut self, part: &Part<'a>, name: Name, depth: usize) -> Result<Vec<Part<'a>>, String> {
        self.visit()?;
        Ok(match part {
            Part::Schema(schema) => {
                let own = match name {
                    Name::Property(name) => schema.get("properties").and_then(|properties| properties.get(name)),
                    Name::Item(item) => schema.get("prefixItems").and_then(|items| items.get(item)),
                    Name::OtherProperty | Name::OtherItem => None,
                };
                let others: Vec<&Value> = match name {
                    _ if own.is_some() => own.into_iter().collect(),
                    Name::Property(_) | Name::OtherProperty => {
                        let patterns = schema.get("patternProperties").and_then(Value::as_object);
                        let patterns = patterns.into_iter().flat_map(|patterns| patterns.values());
                        patterns.chain(schema.get("additionalProperties")).collect()
                    }
                    Name::Item(_) | Name::OtherItem => schema.get("items").into_iter().collect(),
                };
                match others.as_slice() {
                    [] => Vec::new(),
                    [one] => vec![Part::Schema(one)],
                    _ => vec![Part::Any(others)],
                }
            }
            Part::Any(choices) => {
                let mut any = BTreeMap::new();
                for choice in choices {
                    for part in self.flat(choice, depth + 1)? {
                        for child in self.child(&part, name, depth + 1)? {
                            any.extend(child.schemas().map(|schema| (std::ptr::from_ref(schema), schema)));
                        }
                    }
                }
                if any.is_empty() { Vec::new() } else { vec![Part::Any(any.into_values().collect())] }
            }
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'a> {
    Property(&'a str),
    OtherProperty,
    Item(usize),
    OtherItem,
}

impl<'a> Part<'a> {
    fn schemas(&self) -> impl Iterator<Item = &'a Value> + '_ {
        let (one, any): (Option<&'a Value>, &[&'a Value]) = match self {
            Part::Schema(schema) => (Some(schema), &[]),
            Part::Any(choices) => (None, choices),
        };
        one.into_iter().chain(any.iter().copied())
    }

    fn addresses(&self) -> impl Iterator<Item = *const Value> + '_ {
        self.schemas().map(std::ptr::from_ref)
    }
}
