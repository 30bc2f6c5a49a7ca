//! Token ids and hidden states.

use super::*;

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
