//! The API as data, for documentation sites and generators of bindings.

use serde_json::{Value, json};

use crate::c::name_function;
use crate::read::{Declaration, Function, Section};

pub fn api(sections: &[Section]) -> String {
    let abi = sections.iter().flat_map(|section| &section.items).find_map(|item| match item {
        Declaration::Constant { name, value, .. } if name == "KINGLET_ABI_VERSION" => value.parse::<u32>().ok(),
        _ => None,
    });
    let all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "abi": abi.expect("KINGLET_ABI_VERSION"),
        "sections": sections.iter().map(section).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&all).unwrap() + "\n"
}

fn section(section: &Section) -> Value {
    let mut functions = Vec::new();
    let (mut constants, mut enumerations, mut handles) = (Vec::new(), Vec::new(), Vec::new());
    let (mut structs, mut callbacks) = (Vec::new(), Vec::new());
    for item in &section.items {
        match item {
            Declaration::Constant { name, doc, value } => {
                constants.push(json!({ "name": name, "comment": flat(doc), "value": value }));
            }
            Declaration::Enumeration(item) => {
                let values = item.values.iter().map(|value| {
                    let comment = flat(&value.doc);
                    json!({ "name": value.constant, "value": value.number, "text": value.text, "comment": comment })
                });
                let values: Vec<_> = values.collect();
                enumerations.push(json!({ "name": item.name, "comment": flat(&item.doc), "values": values }));
                functions.push(function(&name_function(item)));
            }
            Declaration::Handle { name, doc } => handles.push(json!({ "name": name, "comment": flat(doc) })),
            Declaration::Struct(item) => {
                let fields = item.fields.iter().map(
                    |field| json!({ "name": field.name, "type": field.of.declare(""), "comment": flat(&field.doc) }),
                );
                structs.push(json!({
                    "name": item.name,
                    "comment": flat(&item.doc),
                    "first_size": item.versioned.as_ref().map(|(_, size)| size),
                    "fields": fields.collect::<Vec<_>>(),
                }));
            }
            Declaration::Callback(item) => callbacks.push(function(item)),
            Declaration::Function(item) => functions.push(function(item)),
        }
    }
    json!({
        "title": section.title,
        "constants": constants,
        "enumerations": enumerations,
        "handles": handles,
        "structs": structs,
        "callbacks": callbacks,
        "functions": functions,
    })
}

fn function(item: &Function) -> Value {
    let parameters = item.parameters.iter().map(|(name, of)| json!({ "name": name, "type": of.declare("") }));
    json!({
        "name": item.name,
        "comment": flat(&item.doc),
        "returns": item.returns.declare(""),
        "parameters": parameters.collect::<Vec<_>>(),
    })
}

/// Paragraphs on one line each; tables as they are.
fn flat(doc: &str) -> String {
    let mut out = String::new();
    for line in doc.lines() {
        let joins = !out.is_empty() && !out.ends_with('\n') && !line.is_empty() && !line.starts_with('|');
        if joins {
            out += " ";
        } else if !out.is_empty() {
            out += "\n";
        }
        out += line;
    }
    out
}
