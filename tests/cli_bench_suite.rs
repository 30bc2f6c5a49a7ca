//! `kinglet bench suite`, `compare` and `history`: the structure of what they write, and verdicts on made-up figures. No test judges a time.

#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const SMALL: &str = r#"
rounds = 2
bootstrap_samples = 50
[settings]
threads = [1]
[loading]
repeats = 2
[tokenising]
repeats = 3
batches = [1, 3]
input_tokens = 6
[inference]
repeats = 3
batches = [1, 2]
input_tokens = 5
output_tokens = 4
[statistics]
repeats = 3
records = [100, 1000]
[end-to-end]
repeats = 3
batches = [2]
input_tokens = 6
output_tokens = 3
[documents]
repeats = 1
tokens = [50, 120]
window = 24
overlap = 4
batch = 2
output_tokens = 3
compression_ratios = [2.5]
[load]
callers = [2]
requests = 6
input_tokens = 5
output_tokens = 3
[reporting]
formats = ["json", "csv", "markdown", "html", "github-action"]
"#;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> String {
    root().join("tests/fixtures").join(name).to_str().unwrap().to_string()
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kinglet")).arg("bench").args(arguments).output().unwrap()
}

/// Standard output and standard error of a run that must end with `status`.
fn ends(status: i32, arguments: &[&str]) -> (String, String) {
    let output = bench(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (shown, said) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {shown}\n{said}");
    (shown, said)
}

/// A folder with a configuration: the small one and `more`.
fn folder(more: &str) -> (TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (config, output) = (folder.path().join("suite.toml"), folder.path().join("out"));
    fs::write(&config, format!("{SMALL}{more}")).unwrap();
    let text = |path: PathBuf| path.to_str().unwrap().to_string();
    (folder, text(config), text(output))
}

fn report(output: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(Path::new(output).join("report.json")).unwrap()).unwrap()
}

fn figures<'a>(report: &'a Value, suite: &str) -> Vec<&'a Value> {
    report["figures"].as_array().unwrap().iter().filter(|figure| figure["suite"] == suite).collect()
}

/// The part of JSON Schema that docs/benchmark-suite.schema.json uses.
fn fits(schema: &Value, value: &Value, at: &str, root: &Value) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{at}: {what}"));
    let Value::Object(rules) = schema else { return wrong("no schema".into()) };
    for (rule, given) in rules {
        match rule.as_str() {
            "$ref" => fits(&root["$defs"][given.as_str().unwrap().rsplit('/').next().unwrap()], value, at, root)?,
            "const" if value != given => return wrong(format!("{value} is not {given}")),
            "enum" if !given.as_array().unwrap().contains(value) => {
                return wrong(format!("{value} is not one of {given}"));
            }
            "type" => {
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_u64() || n.is_i64() => "integer",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                let types: Vec<&str> = match given {
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    one => vec![one.as_str().unwrap()],
                };
                let number = is == "integer" && types.contains(&"number");
                if !types.contains(&is) && !number {
                    return wrong(format!("{is} is not {types:?}"));
                }
            }
            "required" => {
                for key in given.as_array().unwrap() {
                    if value.get(key.as_str().unwrap()).is_none() {
                        return wrong(format!("no {key}"));
                    }
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits(given, item, &format!("{at}[{i}]"), root)?;
                }
            }
            "properties" => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    match given.get(key) {
                        Some(schema) => fits(schema, item, &format!("{at}.{key}"), root)?,
                        None if rules.get("additionalProperties") == Some(&json!(false)) => {
                            return wrong(format!("{key} is not described"));
                        }
                        None => {}
                    }
                }
            }
            "const" | "enum" | "additionalProperties" | "description" | "title" | "$schema" | "$defs" => {}
            other => return wrong(format!("the test does not know {other}")),
        }
    }
    Ok(())
}

#[test]
fn a_suite_of_an_encoder_writes_every_report() {
    let (_folder, config, output) = folder("");
    let model = fixture("bert");
    ends(0, &["suite", "--config", &config, "--model", &model, "--output", &output]);
    let report = report(&output);
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(root().join("docs/benchmark-suite.schema.json")).unwrap()).unwrap();
    fits(&schema, &report, "report", &schema).unwrap();

    for suite in ["loading", "tokenising", "inference", "statistics", "end-to-end", "documents", "load"] {
        assert!(!figures(&report, suite).is_empty(), "no figure of {suite}");
    }
    assert_eq!((&report["not_measured"], &report["beyond_limits"]), (&json!([]), &json!([])));
    for figure in report["figures"].as_array().unwrap() {
        assert_eq!(figure["target"], json!({ "model": "bert", "precision": "auto", "device": "cpu", "threads": 1 }));
        let s = &figure["statistics"];
        let number = |key: &str| s[key].as_f64().unwrap_or_else(|| panic!("{key} of {figure}"));
        let order = ["min", "median", "p90", "p95", "p99", "max"].map(number);
        assert!(order[0] > 0.0 && order.is_sorted(), "{figure}");
        let samples: usize =
            figure["rounds"].as_array().unwrap().iter().map(|round| round.as_array().unwrap().len()).sum();
        assert_eq!(
            (figure["rounds"].as_array().unwrap().len(), s["repeats"].as_u64()),
            (2, Some(samples as u64)),
            "{figure}"
        );
        assert!(s["interval"][0].as_f64() <= s["interval"][1].as_f64(), "{figure}");
    }
    let tokenising = figures(&report, "tokenising");
    let batches: Vec<&Value> = tokenising.iter().filter(|f| f["measure"] == "latency").map(|f| &f["batch"]).collect();
    assert_eq!(batches, [&json!(1), &json!(3)]);
    assert_eq!(report["models"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(report["models"][0]["runs"][0]["precision"], "f32");

    let read = |name: &str| fs::read_to_string(Path::new(&output).join(name)).unwrap();
    let csv = read("report.csv");
    assert_eq!(csv.lines().count(), 1 + report["figures"].as_array().unwrap().len());
    let columns = csv.lines().next().unwrap().split(',').count();
    // Commas are in quoted fields only.
    let fields = |line: &str| line.split('"').step_by(2).map(|part| part.matches(',').count()).sum::<usize>() + 1;
    assert!(csv.lines().all(|line| fields(line) == columns), "{csv}");
    let markdown = read("report.md");
    for part in ["# Benchmark report", "| CPU |", "inference", "hidden states, batch 2 of 5 tokens", "SHA-256"] {
        assert!(markdown.contains(part), "no {part:?} in {markdown}");
    }
    let html = read("report.html");
    assert!(
        html.starts_with("<!doctype html>") && html.matches("<svg").count() == 3 && !html.contains("src="),
        "{html}"
    );
    for chart in ["batch_size_speedup_chart", "inference_speedup_chart", "latency_distribution"] {
        let svg = read(&format!("{chart}.svg"));
        assert!(svg.starts_with("<svg") && svg.contains("currentColor") && !svg.contains("#000000"), "{svg}");
        let png = fs::read(Path::new(&output).join(format!("{chart}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.len() > 2000, "{chart}.png: {} bytes", png.len());
    }
    let action: Value = serde_json::from_str(&read("github-action.json")).unwrap();
    for entry in action.as_array().unwrap() {
        assert!(entry["name"].is_string() && entry["unit"].is_string() && entry["value"].is_number(), "{entry}");
    }
}

#[test]
fn a_suite_of_a_decoder_streams_summarises_and_is_evaluated() {
    let prose = tempfile::tempdir().unwrap();
    let file = prose.path().join("prose.jsonl");
    fs::write(&file, "{\"text\":\"the river and the bird\"}\n{\"text\":\"a small bird\"}\n").unwrap();
    let quality = format!("[[quality.cases]]\ntask = \"perplexity\"\nfile = {:?}\n", file.to_str().unwrap());
    let (_folder, config, output) = folder(&quality);
    let model = fixture("generation/gpt2");
    let suites = ["inference", "documents", "load", "quality"];
    let mut arguments = vec!["suite", "--config", &config, "--model", &model, "--output", &output];
    suites.iter().for_each(|suite| arguments.extend(["--suite", suite]));
    ends(0, &arguments);
    let report = report(&output);
    let has = |suite: &str, part: &str, measure: &str| {
        figures(&report, suite).iter().any(|f| f["case"].as_str().unwrap().contains(part) && f["measure"] == measure)
    };
    for (suite, part, measure) in [
        ("inference", "streaming", "first-token"),
        ("inference", "streaming", "output-token"),
        ("inference", "generate, batch 2", "throughput"),
        ("documents", "summarise 120 tokens", "latency"),
        ("documents", "compress 120 tokens by 2.5", "throughput"),
        ("load", "2 callers", "throughput"),
        ("load", "p99", "first-token"),
        ("quality", "perplexity", "perplexity"),
    ] {
        assert!(has(suite, part, measure), "{suite} {part} {measure}: {report}");
    }
    assert!(figures(&report, "loading").is_empty() && figures(&report, "tokenising").is_empty());
}

#[test]
fn what_cannot_be_measured_is_named() {
    // The fixture has 96 positions.
    let (folder, config, output) = folder("");
    let model = fixture("generation/gpt2");
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("input_tokens = 5\noutput_tokens = 4", "input_tokens = 95\noutput_tokens = 4");
    fs::write(&config, text).unwrap();
    let base = ["suite", "--config", &config, "--output", &output];
    let with = |more: &[&'static str]| [&base[..], &["--model", &model], more].concat();
    let (_, said) = ends(1, &with(&["--suite", "inference"]));
    assert!(
        said.contains("not measured: gpt2")
            && said.contains("generate, batch 2")
            && said.contains("takes 96")
            && said.contains("nothing could"),
        "{said}"
    );
    let (_, said) = ends(0, &with(&["--suite", "inference", "--suite", "statistics"]));
    assert!(said.contains("not measured"), "{said}");
    assert!(report(&output)["not_measured"][0]["what"]["why"].as_str().unwrap().contains("96"));

    let (_, said) = ends(2, &with(&["--suite", "quality"]));
    assert!(said.contains("quality.cases"), "{said}");
    let (_, said) = ends(2, &with(&["--suite", "speed"]));
    assert!(said.contains("end-to-end"), "{said}");
    let (_, said) = ends(2, &base);
    assert!(said.contains("--model"), "{said}");
    let (_, said) = ends(1, &[&base[..], &["--model", "no-such-model"]].concat());
    assert!(said.contains("no-such-model"), "{said}");
    let (_, said) = ends(2, &with(&["--counters", "json"]));
    assert!(said.contains("--counters"), "{said}");
    fs::write(&config, "[inference]\nbatchs = [1]\n").unwrap();
    let (_, said) = ends(2, &with(&[]));
    assert!(said.contains("suite.toml") && said.contains("batchs") && said.contains("inference"), "{said}");
    let limit =
        "[[limits]]\nsuite = \"statistics\"\ncase = \"counters of 100 records\"\nmeasure = \"latency\"\nmost = 0.0\n";
    fs::write(&config, format!("rounds = 1\n[statistics]\nrecords = [100]\n{limit}")).unwrap();
    let (_, said) = ends(1, &with(&["--suite", "statistics"]));
    assert!(said.contains("beyond its limit") && said.contains("counters of 100 records"), "{said}");
    drop(folder);
}

/// A report with one latency, one throughput and one memory, on a quiet machine.
fn made_up(folder: &Path, name: &str, scale: f64, change: impl FnOnce(&mut Value)) -> String {
    let (_keep, config, output) = self::folder("");
    ends(0, &["suite", "--config", &config, "--model", &fixture("bert"), "--output", &output, "--suite", "statistics"]);
    let mut report = report(&output);
    report["machine"]["steal"] = json!(0.0);
    report["machine"]["other_processes"] = json!(0.01);
    let mut figure = report["figures"][0].clone();
    let figures = [("latency", 10.0 * scale), ("throughput", 1000.0 / scale), ("memory", 64.0 * scale)].map(
        |(measure, centre)| {
            let round =
                |shift: f64| (0..9).map(|i| centre * (1.0 + shift + 0.001 * f64::from(i))).collect::<Vec<f64>>();
            figure["measure"] = json!(measure);
            figure["rounds"] = json!([round(0.0), round(0.002), round(0.004)]);
            figure.clone()
        },
    );
    report["figures"] = json!(figures);
    change(&mut report);
    let path = folder.join(name);
    fs::write(&path, report.to_string()).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn verdicts_on_made_up_figures() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, scale: f64| made_up(folder.path(), name, scale, |_| ());
    let (base, same, slower, slow) = (make("a", 1.0), make("b", 1.02), make("c", 1.22), make("d", 1.6));
    let verdicts = |status: i32, arguments: &[&str]| -> Vec<String> {
        let (shown, _) = ends(status, &[&["compare", "--json"], arguments].concat());
        let value: Value = serde_json::from_str(&shown).unwrap();
        value["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| change["verdict"].as_str().unwrap().to_string())
            .collect()
    };
    assert_eq!(verdicts(0, &[&base, &base]), ["same"; 3]);
    assert_eq!(verdicts(0, &[&base, &same, "--fail-on", "unclear"]), ["same"; 3]);
    assert_eq!(verdicts(0, &[&base, &slower]), ["warning"; 3]);
    assert_eq!(verdicts(1, &[&base, &slower, "--fail-on", "warning"]), ["warning"; 3]);
    assert_eq!(verdicts(2, &[&base, &slow]), ["critical"; 3]);
    assert_eq!(verdicts(0, &[&slow, &base]), ["better"; 3]);

    let strict = folder.path().join("strict.toml");
    fs::write(&strict, "[thresholds]\nlatency = { warning = 0.01, critical = 0.012 }\n").unwrap();
    assert_eq!(verdicts(2, &[&base, &same, "--config", strict.to_str().unwrap()]), ["critical", "same", "same"]);

    let busy = made_up(folder.path(), "e", 1.6, |report| report["machine"]["steal"] = json!(0.2));
    assert_eq!(verdicts(2, &[&base, &busy]), ["critical", "unclear", "unclear"]);
    let (shown, _) = ends(2, &["compare", &base, &busy]);
    assert!(shown.contains("the hypervisor took 20.0 %"), "{shown}");
    let fewer = made_up(folder.path(), "f", 1.0, |report| drop(report["figures"].as_array_mut().unwrap().pop()));
    assert_eq!(verdicts(0, &[&base, &fewer]), ["missing", "same", "same"]);
    assert_eq!(verdicts(1, &[&base, &fewer, "--fail-on", "unclear"]), ["missing", "same", "same"]);
    assert_eq!(verdicts(0, &[&fewer, &base]), ["new", "same", "same"]);

    let other = made_up(folder.path(), "g", 1.0, |report| report["machine"]["cpu"] = json!("Another CPU"));
    let (_, said) = ends(1, &["compare", &base, &other]);
    assert!(said.contains("Another CPU") && said.contains("--other-machine"), "{said}");
    assert_eq!(verdicts(0, &[&base, &other, "--other-machine"]), ["same"; 3]);
    let old = made_up(folder.path(), "h", 1.0, |report| report["schema_version"] = json!(0));
    let (_, said) = ends(1, &["compare", &base, &old]);
    assert!(said.contains("schema_version 0"), "{said}");

    let table = folder.path().join("compare.md");
    let (shown, _) = ends(2, &["compare", &base, &slow, "--annotations", "--markdown", table.to_str().unwrap()]);
    assert!(shown.contains("3 critical") && shown.matches("::error title=Benchmark::").count() == 3, "{shown}");
    assert!(fs::read_to_string(&table).unwrap().contains("| critical |"));
}

/// `scripts/bench-alert` against a webhook and a sendmail that are programs of this test.
#[cfg(unix)]
#[test]
fn alerts_reach_a_webhook_and_a_mailbox() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let sendmail = folder.path().join("sendmail");
    fs::write(&sendmail, format!("#!/bin/sh\ncat > {}/mail\n", folder.path().display())).unwrap();
    fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let alert = |verdict: &str, url: &str| {
        let mut child = Command::new(root().join("scripts/bench-alert"))
            .args(["--webhook", url, "--mail", "team@example.org"])
            .env("PATH", &path)
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let change =
            json!({ "figure": "m: c", "unit": "ms", "base": 10.0, "new": 13.0, "worse_by": 0.3, "verdict": verdict });
        let comparison = json!({ "verdict": verdict, "notes": [], "changes": [change] }).to_string();
        child.stdin.take().unwrap().write_all(comparison.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 is missing");
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    // Nothing is worse: nothing is sent, and nobody needs to answer.
    assert_eq!(alert("same", &url), (Some(0), String::new()));
    assert!(!folder.path().join("mail").exists());
    let received = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while !text.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the request is cut off");
            text.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8(text).unwrap()
    });
    assert_eq!(alert("critical", &url), (Some(0), String::new()));
    let request = received.join().unwrap();
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let text = "critical: m: c: 10 -> 13 ms, worse by 30.0 %";
    assert!(request.starts_with("POST /hook ") && body["text"].as_str().unwrap().contains(text), "{request}");
    let mail = fs::read_to_string(folder.path().join("mail")).unwrap();
    assert!(mail.contains("To: team@example.org") && mail.contains(text), "{mail}");
    // Nobody listens any more.
    let (status, said) = alert("warning", &url);
    assert!(status == Some(1) && said.contains("bench-alert: post to"), "{said}");
}

#[test]
fn a_history_grows_and_keeps_what_is_damaged() {
    let (folder, config, output) = folder("");
    let history = folder.path().join("history");
    let at = history.to_str().unwrap();
    let model = fixture("bert");
    let suite = [
        "suite",
        "--config",
        &config,
        "--model",
        &model,
        "--output",
        &output,
        "--suite",
        "statistics",
        "--history",
        at,
    ];
    ends(0, &suite);
    // Two runs on a machine that may be busy: the verdict is not this test's.
    let output_of = bench(&[&suite[..], &["--compare-with", &output]].concat());
    assert!(String::from_utf8(output_of.stdout).unwrap().contains(" same"));
    assert!(fs::read_to_string(Path::new(&output).join("report.md")).unwrap().contains("## Comparison of benchmarks"));
    let html = fs::read_to_string(Path::new(&output).join("report.html")).unwrap();
    assert!(html.contains("<h2>History</h2>") && html.contains("statistics: latency"), "the trend is missing");
    assert!(html.contains("<th>verdict</th>"), "the comparison is missing");
    let file = fs::read_dir(&history).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 2);
    let row: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let result = row["results"].as_object().unwrap().values().next().unwrap();
    for key in ["value", "lower_value", "upper_value"] {
        assert!(result["latency"][key].is_number(), "{row}");
    }
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (csv, page, copy) = (path("history.csv"), path("trends.html"), path("copy"));
    let (shown, _) = ends(0, &["history", at, "--export", &csv, "--page", &page, "--backup", &copy, "--prune", "12"]);
    assert!(shown.contains("2 entries") && shown.contains("removed 0 entries"), "{shown}");
    let figures = report(&output)["figures"].as_array().unwrap().len();
    assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), 1 + 2 * figures);
    assert!(fs::read_to_string(&page).unwrap().contains("<svg"));
    assert_eq!(fs::read_to_string(Path::new(&copy).join(file.file_name().unwrap())).unwrap(), text);
    // A copy is not overwritten.
    let (_, said) = ends(1, &["history", at, "--backup", &copy]);
    assert!(said.contains(&copy), "{said}");

    // A line that was cut off, then another run.
    fs::write(&file, &text[..text.len() - 40]).unwrap();
    ends(0, &suite);
    let (shown, said) = ends(1, &["history", at, "--prune", "12"]);
    assert!(
        shown.contains("2 entries") && said.contains("line 2: skipped") && said.contains("checksum"),
        "{shown} {said}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 3);
}

#[test]
fn two_programs_are_compared_in_pairs() {
    let (_folder, config, _) = folder("");
    let (model, program) = (fixture("bert"), env!("CARGO_BIN_EXE_kinglet"));
    let options = [
        "--pairs",
        "3",
        "--config",
        &config,
        "--model",
        &model,
        "--suite",
        "loading",
        "--suite",
        "inference",
        "--json",
    ];
    // The same program twice; how long it took each time is not this test's.
    let output = bench(&[&["pair", program][..], &options].concat());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let changes = found["changes"].as_array().unwrap();
    assert!(
        changes.iter().any(|change| change["figure"] == "bert, auto, cpu, 1 thread: loading, load: latency"),
        "{found}"
    );
    for change in changes {
        assert!(
            change["worse_by"].is_number() && change["noise"].is_number() && change["interval"][1].is_number(),
            "{change}"
        );
    }
    let (_, said) = ends(1, &[&["pair", "no-such-program"][..], &options].concat());
    assert!(said.contains("no-such-program"), "{said}");
    let (_, said) = ends(2, &["pair", program, "--pairs", "2", "--model", &model]);
    assert!(said.contains("--pairs"), "{said}");
}

#[test]
fn the_subcommands_do_not_change_bench() {
    let model = fixture("bert");
    let output = Command::new(env!("CARGO_BIN_EXE_kinglet"))
        .args(["bench", "--batch", "2", "--input-tokens", "5", "--repeat", "2", "--json"])
        .env("KINGLET_MODEL", &model)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys: Vec<&String> = figures.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["engine", "precision", "threads", "isa", "p50_ms", "tokens_per_s", "load_ms", "peak_rss_mb"]);
    let (_, said) = ends(2, &[]);
    assert!(said.contains("--model"), "{said}");
    // The environment's model is no option of a subcommand.
    let (_folder, config, out) = folder("");
    let output = Command::new(env!("CARGO_BIN_EXE_kinglet"))
        .args(["bench", "suite", "--config", &config, "--model", &model, "--suite", "statistics", "--output", &out])
        .env("KINGLET_MODEL", "no-such-model")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nine_of_ten_stages_and_verbs_have_a_bench() {
    let docs = fs::read_to_string(root().join("docs/benchmark-suite.md")).unwrap();
    let row = |kind: &str, name: &str| -> String {
        let begin = format!("| {kind} `{name}` | ");
        let line = docs.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("no row for the {kind} {name}")).trim_end_matches([' ', '|']).to_string()
    };
    let source = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let suites = ["loading", "tokenising", "inference", "statistics", "end-to-end", "documents", "load"];
    let exists = |place: &str| suites.contains(&place) || root().join(place).is_file();
    let calls = |place: &str, verb: &str| {
        let file = if suites.contains(&place) { "src/bin/kinglet/suite/measure.rs" } else { place };
        source(file).contains(&format!(".{verb}("))
    };
    let (mut all, mut covered) = (0, 0);
    let mut count = |kind: &str, name: &str| {
        let place = row(kind, name);
        all += 1;
        if place.starts_with("- (") {
            return;
        }
        let place = place.trim_matches('`');
        assert!(exists(place) && (kind == "stage" || calls(place, name)), "{kind} {name}: {place}");
        covered += 1;
    };
    for stage in kinglet::Stage::ALL {
        count("stage", stage.name());
    }
    for line in source("src/api/verbs.rs").lines().filter_map(|line| line.strip_prefix("    pub fn ")) {
        count("verb", line.split(['(', '<']).next().unwrap());
    }
    assert!(covered * 10 >= all * 9, "{covered} of {all}");
}
