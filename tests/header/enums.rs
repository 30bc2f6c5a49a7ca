//! The enumerations for C++, Go and Swift.

use std::collections::BTreeMap;

use crate::read::{Declaration, Enumeration, Section, Value};

/// Words that Go and Swift write in capitals.
const INITIALISMS: [&str; 13] =
    ["bf16", "cls", "cpu", "csv", "cuda", "eos", "f16", "f32", "int8", "int4", "json", "uint8", "xml"];

/// Go's name of a type and what its constants begin with, where that is not the type's name itself.
fn go_names(name: &str) -> (String, String) {
    match name {
        "kinglet_log_level" => ("LogLevel".to_string(), "Log".to_string()),
        "kinglet_finish_reason" => ("FinishReason".to_string(), "Finish".to_string()),
        "kinglet_counters_format" => ("Format".to_string(), "Format".to_string()),
        name => (camel(&name["kinglet_".len()..]), camel(&name["kinglet_".len()..])),
    }
}

/// In C++, Go and Swift a grammar is a type of its own that knows its kind.
fn offered(sections: &[Section]) -> impl Iterator<Item = &Enumeration> {
    sections.iter().flat_map(|section| &section.items).filter_map(|item| match item {
        Declaration::Enumeration(item) if item.name != "kinglet_grammar_kind" => Some(item),
        _ => None,
    })
}

fn camel(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn go_camel(name: &str) -> String {
    let word = |word: &str| if INITIALISMS.contains(&word) { word.to_uppercase() } else { camel(word) };
    name.split('_').map(word).collect()
}

/// A constant without the name of its type, in small letters.
fn short(item: &Enumeration, constant: &str) -> String {
    constant[item.name.len() + 1..].to_lowercase()
}

/// Replaces C's names of constants by those of the language.
fn translated(doc: &str, names: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = doc;
    while let Some(at) = rest.find("KINGLET_") {
        let end = rest[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(rest.len(), |n| at + n);
        out += &rest[..at];
        out += names.get(&rest[at..end]).map_or(&rest[at..end], String::as_str);
        rest = &rest[end..];
    }
    out + rest
}

fn comment(out: &mut String, indent: &str, sign: &str, doc: &str) {
    let mut line = String::new();
    for word in doc.split_whitespace() {
        if !line.is_empty() && indent.len() + sign.len() + line.chars().count() + word.chars().count() + 2 > 110 {
            *out += &format!("{indent}{sign} {line}\n");
            line.clear();
        }
        line += if line.is_empty() { "" } else { " " };
        line += word;
    }
    *out += &format!("{indent}{sign} {line}\n");
}

pub fn cpp(sections: &[Section]) -> String {
    let mut out = String::from(
        "// Generated from src/ffi by `make header`; do not edit.\n\n#ifndef KINGLET_ENUMS_HPP\n#define KINGLET_ENUMS_HPP\n\n\
         #include <kinglet.h>\n\n#include <cstdint>\n\nnamespace kinglet {\n\n",
    );
    let names: BTreeMap<String, String> = offered(sections)
        .flat_map(|item| {
            let of = camel(&item.name["kinglet_".len()..]);
            let values = item.values.iter();
            values.map(move |v| (v.constant.clone(), format!("{of}::{}", camel(&short(item, &v.constant)))))
        })
        .collect();
    for item in offered(sections) {
        let of = camel(&item.name["kinglet_".len()..]);
        comment(&mut out, "", "///", &translated(&item.doc, &names));
        out += &format!("enum class {of} : std::uint32_t {{\n");
        for value in &item.values {
            comment(&mut out, "    ", "///", &translated(&value.doc, &names));
            out += &format!("    {} = {},\n", camel(&short(item, &value.constant)), value.constant);
        }
        out += "};\n\n";
        out += "/// The short name of a value; \"unknown\" for a number that the library does not know.\n";
        out += &format!("[[nodiscard]] inline const char *name({of} value) noexcept {{\n");
        out += &format!("    return {}(static_cast<{}>(value));\n}}\n\n", item.name_function, item.name);
    }
    out + "} // namespace kinglet\n\n#endif\n"
}

pub fn go(sections: &[Section]) -> String {
    let mut out = String::from(
        "// Code generated from src/ffi by `make header`. DO NOT EDIT.\n\npackage kinglet\n\nimport \"strconv\"\n\n",
    );
    // errors.go has the statuses, as errors.
    let all = || offered(sections).filter(|item| item.name != "kinglet_status");
    let names: BTreeMap<String, String> = all()
        .flat_map(|item| {
            let (_, prefix) = go_names(&item.name);
            let values = item.values.iter();
            values.map(move |v| (v.constant.clone(), format!("{prefix}{}", go_camel(&short(item, &v.constant)))))
        })
        .collect();
    for item in all() {
        let (of, _) = go_names(&item.name);
        let first = item.doc.split(' ').next().unwrap();
        let verb = if ["How", "Where", "Whether", "What", "When", "Why"].contains(&first) { "says" } else { "is" };
        let rest = item.doc[..1].to_lowercase() + &item.doc[1..];
        comment(&mut out, "", "//", &format!("{of} {verb} {}", translated(&rest, &names)));
        out += &format!("type {of} uint32\n\nconst (\n");
        for value in &item.values {
            comment(&mut out, "\t", "//", &translated(&value.doc, &names));
            out += &format!("\t{} {of} = {}\n", names[&value.constant], value.number);
        }
        out += ")\n\n";
        let texts: Vec<String> = item.values.iter().map(|value| format!("\"{}\"", value.text)).collect();
        let receiver = of[..1].to_lowercase();
        out += &format!("// String gives the short name of the value, for instance {}.\n", texts[texts.len() - 1]);
        out += &format!("func ({receiver} {of}) String() string {{\n");
        out += &format!("\treturn name(\"{of}\", uint32({receiver}), {})\n}}\n\n", texts.join(", "));
    }
    out + "// name gives names[value]; numbers without a name are written like a conversion, for instance \"Device(9)\".\n\
           func name(kind string, value uint32, names ...string) string {\n\
           \tif uint64(value) < uint64(len(names)) && names[value] != \"\" {\n\
           \t\treturn names[value]\n\
           \t}\n\
           \treturn kind + \"(\" + strconv.FormatUint(uint64(value), 10) + \")\"\n\
           }\n"
}

/// `candle_cpu` is `candleCPU`.
fn swift_camel(name: &str) -> String {
    let (first, rest) = name.split_once('_').unwrap_or((name, ""));
    first.to_string() + &if rest.is_empty() { String::new() } else { go_camel(rest) }
}

pub fn swift(sections: &[Section]) -> String {
    let mut out = String::from("// Generated from src/ffi by `make header`; do not edit.\n\nimport CKinglet\n");
    // An undecided switch is an optional Bool.
    let all = || offered(sections).filter(|item| item.name != "kinglet_tristate");
    let names: BTreeMap<String, String> = all()
        .flat_map(|item| {
            let of = camel(&item.name["kinglet_".len()..]);
            let values = item.values.iter();
            let link = move |v: &Value| format!("``{of}/{}``", swift_camel(&short(item, &v.constant)));
            values.map(move |v| (v.constant.clone(), link(v)))
        })
        .collect();
    for item in all() {
        let of = camel(&item.name["kinglet_".len()..]);
        out += "\n";
        comment(&mut out, "", "///", &translated(&item.doc, &names));
        out += &format!(
            "public struct {of}: RawRepresentable, Hashable, Sendable, CaseIterable, CustomStringConvertible {{\n"
        );
        out += "    /// The number in C. Later versions may have others.\n";
        out += "    public let rawValue: UInt32\n\n    public init(rawValue: UInt32) { self.rawValue = rawValue }\n\n";
        let mut cases = Vec::new();
        for value in &item.values {
            comment(&mut out, "    ", "///", &translated(&value.doc, &names));
            let name = swift_camel(&short(item, &value.constant));
            let keyword = ["default", "internal"].contains(&name.as_str());
            let declared = if keyword { format!("`{name}`") } else { name.clone() };
            out += &format!("    public static let {declared} = {of}(rawValue: {}.rawValue)\n", value.constant);
            cases.push(format!(".{name}"));
        }
        out += "\n    /// The values that this version knows.\n";
        let mut line = format!("    public static let allCases: [{of}] = [");
        for (i, case) in cases.iter().enumerate() {
            let last = i + 1 == cases.len();
            if line.len() + case.len() > 108 {
                out += &format!("{}\n", line.trim_end());
                line = "        ".to_string();
            }
            line += &format!("{case}{}", if last { "]" } else { ", " });
        }
        out += &format!("{line}\n\n");
        let example = item.values.last().unwrap();
        out += &format!("    /// The short name of the value, for instance \"{}\".\n", example.text);
        out +=
            &format!("    public var description: String {{ nameOf(self, {}(rawValue)) }}\n}}\n", item.name_function);
    }
    out
}
