//! `include/kinglet.h`, `docs/api.json` and the enums of C++ and Go are what `src/ffi` says. To write them anew: `make header`.
//!
//! `read` reads the Rust files, `check` applies the rules of `docs/abi-policy.md`, the others write.

mod c;
mod check;
mod enums;
mod json;
mod read;
mod stub;

use std::path::Path;

/// The files of `src/ffi` in the order in which a reader of the header needs them; each comes after those whose types it uses.
const FILES: [&str; 18] = [
    "version",
    "error",
    "strings",
    "cancellation",
    "model",
    "encoding",
    "embedding",
    "classification",
    "token_classification",
    "prefix",
    "generate_options",
    "generation",
    "session",
    "logits",
    "hidden",
    "counters",
    "device",
    "quantize",
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
        ("abi/stub.c", stub::stub(&sections)),
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

#[test]
fn every_file_of_the_abi_is_listed() {
    let internal = ["boundary.rs", "enums.rs", "handle.rs", "mod.rs", "structs.rs"];
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
