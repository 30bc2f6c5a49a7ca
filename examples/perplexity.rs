//! The perplexity of a text under a model, which shows the cost of a narrower precision.
//!
//! `cargo run --release --example perplexity -- MODEL PRECISION TEXT-FILE [TOKENS]`
//!
//! The text is split into windows of 512 tokens, which are evaluated independently; every token except a window's first counts.

use kinglet::{EncodeOptions, LoadOptions, Model, Precision};

const WINDOW: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, precision, file, rest @ ..] = arguments.as_slice() else {
        return Err("usage: perplexity MODEL auto|f32|f16|bf16|int8|int4 TEXT-FILE [TOKENS]".into());
    };
    let precision = Precision::ALL.into_iter().find(|p| p.name() == precision).ok_or("no such precision")?;
    let most = rest.first().map_or(Ok(20_000), |n| n.parse())?;
    let model = Model::load(model, LoadOptions { precision: Some(precision), ..LoadOptions::default() })?;
    let options = EncodeOptions { max_length: Some(usize::MAX), ..EncodeOptions::default() };
    let encoding = model.tokenize(&[&std::fs::read_to_string(file)?], None, &options, None)?;
    let ids = &encoding.ids()[..encoding.ids().len().min(most)];
    let (mut surprise, mut count) = (0.0f64, 0usize);
    for window in ids.chunks(WINDOW) {
        let logits = model.logits(window, None, false, None)?;
        for (row, &next) in logits.values.chunks_exact(logits.vocabulary).zip(&window[1..]) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
            surprise += sum.ln() - f64::from(row[next as usize] - largest);
            count += 1;
        }
    }
    println!("{} tokens, {}: perplexity {:.4}", count, model.precision().name(), (surprise / count as f64).exp());
    Ok(())
}
