//! Where the references of a JSON schema lead: JSON pointers, anchors, and identifiers within one document.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::keywords;

/// A JSON schema document whose references can be followed.
pub struct Document {
    root: Value,
    /// Subschemas by the absolute or fragment-only names that `$id`, `id`, `$anchor` and `$dynamicAnchor` give them: JSON pointers.
    names: HashMap<String, String>,
    /// Whether the keywords beside a `$ref` count: from draft 2019-09 on.
    siblings_count: bool,
}

impl Document {
    pub fn new(root: Value) -> Self {
        let draft = root.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let siblings_count = !["draft-03", "draft-04", "draft-06", "draft-07"].iter().any(|old| draft.contains(old));
        let mut names = HashMap::new();
        collect(&root, "", &mut names);
        Self { root, names, siblings_count }
    }

    pub fn root(&self) -> &Value {
        &self.root
    }

    /// The JSON pointers of the schemas right within the one at a JSON pointer.
    pub fn subschemas(&self, pointer: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (keyword, argument) in self.root.pointer(pointer).and_then(Value::as_object).into_iter().flatten() {
            let inner = join(pointer, keyword);
            match argument {
                Value::Object(named) if keywords::NAMED_SCHEMAS.contains(&keyword.as_str()) => {
                    found.extend(named.keys().map(|name| join(&inner, name)));
                }
                Value::Array(list) if keywords::SCHEMAS.contains(&keyword.as_str()) => {
                    found.extend((0..list.len()).map(|i| join(&inner, &i.to_string())));
                }
                Value::Object(_) if keywords::SCHEMAS.contains(&keyword.as_str()) => found.push(inner),
                _ => {}
            }
        }
        found
    }

    /// The reference of a schema, and whether the other keywords count beside it.
    pub fn reference_of<'a>(&self, schema: &'a Map<String, Value>) -> Option<(&'a str, bool)> {
        let name = ["$ref", "$dynamicRef", "$recursiveRef"].into_iter().find_map(|key| schema.get(key)?.as_str())?;
        Some((name, self.siblings_count))
    }

    /// The subschema that a reference names, and its JSON pointer.
    pub fn resolve(&self, reference: &str) -> Option<(String, &Value)> {
        if let Some(pointer) = self.names.get(reference) {
            return Some((pointer.clone(), self.root.pointer(pointer)?));
        }
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = match document {
            "" => "",
            name => self.names.get(name)?,
        };
        let fragment = decoded(fragment);
        // Some write "#/" for the root.
        let fragment = if fragment == "/" { "" } else { fragment.as_str() };
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let pointer = self.names.get(&format!("#{fragment}"))?;
            return Some((pointer.clone(), self.root.pointer(pointer)?));
        }
        let pointer = format!("{base}{fragment}");
        self.root.pointer(&pointer).map(|target| (pointer, target))
    }
}

/// Percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One more part of a JSON pointer.
pub fn join(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}

fn collect(schema: &Value, pointer: &str, names: &mut HashMap<String, String>) {
    match schema {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| collect(item, &join(pointer, &i.to_string()), names));
        }
        Value::Object(object) => {
            for (key, value) in object {
                let inner = join(pointer, key);
                match value {
                    _ if keywords::SCHEMAS.contains(&key.as_str()) => collect(value, &inner, names),
                    Value::Object(named) if keywords::NAMED_SCHEMAS.contains(&key.as_str()) => {
                        named.iter().for_each(|(name, schema)| collect(schema, &join(&inner, name), names));
                    }
                    _ => {}
                }
            }
            let text = |key: &str| object.get(key).and_then(Value::as_str);
            for name in ["$id", "id"].into_iter().filter_map(text) {
                names.entry(name.to_owned()).or_insert_with(|| pointer.to_owned());
                names.entry(name.trim_end_matches('#').to_owned()).or_insert_with(|| pointer.to_owned());
            }
            for anchor in ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text) {
                names.entry(format!("#{anchor}")).or_insert_with(|| pointer.to_owned());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_lead_to_pointers_anchors_and_identifiers() {
        let document = Document::new(json!({
            "$id": "https://example.com/root.json",
            "$defs": {
                "a b": {"$anchor": "spot"},
                "x/y": {"$id": "inner.json", "$defs": {"z": true}},
                "old": {"id": "#old"},
            },
            "properties": {"id": {"const": 1}}
        }));
        for (reference, pointer) in [
            ("#", ""),
            ("#/", ""),
            ("#/$defs/a%20b", "/$defs/a b"),
            ("#spot", "/$defs/a b"),
            ("#old", "/$defs/old"),
            ("https://example.com/root.json#/properties/id", "/properties/id"),
            ("inner.json#/$defs/z", "/$defs/x~1y/$defs/z"),
            ("#/$defs/x~1y", "/$defs/x~1y"),
        ] {
            assert_eq!(document.resolve(reference).map(|found| found.0).as_deref(), Some(pointer), "{reference}");
        }
        for reference in ["#/nothing", "other.json", "#none", "https://example.com/other.json#/a"] {
            assert!(document.resolve(reference).is_none(), "{reference}");
        }
    }
}
