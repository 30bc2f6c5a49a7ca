//! The measures against the packages that define them (tests/fixtures/make_metric_cases.py).

use serde_json::Value;

use super::answers::{macro_f1, word_f1};
use super::bleu::{Bleu, Chrf};
use super::ranking::{ndcg, pearson, reciprocal_rank, spearman};
use super::rouge::{Rouge, of_documents};

fn reference() -> Value {
    serde_json::from_str(include_str!("../../../../tests/references/metrics.json")).unwrap()
}

#[track_caller]
fn near(what: &str, found: f64, wanted: &Value) {
    let wanted = wanted.as_f64().unwrap();
    assert!((found - wanted).abs() < 1e-9, "{what}: {found} and not {wanted}");
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn texts_score_as_in_sacrebleu_rouge_score_and_squad() {
    let reference = reference();
    let sets = reference["texts"].as_array().unwrap();
    assert!(sets.len() > 20);
    for (i, set) in sets.iter().enumerate() {
        let pairs = set["pairs"].as_array().unwrap().iter();
        let pairs: Vec<(&str, &str)> = pairs.map(|p| (p[0].as_str().unwrap(), p[1].as_str().unwrap())).collect();
        let bleu = Bleu::score(pairs.iter().map(|(answer, expected)| Bleu::of(answer, expected)));
        near(&format!("set {i}: BLEU"), bleu, &set["bleu"]);
        let chrf = Chrf::score(pairs.iter().map(|(answer, expected)| Chrf::of(answer, expected)));
        near(&format!("set {i}: chrF"), chrf, &set["chrf"]);
        let mean = |score: &dyn Fn(&str, &str) -> f64| {
            pairs.iter().map(|(answer, expected)| score(answer, expected)).sum::<f64>() / pairs.len() as f64
        };
        near(&format!("set {i}: ROUGE-1"), mean(&|a, e| Rouge::of(a, e).one), &set["rouge1"]);
        near(&format!("set {i}: ROUGE-2"), mean(&|a, e| Rouge::of(a, e).two), &set["rouge2"]);
        for (answer, expected) in &pairs {
            let Rouge { one, two, l, .. } = Rouge::of(answer, expected);
            assert_eq!(of_documents(answer, expected), (one, two, Some(l)));
        }
        near(&format!("set {i}: ROUGE-L"), mean(&|a, e| Rouge::of(a, e).l), &set["rougel"]);
        near(&format!("set {i}: ROUGE-Lsum"), mean(&|a, e| Rouge::of(a, e).l_sum), &set["rougelsum"]);
        near(&format!("set {i}: F1"), mean(&word_f1), &set["f1"]);
    }
    assert_eq!((Bleu::score([].into_iter()), Chrf::score([].into_iter())), (0.0, 0.0));
}

#[test]
fn labels_score_as_in_scikit_learn() {
    for case in reference()["labels"].as_array().unwrap() {
        let side = |key: &str| case[key].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect::<Vec<_>>();
        let (given, expected) = (side("given"), side("expected"));
        near("macro F1", macro_f1(given.into_iter().zip(expected)), &case["macro_f1"]);
    }
    assert_eq!(macro_f1([].into_iter()), 0.0);
}

#[test]
fn correlations_are_those_of_scipy() {
    for case in reference()["correlations"].as_array().unwrap() {
        let (x, y) = (floats(&case["x"]), floats(&case["y"]));
        near("Pearson", pearson(&x, &y), &case["pearson"]);
        near("Spearman", spearman(&x, &y), &case["spearman"]);
    }
    assert!(pearson(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
}

#[test]
fn rankings_score_as_in_scikit_learn() {
    for case in reference()["rankings"].as_array().unwrap() {
        let gains = floats(&case["gains"]);
        near("nDCG@10", ndcg(&gains, &gains, 10), &case["ndcg"]);
    }
    // A relevant document that was not ranked counts in the ideal.
    assert!(ndcg(&[1.0], &[1.0, 1.0], 10) < 0.7 && ndcg(&[], &[], 10) == 0.0);
    assert_eq!((reciprocal_rank(&[0.0, 0.0, 2.0]), reciprocal_rank(&[0.0])), (1.0 / 3.0, 0.0));
}
