//! A library of nothing but the ABI, for `scripts/check-abi`: its debug information is C's, which that of a Rust library is not.

use crate::c::name_function;
use crate::read::{Declaration, Function, Section};

pub fn stub(sections: &[Section]) -> String {
    let mut out = String::from(
        "/* Generated from src/ffi by `make header`; do not edit. scripts/check-abi compiles it and compares it with kinglet.abi. */\n\n\
         #include <kinglet.h>\n\n",
    );
    let (mut numbers, mut values) = (String::new(), String::new());
    for item in sections.iter().flat_map(|section| &section.items) {
        match item {
            // Versions change without a change of the ABI.
            Declaration::Constant { name, .. } if name != "KINGLET_ABI_VERSION" => {
                numbers += &format!("    value_of_{name} = {name},\n");
            }
            Declaration::Enumeration(item) => {
                values += &format!("enum {0}_values abi_{0}_values;\n", item.name);
                out += &function(&name_function(item));
            }
            Declaration::Struct(item) => {
                if let Some((_, size)) = &item.versioned {
                    numbers += &format!("    first_size_of_{} = {size},\n", item.name);
                }
            }
            Declaration::Function(item) => out += &function(item),
            _ => {}
        }
    }
    out + "\n" + &values + "\nenum abi_numbers {\n" + &numbers + "} abi_numbers;\n"
}

fn function(item: &Function) -> String {
    let parameters: Vec<String> = item.parameters.iter().map(|(name, of)| of.declare(name)).collect();
    let parameters = if parameters.is_empty() { "void".to_string() } else { parameters.join(", ") };
    let head = item.returns.declare("");
    let blank = if head.ends_with('*') { "" } else { " " };
    format!("{head}{blank}{}({parameters}) {{ __builtin_trap(); }}\n", item.name)
}
