//! The C header.

use crate::read::{CType, Declaration, Enumeration, Function, Section, Struct};

/// Columns of a line.
const WIDTH: usize = 110;

/// What stands before the first section.
const TOP: &str = include_str!("top.h");

/// What belongs to a section but cannot be written in Rust.
const VERSION: &str = include_str!("version.h");
const STRINGS: &str = include_str!("strings.h");

const BOTTOM: &str = "#ifdef __cplusplus\n} /* extern \"C\" */\n#endif\n\n#endif /* KINGLET_H */\n";

pub fn header(sections: &[Section]) -> String {
    let mut out = TOP.to_string();
    for section in sections {
        let rule = "-".repeat(WIDTH - 10 - section.title.chars().count());
        let group = section.title.to_lowercase().replace(',', "").replace(' ', "_");
        out += &format!("/* ---- {} {rule} */\n\n", section.title);
        out += &format!("/** @defgroup {group} {}\n *  @{{ */\n\n", section.title);
        if section.title == "Versions" {
            let [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"].map(version_part);
            let number = major * 1_000_000 + minor * 1_000 + patch;
            let filled =
                VERSION.replace("@VERSION@", env!("CARGO_PKG_VERSION")).replace("@NUMBER@", &number.to_string());
            let filled = filled.replace("@MAJOR@", &major.to_string()).replace("@MINOR@", &minor.to_string());
            out += &filled.replace("@PATCH@", &patch.to_string());
        }
        // What frees comes last, as in a program.
        let frees = |item: &&Declaration| matches!(item, Declaration::Function(f) if f.name.ends_with("_free"));
        let (last, first): (Vec<_>, Vec<_>) = section.items.iter().partition(frees);
        for item in first.into_iter().chain(last) {
            match item {
                Declaration::Constant { name, doc, value } => {
                    comment(&mut out, "", doc);
                    out += &format!("#define {name} {value}\n\n");
                }
                Declaration::Enumeration(item) => enumeration(&mut out, item),
                Declaration::Handle { name, doc } => {
                    comment(&mut out, "", doc);
                    out += &format!("typedef struct {name} {name};\n\n");
                }
                Declaration::Struct(item) => {
                    structure(&mut out, item);
                    if item.name == "kinglet_str" {
                        out += STRINGS;
                    }
                }
                Declaration::Callback(item) => {
                    comment(&mut out, "", &item.doc);
                    let head = format!("typedef {}(*{})(", spaced(&item.returns), item.name);
                    out += &call(&head, &item.parameters);
                }
                Declaration::Function(item) => {
                    comment(&mut out, "", &item.doc);
                    function(&mut out, item);
                }
            }
        }
        out += "/** @} */\n\n";
    }
    out + BOTTOM
}

fn version_part(part: &str) -> u32 {
    let text = match part {
        "MAJOR" => env!("CARGO_PKG_VERSION_MAJOR"),
        "MINOR" => env!("CARGO_PKG_VERSION_MINOR"),
        _ => env!("CARGO_PKG_VERSION_PATCH"),
    };
    text.parse().unwrap()
}

fn enumeration(out: &mut String, item: &Enumeration) {
    let upper = item.name.to_uppercase();
    let doc = format!("{} One of the {upper} constants.", item.doc);
    comment(out, "", &doc);
    *out += &format!("typedef uint32_t {};\n\n", item.name);
    comment(out, "", &format!("The values of {}.", item.name));
    *out += &format!("enum {}_values {{\n", item.name);
    for value in &item.values {
        comment(out, "  ", &value.doc);
        *out += &format!("  {} = {},\n", value.constant, value.number);
    }
    *out += "};\n\n";
    comment(out, "", &name_doc(item));
    function(out, &name_function(item));
}

fn name_doc(item: &Enumeration) -> String {
    let example = item.values.last().map_or("", |value| &value.text);
    format!(
        "The short name of a value, for instance \"{example}\"; \"unknown\" for a number that this version does not know."
    )
}

/// The function that names the values.
pub fn name_function(item: &Enumeration) -> Function {
    let plain = |name: &str, stars| CType { name: name.to_string(), constant: stars > 0, stars };
    let parameters = vec![("value".to_string(), plain(&item.name, 0))];
    Function { name: item.name_function.clone(), doc: name_doc(item), parameters, returns: plain("char", 1) }
}

fn structure(out: &mut String, item: &Struct) {
    comment(out, "", &item.doc);
    *out += &format!("typedef struct {} {{\n", item.name);
    for field in &item.fields {
        comment(out, "  ", &field.doc);
        *out += &format!("  {};\n", field.of.declare(&field.name));
    }
    *out += &format!("}} {};\n\n", item.name);
}

/// A type before a name: with a blank unless it ends with a star.
fn spaced(of: &CType) -> String {
    let text = of.declare("");
    if text.ends_with('*') { text } else { text + " " }
}

/// Whether a result that is not looked at is lost memory.
fn makes_a_handle(item: &Function) -> bool {
    let out = |of: &CType| of.stars == 2 && !of.constant && of.name != "kinglet_error";
    let returned = item.returns.stars == 1 && item.returns.name.starts_with("kinglet_") && !item.returns.constant;
    let retained = item.parameters.iter().any(|(_, of)| *of == item.returns);
    returned && !retained || item.parameters.iter().any(|(_, of)| out(of))
}

fn function(out: &mut String, item: &Function) {
    let used = if makes_a_handle(item) { "KINGLET_WARN_UNUSED " } else { "" };
    let head = format!("KINGLET_API {used}{}{}(", spaced(&item.returns), item.name);
    *out += &call(&head, &item.parameters);
}

/// Parameters on one line, or one per line.
fn call(head: &str, parameters: &[(String, CType)]) -> String {
    let all: Vec<String> = parameters.iter().map(|(name, of)| of.declare(name)).collect();
    let one = format!("{head}{});", if all.is_empty() { "void".to_string() } else { all.join(", ") });
    if one.chars().count() <= WIDTH {
        return one + "\n\n";
    }
    format!("{head}\n    {});\n\n", all.join(",\n    "))
}

/// A Doxygen comment, its paragraphs filled to the width; lines of tables stay as they are.
fn comment(out: &mut String, indent: &str, doc: &str) {
    let width = WIDTH - indent.len() - 3;
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in doc.lines() {
        if line.is_empty() || line.starts_with('|') {
            lines.push(line.to_string());
            open = false;
            continue;
        }
        for word in line.split_whitespace() {
            match lines.last_mut().filter(|last| open && last.chars().count() + 1 + word.chars().count() <= width) {
                Some(last) => *last += &format!(" {word}"),
                None => lines.push(word.to_string()),
            }
            open = true;
        }
    }
    match lines.as_slice() {
        [] => panic!("something has no comment after:\n{}", &out[out.len().saturating_sub(300)..]),
        [line] if line.chars().count() + 4 <= width => *out += &format!("{indent}/** {line} */\n"),
        lines => {
            *out += &format!("{indent}/**\n");
            for line in lines {
                *out += format!("{indent} * {line}").trim_end();
                *out += "\n";
            }
            *out += &format!("{indent} */\n");
        }
    }
}
