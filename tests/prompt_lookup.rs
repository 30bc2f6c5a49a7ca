//! Prompt-lookup speculative decoding changes only the speed: tokens, log-probabilities, scores, finish reasons and pieces have the
//! same bits with and without drafts, under all other options. The counters show that steps were saved.

mod support;

use std::path::Path;

use kinglet::{
    Cancellation, Device, GenerateOptions, Generations, Grammar, LoadOptions, Model, Output, Piece, Precision, Stage,
};
use support::{bits, fixtures, load};

fn fixture(name: &str, precision: Precision, threads: usize) -> Model {
    load(&fixtures().join("generation").join(name), Device::Cpu, precision, threads)
}

/// Greedy, with everything that is compared.
fn greedy(tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: Some(tokens),
        num_beams: Some(1),
        do_sample: Some(false),
        logprobs: true,
        ..GenerateOptions::default()
    }
}

/// All tokens except these.
fn others(model: &Model, tokens: &[u32]) -> Option<Vec<u32>> {
    Some((0..model.vocabulary_size() as u32).filter(|token| !tokens.contains(token)).collect())
}

/// Few tokens to choose from, so that texts sometimes repeat: drafts are accepted, partly accepted and rejected.
fn narrow(model: &Model, tokens: usize) -> GenerateOptions {
    // Some models' files force tokens that would be suppressed here.
    let (first, last) = (Some(SOME[0]), Some(vec![SOME[1]]));
    let suppress_tokens = others(model, &SOME);
    GenerateOptions { suppress_tokens, forced_bos_token_id: first, forced_eos_token_id: last, ..greedy(tokens) }
}

fn drafting(options: &GenerateOptions, tokens: usize, ngram: usize) -> GenerateOptions {
    let (tokens, ngram) = (Some(tokens), Some(ngram));
    GenerateOptions { prompt_lookup_num_tokens: tokens, max_matching_ngram_size: ngram, ..options.clone() }
}

/// An output, its floats as bits.
type Exact = (String, Vec<u32>, Vec<u32>, u32, &'static str);

fn exact(o: &Output) -> Exact {
    (o.text.clone(), o.tokens.clone(), bits(&o.logprobs), o.score.to_bits(), o.finish_reason.name())
}

fn all(result: &Generations) -> Vec<Exact> {
    result.outputs.iter().flatten().map(exact).collect()
}

/// The pieces of each text: text, token and finish reason.
type Pieces = Vec<Vec<(String, u32, Option<&'static str>)>>;

fn run(model: &Model, inputs: &[Vec<u32>], options: &GenerateOptions) -> (Vec<Exact>, Pieces) {
    let (ids, lengths) = (inputs.concat(), inputs.iter().map(Vec::len).collect::<Vec<_>>());
    let mut pieces: Pieces = vec![Vec::new(); inputs.len()];
    let mut listener = |piece: Piece| {
        let finish = piece.finish_reason.map(|reason| reason.name());
        pieces[piece.index].push((piece.text.to_string(), piece.token, finish));
        true
    };
    let streamed = model.generate_ids(&ids, &lengths, options, Some(&mut listener)).unwrap();
    let whole = model.generate_ids(&ids, &lengths, options, None).unwrap();
    assert_eq!(all(&streamed), all(&whole));
    (all(&whole), pieces)
}

/// Prompts with and without repetitions.
fn inputs() -> Vec<Vec<u32>> {
    let range = |ids: std::ops::Range<u32>| ids.collect::<Vec<_>>();
    vec![
        [range(40..48), range(40..48), range(40..43)].concat(),
        vec![60; 9],
        range(100..117),
        vec![70],
        [range(45..50), vec![90], range(45..47)].concat(),
        [vec![41, 42], range(200..206), vec![41, 42]].concat(),
    ]
}

/// All inputs in one batch and in single calls, with and without drafts. Returns the number of accepted draft tokens.
fn check(at: &str, model: &Model, inputs: &[Vec<u32>], options: &GenerateOptions) -> u64 {
    let plain = run(model, inputs, options);
    model.reset_counters();
    for (tokens, ngram) in [(1, 1), (3, 2), (10, 3)] {
        let options = drafting(options, tokens, ngram);
        assert_eq!(run(model, inputs, &options), plain, "{at}: {tokens} tokens by {ngram}");
        for (i, input) in inputs.iter().enumerate() {
            let alone = run(model, std::slice::from_ref(input), &options);
            assert_eq!((&alone.0[0], &alone.1[0]), (&plain.0[i], &plain.1[i]), "{at}: input {i}, {tokens} by {ngram}");
        }
    }
    let counters = model.counters();
    let [decode, draft, accept, sample] =
        [Stage::Decode, Stage::Draft, Stage::Accept, Stage::Sample].map(|stage| counters.stage(stage));
    assert!(accept.tokens <= draft.tokens && decode.calls <= draft.calls, "{at}");
    // One token per sequence and step, plus the accepted draft tokens.
    assert_eq!(sample.tokens, sample.items + accept.tokens, "{at}");
    accept.tokens
}

const SOME: [u32; 7] = [40, 41, 42, 45, 60, 61, 70];

#[test]
fn every_family_writes_the_same_text() {
    let (mut accepted, mut seen) = (0, 0);
    for entry in std::fs::read_dir(fixtures().join("generation")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !fixtures().join("generation").join(&name).join("config.json").exists() {
            continue;
        }
        let model = fixture(&name, Precision::F32, 2);
        let (wide, narrow) = (greedy(32), narrow(&model, 48));
        // Without log-probabilities and forced tokens, tokens are selected without reading rows of logits.
        let suppress_tokens = others(&model, &[&SOME[..], &[0, 299]].concat());
        // The files of some force an end token, which these would suppress.
        let forced_eos_token_id = Some(Vec::new());
        let fast =
            GenerateOptions { suppress_tokens, forced_eos_token_id, logprobs: false, ignore_eos: true, ..greedy(48) };
        for options in [wide, narrow, fast] {
            accepted += check(&name, &model, &inputs(), &options);
        }
        seen += 1;
    }
    assert!(seen >= 19 && accepted > 2000, "{seen} fixtures, {accepted} tokens");
}

#[test]
fn drafts_change_nothing_in_any_precision_or_on_any_number_of_threads() {
    for name in ["gpt2", "gemma3", "t5-gated", "bart"] {
        for precision in [Precision::F32, Precision::F16, Precision::Int8, Precision::Int4] {
            let mut first = None;
            for threads in 1..=3 {
                let at = format!("{name} in {} on {threads} threads", precision.name());
                let model = fixture(name, precision, threads);
                let options = narrow(&model, 24);
                assert!(check(&at, &model, &inputs(), &options) > 0, "{at}");
                let result = run(&model, &inputs(), &drafting(&options, 5, 2));
                assert_eq!(first.get_or_insert_with(|| result.clone()), &result, "{at}");
            }
        }
    }
}

#[test]
fn drafts_change_nothing_under_any_other_option() {
    for name in ["llama", "t5-gated"] {
        let model = fixture(name, Precision::Int8, 2);
        // Tokens of several characters, so that there are stop strings to find.
        let base = GenerateOptions { ignore_eos: true, ..narrow(&model, 40) };
        let plain = run(&model, &inputs(), &base).0;
        let middle = plain[0].1[17];
        let text = &plain[0].0;
        let at = text.char_indices().nth(text.chars().count() / 2).unwrap().0;
        let stop: String = text[at..].chars().take(3).collect();
        let open = || GenerateOptions { ignore_eos: false, ..base.clone() };
        let o = || base.clone();
        for (what, options) in [
            ("an end in the middle", GenerateOptions { eos_token_id: Some(vec![middle]), ..open() }),
            (
                "an end that is late",
                GenerateOptions { eos_token_id: Some(vec![middle]), min_new_tokens: Some(21), ..open() },
            ),
            ("an end that is ignored", GenerateOptions { eos_token_id: Some(vec![middle]), ..o() }),
            ("a stop string", GenerateOptions { stop_strings: Some(vec!["never this".into(), stop]), ..o() }),
            ("repetition_penalty", GenerateOptions { repetition_penalty: Some(1.3), ..o() }),
            ("other penalties", GenerateOptions { presence_penalty: Some(0.5), frequency_penalty: Some(0.05), ..o() }),
            ("no_repeat_ngram_size 2", GenerateOptions { no_repeat_ngram_size: Some(2), ..greedy(40) }),
            ("no_repeat_ngram_size 4", GenerateOptions { no_repeat_ngram_size: Some(4), ..o() }),
            ("bad words", GenerateOptions { bad_words_ids: Some(vec![vec![41], plain[0].1[3..5].to_vec()]), ..o() }),
            ("no first token", GenerateOptions { begin_suppress_tokens: Some(plain[0].1[..1].to_vec()), ..o() }),
            (
                "forced tokens",
                GenerateOptions {
                    forced_bos_token_id: Some(61),
                    forced_eos_token_id: Some(vec![45]),
                    suppress_tokens: None,
                    ..open()
                },
            ),
            ("no log-probabilities", GenerateOptions { logprobs: false, ..o() }),
            ("special tokens", GenerateOptions { skip_special_tokens: Some(false), ..open() }),
            ("one token", GenerateOptions { max_new_tokens: Some(1), ..o() }),
            ("two tokens", GenerateOptions { max_new_tokens: Some(2), ..o() }),
            ("all positions", GenerateOptions { max_new_tokens: Some(100), ..o() }),
        ] {
            check(&format!("{name}: {what}"), &model, &inputs(), &options);
        }
    }
}

#[test]
fn drafts_change_nothing_under_a_grammar() {
    let model = load(&t5_ir(), Device::Cpu, Precision::Auto, 2);
    let schema = r#"{"type": "array", "items": {"enum": ["add", "sub", "add i32"]}, "minItems": 6, "maxItems": 9}"#;
    for grammar in [Grammar::Regex("(ret i(8|32) %[ab]; ){5,8}".into()), Grammar::JsonSchema(schema.into())] {
        let options = GenerateOptions { grammar: Some(grammar), ..greedy(90) };
        let input = model.tokenize(&[QUESTION], None, &Default::default(), None).unwrap().ids().to_vec();
        assert!(check("a grammar", &model, &[input.clone(), input], &options) > 20);
    }
}

#[test]
fn longrope_switches_frequencies_at_the_same_length_with_drafts() {
    // The rotary frequencies change beyond 40 tokens. The prompts end before, at and after that.
    for precision in [Precision::F32, Precision::Int8] {
        let model = fixture("phi3-longrope", precision, 2);
        let options = GenerateOptions { suppress_tokens: others(&model, &[40, 41]), ..greedy(50) };
        for length in [3, 20, 34, 38, 39, 40, 41, 44] {
            let input: Vec<u32> = [40, 41, 41].into_iter().cycle().take(length).collect();
            assert!(check(&format!("{length} tokens"), &model, &[input, vec![40; 37]], &options) > 0);
        }
    }
}

/// Beyond 48 tokens the rotary frequencies change with every length; the prompts end before, at and after that.
#[test]
fn dynamic_frequencies_are_those_of_each_length_with_drafts() {
    for precision in [Precision::F32, Precision::Int8] {
        let model = fixture("llama-dynamic", precision, 2);
        let options = GenerateOptions { suppress_tokens: others(&model, &[40, 41]), ..greedy(40) };
        for length in [3, 40, 46, 47, 48, 49, 60] {
            let input: Vec<u32> = [40, 41, 41].into_iter().cycle().take(length).collect();
            check(&format!("{length} tokens"), &model, &[input, vec![40; 45]], &options);
        }
    }
}

#[test]
fn drafts_that_are_always_accepted_save_steps() {
    for name in ["gpt2", "t5"] {
        let model = fixture(name, Precision::Int8, 2);
        // Only one token is allowed.
        let options = GenerateOptions { suppress_tokens: others(&model, &[60]), ignore_eos: true, ..greedy(70) };
        let inputs = [vec![60; 9], vec![61]];
        let steps = |options: &GenerateOptions| {
            model.reset_counters();
            let result = model.generate_ids(&inputs.concat(), &[9, 1], options, None).unwrap();
            let counters = model.counters();
            let [decode, draft, accept] =
                [Stage::Decode, Stage::Draft, Stage::Accept].map(|stage| counters.stage(stage));
            (all(&result), decode, draft, accept)
        };
        let (plain, decode, draft, accept) = steps(&options);
        assert_eq!((decode.calls, draft.calls, accept.calls), (69, 0, 0));
        let (drafted, decode, draft, accept) = steps(&drafting(&options, 10, 2));
        assert_eq!(drafted, plain);
        assert_eq!(draft.tokens, accept.tokens, "{name}");
        assert!((6..=14).contains(&decode.calls), "{name}: {} steps", decode.calls);
        assert_eq!(decode.tokens, 2 * 69, "{name}: a token was computed twice");
    }
}

#[test]
fn drafts_that_are_always_rejected_cost_one_row_per_step() {
    let model = fixture("gpt2", Precision::Int8, 2);
    // In the prompt, each allowed token is followed by a forbidden one.
    let some = [40, 41, 42];
    let prompt: Vec<u32> = some.iter().flat_map(|&token| [token, 60]).collect();
    let words = others(&model, &some).unwrap().into_iter().map(|token| vec![token]).collect();
    let options = GenerateOptions { bad_words_ids: Some(words), ignore_eos: true, ..greedy(60) };
    let plain = all(&model.generate_ids(&prompt, &[6], &options, None).unwrap());
    model.reset_counters();
    let result = model.generate_ids(&prompt, &[6], &drafting(&options, 10, 1), None).unwrap();
    assert_eq!(all(&result), plain);
    let counters = model.counters();
    let [decode, draft, accept] = [Stage::Decode, Stage::Draft, Stage::Accept].map(|stage| counters.stage(stage));
    assert_eq!((decode.calls, accept.calls, accept.tokens), (59, draft.items, 0));
    // The first draft has the maximum length, later ones have one token.
    assert!(draft.items == 58 && (58..=67).contains(&draft.tokens), "{draft:?}");
}

#[test]
fn a_text_without_a_match_runs_as_without_drafts() {
    let model = fixture("llama", Precision::F32, 1);
    // No token occurs twice, neither in the prompt nor in the output.
    let options = GenerateOptions { no_repeat_ngram_size: Some(1), ignore_eos: true, ..greedy(40) };
    let run = |options: &GenerateOptions| {
        model.reset_counters();
        let result = model.generate_ids(&[5, 6, 7, 8], &[4], options, None).unwrap();
        let counters = model.counters();
        let [decode, draft] = [Stage::Decode, Stage::Draft].map(|stage| counters.stage(stage));
        (all(&result), decode.calls, decode.tokens, draft.tokens)
    };
    assert_eq!(run(&drafting(&options, 10, 3)), run(&options));
}

const QUESTION: &str = "function @add: that takes two int values %a and %b and returns their sum";

fn t5_ir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/t5-ir.kinglet")
}

#[test]
fn the_real_t5_of_the_demo_copies_from_its_source() {
    let text = std::fs::read_to_string(fixtures().join("t5-ir/reference.jsonl")).unwrap();
    let cases: Vec<serde_json::Value> = text.lines().take(48).map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = cases.iter().map(|case| case["input"].as_str().unwrap()).collect();
    let mut first = None;
    for threads in 1..=3 {
        let model = load(&t5_ir(), Device::Cpu, Precision::Auto, threads);
        let plain = all(&model.generate(&texts, &greedy(128), None).unwrap());
        assert_eq!(first.get_or_insert_with(|| plain.clone()), &plain);
        let steps = |model: &Model| model.counters().stage(Stage::Decode).calls;
        model.reset_counters();
        for (text, expected) in texts.iter().zip(&plain).take(8) {
            assert_eq!(all(&model.generate(&[text], &greedy(128), None).unwrap())[0], *expected);
        }
        let before = steps(&model);
        model.reset_counters();
        for (text, expected) in texts.iter().zip(&plain).take(8) {
            let result = model.generate(&[text], &drafting(&greedy(128), 8, 2), None).unwrap();
            assert_eq!(all(&result)[0], *expected, "{text}");
        }
        assert!(steps(&model) < before, "{} steps, and {before} without drafts", steps(&model));
        assert_eq!(all(&model.generate(&texts, &drafting(&greedy(128), 8, 2), None).unwrap()), plain);
    }
}

/// `KINGLET_SMOLLM2`, or else `build/models/smollm2.gguf`, which `make test` fetches.
#[test]
fn the_real_smollm2_writes_the_same_text() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/models/smollm2.gguf");
    let path = std::env::var_os("KINGLET_SMOLLM2").map_or(default, std::path::PathBuf::from);
    if !path.exists() {
        eprintln!("skipped: {} does not exist; `make test` fetches it", path.display());
        return;
    }
    let prompts = [
        "<|im_start|>user\nRepeat this word for word: The small bird sings near the river.<|im_end|>\n<|im_start|>assistant\n",
        "one two three one two three one two three one",
        "The capital of France is",
    ];
    for precision in [Precision::F16, Precision::Int8] {
        let model = load(&path, Device::Cpu, precision, 2);
        let plain = all(&model.generate(&prompts, &greedy(24), None).unwrap());
        model.reset_counters();
        let options = drafting(&greedy(24), 10, 2);
        assert_eq!(all(&model.generate(&prompts, &options, None).unwrap()), plain, "{}", precision.name());
        assert!(model.counters().stage(Stage::Accept).tokens > 10);
    }
}

#[test]
fn chats_and_prefixes_continue_from_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("generation/llama")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.path().join("chat_template.jinja"), "{% for m in messages %}{{ m.content }}\n{% endfor %}")
        .unwrap();
    let model = load(folder.path(), Device::Cpu, Precision::Int8, 2);
    let plain = narrow(&model, 16);
    let chat = |options: &GenerateOptions| {
        let mut session = model.session().unwrap();
        let turn = |text: &str| {
            let output = session.send(text, options, None).unwrap();
            (exact(&output), session.held_tokens())
        };
        ["a bird", "a river", "a"].map(turn)
    };
    assert_eq!(chat(&drafting(&plain, 6, 2)), chat(&plain));
    let prefix = Some(model.prefix("The small bird", true, None).unwrap());
    let options = GenerateOptions { prefix, ..plain };
    let texts = ["The small bird sings", "The small bird The small bird", "Else"];
    let generate = |options: &GenerateOptions| all(&model.generate(&texts, options, None).unwrap());
    assert_eq!(generate(&drafting(&options, 6, 2)), generate(&options));
}

#[test]
fn no_piece_follows_the_one_that_cancelled() {
    let model = fixture("gpt2", Precision::F32, 1);
    let options = GenerateOptions { suppress_tokens: others(&model, &[60]), ignore_eos: true, ..greedy(60) };
    for stop in 2..30 {
        let cancellation = Cancellation::new();
        let options = GenerateOptions { cancellation: Some(cancellation.clone()), ..drafting(&options, 10, 2) };
        let mut pieces = 0;
        let mut listener = |_: Piece| {
            pieces += 1;
            if pieces == stop {
                cancellation.cancel();
            }
            true
        };
        let error = model.generate_ids(&[60; 5], &[5], &options, Some(&mut listener)).unwrap_err();
        assert_eq!((error.status(), pieces), (kinglet::Status::Cancelled, stop));
    }
}

#[test]
fn the_answer_cache_ignores_whether_drafts_were_used() {
    let path = fixtures().join("generation/llama");
    let model = Model::load(path, LoadOptions { answer_cache: 1 << 20, threads: 1, ..LoadOptions::default() }).unwrap();
    let first = model.generate(&["a bird"], &greedy(20), None).unwrap();
    let again = model.generate(&["a bird"], &drafting(&greedy(20), 6, 2), None).unwrap();
    assert_eq!(all(&first), all(&again));
    assert_eq!(model.counters().stage(Stage::AnswerHit).calls, 1);
}
