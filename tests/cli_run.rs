//! `kinglet run`: rows in, rows out, in order, whatever happens on the way.

#![cfg(all(feature = "cli", unix))]

#[cfg(feature = "parquet")]
#[path = "cli_run/columns.rs"]
mod columns;
mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kinglet::{CompressOptions, CompressUnit, EmbedOptions, LoadOptions, Model};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Far longer than anything here takes.
const WATCHDOG: Duration = Duration::from_secs(120);

fn command(folder: &Path, task: &str, model: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command
        .current_dir(folder)
        .args(["run", "--task", task, "--model"])
        .arg(support::fixtures().join(model))
        .args(more);
    command
}

fn run(folder: &TempDir, task: &str, model: &str, more: &[&str]) -> Output {
    command(folder.path(), task, model, more).output().unwrap()
}

fn succeeds(folder: &TempDir, task: &str, model: &str, more: &[&str]) {
    let output = run(folder, task, model, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The message of a run that fails with this exit status.
fn fails(folder: &TempDir, status: i32, task: &str, model: &str, more: &[&str]) -> String {
    let output = run(folder, task, model, more);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{message}");
    message
}

fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn texts(count: usize) -> Vec<String> {
    let words: Vec<&str> = "a small bird sings in the rain and the others are still there".split(' ').collect();
    (0..count)
        .map(|i| (0..1 + i * 7 % 23).map(|j| words[(i + j * j) % words.len()]).collect::<Vec<_>>().join(" "))
        .collect()
}

/// A folder with texts in JSON Lines.
fn folder_of(texts: &[String]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> =
        texts.iter().enumerate().map(|(id, text)| json!({"id": id, "text": text}).to_string()).collect();
    fs::write(folder.path().join("in.jsonl"), lines.join("\n") + "\n").unwrap();
    folder
}

#[test]
fn embeddings_are_those_of_the_library() {
    let texts = texts(200);
    let folder = folder_of(&texts);
    let files = ["--input", "in.jsonl", "--output", "out.jsonl"];
    succeeds(&folder, "embed", "bert", &[&files[..], &["--batch-size", "7", "--max-length", "8"]].concat());
    let model = Model::load(support::fixtures().join("bert"), LoadOptions::default()).unwrap();
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let expected = model.embed(&borrowed, &EmbedOptions { max_length: Some(8), ..Default::default() }).unwrap();
    let found = rows(&folder.path().join("out.jsonl"));
    assert_eq!(found.len(), texts.len());
    let width = expected.dimension;
    for (i, row) in found.iter().enumerate() {
        assert_eq!((&row["id"], row["text"].as_str()), (&json!(i), Some(&*texts[i])));
        let vector: Vec<f32> = serde_json::from_value(row["embedding"].clone()).unwrap();
        assert_eq!(vector, expected.values[i * width..][..width]);
        assert_eq!(row["truncated"] == true, expected.truncated[i] != 0);
    }
    assert_eq!(names(&folder), ["in.jsonl", "out.jsonl"]);
}

#[test]
fn each_task_writes_its_fields() {
    let folder = folder_of(&texts(5));
    let out = folder.path().join("out.jsonl");
    let files = ["--input", "in.jsonl", "--output", "out.jsonl", "--overwrite"];
    for (task, model, more, fields) in [
        ("embed", "bert", &["--keep-none", "--pooling", "none"][..], &["embedding"][..]),
        ("classify", "distilbert-classifier", &["--keep", "id"], &["id", "label", "score", "scores"]),
        ("classify", "bert-token-classifier", &[], &["id", "text", "entities"]),
        ("generate", "generation/llama", &["-n", "5"], &["id", "text", "generated_text", "finish_reason"]),
        ("tokenize", "bert", &["--keep", "id"], &["id", "input_ids"]),
        (
            "compress",
            "generation/llama",
            &["--max-tokens", "20", "--unit", "word", "--keep", "id"],
            &["id", "compressed_text", "tokens_before", "tokens_after", "ratio"],
        ),
    ] {
        succeeds(&folder, task, model, &[&files[..], more].concat());
        let found = rows(&out);
        assert_eq!(found.len(), 5);
        for row in found {
            let names: Vec<&String> = row.as_object().unwrap().keys().filter(|name| *name != "truncated").collect();
            assert_eq!(names, fields, "{task}, {model}");
        }
    }
    let several = ["-n", "5", "--num-beams", "2", "--num-return-sequences", "2", "--keep-none"];
    succeeds(&folder, "generate", "generation/llama", &[&files[..], &several].concat());
    assert_eq!(rows(&out)[0]["generated_text"].as_array().unwrap().len(), 2);
}

#[test]
fn documents_are_compressed_as_by_the_library() {
    let texts = texts(40);
    let folder = folder_of(&texts);
    let more =
        ["--input", "in.jsonl", "--output", "out.jsonl", "--max-tokens", "20", "--unit", "word", "--batch-size", "7"];
    succeeds(&folder, "compress", "generation/llama", &more);
    let model = Model::load(support::fixtures().join("generation/llama"), LoadOptions::default()).unwrap();
    let options = CompressOptions { max_tokens: Some(20), unit: Some(CompressUnit::Word), ..Default::default() };
    let found = rows(&folder.path().join("out.jsonl"));
    assert_eq!(found.len(), texts.len());
    let mut shorter = 0;
    for (row, text) in found.iter().zip(&texts) {
        let expected = model.compress(text, &options).unwrap();
        let counts = (json!(expected.tokens_before), json!(expected.tokens_after));
        assert_eq!((&row["compressed_text"], &row["text"]), (&json!(expected.text), &json!(text)));
        assert_eq!((&row["tokens_before"], &row["tokens_after"]), (&counts.0, &counts.1));
        shorter += usize::from(expected.tokens_after < expected.tokens_before);
    }
    assert!(shorter > 10, "{shorter}");
}

#[test]
fn a_run_that_was_killed_goes_on() {
    let texts = texts(6000);
    let folder = folder_of(&texts);
    let in_one_go = ["--input", "in.jsonl", "--output", "whole.csv", "--batch-size", "16", "--keep", "id"];
    succeeds(&folder, "embed", "bert", &in_one_go);
    let broken = ["--input", "in.jsonl", "--output", "out.csv", "--batch-size", "16", "--keep", "id"];
    let partial = folder.path().join("out.csv.partial");
    let (start, mut kills) = (Instant::now(), 0);
    loop {
        assert!(start.elapsed() < WATCHDOG);
        let mut child = command(folder.path(), "embed", "bert", &broken).stderr(Stdio::null()).spawn().unwrap();
        let before = fs::metadata(&partial).map_or(0, |found| found.len());
        // It is killed while it writes, at an arbitrary point.
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if kills < 3 && fs::metadata(&partial).is_ok_and(|found| found.len() > before + 20_000) {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
        };
        match ended {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => kills += 1,
        }
    }
    assert_eq!(kills, 3);
    let [out, whole] = ["out.csv", "whole.csv"].map(|name| fs::read(folder.path().join(name)).unwrap());
    assert!(out == whole, "{} and {} bytes", out.len(), whole.len());
    assert_eq!(names(&folder), ["in.jsonl", "out.csv", "whole.csv"]);
}

#[test]
fn a_signal_stops_a_run_that_waits_for_input() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--input", "-", "--output", "out.jsonl"];
    let mut child =
        command(folder.path(), "embed", "bert", &more).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let row = json!({"text": "a bird"}).to_string() + "\n";
    // Two batches, of which the second one is not whole.
    input.write_all(row.repeat(700).as_bytes()).unwrap();
    let (start, manifest) = (Instant::now(), folder.path().join("out.jsonl.manifest.json"));
    let saved = || fs::read_to_string(&manifest).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    while saved().is_none() {
        assert!(start.elapsed() < WATCHDOG);
    }
    // SAFETY: the process is our child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let output = child.wait_with_output().unwrap();
    drop(input);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(libc::SIGTERM), "{message}");
    assert!(message.contains("the same command goes on"), "{message}");
    // The same input again: what is done is not done twice.
    let mut child = command(folder.path(), "embed", "bert", &more).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(row.repeat(700).as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rows(&folder.path().join("out.jsonl")).len(), 700);
}

#[test]
fn bad_rows_are_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut input = Vec::new();
    for line in ["{\"text\":\"a bird\"}", "no json", "[1]", "", "{\"text\":7}", "{\"other\":\"x\"}"] {
        input.extend(format!("{line}\r\n").into_bytes());
    }
    input.extend(b"{\"text\":\"\xff\"}\n");
    let long = json!({"text": "a".repeat(200)}).to_string();
    input.extend(format!("{long}\n{{\"text\":\"the rain\",\"embedding\":1}}\n{{\"text\":\"the last\"}}").into_bytes());
    fs::write(folder.path().join("in.jsonl"), input).unwrap();
    let files = ["--input", "in.jsonl", "--output", "out.jsonl", "--max-text-bytes", "100"];
    succeeds(&folder, "embed", "bert", &files);
    let found: Vec<Value> = rows(&folder.path().join("out.jsonl")).iter().map(|row| row["text"].clone()).collect();
    assert_eq!(found, ["a bird", "the last"]);
    let rejected = rows(&folder.path().join("out.jsonl.rejected.jsonl"));
    let expected = [
        (2, "the row is not JSON", "no json"),
        (3, "the row is not a JSON object", "[1]"),
        (5, "field \"text\" is not a string", "{\"text\":7}"),
        (6, "no field \"text\"; the row has: other", "{\"other\":\"x\"}"),
        (7, "the row is not UTF-8", "{\"text\":\"\u{fffd}\"}"),
        (8, "has 200 bytes; the maximum is 100", &long),
        (9, "the task writes a field \"embedding\" of its own", "{\"text\":\"the rain\",\"embedding\":1}"),
    ];
    assert_eq!(rejected.len(), expected.len(), "{rejected:?}");
    let message = fails(
        &folder,
        2,
        "embed",
        "bert",
        &["--input", "in.jsonl", "--output", "other.jsonl", "--rejected", "out.jsonl"],
    );
    assert!(message.contains("out.jsonl: is there already"), "{message}");
    for (found, (line, reason, row)) in rejected.iter().zip(expected) {
        assert_eq!((&found["input"], &found["line"]), (&json!("in.jsonl"), &json!(line)));
        assert!(found["reason"].as_str().unwrap().contains(reason), "{found}");
        assert_eq!(found["row"], row);
    }
    // A run without any leaves none of the last one.
    fs::write(folder.path().join("in.jsonl"), "{\"text\":\"a bird\"}\n").unwrap();
    succeeds(&folder, "embed", "bert", &[&files[..], &["--overwrite"]].concat());
    assert_eq!(names(&folder), ["in.jsonl", "out.jsonl"]);
}

#[test]
fn csv_and_patterns() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("b.csv", "\u{feff}id,body\n1,\"a bird, small\"\n2,\"two\nlines \"\"quoted\"\"\"\n3\n4,the rain\n");
    write("a.csv", "id,body\n0,first\n");
    write("c.txt", "not a part of it\n");
    let files = ["--input", "*.csv", "--output", "out.csv", "--text-field", "body", "--rejected", "bad.jsonl"];
    let args: Vec<&str> = files.iter().copied().chain(["--batch-size", "1"]).collect();
    succeeds(&folder, "tokenize", "bert", &args);
    let mut reader = csv::Reader::from_path(folder.path().join("out.csv")).unwrap();
    assert_eq!(reader.headers().unwrap(), ["id", "body", "input_ids", "truncated"].as_slice());
    let found: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let columns: Vec<(&str, &str)> = found.iter().map(|record| (&record[0], &record[1])).collect();
    assert_eq!(columns, [("0", "first"), ("1", "a bird, small"), ("2", "two\nlines \"quoted\""), ("4", "the rain")]);
    let model = Model::load(support::fixtures().join("bert"), LoadOptions::default()).unwrap();
    let ids = model.tokenize(&["a bird, small"], None, &Default::default(), None).unwrap().ids().to_vec();
    assert_eq!(found[1][2], json!(ids).to_string());
    let rejected = rows(&folder.path().join("bad.jsonl"));
    assert_eq!(rejected.len(), 1);
    assert_eq!((&rejected[0]["input"], &rejected[0]["line"]), (&json!("b.csv"), &json!(5)));
    assert!(
        fails(&folder, 1, "embed", "bert", &["--input", "d*.csv", "--output", "x.csv"])
            .contains("no file has such a name")
    );
    write("open.csv", &format!("id,text\n1,\"{}", "x".repeat(65 << 20)));
    let message = fails(&folder, 1, "embed", "bert", &["--input", "open.csv", "--output", "x.csv"]);
    assert!(message.contains("open.csv") && message.contains("a quote not closed"), "{message}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = folder_of(&texts(3));
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(path("there.jsonl"), "x").unwrap();
    fs::write(path("packed.jsonl.gz"), "x").unwrap();
    #[cfg(not(feature = "parquet"))]
    fs::write(path("table.parquet"), "x").unwrap();
    let to = |input: &'static str, output: &'static str| vec!["--input", input, "--output", output];
    for (task, status, args, reason) in [
        ("embed", 2, to("in.jsonl", "there.jsonl"), "there.jsonl: is there already; --overwrite"),
        ("embed", 2, to("in.jsonl", "in.jsonl"), "in.jsonl: is read and written"),
        ("embed", 2, to("in.jsonl", "out.bin"), "must end in .jsonl, .csv, .parquet or .arrow"),
        ("embed", 2, to("packed.jsonl.gz", "o.jsonl"), "is compressed"),
        #[cfg(not(feature = "parquet"))]
        ("embed", 2, to("table.parquet", "o.jsonl"), "table.parquet: this build of kinglet lacks Parquet and Arrow"),
        #[cfg(not(feature = "parquet"))]
        ("embed", 2, to("in.jsonl", "o.arrow"), "o.arrow: this build of kinglet lacks Parquet and Arrow"),
        ("embed", 1, to("nowhere.jsonl", "o.jsonl"), "nowhere.jsonl"),
        ("embed", 1, to("in.jsonl", "nowhere/o.jsonl"), "nowhere/o.jsonl"),
        ("embed", 2, [to("in.jsonl", "o.jsonl"), vec!["--top-k", "3"]].concat(), "--top-k: not for --task embed"),
        ("embed", 2, [to("in.jsonl", "o.jsonl"), vec!["--aggregation", "none"]].concat(), "--aggregation: not for"),
        ("score", 2, to("in.jsonl", "o.jsonl"), "needs --pair-field"),
        ("compress", 2, to("in.jsonl", "o.jsonl"), "needs --ratio or --max-tokens"),
        ("embed", 2, [to("in.jsonl", "o.jsonl"), vec!["--ratio", "2"]].concat(), "--ratio: not for --task embed"),
        (
            "tokenize",
            2,
            [to("in.jsonl", "o.jsonl"), vec!["--pooling", "cls"]].concat(),
            "--pooling: not for --task tokenize",
        ),
    ] {
        let message = fails(&folder, status, task, "bert", &args);
        assert!(message.contains(reason), "{reason}: {message}");
        assert!(!path("o.jsonl.manifest.json").exists(), "{reason}");
    }
    // What fails with every text is no fault of the rows.
    let message = fails(
        &folder,
        2,
        "generate",
        "generation/llama",
        &[&to("in.jsonl", "o.jsonl")[..], &["--top-k", "3"]].concat(),
    );
    assert!(message.contains("top_k"), "{message}");
    assert_eq!(fs::read_to_string(path("there.jsonl")).unwrap(), "x");
}

#[test]
fn an_unfinished_run_goes_on_only_as_it_began() {
    let folder = folder_of(&texts(50));
    let files = ["--input", "in.jsonl", "--output", "out.jsonl"];
    // A run that ends before its last rename.
    fs::create_dir(folder.path().join("out.jsonl")).unwrap();
    let overwrite = [&files[..], &["--overwrite"]].concat();
    fails(&folder, 1, "embed", "bert", &overwrite);
    fs::remove_dir(folder.path().join("out.jsonl")).unwrap();
    let message = fails(&folder, 2, "embed", "bert", &[&files[..], &["--max-length", "4"]].concat());
    assert!(message.contains("an unfinished run has another options") && message.contains("--restart"), "{message}");
    let message = fails(&folder, 2, "embed", "bert", &[&files[..], &["--keep", "id"]].concat());
    assert!(message.contains("another fields"), "{message}");
    let lines = fs::read_to_string(folder.path().join("in.jsonl")).unwrap();
    fs::write(folder.path().join("in.jsonl"), format!("{lines}{{\"text\":\"more\"}}\n")).unwrap();
    let message = fails(&folder, 2, "embed", "bert", &files);
    assert!(message.contains("has changed"), "{message}");
    succeeds(&folder, "embed", "bert", &[&files[..], &["--restart"]].concat());
    assert_eq!(rows(&folder.path().join("out.jsonl")).len(), 51);
    assert_eq!(names(&folder), ["in.jsonl", "out.jsonl"]);
}

#[test]
fn sampled_texts_do_not_depend_on_the_interruption() {
    let folder = folder_of(&texts(40));
    let sampled = ["-n", "6", "--do-sample", "--seed", "5", "--batch-size", "8", "--input", "in.jsonl", "--output"];
    for name in ["one.jsonl", "two.jsonl"] {
        succeeds(&folder, "generate", "generation/llama", &[&sampled[..], &[name]].concat());
    }
    let [one, two] = ["one.jsonl", "two.jsonl"].map(|name| rows(&folder.path().join(name)));
    assert_eq!(one, two);
    let texts: std::collections::HashSet<String> = one.iter().map(|row| row["generated_text"].to_string()).collect();
    assert!(texts.len() > 20, "{} different texts", texts.len());
}
