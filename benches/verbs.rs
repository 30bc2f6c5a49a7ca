//! The verbs and options that no other bench has, on tiny models: what a call costs beside the arithmetic.

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use kinglet::{
    Aggregation, BatchGoal, CalibrationOptions, ChatOptions, ClassifyOptions, Device, EmbedOptions, FillMaskOptions,
    GenerateOptions, LoadOptions, Message, Model, Precision, Priority, SparseOptions, ToolChoice, ToolFormat, Workload,
    ZeroShotOptions,
};
use support::{fixtures, load};

const TEXTS: [&str; 2] = ["the river", "a small bird"];

fn fixture(name: &str) -> Model {
    load(&fixtures().join(name), Device::Cpu, Precision::F32, 1)
}

fn encoders(c: &mut Criterion) {
    let mut group = c.benchmark_group("encoders");
    let model = fixture("bert-classifier");
    let options = ClassifyOptions::default();
    group.bench_function("classify", |b| b.iter(|| model.classify(&TEXTS, None, &options).unwrap()));
    let model = fixture("bert-token-classifier");
    group.bench_function("classify tokens", |b| {
        b.iter(|| model.classify_tokens(&TEXTS, Aggregation::Simple, &options).unwrap());
    });
    let model = fixture("roberta-cross-encoder");
    group.bench_function("score", |b| b.iter(|| model.score(&TEXTS, &TEXTS, &options).unwrap()));
    group.bench_function("rerank", |b| b.iter(|| model.rerank(TEXTS[0], &TEXTS, None, &options).unwrap()));
    let model = fixture("tasks/nli");
    let options = ZeroShotOptions::default();
    group.bench_function("classify zero-shot", |b| {
        b.iter(|| model.classify_zero_shot(&TEXTS, &["water", "birds"], &options).unwrap());
    });
    let model = fixture("tasks/bert");
    let options = FillMaskOptions::default();
    group.bench_function("fill masks", |b| b.iter(|| model.fill_mask(&["the [MASK]", "a [MASK]"], &options).unwrap()));
    let options = SparseOptions::default();
    group.bench_function("sparse embeddings", |b| b.iter(|| model.sparse_embed(&TEXTS, &options).unwrap()));
    let model = fixture("bert");
    group.bench_function("hidden states", |b| b.iter(|| model.hidden_states(&[1, 2, 3], &[3], None, None).unwrap()));
    group.bench_function("decode", |b| b.iter(|| model.decode(&[5, 6, 7], true).unwrap()));
    group.bench_function("embed by request", |b| {
        b.iter(|| {
            let request = model.submit(Priority::Normal, |model, _| model.embed(&TEXTS, &EmbedOptions::default()));
            request.unwrap().join().unwrap()
        });
    });
    let guess = CalibrationOptions { skip: true, ..CalibrationOptions::default() };
    let workload = Workload { input_tokens: 16.0, input_spread: 0.0, output_tokens: 0, beams: 1 };
    group.bench_function("suggest a batch size", |b| {
        b.iter(|| model.suggest_batch_size(&workload, BatchGoal::Throughput, &guess).unwrap());
    });
    group.finish();
}

fn decoders(c: &mut Criterion) {
    let mut group = c.benchmark_group("decoders");
    let path = fixtures().join("generation/gpt2");
    let options =
        LoadOptions { precision: Some(Precision::F32), threads: 1, answer_cache: 1 << 20, ..LoadOptions::default() };
    let model = Model::load(&path, options).unwrap();
    let greedy = GenerateOptions { max_new_tokens: Some(4), ignore_eos: true, ..GenerateOptions::default() };
    // The first call misses, all others hit.
    group.bench_function("answer cache", |b| b.iter(|| model.generate(&TEXTS[..1], &greedy, None).unwrap()));
    let model = fixture("generation/gpt2");
    group.bench_function("logits", |b| b.iter(|| model.logits(&[5, 6, 7], None, false, None).unwrap()));
    group.bench_function("prefix", |b| b.iter(|| model.prefix("the river", true, None).unwrap()));
    let prefixed = GenerateOptions { prefix: Some(model.prefix("the river", true, None).unwrap()), ..greedy.clone() };
    group.bench_function("after a prefix", |b| {
        b.iter(|| model.generate(&["the river flows"], &prefixed, None).unwrap())
    });
    for priority in Priority::ALL {
        let options = GenerateOptions { priority, ..greedy.clone() };
        group.bench_function(format!("priority {}", priority.name()), |b| {
            b.iter(|| model.generate(&TEXTS, &options, None).unwrap());
        });
    }
    group.finish();
    let Some(path) = support::smollm2() else { return };
    let model = load(&path, Device::Cpu, Precision::Int8, 0);
    c.bench_function("chat reply", |b| {
        b.iter(|| {
            let mut session = model.session().unwrap();
            session.send("Hello", &greedy, None).unwrap()
        });
    });
    // SmolLM2's template knows no tools; the work is the same.
    let chat = ChatOptions {
        tools: Some(r#"[{"name": "go", "parameters": {"type": "object", "properties": {}}}]"#.into()),
        tool_format: Some(ToolFormat::Hermes),
        ..ChatOptions::default()
    };
    let calling = GenerateOptions { tool_choice: ToolChoice::Required, ..greedy.clone() };
    c.bench_function("chat reply that calls a tool", |b| {
        b.iter(|| {
            let mut session = model.session_with(&chat).unwrap();
            session.send("Hello", &calling, None).unwrap()
        });
    });
    let messages: Vec<_> = (0..20).map(|i| Message::new(["user", "assistant"][i % 2], TEXTS[0])).collect();
    c.bench_function("chat template over 20 messages", |b| {
        b.iter(|| model.apply_chat_template(&messages, &chat, None).unwrap());
    });
    let answer = "<tool_call>{\"name\": \"go\", \"arguments\": {\"a\": [1, 2]}}</tool_call>\n".repeat(1000);
    c.bench_function("response with 1,000 calls", |b| {
        b.iter(|| model.parse_response(&answer, "", &chat).unwrap());
    });
}

criterion_group!(benches, encoders, decoders);
criterion_main!(benches);
