//! The verbs that generate: `generate`, `chat`, `logits`, `quantize`, `evaluate`, and `bench` and `load-test` with that task.
#![cfg(feature = "cli")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::fixtures;

const QUESTION: &str = "function @add: that takes two int values %a and %b and returns their sum";

fn t5() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/t5-ir.kinglet")
}

fn kinglet(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A verb that failed early does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn run(arguments: &[&str], input: &str) -> String {
    let output = kinglet(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fails(arguments: &[&str]) -> String {
    let output = kinglet(arguments, "");
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn generate(more: &[&str], input: &str) -> String {
    let model = t5();
    let mut arguments = vec!["generate", "--model", model.to_str().unwrap()];
    arguments.extend(more);
    run(&arguments, input)
}

#[test]
fn max_input_length_cuts_and_is_told() {
    let model = t5();
    let arguments =
        ["generate", "--model", model.to_str().unwrap(), "--max-input-length", "4", "--max-new-tokens", "2"];
    for more in [&["--json", QUESTION][..], &[QUESTION], &["--stream", QUESTION]] {
        let output = kinglet(&[&arguments[..], more].concat(), "");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.contains("1 text"), "{more:?}: {errors}");
        if more[0] == "--json" {
            let line: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(line["truncated"], true);
        }
    }
}

#[test]
fn texts_lines_and_jsonl_give_the_same() {
    let shown = generate(&[QUESTION], "");
    assert!(shown.starts_with("define i32 @") && shown.ends_with("}\n"), "{shown}");
    assert_eq!(generate(&[], &format!("{QUESTION}\n")), shown);
    assert_eq!(generate(&["--stream", QUESTION], ""), shown);
    let line = json!({ "q": QUESTION }).to_string();
    let parsed: Value = serde_json::from_str(&generate(&["--jsonl", "q", "--json", "--logprobs"], &line)).unwrap();
    assert_eq!(parsed["text"], QUESTION);
    let output = &parsed["outputs"][0];
    assert_eq!((output["text"].as_str().unwrap(), &output["finish_reason"]), (shown.trim_end(), &json!("eos")));
    let tokens = output["tokens"].as_array().unwrap().len();
    assert_eq!(output["logprobs"].as_array().unwrap().len(), tokens);
    assert!(output["score"].as_f64().unwrap() < 0.0);
    let one_line = generate(&["--one-line", QUESTION, "a"], "");
    assert_eq!(one_line.lines().count(), 2);
    let beams = generate(&["--json", "--num-beams", "3", "--num-return-sequences", "2", QUESTION], "");
    assert_eq!(serde_json::from_str::<Value>(&beams).unwrap()["outputs"].as_array().unwrap().len(), 2);
    let word = generate(&["--regex", "ret i32 %a", QUESTION], "");
    assert_eq!(word, "ret i32 %a\n");
    let drafted =
        generate(&["--prompt-lookup-num-tokens", "8", "--max-matching-ngram-size", "3", "--stream", QUESTION], "");
    assert_eq!(drafted, shown);
    assert_eq!(generate(&["--stop-strings", " @", QUESTION], ""), "define i32\n");
    // The rest of what the decoder is given.
    let ids: Vec<String> = output["tokens"].as_array().unwrap()[..3].iter().map(Value::to_string).collect();
    let rest: Value =
        serde_json::from_str(&generate(&["--json", "--decoder-input-ids", &ids.join(","), QUESTION], "")).unwrap();
    assert_eq!(rest["outputs"][0]["tokens"].as_array().unwrap()[..], output["tokens"].as_array().unwrap()[3..]);
    let continued = generate(&["--decoder-input-text", "define i64 @", QUESTION], "");
    assert!(!continued.starts_with("define") && continued.ends_with("}\n"), "{continued}");
    assert_ne!(generate(&["--sequence-bias", &format!("{}=-1000", ids[1]), QUESTION], ""), shown);
    assert_ne!(generate(&["--encoder-no-repeat-ngram-size", "1", QUESTION], ""), shown);
    assert_ne!(generate(&["--encoder-repetition-penalty", "9", QUESTION], ""), shown);
    assert_ne!(generate(&["--exponential-decay-length-penalty", "2,9", QUESTION], ""), shown);
}

#[test]
fn mistakes_are_told() {
    let model = t5();
    let model = model.to_str().unwrap();
    for (arguments, what) in [
        (vec!["--temperature", "0.5"], "temperature: "),
        (vec!["--num-beams", "2", "--stream"], "num_beams: "),
        (vec!["--prompt-lookup-num-tokens", "4", "--num-beams", "2"], "contradicts num_beams"),
        (vec!["--max-matching-ngram-size", "4"], "prompt_lookup_num_tokens"),
        (vec!["--json-schema", "no-such-file"], "no-such-file"),
        (vec!["--early-stopping", "perhaps"], "early-stopping"),
        (vec!["--sequence-bias", "5"], "ID,ID…=X"),
        (vec!["--exponential-decay-length-penalty", "5"], "START,FACTOR"),
        (vec!["--exponential-decay-length-penalty", "5,0"], "exponential_decay_length_penalty: "),
        (vec!["--encoder-repetition-penalty", "0"], "encoder_repetition_penalty: "),
        (vec!["--decoder-input-ids", "5", "--decoder-input-text", "a"], "cannot be used with"),
        (vec!["--prefix", "x"], "prefix"),
        (vec!["--logprobs"], "--logprobs"),
    ] {
        let mut all = vec!["generate", "--model", model, QUESTION];
        all.extend(arguments);
        let message = fails(&all);
        assert!(message.contains(what), "{message}");
    }
    assert!(fails(&["chat", "--model", model]).contains("decoder"));
    let llama = fixtures().join("generation/llama");
    assert!(fails(&["chat", "--model", llama.to_str().unwrap()]).contains("chat template"));
}

#[test]
fn a_chat_goes_on_and_takes_back() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("generation/llama")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let arguments = [
        "chat",
        "--model",
        folder.path().to_str().unwrap(),
        "--max-new-tokens",
        "4",
        "--ignore-eos",
        "--system",
        "birds",
    ];
    let once = run(&arguments, "hello\n");
    let again = run(&arguments, "hello\n/undo\nhello\n/reset\nhello\n/exit\nnever\n");
    assert_eq!(again, once.repeat(3));
}

#[test]
fn logits_are_the_library_s() {
    let model = fixtures().join("generation/gpt2");
    let arguments = ["logits", "--model", model.to_str().unwrap(), "--ids", "5,6,7", "--json"];
    let value: Value = serde_json::from_str(&run(&arguments, "")).unwrap();
    let rows = value["logits"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0].as_array().unwrap().len()), (3, 300));
    let plain = run(&[&arguments[..5], &["--stepwise"]].concat(), "");
    let last: Vec<f32> = plain.lines().last().unwrap().split(' ').map(|x| x.parse().unwrap()).collect();
    assert_eq!(last, support::floats(&rows[2]));
    assert!(fails(&["logits", "--model", t5().to_str().unwrap(), "--ids", "5"]).contains("decoder_ids"));
}

#[test]
fn packing_and_evaluating() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.kinglet");
    let source = fixtures().join("generation-gguf/llama.gguf");
    for precision in ["f16", "bf16"] {
        run(&["quantize", "--precision", precision, source.to_str().unwrap(), file.to_str().unwrap()], "");
        let info: Value =
            serde_json::from_str(&run(&["inspect", "--json", "--model", file.to_str().unwrap()], "")).unwrap();
        assert_eq!((&info["family"], &info["precision"]), (&json!("llama"), &json!(precision)));
    }

    let answer = generate(&[QUESTION], "");
    let cases = folder.path().join("cases.jsonl");
    let lines = [
        json!({ "input": QUESTION, "expected": answer.trim_end() }).to_string(),
        json!({ "input": QUESTION, "expected": "something else" }).to_string(),
    ];
    std::fs::write(&cases, lines.join("\n")).unwrap();
    let model = t5();
    let arguments = ["evaluate", "--model", model.to_str().unwrap(), cases.to_str().unwrap()];
    let value: Value = serde_json::from_str(&run(&[&arguments[..], &["--json"]].concat(), "")).unwrap();
    assert_eq!((&value["cases"], &value["exact_match"]), (&json!(2), &json!(0.5)));
    assert!(value["bleu"].as_f64().unwrap() > 0.0 && value["rouge_l"].as_f64().unwrap() >= 0.5);
    for key in ["mean", "median", "standard_deviation", "p90", "p95", "p99"] {
        assert!(value["latency_ms"][key].is_number(), "{key}");
    }
    let table = run(&arguments, "");
    for part in ["exact match", "BLEU", "ROUGE-L", "median", "p99"] {
        assert!(table.contains(part), "{table}");
    }
    assert!(fails(&["evaluate", "--model", model.to_str().unwrap(), "/dev/null"]).contains("holds no cases"));

    // The same model differs from itself in nothing; in 8 bits it may.
    let same = [&arguments[..], &["--json", "--against-precision", "auto", "--resamples", "50"]].concat();
    let value: Value = serde_json::from_str(&run(&same, "")).unwrap();
    assert_eq!(value["differences"]["bleu"], json!({ "value": 0.0, "interval": [0.0, 0.0], "p": 1.0 }));
    assert_eq!(value["intervals"]["exact_match"], json!([0.0, 1.0]));
    assert_eq!(value["against"]["chrf"], value["chrf"]);
    let table = run(&[&arguments[..], &["--against-precision", "int8"]].concat(), "");
    assert!(table.contains("difference") && table.contains("p = ") && table.contains("int8"), "{table}");
    let error = fails(&[&arguments[..], &["--task", "perplexity", "-n", "3"]].concat());
    assert!(error.contains("need --task generate"), "{error}");
}

#[test]
fn every_task_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, lines: &[Value]| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let model = |name: &str| fixtures().join(name).to_str().unwrap().to_string();
    let evaluate = |name: &str, task: &str, more: &[&str]| -> Value {
        let model = model(name);
        let arguments = [&["evaluate", "--json", "--model", &model, "--task", task], more].concat();
        serde_json::from_str(&run(&arguments, "")).unwrap()
    };

    // What `classify` answers is right by definition, and one other label is wrong.
    let texts = ["a small bird", "the river", "John went to Paris"];
    let classified =
        run(&["classify", "--json", "--model", &model("bert-classifier"), texts[0], texts[1], texts[2]], "");
    let labels: Vec<String> = classified
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["label"].as_str().unwrap().to_string())
        .collect();
    let cases: Vec<Value> =
        texts.iter().zip(&labels).map(|(text, label)| json!({ "text": text, "label": label })).collect();
    let file = write("labels.jsonl", &cases);
    let value = evaluate("bert-classifier", "classify", &[&file]);
    assert_eq!((&value["accuracy"], &value["macro_f1"], &value["cases"]), (&json!(1.0), &json!(1.0), &json!(3)));
    let file = write("unknown.jsonl", &[json!({ "text": "a", "label": "no such label" })]);
    let error = fails(&["evaluate", "--model", &model("bert-classifier"), "--task", "classify", &file]);
    assert!(error.contains("no such label") && error.contains(&labels[0]), "{error}");

    // Scores that fall with the cosine order the pairs backwards: equal texts have the largest cosine, and the lowest score.
    let pairs = [("a small bird", "a small bird"), ("the river", "the rivers"), ("John", "a river near the sea")];
    let cases: Vec<Value> = pairs
        .iter()
        .enumerate()
        .map(|(i, (a, b))| json!({ "sentence1": a, "sentence2": b, "score": if i == 0 { 0 } else { 5 } }))
        .collect();
    let value = evaluate("bert", "similarity", &[&write("pairs.jsonl", &cases)]);
    assert!(value["spearman"].as_f64().unwrap() < -0.8 && value["pearson"].as_f64().unwrap() < 0.0, "{value}");

    // A query is closest to itself.
    let corpus: Vec<Value> =
        texts.iter().enumerate().map(|(i, text)| json!({ "_id": format!("d{i}"), "text": text })).collect();
    let corpus = write("corpus.jsonl", &corpus);
    let queries = [
        json!({ "query": texts[0], "relevant": ["d0"] }),
        json!({ "query": texts[1], "relevant": { "d1": 2, "d0": 0 } }),
    ];
    let value = evaluate("bert", "retrieval", &["--corpus", &corpus, &write("queries.jsonl", &queries)]);
    assert_eq!((&value["ndcg_at_10"], &value["mrr"], &value["recall_at_10"]), (&json!(1.0), &json!(1.0), &json!(1.0)));
    let wrong = write("wrong.jsonl", &[json!({ "query": "a", "relevant": ["d7"] })]);
    let error = fails(&["evaluate", "--model", &model("bert"), "--task", "retrieval", "--corpus", &corpus, &wrong]);
    assert!(error.contains("wrong.jsonl, line 1") && error.contains("d7"), "{error}");
    let error = fails(&["evaluate", "--model", &model("bert"), "--task", "retrieval", &wrong]);
    assert!(error.contains("--corpus"), "{error}");

    // exp of the mean negative log-likelihood that `logits` gives.
    let value = evaluate(
        "generation/gpt2",
        "perplexity",
        &[&write("texts.jsonl", &[json!({ "text": "The small bird sings" })])],
    );
    let perplexity = value["perplexity"].as_f64().unwrap();
    assert!(perplexity > 1.0 && perplexity.is_finite() && value["intervals"]["perplexity"].is_array(), "{value}");
    let narrow = evaluate(
        "generation/gpt2",
        "perplexity",
        &["--against-precision", "int8", folder.path().join("texts.jsonl").to_str().unwrap()],
    );
    let both = [&narrow["perplexity"], &narrow["against"]["perplexity"]].map(|value| value.as_f64().unwrap());
    assert!(both[0] == perplexity && both[1] != perplexity && (both[1] / perplexity - 1.0).abs() < 0.1, "{narrow}");
}

#[test]
fn bench_generates_what_it_says() {
    let model = fixtures().join("generation/gpt2");
    let contract = "bench --task generate --batch 2 --input-tokens 5 --output-tokens 7 --beams 2 --precision int8 \
                    --threads 1 --repeat 2 --json --model";
    let mut arguments: Vec<&str> = contract.split_whitespace().collect();
    arguments.push(model.to_str().unwrap());
    let figures: Value = serde_json::from_str(run(&arguments, "").lines().last().unwrap()).unwrap();
    let (p50, rate) = (figures["p50_ms"].as_f64().unwrap(), figures["tokens_per_s"].as_f64().unwrap());
    let tokens = rate * p50 / 1e3;
    assert!((tokens - 14.0).abs() < 0.5, "{figures}");
}

#[test]
fn load_tests_generate_the_same_bits_greedy_sampled_and_with_beams() {
    let model = fixtures().join("generation/gpt2");
    let contract = "load-test --task generate --callers 4 --requests 24 --inputs 6 --input-tokens 3-8 \
                    --output-tokens 7 --threads 2 --json --model";
    let mut arguments: Vec<&str> = contract.split_whitespace().collect();
    arguments.push(model.to_str().unwrap());
    for more in [&[][..], &["--sample", "--seed", "5"], &["--beams", "3"]] {
        let report: Value = serde_json::from_str(&run(&[&arguments[..], more].concat(), "")).unwrap();
        assert_eq!((&report["calls"], &report["differences"], &report["errors"]), (&json!(24), &json!(0), &json!({})));
        let tokens = report["tokens_per_s"].as_f64().unwrap() / report["texts_per_s"].as_f64().unwrap();
        assert!((tokens - 7.0).abs() < 0.01, "{report}");
        let streamed = !more.contains(&"--beams");
        for key in ["first_token_ms", "output_token_ms"] {
            assert_eq!(report[key]["p99"].as_f64().is_some_and(|ms| ms > 0.0), streamed, "{report}");
        }
    }
}

#[test]
fn a_chat_in_a_file_is_answered_once() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("generation/bloom")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let template = "{{ date }}{% for t in tools or [] %}[{{ t.name }}]{% endfor %}{% for m in messages %}{{ m.role }}: \
                    {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}{% endfor %}\n{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    std::fs::write(folder.path().join("generation_config.json"), r#"{"eos_token_id": 0}"#).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let tools = write("tools.json", r#"[{"name": "go"}, {"name": "stop"}]"#);
    let chat = write("chat.json", r#"[{"role": "user", "content": "hello"}]"#);
    let model = folder.path().to_str().unwrap();
    let base = ["chat", "--model", model, "--tools", &tools];
    let with = |more: &[&str], input: &str| run(&[&base, more].concat(), input);
    let prompt = with(&["--messages", &chat, "--render", "--template-variables", r#"{"date": "today"}"#], "");
    assert_eq!(prompt, "today[go][stop]user: hello\n");
    let reply = with(&["--messages", "-", "--tool-choice", "stop"], r#"[{"role": "user", "content": "hello"}]"#);
    let reply: Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["tool_calls"][0]["function"], json!({"name": "stop", "arguments": {}}));
    let lines = with(&["--tool-choice", "go"], "hello\n/tool 3\n/tool 4\n");
    assert_eq!(lines.matches("<tool_call>").count(), 3, "{lines}");
    assert!(fails(&["chat", "--model", model, "--tool-choice", "go"]).contains("--tools"));
    assert!(fails(&[&base[..], &["--messages", &tools]].concat()).contains("messages[0].role: is missing"));
    assert!(fails(&[&base[..], &["--template-variables", "5"]].concat()).contains("template_variables: `5`"));
}
