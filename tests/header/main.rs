//! `include/kinglet.h`, `docs/api.json` and the enums of C++, Go and Swift are what `src/ffi` says. To write them anew: `make header`.
//!
//! `read` reads the Rust files, `check` applies the rules of `docs/abi-policy.md`, `baseline` compares with what was promised before, the
//! others write.

mod baseline;
mod c;
mod check;
mod enums;
mod json;
mod layout;
mod read;

use std::path::Path;

/// The files of `src/ffi` in the order in which a reader of the header needs them; each comes after those whose types it uses.
const FILES: [&str; 29] = [
    "version",
    "error",
    "strings",
    "scheduler",
    "cancellation",
    "model",
    "encoding",
    "embedding",
    "sparse",
    "arrow",
    "search",
    "classification",
    "rerank",
    "token_classification",
    "zero_shot",
    "fill_mask",
    "compression",
    "prefix",
    "generate_options",
    "generation",
    "request",
    "chat",
    "session",
    "logits",
    "hidden",
    "counters",
    "device",
    "quantize",
    "batch_size",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sections() -> Vec<read::Section> {
    FILES.iter().map(|name| read::section(&root().join(format!("src/ffi/{name}.rs")))).collect()
}

#[test]
fn generated_files_are_up_to_date() {
    let sections = sections();
    let all = [
        ("include/kinglet.h", c::header(&sections)),
        ("docs/api.json", json::api(&sections)),
        ("bindings/cpp/kinglet/enums.hpp", enums::cpp(&sections)),
        ("bindings/go/enums_gen.go", enums::go(&sections)),
        ("bindings/swift/Sources/Kinglet/Enums.swift", enums::swift(&sections)),
        ("bindings/swift/Tests/KingletTests/LayoutTests.swift", layout::swift(&sections)),
        ("abi/layout.c", layout::assertions(&sections)),
    ];
    let mut stale = Vec::new();
    for (name, made) in all {
        let path = root().join(name);
        if std::env::var_os("KINGLET_UPDATE_HEADER").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&made) {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "not what src/ffi says: {stale:?}; run `make header` and commit the result");
}

#[test]
fn declarations_keep_the_policy() {
    check::check(&sections());
}

/// Functions, fields, values and constants of the baseline are there, as they were. Additions pass. To accept an intended change, or to
/// promise additions: `make abi-baseline`.
#[test]
fn the_abi_keeps_its_promises() {
    let sections = sections();
    let now = baseline::lines(&sections);
    let path = root().join("abi/baseline.txt");
    if std::env::var_os("KINGLET_UPDATE_ABI").is_some() {
        std::fs::write(&path, now.join("\n") + "\n").unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap();
    let broken = baseline::broken(&before, &now);
    assert!(
        broken.is_empty(),
        "removed or changed since abi/baseline.txt:\n{}\nIf that is intended (docs/abi-policy.md): make abi-baseline",
        broken.join("\n")
    );
}

#[test]
fn only_additions_keep_the_promises() {
    use read::Declaration::{Enumeration, Function, Struct};
    let before = baseline::lines(&sections()).join("\n");
    // What a change of the declarations breaks.
    let broken = |change: &dyn Fn(&mut read::Declaration) -> bool| -> Vec<String> {
        let mut changed = sections();
        for section in &mut changed {
            section.items.retain_mut(|item| change(item));
        }
        let now = baseline::lines(&changed);
        baseline::broken(&before, &now).into_iter().map(str::to_string).collect()
    };
    let options = |item: &read::Declaration| matches!(item, Struct(item) if item.name == "kinglet_embed_options");
    let fields = |change: &dyn Fn(&mut Vec<read::Field>)| {
        broken(&|item: &mut read::Declaration| {
            if options(item)
                && let Struct(item) = item
            {
                change(&mut item.fields);
            }
            true
        })
    };
    let field = |name: &str| read::Field {
        name: name.into(),
        of: read::CType { name: "uint64_t".into(), constant: false, stars: 0 },
        doc: String::new(),
    };
    // Additions: a field at the end, a value, a function.
    assert_eq!(fields(&|fields| fields.push(field("newest"))), [""; 0]);
    assert_eq!(
        broken(&|item| {
            if let Enumeration(item) = item {
                let (constant, text) = (format!("{}_NEWEST", item.name.to_uppercase()), "newest".to_string());
                item.values.push(read::Value { constant, number: item.values.len() as u32, text, doc: String::new() });
            }
            true
        }),
        [""; 0]
    );
    let fewer: Vec<String> =
        before.lines().filter(|line| !line.contains("kinglet_error_free")).map(String::from).collect();
    let now = baseline::lines(&sections());
    assert!(baseline::broken(&fewer.join("\n"), &now).is_empty(), "a function was added");
    // Everything else is named.
    let max_length = "field kinglet_embed_options at 16: size_t max_length";
    let cancellation = "field kinglet_embed_options at 24: const kinglet_cancellation *cancellation";
    let all: Vec<_> = before.lines().filter(|line| line.starts_with("field kinglet_embed_options ")).collect();
    assert_eq!(all[3..5], [max_length, cancellation]);
    assert_eq!(fields(&|fields| drop(fields.pop())), all[all.len() - 1..]);
    assert_eq!(fields(&|fields| fields.swap(3, 4)), [max_length, cancellation]);
    assert_eq!(fields(&|fields| fields.insert(4, field("between"))), all[4..]);
    assert_eq!(fields(&|fields| fields[3].of.name = "double".into()), [max_length]);
    assert_eq!(fields(&|fields| fields[3].name = "max_size".into()), [max_length]);
    assert_eq!(
        broken(&|item| {
            if options(item)
                && let Struct(item) = item
            {
                item.versioned = Some((String::new(), 40));
            }
            true
        }),
        ["struct kinglet_embed_options, first size 32"]
    );
    assert_eq!(
        broken(&|item| !matches!(item, Function(item) if item.name == "kinglet_error_free")),
        ["function void kinglet_error_free(kinglet_error *)"]
    );
    assert_eq!(
        broken(&|item| {
            if let Enumeration(item) = item
                && item.name == "kinglet_pooling"
            {
                item.values.swap(1, 2);
                item.values.iter_mut().enumerate().for_each(|(i, value)| value.number = i as u32);
            }
            true
        })
        .len(),
        2
    );
}

#[test]
fn every_file_of_the_abi_is_listed() {
    let internal = ["answers.rs", "boundary.rs", "enums.rs", "handle.rs", "mod.rs", "structs.rs"];
    let mut names: Vec<String> = std::fs::read_dir(root().join("src/ffi"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !internal.contains(&name.as_str()))
        .collect();
    names.sort();
    let mut listed = FILES.map(|name| format!("{name}.rs"));
    listed.sort();
    assert_eq!(names, listed);
}
