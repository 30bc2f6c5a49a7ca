//! Errors, help, and what goes where.

use super::*;

/// Exit status, verb, model, arguments, standard input, and what the message must contain.
type Wrong<'a> = (i32, &'a str, &'a str, &'a [&'a str], &'a str, &'a [&'a str]);

#[test]
fn errors_name_what_is_wrong() {
    let wrong: [Wrong; 26] = [
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
        (FAILED, "zero-shot", "bert-classifier", &["--labels", "a,b", "c"], "", &["entail", "NEGATIVE"]),
        (
            USAGE,
            "zero-shot",
            "tasks/nli",
            &["--labels", "a", "--hypothesis-template", "b", "c"],
            "",
            &["hypothesis_template"],
        ),
        (USAGE, "fill-mask", "tasks/bert", &["a bird"], "", &["texts[0]", "[MASK]"]),
        (FAILED, "fill-mask", "bert", &["[MASK]"], "", &["ForMaskedLM"]),
        (FAILED, "sparse-embed", "bert", &["a"], "", &["ForMaskedLM"]),
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

const VERBS: [&str; 24] = [
    "generate",
    "chat",
    "embed",
    "classify",
    "zero-shot",
    "fill-mask",
    "sparse-embed",
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
    "plan",
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
