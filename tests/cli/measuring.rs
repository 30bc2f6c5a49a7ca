//! Benchmarks, load tests, batch sizes and counters.

use super::*;

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
fn a_plan_comes_from_measured_times_or_from_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("times.json");
    let file = file.to_str().unwrap();
    let workload = ["--threads", "2", "--inputs", "4", "--input-tokens", "4-9"];
    let fleet = ["--requests-per-day", "1e9", "--peak", "2", "--price", "0.5", "--json"];
    let measured = run("plan", "bert", &[&workload[..], &fleet, &["--save-times", file]].concat(), "");
    let measured: Value = serde_json::from_str(&measured).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.env_remove("KINGLET_MODEL").args(["plan", "--times", file]).args(fleet);
    let again: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(measured, again);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.env_remove("KINGLET_MODEL").args(["plan", "--times", file, "--input-tokens", "5"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--input-tokens"));

    assert_eq!(
        (&again["task"], &again["input_tokens"], &again["check"]),
        (&json!("embed"), &json!("4-9"), &Value::Null)
    );
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{again}"));
    let (replica, fleet) = (&again["replica"], &again["fleet"]);
    let load = number(&replica["load_within_objective"]);
    assert!(load > 0.0 && load <= 0.95, "{load}");
    assert!((number(&fleet["peak_requests_per_s"]) / number(&fleet["mean_requests_per_s"]) - 2.0).abs() < 1e-6);
    let needed = number(&fleet["peak_requests_per_s"]) / (load * number(&replica["capacity_requests_per_s"]));
    // One is to spare; those that take the place of a failed one are beside them while they start.
    let most = number(&fleet["fixed"]["most_replicas"]);
    assert!(most >= needed.ceil() && most <= needed.ceil() + 4.0, "{needed} {fleet}");
    let [fixed, autoscaled] = ["fixed", "autoscaled"].map(|name| number(&fleet[name]["replica_hours_per_day"]));
    assert!(autoscaled <= fixed * 1.1, "{fleet}");
    let cost = number(&fleet["fixed"]["cost_per_million"]);
    assert!((cost / (fixed * 0.5 / 1000.0) - 1.0).abs() < 1e-2, "{fleet}");
    assert_eq!(replica["levels"].as_array().unwrap().len(), 19);

    for (arguments, part) in [
        (&["--peak", "0.5"][..], "1 to 20"),
        (&["--requests-per-day", "1e13"], "at most 1e12"),
        (&["--zones", "0"], "--zones"),
    ] {
        assert!(fails(USAGE, "plan", "bert", arguments, "").contains(part), "{arguments:?}");
    }
    let impossible = ["--inputs", "4", "--requests-per-day", "1000", "--p99", "0.000001"];
    assert!(fails(FAILED, "plan", "bert", &impossible, "").contains("no fleet keeps the objective"));
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
