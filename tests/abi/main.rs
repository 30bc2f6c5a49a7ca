//! Every function of the C ABI with arguments that it must refuse: NULL, bad UTF-8, empty arrays, wrong struct sizes, unknown
//! numbers. Each refusal is a status and a message that names the argument, and leaves the outputs unchanged. `docs/api.json` says
//! which functions there are, so that a new one cannot be forgotten.

// The macros are used inside unsafe blocks and outside of them.
#![allow(unused_unsafe)]

#[macro_use]
mod calls;
mod arrow;
mod batch_size;
mod callbacks;
mod compression;
mod generate;
mod growth;
mod masked;
mod models;
mod requests;
mod search;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod values;

use std::collections::BTreeSet;

#[test]
fn every_function_is_tested() {
    let tested = [
        arrow::COVERS,
        batch_size::COVERS,
        compression::COVERS,
        generate::COVERS,
        masked::COVERS,
        models::COVERS,
        requests::COVERS,
        search::COVERS,
        sessions::COVERS,
        texts::COVERS,
        values::COVERS,
    ];
    let tested: BTreeSet<&str> = tested.into_iter().flatten().copied().collect();
    let api = calls::api();
    let sections = api["sections"].as_array().unwrap().iter();
    let functions = sections.flat_map(|section| section["functions"].as_array().unwrap());
    let declared: BTreeSet<&str> = functions.map(|function| function["name"].as_str().unwrap()).collect();
    assert!(declared.len() > 80, "docs/api.json was not understood: {declared:?}");
    assert_eq!(tested, declared, "tested and declared functions differ");
    // And each is called or passed to a test where the list says so.
    let sources = concat!(
        include_str!("arrow.rs"),
        include_str!("batch_size.rs"),
        include_str!("compression.rs"),
        include_str!("generate.rs"),
        include_str!("masked.rs"),
        include_str!("models.rs"),
        include_str!("requests.rs"),
        include_str!("search.rs"),
        include_str!("sessions.rs"),
        include_str!("texts.rs"),
        include_str!("values.rs")
    );
    for name in tested {
        let uses = |(at, _): (usize, &str)| {
            let next = sources[at + name.len()..].chars().next();
            !sources[..at].ends_with('"') && !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        assert!(sources.match_indices(name).any(uses), "{name}: is listed and not called");
    }
}
