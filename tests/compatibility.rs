//! The cases of `tests/compatibility/*.json`, each with the answer of a reference; and `docs/compatibility.md`, the table of all.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kinglet::{
    ClassifyOptions, Device, EmbedOptions, EncodeOptions, GenerateOptions, Model, Pooling, Precision, ScoreFunction,
};
use serde_json::{Value, json};
use support::{bits, devices, distance, fixtures, floats, load, load_onnx, onnxruntime, tolerance};

/// Rows of numbers, or any other answer.
enum Answer {
    Rows(Vec<Vec<f32>>),
    Other(Value),
}

/// A case's answer, and what came with it: which texts were cut, and the tokens of each input.
struct Outcome {
    answer: Answer,
    truncated: Vec<u8>,
    input_tokens: Vec<usize>,
}

fn list<'a>(case: &'a Value, key: &str) -> Vec<&'a str> {
    case[key].as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// Puts a model's folder together.
fn folder(model: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let without: BTreeSet<&str> = list(model, "without").into_iter().collect();
    if let Some(base) = model["base"].as_str() {
        let into = model["into"].as_str().map_or(String::new(), |into| format!("{into}/"));
        copy(&fixtures().join(base), at, &|name| {
            let name = format!("{into}{name}");
            (name != "reference.json" && !without.contains(name.as_str())).then_some(name)
        });
    }
    if let Some(own) = model["own"].as_str() {
        copy(&fixtures().join(own), at, &|name| Some(name.to_string()));
    }
    for (name, from) in model["copies"].as_object().into_iter().flatten() {
        put(&at.join(name), &std::fs::read(fixtures().join(from.as_str().unwrap())).unwrap());
    }
    for (name, contents) in model["files"].as_object().into_iter().flatten() {
        let text = contents.as_str().map_or_else(|| contents.to_string(), str::to_string);
        put(&at.join(name), text.as_bytes());
    }
    folder
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Copies a folder's files; `named` gives the new name of each, or None.
fn copy(from: &Path, to: &Path, named: &dyn Fn(&str) -> Option<String>) {
    let mut folders = vec![from.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = named(path.strip_prefix(from).unwrap().to_str().unwrap()) {
                put(&to.join(name), &std::fs::read(&path).unwrap());
            }
        }
    }
}

fn has_graphs(folder: &Path) -> bool {
    let there = |folder: PathBuf| {
        let files = std::fs::read_dir(folder).into_iter().flatten();
        files.map(|file| file.unwrap().path()).any(|path| path.extension().is_some_and(|e| e == "onnx"))
    };
    there(folder.to_owned()) || there(folder.join("onnx"))
}

fn usize_of(options: &Value, key: &str) -> Option<usize> {
    options[key].as_u64().map(|n| n as usize)
}

fn text_of(options: &Value, key: &str) -> Option<String> {
    options[key].as_str().map(str::to_string)
}

/// An option that no task reads would make a case that says nothing.
fn only(options: &Value, known: &[&str]) {
    for key in options.as_object().into_iter().flatten().map(|(key, _)| key) {
        assert!(known.contains(&key.as_str()), "tests/compatibility.rs: nobody reads the option {key}");
    }
}

fn embed_options(options: &Value) -> EmbedOptions {
    only(options, &["pooling", "normalize", "max_length", "prompt_name", "prompt", "truncate_dim"]);
    let pooling = options["pooling"].as_str();
    EmbedOptions {
        pooling: pooling.map(|name| Pooling::ALL.into_iter().find(|pooling| pooling.name() == name).unwrap()),
        normalize: options["normalize"].as_bool(),
        max_length: usize_of(options, "max_length"),
        prompt_name: text_of(options, "prompt_name"),
        prompt: text_of(options, "prompt"),
        truncate_dim: usize_of(options, "truncate_dim"),
        cancellation: None,
        priority: Default::default(),
        deadline: None,
    }
}

fn classify_options(options: &Value) -> ClassifyOptions {
    only(options, &["function", "max_length", "prompt_name", "prompt"]);
    let function = |name| match name {
        "none" => ScoreFunction::None,
        "sigmoid" => ScoreFunction::Sigmoid,
        "softmax" => ScoreFunction::Softmax,
        "tanh" => ScoreFunction::Tanh,
        other => panic!("function {other}"),
    };
    ClassifyOptions {
        function: options["function"].as_str().map(function),
        max_length: usize_of(options, "max_length"),
        prompt_name: text_of(options, "prompt_name"),
        prompt: text_of(options, "prompt"),
        cancellation: None,
        priority: Default::default(),
        deadline: None,
    }
}

fn generate_options(options: &Value) -> GenerateOptions {
    only(options, &["max_new_tokens", "max_input_length", "num_beams"]);
    GenerateOptions {
        max_new_tokens: usize_of(options, "max_new_tokens"),
        max_input_length: usize_of(options, "max_input_length"),
        num_beams: usize_of(options, "num_beams"),
        ..GenerateOptions::default()
    }
}

/// Reranking gives the scores of pairs, in their order.
fn check_ranking(model: &Model, query: &str, documents: &[&str], options: &ClassifyOptions) -> kinglet::Result<()> {
    let pairs = model.score(&vec![query; documents.len()], documents, options)?;
    let ranking = model.rerank(query, documents, None, options)?;
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by(|&a, &b| pairs.scores[b].total_cmp(&pairs.scores[a]));
    assert_eq!(ranking.indices, order);
    assert!(ranking.indices.iter().zip(&ranking.scores).all(|(&i, &score)| pairs.scores[i] == score));
    assert_eq!((ranking.tokens, ranking.truncated), (pairs.tokens, pairs.truncated));
    let best = model.rerank(query, documents, Some(1), options)?;
    assert_eq!(best.indices, order[..1]);
    Ok(())
}

/// Asks a model what the case asks.
fn ask(model: &Model, case: &Value) -> kinglet::Result<Outcome> {
    let (texts, pairs, options) = (list(case, "texts"), list(case, "pairs"), &case["options"]);
    let pairs = (!pairs.is_empty()).then_some(pairs);
    let (answer, truncated, input_tokens) = match case["task"].as_str().unwrap() {
        "embed" => {
            let e = model.embed(&texts, &embed_options(options))?;
            let row = |w: &[usize]| e.values[w[0] * e.dimension..w[1] * e.dimension].to_vec();
            (Answer::Rows(e.starts.windows(2).map(row).collect()), e.truncated, e.tokens)
        }
        "score" | "classify" => {
            let options = classify_options(options);
            let scores = match (&case["task"], &pairs) {
                (task, Some(pairs)) if task == "score" => {
                    check_ranking(model, texts[0], pairs, &options)?;
                    model.score(&texts, pairs, &options)?
                }
                _ => model.classify(&texts, pairs.as_deref(), &options)?,
            };
            let rows = scores.scores.chunks(scores.labels).map(<[f32]>::to_vec).collect();
            (Answer::Rows(rows), scores.truncated, scores.tokens)
        }
        "tokenize" => {
            let max_length = usize_of(options, "max_length");
            let e =
                model.tokenize(&texts, pairs.as_deref(), &EncodeOptions { max_length, ..Default::default() }, None)?;
            let ids = e.starts().windows(2).map(|w| e.ids()[w[0]..w[1]].to_vec()).collect::<Vec<_>>();
            (Answer::Other(json!(ids)), e.truncated().to_vec(), Vec::new())
        }
        "generate" => {
            let g = model.generate(&texts, &generate_options(options), None)?;
            let texts: Vec<_> = g.outputs.iter().map(|outputs| outputs[0].text.clone()).collect();
            (Answer::Other(json!(texts)), g.truncated, g.input_tokens)
        }
        "info" => {
            let info = model.info();
            let found = info.pointer(case["pointer"].as_str().unwrap()).cloned().unwrap_or_default();
            (Answer::Other(found), Vec::new(), Vec::new())
        }
        other => panic!("tests/compatibility.rs: task {other}"),
    };
    Ok(Outcome { answer, truncated, input_tokens })
}

/// The message of the error that a case is about.
fn refusal(folder: &Path, case: &Value, library: Option<&Path>) -> Result<String, String> {
    let model = match library {
        Some(library) => load_onnx(library, folder),
        None => Model::load(folder, kinglet::LoadOptions { threads: 1, ..Default::default() }),
    };
    let during = case["during"].as_str().unwrap();
    let model = match (model, during) {
        (Err(error), "load") => return Ok(error.message().to_string()),
        (Err(error), _) => return Err(format!("it does not load: {error}")),
        (Ok(_), "load") => return Err("it loads".into()),
        (Ok(model), _) => model,
    };
    let error = match during {
        "embed" => model.embed(&["a"], &EmbedOptions::default()).err(),
        "prompt" => {
            let prompt_name = Some("nonsense".to_string());
            model.embed(&["a"], &EmbedOptions { prompt_name, ..EmbedOptions::default() }).err()
        }
        "pooling" => {
            model.embed(&["a"], &EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() }).err()
        }
        "score" => model.score(&["a"], &["b"], &ClassifyOptions::default()).err(),
        "classify" => model.classify(&["a"], None, &ClassifyOptions::default()).err(),
        "generate" => model.generate(&["a"], &GenerateOptions::default(), None).err(),
        other => panic!("tests/compatibility.rs: during {other}"),
    };
    error.map(|error| error.message().to_string()).ok_or_else(|| "it is not refused".into())
}

/// Compares an answer with the case's reference.
fn compare(case: &Value, outcome: &Outcome, device: Device) -> Result<(), String> {
    match &outcome.answer {
        Answer::Rows(rows) => {
            let reference: Vec<_> = case["reference"].as_array().unwrap().iter().map(floats).collect();
            let shapes = |rows: &[Vec<f32>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
            if shapes(rows) != shapes(&reference) {
                return Err(format!("rows of {:?} and not {:?}", shapes(rows), shapes(&reference)));
            }
            let most = (case["tolerance"].as_f64().unwrap() as f32).max(if device == Device::Cpu {
                0.0
            } else {
                tolerance(device)
            });
            let far = rows.iter().zip(&reference).map(|(a, b)| distance(a, b)).fold(0.0, f32::max);
            if far.is_nan() || far > most {
                return Err(format!("off by {far:e}"));
            }
        }
        Answer::Other(value) if *value != case["reference"] => {
            return Err(format!("{value} and not {}", case["reference"]));
        }
        Answer::Other(_) => {}
    }
    if let Some(expected) = case["truncated"].as_array() {
        let expected: Vec<u8> = expected.iter().map(|cut| u8::from(cut.as_bool().unwrap())).collect();
        if expected != outcome.truncated {
            return Err(format!("truncated {:?} and not {expected:?}", outcome.truncated));
        }
    }
    if let Some(expected) = case["input_tokens"].as_array() {
        let expected: Vec<usize> = expected.iter().map(|n| n.as_u64().unwrap() as usize).collect();
        if expected != outcome.input_tokens {
            return Err(format!("{:?} tokens and not {expected:?}", outcome.input_tokens));
        }
    }
    Ok(())
}

/// The same bits from a `.kinglet` file in a precision.
fn compare_packed(folder: &Path, case: &Value, precision: Precision, outcome: &Outcome) -> Result<(), String> {
    let packed = tempfile::tempdir().unwrap();
    let path = packed.path().join("model.kinglet");
    kinglet::quantize(folder, &path, precision, &mut |_| true).map_err(|e| format!("quantize: {e}"))?;
    let again = ask(&load(&path, Device::Cpu, Precision::Auto, 1), case).map_err(|e| format!(".kinglet: {e}"))?;
    let same = match (&again.answer, &outcome.answer) {
        (Answer::Rows(a), Answer::Rows(b)) => bits(&a.concat()) == bits(&b.concat()),
        (Answer::Other(a), Answer::Other(b)) => a == b,
        _ => false,
    };
    if same && again.truncated == outcome.truncated { Ok(()) } else { Err(".kinglet: another answer".into()) }
}

/// Runs a case, and gives the table's cell; None if this machine cannot run it.
fn run(case: &Value) -> Result<Option<String>, String> {
    let folder = folder(&case["model"]);
    let graphs = has_graphs(folder.path());
    let library = if graphs { onnxruntime() } else { None };
    if graphs && library.is_none() {
        return Ok(None);
    }
    if case["task"] == "refused" {
        let message = refusal(folder.path(), case, library.as_deref())?;
        let missing: Vec<_> = list(case, "reference").into_iter().filter(|word| !message.contains(word)).collect();
        return if missing.is_empty() {
            Ok(Some(cell(case, None)))
        } else {
            Err(format!("{missing:?} not in: {message}"))
        };
    }
    let model = match &library {
        Some(library) => load_onnx(library, folder.path()).map_err(|e| format!("load: {e}"))?,
        None => load(folder.path(), Device::Cpu, Precision::F32, 1),
    };
    let outcome = ask(&model, case).map_err(|e| e.to_string())?;
    compare(case, &outcome, Device::Cpu)?;
    if !graphs && case["task"] != "info" {
        compare_packed(folder.path(), case, Precision::F32, &outcome)?;
        let rounded =
            ask(&load(folder.path(), Device::Cpu, Precision::Int8, 1), case).map_err(|e| format!("int8: {e}"))?;
        compare_packed(folder.path(), case, Precision::Int8, &rounded)?;
        for device in devices().into_iter().filter(|&device| device != Device::Cpu) {
            let again = ask(&load(folder.path(), device, Precision::F32, 1), case).map_err(|e| e.to_string())?;
            compare(case, &again, device).map_err(|e| format!("{}: {e}", device.name()))?;
        }
    }
    Ok(Some(cell(case, Some(&outcome.answer))))
}

/// An answer in a few words; the reference's if `answer` is None.
fn cell(case: &Value, answer: Option<&Answer>) -> String {
    let rows = |rows: &[Vec<f32>]| {
        let first = rows.first().map_or(&[][..], Vec::as_slice);
        let shown: Vec<_> =
            first.iter().take(3).map(|x| format!("{:.3}", if x.abs() < 5e-4 { 0.0 } else { *x })).collect();
        format!("{}{}", shown.join(" "), if first.len() > 3 { " …" } else { "" })
    };
    let other = |value: &Value| {
        let text = value.to_string().replace('|', "\\|");
        let cut: String = text.chars().take(48).collect();
        if cut == text { text } else { format!("{cut}…") }
    };
    match answer {
        Some(Answer::Rows(found)) => rows(found),
        Some(Answer::Other(value)) => other(value),
        None if case["task"] == "refused" => format!("an error that names {}", list(case, "reference").join(", ")),
        None => match case["task"].as_str().unwrap() {
            "embed" | "score" | "classify" => {
                rows(&case["reference"].as_array().unwrap().iter().map(floats).collect::<Vec<_>>())
            }
            _ => other(&case["reference"]),
        },
    }
}

/// All cases, file by file.
fn cases() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compatibility");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str::<Vec<Value>>(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    files.iter().flat_map(read).collect()
}

const TABLE: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- Written by `make compatibility`. -->\n";

/// The text before the table, and its rows by kind and case.
fn table() -> (String, BTreeMap<(String, String), Vec<String>>) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE)).unwrap();
    let (head, table) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{TABLE}: no line {BEGIN}"));
    let cells =
        |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let rows = table.lines().skip(2).map(cells).filter(|row| row.len() == 5);
    (head.to_string(), rows.map(|row| ((row[0].clone(), row[1].clone()), row)).collect())
}

/// Whether two cells say the same, but for the last digits of numbers.
fn alike(a: &str, b: &str) -> bool {
    let near = |(a, b): (&str, &str)| {
        a == b || a.parse::<f64>().ok().zip(b.parse::<f64>().ok()).is_some_and(|(a, b)| (a - b).abs() < 2e-3)
    };
    a.split(' ').count() == b.split(' ').count() && a.split(' ').zip(b.split(' ')).all(near)
}

#[test]
fn every_case_gives_the_reference_s_answer_and_stands_in_the_table() {
    let (head, old) = table();
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    let cases = cases();
    let mut names = BTreeSet::new();
    for case in &cases {
        let name = |key: &str| case[key].as_str().unwrap().replace('|', "\\|");
        let key = (name("kind"), name("case"));
        assert!(names.insert(key.clone()), "two cases are called {key:?}");
        let ours = match run(case) {
            Ok(Some(cell)) => cell,
            // It could not run here: the table's cell stays.
            Ok(None) => old.get(&key).map_or_else(String::new, |row| row[2].clone()),
            Err(what) => {
                failures.push(format!("{}, {}: {what}", key.0, key.1));
                continue;
            }
        };
        rows.push(vec![key.0, key.1, ours, cell(case, None), name("by")]);
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert!(cases.len() >= 100, "only {} cases", cases.len());
    if std::env::var_os("KINGLET_UPDATE_COMPATIBILITY").is_some() {
        let lines: String = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
        let text = format!("{head}{BEGIN}| kind | case | Kinglet | reference | by |\n|---|---|---|---|---|\n{lines}");
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE), text).unwrap();
        return;
    }
    let stale = rows.iter().filter(|row| {
        let there = old.get(&(row[0].clone(), row[1].clone()));
        there.is_none_or(|there| !there.iter().zip(row.iter()).all(|(a, b)| alike(a, b)))
    });
    let stale: Vec<_> = stale.map(|row| format!("{}, {}", row[0], row[1])).collect();
    assert!(stale.is_empty() && old.len() == rows.len(), "{TABLE} is out of date; run `make compatibility`: {stale:?}");
}

/// A model with a Dense module of tokens gives zeros for a text without tokens, alone or in a batch.
#[test]
fn a_text_without_tokens_is_zeros_of_the_embedding_s_width() {
    let case = cases().into_iter().find(|case| case["case"] == "of token_embeddings, before the pooling").unwrap();
    let folder = folder(&case["model"]);
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // No [CLS] and [SEP].
    tokenizer["post_processor"] = Value::Null;
    put(&path, tokenizer.to_string().as_bytes());
    for device in devices() {
        let model = load(folder.path(), device, Precision::F32, 1);
        let alone = model.embed(&[""], &EmbedOptions::default()).unwrap();
        assert_eq!((alone.dimension, alone.values), (12, vec![0.0; 12]), "{}", device.name());
        let batch = model.embed(&["bird", "", "small"], &EmbedOptions::default()).unwrap();
        assert_eq!(batch.row(1), [0.0; 12], "{}", device.name());
        assert!(batch.row(0).iter().chain(batch.row(2)).any(|value| *value != 0.0), "{}", device.name());
    }
}
