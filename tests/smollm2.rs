//! The real SmolLM2-135M-Instruct from its GGUF file (Q4_1): texts compared with transformers, and the cost of INT8.

mod support;

use kinglet::{Device, GenerateOptions, Precision};
use serde_json::Value;
use support::{ids, load};

/// Prompts, their tokens, and the 24 tokens that transformers 5 generates from the same file in f32.
fn reference() -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(support::fixtures().join("smollm2.json")).unwrap()).unwrap()
}

fn greedy() -> GenerateOptions {
    GenerateOptions { max_new_tokens: Some(24), do_sample: Some(false), ..GenerateOptions::default() }
}

#[test]
fn greedy_texts_match_transformers() {
    let Some(path) = support::smollm2() else { return };
    let (model, cases) = (load(&path, Device::Cpu, Precision::F32, 2), reference());
    assert_eq!(cases.len(), 20);
    let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
    let encoding = model.tokenize(&texts, None, &Default::default(), None).unwrap();
    let result = model.generate(&texts, &greedy(), None).unwrap();
    for (i, case) in cases.iter().enumerate() {
        assert_eq!(encoding.ids()[encoding.starts()[i]..encoding.starts()[i + 1]], ids(&case["ids"]), "{}", texts[i]);
        assert_eq!(result.outputs[i][0].tokens, ids(&case["greedy"]), "{}", texts[i]);
    }
}

#[test]
fn int8_gives_nearly_the_same_log_probability() {
    let Some(path) = support::smollm2() else { return };
    // The mean log-probability per token of the reference's texts.
    let sureness = |precision| {
        let model = load(&path, Device::Cpu, precision, 2);
        let (mut sum, mut count) = (0.0f64, 0);
        for case in reference() {
            let all = [ids(&case["ids"]), ids(&case["greedy"])].concat();
            let logits = model.logits(&all, None, false, None).unwrap();
            for (row, &next) in logits.values.chunks_exact(logits.vocabulary).zip(&all[1..]) {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let total: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
                sum += f64::from(row[next as usize] - largest) - total.ln();
                count += 1;
            }
        }
        sum / f64::from(count)
    };
    let (wide, narrow) = (sureness(Precision::F32), sureness(Precision::Int8));
    println!("mean log-probability: {wide:.4} in f32, {narrow:.4} in int8");
    assert!((wide - narrow).abs() < 0.08, "{wide} in f32, {narrow} in int8");
}

#[test]
fn it_holds_a_conversation() {
    let Some(path) = support::smollm2() else { return };
    let model = load(&path, Device::Cpu, Precision::Int8, 2);
    let mut session = model.session().unwrap();
    let answer = session.send("What is the capital of France?", &greedy(), None).unwrap();
    assert!(answer.text.contains("Paris"), "{}", answer.text);
    let held = session.held_tokens();
    let again = session.send("And of Germany?", &greedy(), None).unwrap();
    assert!(again.text.contains("Berlin") && session.held_tokens() > held, "{}", again.text);
}
