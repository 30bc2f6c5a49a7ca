//! The ABI as lines of text, one per promise, and what programs were promised before: `abi/baseline.txt`.
//!
//! A line that is added is an addition, which older programs do not notice. A line that is missing is a promise that was broken. A
//! field's line has its offset, so that only fields at the end can be added.

use crate::layout::layouts;
use crate::read::{Declaration, Function, Section};

pub fn lines(sections: &[Section]) -> Vec<String> {
    let layouts = layouts(sections);
    let mut out = Vec::new();
    for item in sections.iter().flat_map(|section| &section.items) {
        match item {
            // Versions change without a change of the ABI.
            Declaration::Constant { name, value, .. } if name != "KINGLET_ABI_VERSION" => {
                out.push(format!("constant {name} = {value}"));
            }
            Declaration::Constant { .. } => {}
            Declaration::Enumeration(item) => {
                out.push(format!("enumeration {}", item.name));
                out.push(format!("function const char *{}({})", item.name_function, item.name));
                for value in &item.values {
                    out.push(format!("value {} = {} ({})", value.constant, value.number, value.text));
                }
            }
            Declaration::Handle { name, .. } => out.push(format!("handle {name}")),
            Declaration::Struct(item) => {
                let first = item.versioned.as_ref().map(|(_, size)| format!(", first size {size}"));
                out.push(format!("struct {}{}", item.name, first.unwrap_or_default()));
                for (field, (offset, _)) in item.fields.iter().zip(&layouts[&item.name].fields) {
                    out.push(format!("field {} at {offset}: {}", item.name, field.of.declare(&field.name)));
                }
            }
            Declaration::Callback(item) => out.push(format!("callback {}", signature(item))),
            Declaration::Function(item) => out.push(format!("function {}", signature(item))),
        }
    }
    out
}

/// Types alone: the name of a parameter is not part of the ABI.
fn signature(item: &Function) -> String {
    let parameters: Vec<String> = item.parameters.iter().map(|(_, of)| of.declare("")).collect();
    format!("{}({})", item.returns.declare(&item.name), parameters.join(", "))
}

/// The lines of `baseline` that `now` lacks: what was removed or changed.
pub fn broken<'a>(baseline: &'a str, now: &[String]) -> Vec<&'a str> {
    baseline.lines().filter(|line| !now.iter().any(|n| n == line)).collect()
}
