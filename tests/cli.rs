//! The command line, run as a user runs it: the built program, tiny models, and transformers' numbers beside its own.

#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const TOLERANCE: f64 = 1e-4;
/// Those that this build has; the last one differs from the default if any does.
const DEVICES: &[&str] = if cfg!(feature = "candle") { &["cpu", "candle-cpu"] } else { &["cpu"] };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The cases of a fixture's `reference.json`.
fn cases(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixture(name).join("reference.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    reference["cases"].as_array().unwrap().clone()
}

fn command(verb: &str, model: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.arg(verb).arg("--model").arg(fixture(model));
    command
}

/// Runs to the end with `input` on standard input.
fn feed(mut command: Command, input: impl AsRef<[u8]>) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.as_ref().to_vec());
    // From a thread of its own, so that neither side waits for the other; a program that ends early breaks this pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Standard output of a run that must succeed.
fn run(verb: &str, model: &str, arguments: &[&str], input: &str) -> String {
    let mut command = command(verb, model);
    command.args(arguments);
    let output = feed(command, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{verb} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON objects of a run that must succeed, one per line.
fn run_json(verb: &str, model: &str, arguments: &[&str], input: &str) -> Vec<Value> {
    let arguments = [arguments, &["--json"]].concat();
    run(verb, model, &arguments, input).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The exit status of a command line that is wrong, and of work that failed.
const USAGE: i32 = 2;
const FAILED: i32 = 1;

/// Standard error of a run that must fail with `status` and one message of Kinglet's.
fn fails(status: i32, verb: &str, model: &str, arguments: &[&str], input: &str) -> String {
    let mut command = command(verb, model);
    command.args(arguments);
    let output = feed(command, input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{verb} {arguments:?}: {errors}");
    assert!(errors.starts_with("kinglet: "), "{errors}");
    errors
}

fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().unwrap_or_else(|| panic!("{number} is not a number"))],
    }
}

#[track_caller]
fn assert_close(got: &Value, wanted: &Value) {
    let (got, wanted) = (floats(got), floats(wanted));
    assert_eq!(got.len(), wanted.len());
    for (got, wanted) in got.iter().zip(&wanted) {
        assert!((got - wanted).abs() <= TOLERANCE, "{got} instead of {wanted}");
    }
}

fn text(case: &Value) -> &str {
    case["text"].as_str().unwrap()
}

/// The cases that fit on a line.
fn lines_of(cases: &[Value]) -> Vec<&Value> {
    cases.iter().filter(|c| c["pair"].is_null() && !text(c).contains(['\n', '\t'])).collect()
}

fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(|text| format!("{text}\n")).collect()
}

#[test]
fn embeddings_from_arguments_lines_and_jsonl_are_the_reference_s() {
    let all = cases("bert");
    let cases = lines_of(&all);
    let texts: Vec<&str> = cases.iter().map(|c| text(c)).collect();
    let json =
        joined(texts.iter().map(|t| json!({"id": 1, "body": t}).to_string()).collect::<Vec<_>>().iter().map(|s| &**s));

    let precise = ["--precision", "f32", "--threads", "2"];
    let from_arguments = run_json("embed", "bert", &[&precise[..], &texts].concat(), "");
    let from_lines =
        run_json("embed", "bert", &[&precise[..], &["--batch-size", "2"]].concat(), &joined(texts.clone()));
    let from_jsonl = run_json("embed", "bert", &[&precise[..], &["--jsonl", "body"]].concat(), &json);
    assert_eq!(from_arguments, from_lines);
    assert_eq!(from_arguments, from_jsonl);
    assert_eq!(from_arguments.len(), cases.len());
    for (line, case) in from_arguments.iter().zip(cases) {
        assert_eq!(line["text"], case["text"]);
        assert_eq!(line["truncated"], case["truncated"]);
        assert_close(&line["embedding"], &case["embedding"]);
    }
}

#[test]
fn embeddings_for_people_have_six_digits_a_text_a_line() {
    let case = &cases("bert")[0];
    let shown = run("embed", "bert", &[text(case), "the river"], "");
    assert_eq!(shown.lines().count(), 2);
    let row: Vec<f64> = shown.lines().next().unwrap().split(' ').map(|v| v.parse().unwrap()).collect();
    assert_close(&json!(row), &case["embedding"]);
}

#[test]
fn pooling_and_normalisation_can_be_overruled() {
    let case = &cases("bert")[0];
    let hidden = case["hidden"].as_array().unwrap();
    let line = |options: &[&str]| run_json("embed", "bert", &[options, &[text(case)]].concat(), "").remove(0);
    let plain = ["--normalize", "no", "--pooling"];
    assert_close(&line(&[&plain[..], &["cls"]].concat())["embedding"], &hidden[0]);
    assert_close(&line(&[&plain[..], &["last"]].concat())["embedding"], &hidden[hidden.len() - 1]);
    let by_token = line(&[&plain[..], &["none"]].concat());
    assert_eq!(by_token["embedding"].as_array().unwrap().len(), hidden.len());
    assert_close(&by_token["embedding"], &case["hidden"]);
    let normalised = floats(&line(&["--pooling", "cls", "--normalize", "yes"])["embedding"]);
    assert!((normalised.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-5);
    // One line a token, an empty one after each text.
    let shown = run("embed", "bert", &["--pooling", "none", text(case)], "");
    assert_eq!(shown.lines().count(), hidden.len() + 1);
}

#[test]
fn prompts_and_fewer_dimensions() {
    let embedding = |arguments: &[&str]| {
        let lines = run_json("embed", "bert", arguments, "");
        lines[0]["embedding"].as_array().unwrap().clone()
    };
    let whole = embedding(&["small bird"]);
    assert_eq!(embedding(&["--prompt", "small ", "bird"]), whole);
    assert_eq!(embedding(&["--prompt-name", "query", "small bird"]), whole);
    assert_eq!(embedding(&["--truncate-dim", "8", "small bird"]), whole[..8]);
    let pair = |query: &str| json!({ "q": query, "d": "The river runs dry." }).to_string();
    let scored = |query: &str, more: &[&str]| {
        let arguments = [&["--score", "--jsonl", "q", "--pair-field", "d"], more].concat();
        run_json("classify", "roberta-cross-encoder", &arguments, &pair(query))[0]["scores"].clone()
    };
    assert_eq!(scored("does it go?", &["--prompt", "Where "]), scored("Where does it go?", &[]));
    for (arguments, named) in [
        (&["--prompt-name", "passage", "a"][..], "prompt_name: `passage` is unknown"),
        (&["--truncate-dim", "0", "a"], "truncate_dim: is 0"),
    ] {
        assert!(fails(USAGE, "embed", "bert", arguments, "").contains(named), "{arguments:?}");
    }
    let refused = fails(USAGE, "classify", "bert-token-classifier", &["--prompt", "b", "a"], "");
    assert!(refused.contains("prompt: texts whose tokens are classified have no prompt"), "{refused}");
}

#[test]
fn truncation_is_told() {
    let case = cases("bert").into_iter().find(|c| c["truncated"] == true).unwrap();
    let mut command = command("embed", "bert");
    command.args(["--json", text(&case), "bird"]);
    let output = feed(command, "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "kinglet: 1 text was too long and was cut\n");
    let lines = run_json("tokenize", "bert", &["--max-length", "3", "the small bird", ""], "");
    assert_eq!((&lines[0]["truncated"], lines[0]["ids"].as_array().unwrap().len()), (&json!(true), 3));
    assert_eq!(lines[1].get("truncated"), None);
}

/// Fields that are not known, modules that are not computed and options of generation that are not supported change what a user gets.
#[test]
fn warnings_of_the_load_go_to_standard_error() {
    let copy = |from: &str| {
        let folder = tempfile::tempdir().unwrap();
        for inner in ["", "1_Pooling"] {
            std::fs::create_dir_all(folder.path().join(inner)).unwrap();
            for entry in std::fs::read_dir(fixture(from).join(inner)).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    std::fs::copy(&path, folder.path().join(inner).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        folder
    };
    let edit = |folder: &Path, file: &str, more: Value| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".into());
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        std::fs::write(path, value.to_string()).unwrap();
    };
    let told = |verb: &str, folder: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
        command.arg(verb).arg("--model").arg(folder).args(arguments);
        let output = feed(command, "");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        assert!(!String::from_utf8(output.stdout).unwrap().contains("warning"));
        errors
    };
    let folder = copy("bert");
    assert_eq!(told("embed", folder.path(), &["bird"]), "");
    edit(folder.path(), "config.json", json!({ "hue": 1 }));
    edit(folder.path(), "tokenizer_config.json", json!({ "shade": 1 }));
    edit(folder.path(), "config_sentence_transformers.json", json!({ "tint": 1, "prompts": {} }));
    let modules = json!([
        { "type": "sentence_transformers.models.Transformer", "path": "", "tone": 1 },
        { "type": "sentence_transformers.models.LSTM", "path": "1_LSTM" },
    ]);
    std::fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    let errors = told("embed", folder.path(), &["--pooling", "mean", "bird"]);
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("kinglet: warning: ")), "{errors}");
    for part in
        ["hue, ", "shade (tokenizer_config.json)", "tint (config_sentence_transformers.json)", "tone (modules.json)"]
    {
        assert!(lines[0].contains("not known and not used") && lines[0].contains(part), "{part}: {errors}");
    }
    assert!(lines[1].contains("LSTM` is not supported; a call that names a pooling embeds without it"), "{errors}");

    let folder = copy("generation/gpt2");
    edit(folder.path(), "generation_config.json", json!({ "guidance_scale": 3.0, "glow": 1 }));
    let errors = told("embed", folder.path(), &["bird"]);
    assert!(errors.contains("kinglet: warning: ") && errors.contains("guidance_scale, which generation"), "{errors}");
    assert!(errors.contains("not used: glow"), "{errors}");

    let folder = copy("bert");
    edit(folder.path(), "tokenizer_config.json", json!({ "model_max_length": 3 }));
    let _no_file = std::fs::remove_file(folder.path().join("sentence_bert_config.json"));
    let errors = told("embed", folder.path(), &["the small bird sings near the river"]);
    assert_eq!(errors, "kinglet: 1 text was too long and was cut\n");
}

fn softmax(logits: &Value) -> Vec<f64> {
    let exps: Vec<f64> = floats(logits).into_iter().map(f64::exp).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

#[test]
fn classification_of_texts_and_pairs() {
    let all = cases("bert-classifier");
    let (pairs, singles): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|c| c["pair"].is_string());
    let arguments: Vec<&str> = singles.iter().map(|c| text(c)).collect();
    let got = run_json("classify", "bert-classifier", &[&["--precision", "f32"][..], &arguments].concat(), "");
    let jsonl = pairs.iter().map(|c| format!("{}\n", json!({"a": c["text"], "b": c["pair"]}))).collect::<String>();
    let got_pairs = run_json("classify", "bert-classifier", &["--jsonl", "a", "--pair-field", "b"], &jsonl);
    assert_eq!((got.len(), got_pairs.len()), (singles.len(), pairs.len()));
    for (line, case) in got.iter().chain(&got_pairs).zip(singles.iter().chain(&pairs)) {
        assert_eq!(line["text"], case["text"]);
        assert_eq!(line["pair"], case["pair"]);
        let wanted = softmax(&case["logits"]);
        assert_close(&json!([line["scores"]["NEGATIVE"], line["scores"]["POSITIVE"]]), &json!(wanted));
        let best = usize::from(wanted[1] > wanted[0]);
        assert_eq!(line["label"], ["NEGATIVE", "POSITIVE"][best]);
        assert_close(&line["score"], &json!(wanted[best]));
    }

    // The same pairs, as arguments and as lines.
    let arguments: Vec<&str> = pairs.iter().flat_map(|c| [text(c), c["pair"].as_str().unwrap()]).collect();
    let tabbed: String = arguments.chunks(2).map(|pair| format!("{}\t{}\n", pair[0], pair[1])).collect();
    assert_eq!(run_json("classify", "bert-classifier", &[&["--pairs"][..], &arguments].concat(), ""), got_pairs);
    assert_eq!(run_json("classify", "bert-classifier", &["--pairs"], &tabbed), got_pairs);

    let raw = run_json("classify", "bert-classifier", &["--function", "none", text(singles[0])], "");
    assert_close(&json!([raw[0]["scores"]["NEGATIVE"], raw[0]["scores"]["POSITIVE"]]), &singles[0]["logits"]);
    let shown = run("classify", "bert-classifier", &["a\tbird\n"], "");
    let columns: Vec<&str> = shown.trim_end().split('\t').collect();
    assert!(columns.len() == 3 && columns[2] == "a\\tbird\\n" && columns[1].parse::<f64>().is_ok(), "{shown}");
}

#[test]
fn a_cross_encoder_scores_pairs() {
    let all = cases("roberta-cross-encoder");
    let pairs: Vec<&Value> = all.iter().filter(|c| c["pair"].is_string()).collect();
    let arguments: Vec<&str> = pairs.iter().flat_map(|c| [text(c), c["pair"].as_str().unwrap()]).collect();
    let got = run_json("classify", "roberta-cross-encoder", &[&["--score"][..], &arguments].concat(), "");
    assert_eq!(got.len(), pairs.len());
    for (line, case) in got.iter().zip(&pairs) {
        let logit = floats(&case["logits"])[0];
        assert_close(&line["score"], &json!(1.0 / (1.0 + (-logit).exp())));
        assert_eq!(line.get("label"), None);
    }
    let shown = run("classify", "roberta-cross-encoder", &[&["--score"][..], &arguments[..2]].concat(), "");
    assert!(shown.trim_end().ends_with(&format!("\t{}\t{}", arguments[0], arguments[1])), "{shown}");
}

#[test]
fn documents_are_ranked() {
    let documents = ["a stone falls", "a small bird", "the river"];
    let pairs: Vec<&str> = documents.iter().flat_map(|document| ["what flies?", document]).collect();
    let scores = run_json("classify", "roberta-cross-encoder", &[&["--score"], &pairs[..]].concat(), "");
    let score = |i: usize| scores[i]["score"].as_f64().unwrap();
    let mut order = [0, 1, 2];
    order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    let ranked =
        run_json("rerank", "roberta-cross-encoder", &[&["--query", "what flies?"], &documents[..]].concat(), "");
    for (line, &i) in ranked.iter().zip(&order) {
        assert_eq!(line, &json!({"index": i, "score": scores[i]["score"], "text": documents[i]}));
    }
    assert_eq!(ranked.len(), 3);
    let options = ["-q", "what flies?", "--top-n", "1"];
    let best = run("rerank", "roberta-cross-encoder", &options, &joined(documents));
    assert!(
        best.lines().count() == 1 && best.ends_with(&format!("\t{}\t{}\n", order[0], documents[order[0]])),
        "{best}"
    );
    let refused = fails(FAILED, "rerank", "bert-classifier", &["-q", "a", "b"], "");
    assert!(refused.contains("2 labels"), "{refused}");
}

#[test]
fn a_file_is_searched() {
    let folder = tempfile::tempdir().unwrap();
    let texts = ["a small bird", "the river", "a stone falls", "the quickest of its woods"];
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    };
    let lines = file("corpus.txt", joined(texts));
    // Each text finds itself first, in each type, and with embeddings that were made before.
    let embedded = run("embed", "bert", &[&["--json"], &texts[..]].concat(), "");
    let embedded = file("corpus.jsonl", embedded);
    for corpus in [&["--corpus", &lines][..], &["--corpus", &embedded, "--corpus-format", "jsonl"]] {
        for kind in ["float32", "int8", "uint8", "binary", "ubinary"] {
            let options = [corpus, &["--type", kind, "--top-k", "2"]].concat();
            let found = run_json("search", "bert", &options, &joined(texts));
            for (i, line) in found.iter().enumerate() {
                assert_eq!((&line["text"], line["hits"].as_array().unwrap().len()), (&json!(texts[i]), 2));
                let best = &line["hits"][0];
                assert!(kind != "float32" || (best["score"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{best}");
                if kind == "float32" {
                    assert_eq!((&best["index"], &best["text"]), (&json!(i), &json!(texts[i])), "{kind}");
                }
            }
        }
    }
    let shown = run("search", "bert", &["--corpus", &lines, "-k", "9", "the river", "a small bird"], "");
    let shown: Vec<&str> = shown.lines().collect();
    assert!(shown.len() == 9 && shown[4].is_empty() && shown[0].ends_with("\t1\tthe river"), "{shown:?}");

    let codes = run_json("embed", "bert", &[&["--type", "ubinary"], &texts[..]].concat(), "");
    let values = run_json("embed", "bert", &texts, "");
    for (codes, values) in codes.iter().zip(&values) {
        let bits = floats(&values["embedding"])
            .chunks(8)
            .map(|eight| eight.iter().fold(0, |byte, &x| byte << 1 | u32::from(x > 0.0)))
            .collect::<Vec<u32>>();
        assert_eq!(codes["embedding"], json!(bits));
    }
    let steps = run("embed", "bert", &[&["--type", "int8"], &texts[..]].concat(), "");
    let columns: Vec<Vec<i32>> =
        steps.lines().map(|row| row.split(' ').map(|x| x.parse().unwrap()).collect()).collect();
    assert!((0..32).all(|i| columns.iter().any(|row| row[i] == -128) && columns.iter().any(|row| row[i] >= 126)));

    let missing = fails(FAILED, "search", "bert", &["--corpus", "nowhere", "a"], "");
    assert!(missing.contains("nowhere"), "{missing}");
    for (line, says) in [
        ("{\"text\": \"a\", \"embedding\": [1]}", "line 1: field \"embedding\" is not a list of the 32 numbers"),
        ("{\"id\": 1}", "line 1: field \"text\" is missing"),
        ("a", "line 1: not JSON"),
    ] {
        let path = file("wrong.jsonl", line.to_string());
        let error = fails(FAILED, "search", "bert", &["--corpus", &path, "--corpus-format", "jsonl", "a"], "");
        assert!(error.contains(says), "{error}");
    }
    let error = fails(USAGE, "search", "bert", &["--corpus", &lines, "--similarity", "hamming", "a"], "");
    assert!(error.contains("similarity: hamming is not for"), "{error}");
    let error = fails(USAGE, "embed", "bert", &["--type", "int8", "--pooling", "none", "a"], "");
    assert!(error.contains("--type: vectors of tokens"), "{error}");
}

#[test]
fn a_head_for_tokens_is_used_unasked() {
    let names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];
    let case = cases("bert-token-classifier").remove(5);
    let rows: Vec<Vec<f64>> = case["logits"].as_array().unwrap().iter().map(softmax).collect();
    let offsets = case["offsets"].as_array().unwrap();
    // The text is ASCII: its bytes are its characters. The first and last tokens are special.
    assert!(text(&case).is_ascii());
    let inner = 1..rows.len() - 1;
    let wanted: Vec<(String, f64, Value)> = inner
        .map(|i| {
            let best = (0..names.len()).max_by(|&a, &b| rows[i][a].total_cmp(&rows[i][b])).unwrap();
            (names[best].to_string(), rows[i][best], offsets[i].clone())
        })
        .filter(|(name, ..)| name != "O")
        .collect();
    assert!(!wanted.is_empty());
    for options in [&["--aggregation", "none"][..], &["--aggregation", "none", "--tokens"]] {
        let line = run_json("classify", "bert-token-classifier", &[options, &[text(&case)]].concat(), "").remove(0);
        let got = line["entities"].as_array().unwrap();
        assert_eq!(got.len(), wanted.len());
        for (got, (name, score, offsets)) in got.iter().zip(&wanted) {
            assert_eq!((got["entity"].as_str(), json!([got["start"], got["end"]])), (Some(&**name), offsets.clone()));
            assert_close(&got["score"], &json!(score));
            let range = got["start"].as_u64().unwrap() as usize..got["end"].as_u64().unwrap() as usize;
            assert_eq!(got["text"], text(&case)[range]);
        }
    }
    let joined = run_json("classify", "bert-token-classifier", &[text(&case)], "").remove(0);
    assert!(joined["entities"].as_array().unwrap().len() <= wanted.len());
    assert_eq!(
        run("classify", "bert-token-classifier", &["a", "b"], "").lines().filter(|l| !l.starts_with('\t')).count(),
        2
    );
}

#[test]
fn tokens_there_and_back() {
    for model in ["bert-classifier", "roberta-cross-encoder"] {
        for case in cases(model) {
            let pair = case["pair"].as_str();
            let arguments: Vec<&str> = match pair {
                Some(pair) => vec!["--pairs", text(&case), pair],
                None => vec![text(&case)],
            };
            let line = run_json("tokenize", model, &arguments, "").remove(0);
            for key in ["text", "pair", "ids", "type_ids"] {
                assert_eq!(line[key], case[key], "{model}: {case}");
            }
        }
    }
    let case = &cases("bert")[2];
    let line = run_json("tokenize", "bert", &["--offsets", text(case)], "").remove(0);
    assert_eq!((&line["ids"], &line["offsets"]), (&case["ids"], &case["offsets"]));
    let ids: Vec<String> = case["ids"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(run("tokenize", "bert", &[text(case)], ""), ids.join(" ") + "\n");
    let shown = run("tokenize", "bert", &["--offsets", "--no-special-tokens", "bird"], "");
    assert!(shown.starts_with(&format!("{}:0-", cases("bert")[0]["ids"][1])), "{shown}");

    let decode = ["--decode", "--no-special-tokens"];
    let from_argument = run("tokenize", "bert", &[&decode[..], &[&ids.join(",")]].concat(), "");
    assert!(from_argument.starts_with("the small bird sings"), "{from_argument}");
    assert_eq!(run("tokenize", "bert", &decode, &(ids.join(" ") + "\n")), from_argument);
    let from_json = run_json("tokenize", "bert", &[&decode[..], &["--jsonl", "ids"]].concat(), &format!("{line}\n"));
    assert_eq!(from_json[0]["text"], from_argument.trim_end());
    assert!(run("tokenize", "bert", &["--decode", &ids.join(",")], "").starts_with("[CLS]"));
}

#[test]
fn hidden_states_are_the_reference_s() {
    for model in ["bert", "bert-classifier", "roberta-cross-encoder", "bert-token-classifier"] {
        let cases = cases(model);
        let list = |value: &Value| value.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",");
        for &device in DEVICES {
            let mut arguments = vec!["--precision".to_string(), "f32".into(), "--device".into(), device.into()];
            for case in &cases {
                arguments.extend(["--ids".into(), list(&case["ids"]), "--type-ids".into(), list(&case["type_ids"])]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let lines = run_json("hidden", model, &arguments, "");
            assert_eq!(lines.len(), cases.len());
            for (line, case) in lines.iter().zip(&cases) {
                assert_eq!(line["ids"], case["ids"]);
                assert_close(&line["hidden"], &case["hidden"]);
            }
        }
    }
    let case = &cases("bert")[1];
    let (a, b) = (&case["ids"][0], &case["ids"][1]);
    let shown = run("hidden", "bert", &["--ids", &format!("{a},{b}"), "--ids", &a.to_string()], "");
    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows.len() == 4 && rows[2].is_empty(), "{shown}");
    let row: Vec<f64> = rows[0].split(' ').map(|v| v.parse().unwrap()).collect();
    assert_close(&json!(row), &case["hidden"][0]);
}

#[test]
fn bench_keeps_its_contract() {
    let arguments = "--task embed --batch 3 --input-tokens 4-9 --output-tokens 0 --beams 1 --precision int8 \
                     --threads 2 --repeat 3 --json";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let shown = run("bench", "bert", &arguments, "");
    let figures: Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    for key in ["p50_ms", "tokens_per_s", "load_ms", "peak_rss_mb"] {
        assert!(figures[key].as_f64().is_some_and(|v| v > 0.0), "{key} in {figures}");
    }
    assert_eq!(
        (&figures["engine"], &figures["precision"], &figures["threads"]),
        (&json!("kinglet"), &json!("int8"), &json!(2))
    );
    assert!(figures["isa"].is_string());
    let table = run("bench", "bert", &["--batch", "2", "--input-tokens", "5", "--repeat", "4"], "");
    for part in ["tokens/s", "median", "mean", "std. deviation", "p90", "p95", "p99", "attention", "linear"] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
    assert!(fails(FAILED, "bench", "bert", &["--task", "generate"], "").contains("generates no text"));
    assert!(fails(USAGE, "bench", "bert", &["--input-tokens", "9-4"], "").contains("LOW-HIGH"));
}

#[test]
fn batch_sizes_are_suggested_from_a_calibration_that_is_kept() {
    let folder = std::env::temp_dir().join(format!("kinglet-batch-size-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("bert.json");
    let kept = ["--calibration", file.to_str().unwrap(), "--calibration-time", "0.2", "--json"];
    let suggest = |model: &str, more: &[&str]| -> Value {
        serde_json::from_str(&run("suggest-batch-size", model, &[more, &kept].concat(), "")).unwrap()
    };
    let found = suggest("bert", &["--input-tokens", "12", "--input-spread", "4", "--sweep"]);
    assert!(found["batch_size"].as_u64() >= Some(1) && found["texts_per_s"].as_f64() > Some(0.0), "{found}");
    assert!(found["explanation"].as_str().unwrap().contains("measured on this machine"), "{found}");
    assert!(found["sweep"]["share"].as_f64() > Some(0.0) && found["sweep"]["sizes"].as_array().unwrap().len() > 3);

    // What the file says is taken, whatever the machine does now: a text costs nothing beyond the first eight.
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut changed = written.clone();
    changed["encode"]["read"] = json!([{ "length": 16, "points": [[1, 1.0], [8, 1.0], [64, 8.0]] }]);
    std::fs::write(&file, changed.to_string()).unwrap();
    let found = suggest("bert", &["--input-tokens", "16"]);
    assert_eq!((&found["batch_size"], &found["ms"]), (&json!(8), &json!(1000.0)));
    let bounded = ["--input-tokens", "16", "--latency", "999"];
    let arguments = [&bounded[..], &kept].concat();
    assert!(fails(FAILED, "suggest-batch-size", "bert", &arguments, "").contains("no batch size"));
    // Another model's file is made anew; what is no such file is left alone.
    suggest("distilbert", &["--input-tokens", "16"]);
    let anew: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_ne!((&anew["of"], &anew["encode"]), (&written["of"], &changed["encode"]));
    std::fs::write(&file, "my notes").unwrap();
    let said = fails(FAILED, "suggest-batch-size", "bert", &kept, "");
    assert!(said.contains("left as it is") && std::fs::read_to_string(&file).unwrap() == "my notes", "{said}");
    std::fs::remove_dir_all(&folder).unwrap();

    let writes = ["--input-tokens", "8", "--output-tokens", "4", "--no-calibration", "--json"];
    let found: Value = serde_json::from_str(&run("suggest-batch-size", "generation/gpt2", &writes, "")).unwrap();
    assert!(found["explanation"].as_str().unwrap().contains("assumed"), "{found}");
    assert!(fails(FAILED, "suggest-batch-size", "bert", &writes[..4], "").contains("generates no text"));
    assert!(
        fails(USAGE, "suggest-batch-size", "bert", &["--input-spread=-1", "--no-calibration"], "").contains("spread")
    );
}

#[test]
fn calls_have_priorities_and_deadlines() {
    let many = "a small bird\n".repeat(20_000);
    let arguments = ["--batch-size", "20000", "--deadline", "1", "--counters", "json", "--priority", "bulk"];
    assert!(fails(FAILED, "embed", "bert", &arguments[..4], &many).contains("deadline"));
    assert!(fails(FAILED, "classify", "bert-classifier", &arguments[..4], &many).contains("deadline"));
    let arguments = ["--deadline", "1", "-n", "200", "--ignore-eos", "a"];
    assert!(fails(FAILED, "generate", "generation/gpt2", &arguments, "").contains("deadline"));
    let alone = run("embed", "bert", &["a small bird"], "");
    assert_eq!(run("embed", "bert", &["--priority", "bulk", "--deadline", "600000", "a small bird"], ""), alone);
    let mut command = command("generate", "generation/gpt2");
    command.args(["--priority", "interactive", "-n", "3", "--ignore-eos", "--counters", "csv", "a"]);
    let counters = String::from_utf8(feed(command, "").stderr).unwrap();
    let calls = |stage: &str| counters.lines().find_map(|line| line.strip_prefix(stage)).unwrap().to_string();
    assert!(calls("first_token_interactive,").starts_with("1,"), "{counters}");
}

#[test]
fn load_tests_report_every_call_in_each_format() {
    let load_test = |more: &[&str]| {
        let arguments = ["--threads", "2", "--callers", "5", "--inputs", "7", "--input-tokens", "4-9"];
        run("load-test", "bert", &[&arguments[..], more].concat(), "")
    };
    let report = |more: &[&str]| -> Value { serde_json::from_str(&load_test(&[more, &["--json"]].concat())).unwrap() };
    let closed = report(&["--requests", "60"]);
    assert_eq!((&closed["loop"], &closed["calls"], &closed["errors"]), (&json!("closed"), &json!(60), &json!({})));
    assert_eq!((&closed["differences"], &closed["batch"]["texts"]), (&json!(0), &json!(5)));
    // 60 calls use seven inputs of 4 to 9 tokens in turn.
    let tokens = closed["tokens_per_s"].as_f64().unwrap() / closed["texts_per_s"].as_f64().unwrap();
    assert!((4.0..=9.0).contains(&tokens), "{tokens}");
    let times = ["p50", "p90", "p95", "p99", "max"].map(|key| closed["latency_ms"][key].as_f64().unwrap());
    assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
    assert!(closed["first_token_ms"]["p50"].is_null() && closed["bulk"]["texts"].is_null());

    let mixed = report(&["--rate", "400", "--requests", "40", "--bulk", "20"]);
    assert_eq!((&mixed["loop"], &mixed["calls"], &mixed["rate"]), (&json!("open"), &json!(40), &json!(400.0)));
    assert_eq!((&mixed["differences"], &mixed["bulk"]["texts"]), (&json!(0), &json!(20)));
    assert!(mixed["bulk"]["calls"].as_u64() >= Some(1) && mixed["without_bulk"]["p99_ratio"].is_number(), "{mixed}");
    assert!(mixed["late_calls"].is_u64());
    // Arrivals take as long as their rate says: 40 gaps of 2.5 ms on average, whose sum the seed fixes.
    assert!(mixed["seconds"].as_f64() > Some(0.05), "{mixed}");

    assert_eq!((&closed["priority"], &closed["bulk_priority"]), (&json!("normal"), &Value::Null));
    assert_eq!((&mixed["priority"], &mixed["bulk_priority"]), (&json!("interactive"), &json!("bulk")));
    let turned = ["--requests", "10", "--bulk", "20", "--priority", "bulk", "--bulk-priority", "normal"];
    let turned = report(&turned);
    assert_eq!((&turned["priority"], &turned["bulk_priority"]), (&json!("bulk"), &json!("normal")));
    let patient = report(&["--requests", "10", "--deadline", "600000"]);
    assert_eq!((&patient["deadline_ms"], &patient["calls"]), (&json!(600_000), &json!(10)));

    let limited = report(&["--duration", "0.05"]);
    assert!(limited["calls"].as_u64() >= Some(1));

    let csv = load_test(&["--requests", "5", "--output-format", "csv"]);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((lines.len(), lines[0].len()), (2, lines[1].len()));
    let column = |name: &str| lines[1][lines[0].iter().position(|column| *column == name).unwrap()];
    assert_eq!((column("calls"), column("callers"), column("errors")), ("5", "5", "0"));
    assert!(column("latency_ms.p99").parse::<f64>().unwrap() > 0.0);
    let table = load_test(&["--requests", "5"]);
    for part in ["5 callers, closed loop", "ratio to one batch", "results that differ", "p99"] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
    for (arguments, part) in [
        (["--callers", "0"], "1 to 1024"),
        (["--callers", "1025"], "1 to 1024"),
        (["--rate", "0"], "above 0"),
        (["--deadline", "0"], "milliseconds"),
        (["--priority", "urgent"], "interactive"),
        (["--input-tokens", "600"], "--input-tokens"),
    ] {
        assert!(fails(USAGE, "load-test", "bert", &arguments, "").contains(part), "{arguments:?}");
    }
    assert!(fails(FAILED, "load-test", "bert", &["--task", "generate"], "").contains("generates no text"));
}

#[test]
fn counters_go_to_standard_error() {
    for (format, part) in [("json", "\"tokenize\":{\"calls\":2,"), ("csv", "\ntokenize,2,"), ("prometheus", "# TYPE ")]
    {
        let mut command = command("embed", "bert");
        command.args(["--counters", format, "--batch-size", "1", "a", "bird"]);
        let output = feed(command, "");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && errors.contains(part), "{errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    }
    let devices = Command::new(env!("CARGO_BIN_EXE_kinglet")).args(["devices", "--counters", "json"]).output().unwrap();
    assert_eq!(devices.status.code(), Some(USAGE));
    assert!(String::from_utf8_lossy(&devices.stderr).contains("--counters: this command runs no model"));
}

/// Exit status, verb, model, arguments, standard input, and what the message must contain.
type Wrong<'a> = (i32, &'a str, &'a str, &'a [&'a str], &'a str, &'a [&'a str]);

#[test]
fn errors_name_what_is_wrong() {
    let wrong: [Wrong; 21] = [
        (FAILED, "embed", "nowhere", &["a"], "", &["nowhere"]),
        (
            FAILED,
            "embed",
            "bert",
            &["--jsonl", "body"],
            "{\"body\":\"a\"}\n{\"text\":\"b\"}\n",
            &["line 2", "\"body\"", "has: text"],
        ),
        (FAILED, "embed", "bert", &["--jsonl", "body"], "{\"body\":\"a\"}\n\n{\"body\":\n", &["line 3", "not JSON"]),
        (FAILED, "embed", "bert", &["--jsonl", "body"], "[1]\n", &["line 1", "not a JSON object"]),
        (FAILED, "embed", "bert", &["--jsonl", "body"], "{\"body\":7}\n", &["line 1", "\"body\"", "not a string"]),
        (USAGE, "embed", "bert", &["--jsonl", "body", "a"], "", &["--jsonl", "TEXT"]),
        (USAGE, "embed", "bert", &["--precision", "f64", "a"], "", &["f64", "--precision", "int8"]),
        (FAILED, "embed", "bert", &["--device", "cuda", "a"], "", &["cuda", "cpu"]),
        (USAGE, "embed", "bert", &["--batch-size", "0", "a"], "", &["--batch-size", "at least 1"]),
        (FAILED, "embed", "bert", &["--memory-limit", "1K", "a"], "", &["memory limit", "1024"]),
        (USAGE, "embed", "bert", &["--memory-limit", "1.5G", "a"], "", &["--memory-limit", "K, M or G"]),
        (USAGE, "embed", "bert", &["--max-length", "2", "a"], "", &["max_length", "2"]),
        (FAILED, "classify", "bert", &["a"], "", &["no head for classification"]),
        (FAILED, "classify", "bert-classifier", &["--tokens", "a"], "", &["no head for token classification"]),
        (USAGE, "classify", "bert-classifier", &["--aggregation", "none", "a"], "", &["--aggregation"]),
        (FAILED, "classify", "bert-classifier", &["--score", "a", "b"], "", &["one output", "classify"]),
        (USAGE, "classify", "bert-classifier", &["--pairs", "a"], "", &["pairs", "two arguments"]),
        (FAILED, "classify", "bert-classifier", &["--pairs"], "a\tb\nc\n", &["line 2", "tab"]),
        (FAILED, "tokenize", "bert", &["--decode", "2,x"], "", &["\"x\"", "token id"]),
        (USAGE, "hidden", "bert", &["--ids", "2,5000"], "", &["5000"]),
        (USAGE, "hidden", "bert", &["--ids", "2,3", "--type-ids", "0"], "", &["--type-ids"]),
    ];
    for (status, verb, model, arguments, input, parts) in wrong {
        let errors = fails(status, verb, model, arguments, input);
        for part in parts {
            assert!(errors.contains(part), "{verb} {arguments:?}: no {part:?} in {errors}");
        }
    }
    let mut command = command("embed", "bert");
    command.arg("--json");
    let output = feed(command, b"bird\n\xff\xfe\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "kinglet: standard input, line 2: not UTF-8\n");
    // What came before the mistake has been worked on.
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("{\"text\":\"bird\""));
}

#[test]
fn usage_errors_are_errors_and_help_is_not() {
    let status = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_kinglet")).args(arguments).output().unwrap();
    for arguments in [&["embed"][..], &["sing"], &["embed", "--sing"], &["generate", "-m", "x", "--stream", "--json"]] {
        let output = status(arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(USAGE), 0), "{arguments:?}");
        assert!(output.stderr.starts_with(b"kinglet: "), "{arguments:?}");
    }
    for arguments in [&[][..], &["--help"], &["--version"], &["embed", "--help"]] {
        let output = status(arguments);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}");
        assert!(!output.stdout.is_empty());
    }
}

const VERBS: [&str; 20] = [
    "generate",
    "chat",
    "embed",
    "classify",
    "compress",
    "search",
    "rerank",
    "tokenize",
    "run",
    "inspect",
    "hidden",
    "logits",
    "quantize",
    "evaluate",
    "devices",
    "bench",
    "load-test",
    "suggest-batch-size",
    "completions",
    "man",
];

#[test]
fn completions_and_man_pages_name_every_verb() {
    let kinglet = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_kinglet")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let help = kinglet(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, [&VERBS[..], &["help"]].concat());
    for shell in ["bash", "zsh", "fish"] {
        let script = kinglet(&["completions", shell]);
        for verb in VERBS {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    kinglet(&["man", "--output", folder.path().to_str().unwrap()]);
    for verb in VERBS {
        let page = std::fs::read_to_string(folder.path().join(format!("kinglet-{verb}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{verb}");
    }
    let version = kinglet(&["--version"]);
    for part in [env!("CARGO_PKG_VERSION"), "abi:", "kernels:", "features:"] {
        assert!(version.contains(part), "{version}");
    }
}

#[test]
fn formats_have_long_and_short_names() {
    let json = json!({ "text": "bird", "body": "the river" }).to_string();
    let short = run_json("tokenize", "bert", &["--jsonl", "body"], &json);
    let long = ["--input-format", "jsonl", "--text-field", "body", "--output-format", "jsonl"];
    let long: Value = serde_json::from_str(&run("tokenize", "bert", &long, &json)).unwrap();
    assert_eq!(short, [long]);
    let default = run_json("tokenize", "bert", &["--input-format", "jsonl"], &json);
    assert_eq!(default[0]["text"], "bird");
    // The model may come from the environment.
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.args(["tokenize", "--json", "-t", "1", "-p", "f32", "bird"]).env("KINGLET_MODEL", fixture("bert"));
    let output = feed(command, "");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["ids"], default[0]["ids"]);
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let mut command = command("embed", "bert");
    command.args(["--batch-size", "8"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || while stdin.write_all(b"bird\nthe river\n").is_ok() {});
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with('-') || line.starts_with(char::is_numeric), "{line}");
    // The reader is dropped here; the input never ends, so only the broken pipe can end the program.
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*errors), (Some(0), ""));
    writer.join().unwrap();
}

#[test]
fn no_input_is_no_output() {
    assert_eq!(run("embed", "bert", &[], ""), "");
    assert_eq!(run("classify", "bert-classifier", &["--json"], ""), "");
    // An empty line is an empty text.
    assert_eq!(run("tokenize", "bert", &[], "\n\nbird").lines().count(), 3);
}

/// What the model's files ask for and do not get is told on standard error.
#[test]
fn warnings_of_the_load_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(fixture("generation/llama")).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.path().join("generation_config.json"), r#"{"penalty_alpha": 0.6, "top_k": 4}"#).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.arg("inspect").arg("--model").arg(folder.path());
    let output = feed(command, "");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert!(errors.starts_with("kinglet: warning: ") && errors.contains("penalty_alpha"), "{errors}");
}
