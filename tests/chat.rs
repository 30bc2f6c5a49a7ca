//! Sessions: a chat keeps its KV cache, can be rewound, and is unchanged after a failed turn.

mod support;

use std::path::Path;

use kinglet::{Cancellation, Device, GenerateOptions, Model, Precision, Stage, Status};
use support::{fixtures, load};

const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m['content'].strip() }}\n{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";

/// A decoder fixture with a chat template.
fn chatty(folder: &Path, fixture: &str, template: &str) -> Model {
    for entry in std::fs::read_dir(fixtures().join("generation").join(fixture)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
    load(folder, Device::Cpu, Precision::F32, 2)
}

fn short() -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: Some(5),
        do_sample: Some(false),
        num_beams: Some(1),
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

#[test]
fn a_turn_computes_only_its_own_tokens_and_replies_as_for_the_whole_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), "llama", TEMPLATE);
    let mut session = model.session().unwrap();
    session.add("system", "birds");
    let first = session.send("hello ", &short(), None).unwrap();
    let held = session.held_tokens();
    assert_eq!(session.messages().len(), 3);
    model.reset_counters();
    let second = session.send("and now?", &short(), None).unwrap();
    let fed = model.counters().stage(Stage::Prefill).tokens as usize;
    // The text of the first reply may tokenise differently from the generated tokens; the cache before it is kept.
    let kept = held - first.tokens.len();
    assert!(fed + kept <= session.held_tokens(), "{fed} tokens were computed, {held} were in the cache");
    let prompt = format!("<system>birds\n<user>hello\n<assistant>{}\n<user>and now?\n<assistant>", first.text.trim());
    let options = GenerateOptions { add_special_tokens: Some(false), ..short() };
    let whole = model.generate(&[&prompt], &options, None).unwrap();
    assert_eq!(second.tokens, whole.outputs[0][0].tokens);

    session.rewind(3);
    assert_eq!(session.send("and now?", &short(), None).unwrap(), second);
    session.rewind(0);
    assert!(session.messages().is_empty());
    session.add("system", "birds");
    assert_eq!(session.send("hello ", &short(), None).unwrap(), first);
    drop(session);
    let used = model.cache_bytes();
    let mut other = model.session().unwrap();
    other.send("hello", &short(), None).unwrap();
    assert!(model.cache_bytes() <= used, "the pages of a freed session were not reused");
}

#[test]
fn a_chat_has_one_reply_even_if_the_model_s_files_ask_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"do_sample": true, "num_return_sequences": 2, "eos_token_id": 1}"#;
    chatty(folder.path(), "llama", TEMPLATE);
    std::fs::write(folder.path().join("generation_config.json"), config).unwrap();
    let model = load(folder.path(), Device::Cpu, Precision::F32, 1);
    let mut session = model.session().unwrap();
    let mut pieces = 0;
    let options = GenerateOptions { max_new_tokens: Some(4), ignore_eos: true, ..GenerateOptions::default() };
    let mut listener = |piece: kinglet::Piece| {
        pieces += 1;
        piece.sequence == 0
    };
    session.send("hello", &options, Some(&mut listener)).unwrap();
    assert_eq!((pieces, session.messages().len()), (4, 2));
}

#[test]
fn a_failed_turn_leaves_the_chat_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let model = chatty(folder.path(), "gpt2", TEMPLATE);
    let mut session = model.session().unwrap();
    session.send("hello", &short(), None).unwrap();
    let before = session.messages().to_vec();
    let error = session.send("more", &short(), Some(&mut |_| false)).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    assert_eq!(session.messages(), before);
    let bad = GenerateOptions { temperature: Some(1.0), ..short() };
    assert!(session.send("more", &bad, None).unwrap_err().message().starts_with("temperature"));
    let long = "bird ".repeat(500);
    assert_eq!(session.send(long, &short(), None).unwrap_err().status(), Status::InvalidArgument);
    assert_eq!(session.messages(), before);
    assert!(session.send("more", &short(), None).is_ok());
}

#[test]
fn models_without_a_template_or_a_decoder_return_clear_errors() {
    let plain = load(&fixtures().join("generation/llama"), Device::Cpu, Precision::F32, 1);
    let error = plain.session().err().unwrap();
    assert!(error.status() == Status::Unsupported && error.message().contains("chat template"), "{error}");
    for fixture in ["generation/t5", "bert"] {
        let model = load(&fixtures().join(fixture), Device::Cpu, Precision::F32, 1);
        assert_eq!(model.session().err().unwrap().status(), Status::Unsupported, "{fixture}");
        assert_eq!(model.prefix("x", true, None).err().unwrap().status(), Status::Unsupported, "{fixture}");
    }
    let bert = load(&fixtures().join("bert"), Device::Cpu, Precision::F32, 1);
    let error = bert.generate(&["x"], &GenerateOptions::default(), None).unwrap_err();
    assert!(error.status() == Status::Unsupported && error.message().contains("generates no text"), "{error}");
}

#[test]
fn hostile_templates_are_errors() {
    for (template, what) in [
        ("{% for i in range(999999999) %}x{% endfor %}", "chat_template.jinja"),
        (
            "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
            "",
        ),
        ("{% if %}", "chat_template.jinja"),
        ("{{ raise_exception('no system prompts') }}", "no system prompts"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let model = chatty(folder.path(), "llama", template);
        let result = model.session().and_then(|mut session| session.send("hello", &short(), None));
        let error = result.expect_err(template);
        assert!(error.message().contains(what), "{template}: {error}");
    }
}

/// Without the cancellation this template would end with its budget, as an invalid file.
#[test]
fn a_template_that_takes_long_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let nested = "{% for i in range(100000) %}".repeat(2) + &"{% endfor %}".repeat(2);
    let model = chatty(folder.path(), "llama", &nested);
    let cancellation = Cancellation::new();
    cancellation.cancel();
    let mut session = model.session().unwrap();
    let error = session.send("hello", &short(), None).unwrap_err();
    assert_eq!(error.status(), Status::InvalidFile);
    let options = GenerateOptions { cancellation: Some(cancellation), ..short() };
    let error = session.send("hello", &options, None).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    assert!(session.messages().is_empty());
}
