//! The modules of `src/` form layers (floors): a module may use modules of lower floors only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, lowest first. Modules of the same floor do not use each other.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["spec"],
    &["kernels"],
    &["formats", "vectors"],
    &["text", "families", "backend"],
    &["network"],
    &["engine"],
    &["tasks", "generate"],
    &["load"],
    &["api"],
    &["ffi", "bin"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level modules that a line names: `crate::a::…`, or `crate::{a, b}`.
fn used(line: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
    let mut modules = Vec::new();
    for (at, path) in line.match_indices("crate::") {
        let rest = &line[at + path.len()..];
        match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
            Some((list, _)) => modules.extend(list.split(',').map(|part| &part.trim()[..word(part.trim())])),
            None => modules.push(&rest[..word(rest)]),
        }
    }
    modules
}

#[test]
fn modules_import_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, &mut all);
    let (mut seen, mut upwards) = (BTreeSet::new(), Vec::new());
    for path in all {
        let inside = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let (module, rest) = inside.split_once('/').unwrap_or((&inside, ""));
        if module == "lib.rs" {
            continue;
        }
        let Some(own) = floor(module) else {
            panic!("src/{inside}: {module} has no floor; give it one in tests/floors.rs");
        };
        seen.insert(module.to_string());
        // Tests may use any module.
        if rest.ends_with("tests.rs") || rest.contains("tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !["#[cfg(test", "#[cfg(all(test"].iter().any(|test| line.starts_with(test)));
        for (number, line) in code.filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let bad = used(line).into_iter().filter(|&other| other != module);
            upwards.extend(
                bad.filter(|other| floor(other).is_some_and(|other| other >= own))
                    .map(|other| format!("src/{inside}:{}: {module} uses {other}", number + 1)),
            );
        }
    }
    assert!(upwards.is_empty(), "these imports are not from a lower floor:\n{}", upwards.join("\n"));
    let missing: Vec<_> = FLOORS.iter().copied().flatten().filter(|module| !seen.contains(**module)).collect();
    assert!(missing.is_empty(), "tests/floors.rs names modules that do not exist: {missing:?}");
}

#[test]
fn paths_are_found_in_lines() {
    assert_eq!(used("use crate::base::error::Error;"), ["base"]);
    assert_eq!(used("fn f(a: crate::spec::Spec) -> crate::base::error::Result<()> {"), ["spec", "base"]);
    assert_eq!(used("use crate::{engine::Engine, tasks};"), ["engine", "tasks"]);
    assert_eq!(used("use super::x;"), Vec::<&str>::new());
}
