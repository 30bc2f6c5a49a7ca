//! Where a C compiler for a 64-bit machine puts the fields of each struct, and C and Swift files that check it.

use std::collections::BTreeMap;

use crate::read::{CType, Declaration, Section};

/// Offset and size of each field, in order, and the size of the struct.
pub struct Layout {
    pub fields: Vec<(usize, usize)>,
    pub size: usize,
}

pub fn layouts(sections: &[Section]) -> BTreeMap<String, Layout> {
    let mut layouts = BTreeMap::new();
    // Size and alignment of each type so far.
    let mut types: BTreeMap<&str, (usize, usize)> =
        [("uint8_t", 1), ("uint32_t", 4), ("float", 4), ("uint64_t", 8), ("size_t", 8), ("double", 8)]
            .map(|(name, size)| (name, (size, size)))
            .into();
    for item in sections.iter().flat_map(|section| &section.items) {
        match item {
            Declaration::Enumeration(item) => drop(types.insert(&item.name, (4, 4))),
            Declaration::Callback(item) => drop(types.insert(&item.name, (8, 8))),
            Declaration::Struct(item) => {
                let (mut end, mut alignment, mut fields) = (0usize, 1, Vec::new());
                for field in &item.fields {
                    let (size, align) = size_of(&field.of, &types);
                    let offset = end.next_multiple_of(align);
                    fields.push((offset, size));
                    end = offset + size;
                    alignment = alignment.max(align);
                }
                let size = end.next_multiple_of(alignment);
                types.insert(&item.name, (size, alignment));
                layouts.insert(item.name.clone(), Layout { fields, size });
            }
            _ => {}
        }
    }
    layouts
}

fn size_of(of: &CType, types: &BTreeMap<&str, (usize, usize)>) -> (usize, usize) {
    if of.stars > 0 {
        return (8, 8);
    }
    *types.get(of.name.as_str()).unwrap_or_else(|| panic!("{}: is used before it is declared", of.name))
}

pub fn assertions(sections: &[Section]) -> String {
    let layouts = layouts(sections);
    let mut out = String::from(
        "/* Generated from src/ffi by `make header`; do not edit. Compiles, as C11 and as C++, if the compiler lays out each struct as\n \
         * bindings and older programs expect (64-bit machines). */\n\n\
         #include <assert.h>\n#include <kinglet.h>\n#include <stddef.h>\n",
    );
    for item in sections.iter().flat_map(|section| &section.items) {
        let Declaration::Struct(item) = item else { continue };
        let (name, layout) = (&item.name, &layouts[&item.name]);
        out += "\n";
        for (field, (offset, _)) in item.fields.iter().zip(&layout.fields) {
            let field = &field.name;
            out += &format!("static_assert(offsetof({name}, {field}) == {offset}, \"offset of {name}.{field}\");\n");
        }
        out += &format!("static_assert(sizeof({name}) == {}, \"size of {name}\");\n", layout.size);
    }
    out
}

pub fn swift(sections: &[Section]) -> String {
    let layouts = layouts(sections);
    let mut out = String::from(
        "// Generated from src/ffi by `make header`; do not edit. What Swift's compiler makes of each struct is what bindings and older\n\
         // programs expect (64-bit machines), and each constant has its number and name.\n\n\
         import CKinglet\nimport Testing\n\n\
         @Suite struct LayoutTests {\n    \
             func field(_ field: String, at got: Int?, _ want: Int) {\n        \
                 #expect(got == want, \"\\(field)\")\n    \
             }\n\n    \
             func constant(_ constant: String, _ got: UInt32, _ want: UInt32, _ name: UnsafePointer<CChar>, _ wanted: String) {\n        \
                 #expect(got == want && String(cString: name) == wanted, \"\\(constant)\")\n    \
             }\n",
    );
    for item in sections.iter().flat_map(|section| &section.items) {
        match item {
            Declaration::Struct(item) => {
                let (name, layout) = (&item.name, &layouts[&item.name]);
                out += &format!("\n    @Test func {name}_layout() {{\n");
                for (field, (offset, _)) in item.fields.iter().zip(&layout.fields) {
                    let field = &field.name;
                    let found = format!("MemoryLayout<{name}>.offset(of: \\.{field})");
                    out += &format!("        field(\"{name}.{field}\", at: {found}, {offset})\n");
                }
                out += &format!("        field(\"end of {name}\", at: MemoryLayout<{name}>.stride, {})\n", layout.size);
                out += "    }\n";
            }
            Declaration::Enumeration(item) => {
                out += &format!("\n    @Test func {}_values() {{\n", item.name);
                for value in &item.values {
                    let (constant, number, text) = (&value.constant, value.number, &value.text);
                    let name = format!("{}({number})", item.name_function);
                    out += &format!(
                        "        constant(\"{constant}\", {constant}.rawValue, {number}, {name}, \"{text}\")\n"
                    );
                }
                out += "    }\n";
            }
            _ => {}
        }
    }
    out + "}\n"
}
