//! Classification, scores and rankings.

use super::*;

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

fn reference(name: &str) -> Value {
    let path = fixture("tasks").join(name).join("reference.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn zero_shot_labels_are_sorted() {
    let case = &reference("nli")["zero_shot"][1];
    let labels = case["labels"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect::<Vec<_>>().join(", ");
    let text = case["text"].as_str().unwrap();
    let arguments = ["--labels", &labels, "--multi-label", text];
    let found = run_json("zero-shot", "tasks/nli", &arguments, "");
    assert_eq!((&found[0]["labels"], &found[0]["text"]), (&case["order"], &case["text"]));
    assert_close(&found[0]["scores"], &case["scores"]);
    let shown = run("zero-shot", "tasks/nli", &arguments, "");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() == 4 && lines[3].is_empty(), "{shown}");
    let columns: Vec<&str> = lines[0].split('\t').collect();
    assert_eq!(columns[1..], [case["order"][0].as_str().unwrap(), text]);
}

#[test]
fn masks_are_filled() {
    let all = reference("bert");
    let case = &all["fill_mask"][0];
    let text = case["text"].as_str().unwrap();
    let found = run_json("fill-mask", "tasks/bert", &[text], "");
    let (tokens, expected) = (&found[0]["masks"][0], case["masks"][0].as_array().unwrap());
    for (token, expected) in tokens.as_array().unwrap().iter().zip(expected) {
        assert_eq!((&token["token"], &token["token_str"]), (&expected["token"], &expected["token_str"]));
        assert_eq!(token["sequence"], expected["sequence"]);
        assert_close(&token["score"], &expected["score"]);
    }
    let shown = run("fill-mask", "tasks/bert", &["--targets", "river,bird", "-k", "1", "[MASK] [MASK]"], "");
    assert_eq!(shown.lines().filter(|line| line.is_empty()).count(), 2, "{shown}");
}

#[test]
fn sparse_embeddings_and_their_dot_products() {
    let texts = ["a small bird", "the river"];
    let found = run_json("sparse-embed", "tasks/splade", &texts, "");
    let row = |i: usize| {
        let indices = found[i]["indices"].as_array().unwrap().iter().map(|index| index.as_u64().unwrap());
        indices.zip(floats(&found[i]["weights"])).collect::<Vec<_>>()
    };
    assert!(row(0).len() == 20 && row(0).is_sorted());
    let common = |(index, weight): &(u64, f64)| {
        row(1).iter().find(|(other, _)| other == index).map_or(0.0, |(_, other)| other * weight)
    };
    let dot: f64 = row(0).iter().map(common).sum();
    let scored = run_json("sparse-embed", "tasks/splade", &["--query", texts[0], texts[1]], "");
    assert_eq!(scored[0]["text"], texts[1]);
    assert!((scored[0]["score"].as_f64().unwrap() - dot).abs() < 1e-3, "{scored:?} {dot}");
    let shown = run("sparse-embed", "tasks/splade", &["--max-active-dims", "3", texts[0]], "");
    assert!(shown.split_whitespace().count() >= 3 && shown.matches(':').count() >= 3, "{shown}");
}
