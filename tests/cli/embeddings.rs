//! Embeddings, their options, and search.

use super::*;

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
    // One line per token, and an empty one after each text.
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
