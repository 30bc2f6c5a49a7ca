//! The rules of `docs/abi-policy.md` that can be checked from the declarations.

use crate::layout::layouts;
use crate::read::{Declaration, Section};

/// Structs without `struct_size`, which are frozen for ever.
const FROZEN: [&str; 3] = ["kinglet_str", "kinglet_ids", "kinglet_span"];
/// Structs that the library fills and hands to a callback.
const TO_CALLBACKS: [&str; 3] = ["kinglet_progress", "kinglet_log_record", "kinglet_generation_piece"];

pub fn check(sections: &[Section]) {
    let items = || sections.iter().flat_map(|section| &section.items);
    let layouts = layouts(sections);
    for item in items() {
        match item {
            Declaration::Constant { name, doc, .. } => assert!(!doc.is_empty(), "{name}: has no comment"),
            Declaration::Enumeration(item) => {
                let prefix = format!("{}_", item.name.to_uppercase());
                assert_eq!(item.name_function, format!("{}_name", item.name));
                for (i, value) in item.values.iter().enumerate() {
                    let name = &value.constant;
                    assert!(name.starts_with(&prefix), "{name}: does not begin with {prefix}");
                    assert_eq!(value.number as usize, i, "{name}: numbers count from 0");
                    let suffix = name[prefix.len()..].to_lowercase();
                    assert_eq!(value.text.replace('-', "_"), suffix, "{name}: its text is not its name");
                }
            }
            Declaration::Handle { name, .. } => {
                let free = format!("{name}_free");
                let found = items().any(|item| matches!(item, Declaration::Function(f) if f.name == free));
                assert!(found, "{name}: has no {free}");
            }
            Declaration::Callback(item) => {
                assert_eq!(item.parameters[0].0, "user_data", "{}: does not begin with user_data", item.name);
            }
            Declaration::Struct(item) => {
                // No padding: a field added later must change the size.
                let layout = &layouts[&item.name];
                let mut end = 0;
                for (field, (offset, size)) in item.fields.iter().zip(&layout.fields) {
                    assert_eq!(*offset, end, "{}.{}: has padding before it", item.name, field.name);
                    end += size;
                }
                assert_eq!(end, layout.size, "{}: has padding at its end; add a field `reserved`", item.name);
                assert_eq!(end % 8, 0, "{}: its size is no multiple of 8; add a field `reserved`", item.name);
                let sized = item.fields[0].name == "struct_size";
                assert_eq!(sized, !FROZEN.contains(&item.name.as_str()), "{}: struct_size", item.name);
                let versioned = sized && !TO_CALLBACKS.contains(&item.name.as_str());
                assert_eq!(versioned, item.versioned.is_some(), "{}: versioned!", item.name);
                if let Some((_, first)) = &item.versioned {
                    assert!(*first <= end, "{}: is smaller than it was at first, {first} bytes", item.name);
                }
            }
            Declaration::Function(item) => {
                let fails = item.returns.name == "kinglet_status" && item.name != "kinglet_error_status";
                let last = item.parameters.last().is_some_and(|(name, of)| name == "error" && of.stars == 2);
                assert_eq!(fails, last, "{}: a status and a place for an error go together", item.name);
            }
        }
    }
}
