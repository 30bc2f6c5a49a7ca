//! Calls from a thread with the least stack that the header asks for.

use std::thread;

use kinglet::{EmbedOptions, GenerateOptions, Grammar, LoadOptions, Model};

use crate::support;

/// As include/kinglet.h says under "Threads".
const STACK: usize = 256 << 10;

#[test]
fn every_family_works_on_the_least_stack() {
    let encoders = support::ENCODERS.map(str::to_string);
    let decoders = std::fs::read_dir(support::fixtures().join("generation")).unwrap();
    let decoders = decoders.map(|entry| format!("generation/{}", entry.unwrap().file_name().display()));
    for name in encoders.into_iter().chain(decoders) {
        let path = support::fixtures().join(&name);
        let work = move || {
            let model = Model::load(&path, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
            let texts = ["a small bird", "sings in the rain"];
            if !name.starts_with("generation/") {
                model.embed(&texts, &EmbedOptions::default()).unwrap();
                return;
            }
            // Some of the others force tokens that no grammar allows.
            let grammar = (name == "generation/llama").then(|| Grammar::Regex("(?s:.*)".into()));
            for (num_beams, grammar) in [(1, grammar), (3, None)] {
                let options = GenerateOptions {
                    max_new_tokens: Some(3),
                    num_beams: Some(num_beams),
                    grammar,
                    ..GenerateOptions::default()
                };
                model.generate(&texts, &options, None).unwrap();
            }
        };
        thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
    }
}
