//! Every field of the Spec is honoured, by every backend and for encoders and decoders: the numbers are those of a naive transformer, or
//! loading fails and names the field.

mod masked;
mod reference;

use std::path::Path;
use std::sync::Arc;

use super::Transformer;
use super::weights::ModelView;
use crate::backend::Backend;
#[cfg(feature = "candle")]
use crate::backend::candle::Candle;
use crate::backend::cpu::Cpu;
use crate::base::call::Call;
use crate::base::counters::Counters;
use crate::base::error::{Result, Status};
use crate::base::memory::Budget;
use crate::base::threads::Pool;
use crate::formats::safetensors::Weights;
use crate::kernels;
use crate::network::{Feed, Network, StepOutput, Want};
use crate::spec::{
    Activation, AttentionSpec, Batch, Biases, Dense, Disentangled, EncodeOutput, Experts, Head, HeadKind, HeadToken,
    Heads, LanguageHead, LanguageWeight, Layout, LinearTensors, Names, Norm, NormPlace, Pooling, Position, Precision,
    Relative, Rotary, RotaryScaling, Spec, Stack, fields,
};
use reference::{Reference, Tensors};

const VOCABULARY: usize = 60;
const LONGEST: usize = 160;
const PADDING: usize = 1;

const NAMES: Names = Names {
    prefix: "",
    word: &["word"],
    position: "position",
    token_type: Some("type"),
    embedding_norm: Some("embedding_norm"),
    embedding_projection: None,
    relative_bias: Some("relative"),
    distances: Some("distances"),
    distance_norm: Some("distance_norm"),
    distance_key: None,
    distance_query: None,
    qkv: LinearTensors::Separate(&["{}.query", "{}.key", "{}.value"]),
    attention_output: LinearTensors::Single("{}.mix"),
    attention_norm: "{}.attention_norm",
    attention_post_norm: Some("{}.attention_post_norm"),
    query_norm: Some("{}.query_norm"),
    key_norm: Some("{}.key_norm"),
    cross_query: Some("{}.cross_query"),
    cross_key_value: Some(&["{}.cross_key", "{}.cross_value"]),
    cross_output: Some("{}.cross_mix"),
    cross_norm: Some("{}.cross_norm"),
    up: LinearTensors::Separate(&["{}.gate", "{}.up"]),
    down: LinearTensors::Single("{}.down"),
    router: Some("{}.router"),
    expert_up: LinearTensors::Separate(&["{}.{e}.gate", "{}.{e}.up"]),
    expert_down: LinearTensors::Single("{}.{e}.down"),
    expert_bias: None,
    shared_up: LinearTensors::Separate(&["{}.shared_gate", "{}.shared_up"]),
    shared_down: LinearTensors::Single("{}.shared_down"),
    shared_gate: Some("{}.shared_score"),
    output_norm: "{}.output_norm",
    output_post_norm: Some("{}.output_post_norm"),
    final_norm: Some("final_norm"),
};

/// A head's width is a block of lanes and a bit, and its heads do not fill the hidden size.
fn stack(prefix: &'static str) -> Stack {
    Stack { max_tokens: LONGEST, ..Stack::new(24, 2, Heads::equal(4, 18), 40, Names { prefix, ..NAMES }) }
}

fn rotary(dim: usize, scaling: RotaryScaling) -> Option<Rotary> {
    Some(Rotary { dim, theta: 100.0, scaling, local_theta: None, without: Vec::new(), interleaved: false })
}

fn long(original: usize) -> RotaryScaling {
    let divisors = |from: f32| (0..6).map(|i| from + i as f32).collect();
    RotaryScaling::Long { short: divisors(1.0), long: divisors(2.5), original, attention: 1.25 }
}

fn yarn(truncate: bool) -> RotaryScaling {
    RotaryScaling::Yarn { factor: 4.0, fast: 8.0, slow: 0.5, original: 50, truncate, attention: 1.125 }
}

fn relative(bidirectional: bool) -> Option<Relative> {
    Some(Relative { buckets: 8, max_distance: 20, bidirectional })
}

/// A text of the tests has distances beyond the rows of their own, and beyond the last row.
fn disentangled() -> Option<Disentangled> {
    Some(Disentangled { span: 16, max_distance: Some(100), content_to_position: true, position_to_content: true })
}

fn experts() -> Option<Experts> {
    let (count, per_token, intermediate) = (5, 2, 24);
    Some(Experts { count, per_token, intermediate, normalized: false, shared: None, layers: Vec::new() })
}

type Change = fn(&mut Stack);

/// Changes of a stack, each of which changes the numbers.
const CHANGES: &[(&str, Change)] = &[
    ("hidden", |s| (s.hidden, s.embedding_size) = (40, 40)),
    ("layers", |s| s.layers = 3),
    ("shared_layers", |s| s.shared_layers = true),
    ("heads.count", |s| s.heads = Heads::equal(3, 18)),
    ("heads.kv of two", |s| s.heads.kv = 2),
    ("heads.kv of one", |s| s.heads.kv = 1),
    ("heads.dim", |s| s.heads.dim = 32),
    ("intermediate", |s| s.intermediate = 33),
    ("activation none", |s| s.activation = Activation::None),
    ("activation relu", |s| s.activation = Activation::Relu),
    ("activation gelu tanh", |s| s.activation = Activation::GeluTanh),
    ("activation silu", |s| s.activation = Activation::Silu),
    ("activation tanh", |s| s.activation = Activation::Tanh),
    ("gated", |s| s.gated = true),
    ("experts", |s| s.experts = experts()),
    ("experts with a gate and pre-norm", |s| {
        (s.experts, s.gated, s.norm.place) = (experts(), true, NormPlace::Pre);
    }),
    ("experts beside attention", |s| (s.experts, s.norm.place) = (experts(), NormPlace::Parallel)),
    ("experts.count", |s| s.experts = Some(Experts { count: 3, ..experts().unwrap() })),
    ("experts.per_token", |s| s.experts = Some(Experts { per_token: 5, ..experts().unwrap() })),
    ("experts.intermediate", |s| s.experts = Some(Experts { intermediate: 33, ..experts().unwrap() })),
    ("experts.normalized", |s| s.experts = Some(Experts { normalized: true, ..experts().unwrap() })),
    ("experts.shared", |s| s.experts = Some(Experts { shared: Some(19), ..experts().unwrap() })),
    ("experts.layers", |s| s.experts = Some(Experts { layers: vec![false, true], ..experts().unwrap() })),
    ("norm.kind", |s| s.norm = Norm::rms(NormPlace::Post, 1e-5)),
    ("norm.place pre", |s| s.norm.place = NormPlace::Pre),
    ("norm.place both", |s| s.norm.place = NormPlace::Both),
    ("norm.place output", |s| s.norm.place = NormPlace::Output),
    ("norm.first_attention", |s| {
        s.norm.place = NormPlace::Pre;
        s.norm.first_attention = false;
    }),
    ("norm.place parallel", |s| s.norm.place = NormPlace::Parallel),
    ("norm.eps", |s| s.norm.eps = 0.5),
    ("norm.bias", |s| s.norm.bias = false),
    ("norm.shift", |s| s.norm.shift = 0.25),
    ("biases.qkv", |s| s.biases.qkv = false),
    ("biases.attention_output", |s| s.biases.attention_output = false),
    ("biases.feed_forward", |s| s.biases.feed_forward = false),
    ("biases.feed_forward_output", |s| s.biases.feed_forward_output = false),
    ("biases", |s| s.biases = Biases::NONE),
    ("embedding_scale", |s| s.embedding_scale = 3.0),
    ("position learned", |s| s.position = Position::Learned { rows: LONGEST, first: 0 }),
    ("position learned from 2", |s| s.position = Position::Learned { rows: LONGEST + 2, first: 2 }),
    ("position sinusoidal", |s| {
        s.position = Position::Sinusoidal { rows: LONGEST, first: 0, inclusive: false };
    }),
    ("position sinusoidal from 2", |s| s.position = Position::Sinusoidal { rows: LONGEST, first: 2, inclusive: true }),
    ("relative.bidirectional", |s| s.relative = relative(true)),
    ("relative.bidirectional not", |s| s.relative = relative(false)),
    ("relative.buckets", |s| s.relative = Some(Relative { buckets: 12, ..relative(true).unwrap() })),
    ("relative.max_distance", |s| s.relative = Some(Relative { max_distance: 9, ..relative(true).unwrap() })),
    ("alibi", |s| s.alibi = Some(8.0)),
    ("alibi less steep", |s| s.alibi = Some(3.0)),
    ("rotary", |s| s.rotary = rotary(18, RotaryScaling::None)),
    ("rotary.theta", |s| s.rotary = Some(Rotary { theta: 10_000.0, ..rotary(18, RotaryScaling::None).unwrap() })),
    ("rotary.dim", |s| s.rotary = rotary(12, RotaryScaling::None)),
    ("rotary.scaling linear", |s| s.rotary = rotary(12, RotaryScaling::Linear { factor: 3.0 })),
    ("rotary.scaling llama3", |s| {
        s.rotary = rotary(12, RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 50 });
    }),
    ("rotary.scaling long", |s| s.rotary = rotary(12, long(100))),
    ("rotary.scaling yarn", |s| s.rotary = rotary(12, yarn(true))),
    ("rotary.scaling yarn, bounds between frequencies", |s| s.rotary = rotary(12, yarn(false))),
    ("rotary.scaling dynamic", |s| s.rotary = rotary(12, RotaryScaling::Dynamic { factor: 3.0, original: 10 })),
    ("rotary.without", |s| {
        s.rotary = Some(Rotary { without: vec![false, true], ..rotary(12, RotaryScaling::None).unwrap() });
    }),
    ("rotary.interleaved", |s| {
        s.rotary = Some(Rotary { interleaved: true, ..rotary(12, RotaryScaling::None).unwrap() });
    }),
    ("rotary.interleaved with grouped heads", |s| {
        s.heads.kv = 2;
        s.rotary = Some(Rotary { interleaved: true, ..rotary(18, RotaryScaling::None).unwrap() });
    }),
    ("rotary.local_theta", |s| {
        s.rotary =
            Some(Rotary { local_theta: Some(7.0), ..rotary(12, RotaryScaling::Linear { factor: 2.0 }).unwrap() });
        s.attention.windows = vec![9, 0];
    }),
    ("attention.scale", |s| s.attention.scale = 0.9),
    ("attention.softcap", |s| s.attention.softcap = 0.3),
    ("attention.windows small", |s| s.attention.windows = vec![0, 6]),
    ("attention.windows of one token", |s| s.attention.windows = vec![1, 0]),
    ("attention.windows of more than a chunk", |s| s.attention.windows = vec![140, 131]),
    ("attention.head_norm", |s| s.attention.head_norm = true),
    ("attention.joint_norm", |s| {
        s.heads.kv = 2;
        (s.attention.head_norm, s.attention.joint_norm) = (true, true);
        s.rotary = rotary(12, RotaryScaling::None);
    }),
    ("a soft cap, windows, relative biases and grouped heads", |s| {
        s.heads.kv = 2;
        s.relative = relative(true);
        s.attention = AttentionSpec { softcap: 0.5, windows: vec![40, 0], head_norm: true, ..s.attention.clone() };
    }),
    ("names.prefix", |s| s.names.prefix = "other."),
    ("names.word", |s| s.names.word = &["other"]),
    ("names.position", |s| {
        s.position = Position::Learned { rows: LONGEST, first: 0 };
        s.names.position = "other";
    }),
    ("names.embedding_norm", |s| s.names.embedding_norm = None),
    ("names.relative_bias", |s| {
        s.relative = relative(true);
        s.names.relative_bias = Some("other");
    }),
    ("names.qkv", |s| s.names.qkv = LinearTensors::Separate(&["{}.q", "{}.k", "{}.v"])),
    ("names.attention_output", |s| s.names.attention_output = LinearTensors::Single("{}.other")),
    ("names.attention_norm", |s| s.names.attention_norm = "{}.other_norm"),
    ("names.attention_post_norm", |s| {
        s.norm.place = NormPlace::Both;
        s.names.attention_post_norm = Some("{}.other_norm");
    }),
    ("names.query_norm", |s| {
        s.attention.head_norm = true;
        s.names.query_norm = Some("{}.other_norm");
    }),
    ("names.key_norm", |s| {
        s.attention.head_norm = true;
        s.names.key_norm = Some("{}.other_norm");
    }),
    ("names.up", |s| s.names.up = LinearTensors::Separate(&["{}.other", "{}.up"])),
    ("names.down", |s| s.names.down = LinearTensors::Single("{}.other")),
    ("names.router", |s| {
        s.experts = experts();
        s.names.router = Some("{}.other");
    }),
    ("names.expert_up", |s| {
        s.experts = experts();
        s.names.expert_up = LinearTensors::Separate(&["{}.{e}.other", "{}.{e}.up"]);
    }),
    ("names.expert_down", |s| {
        s.experts = experts();
        s.names.expert_down = LinearTensors::Single("{}.{e}.other");
    }),
    ("names.expert_bias", |s| {
        s.experts = experts();
        s.names.expert_bias = Some("{}.experts.bias");
    }),
    ("names.shared_up", |s| {
        s.experts = Some(Experts { shared: Some(19), ..experts().unwrap() });
        s.names.shared_up = LinearTensors::Separate(&["{}.other", "{}.shared_up"]);
    }),
    ("names.shared_down", |s| {
        s.experts = Some(Experts { shared: Some(19), ..experts().unwrap() });
        s.names.shared_down = LinearTensors::Single("{}.other");
    }),
    ("names.shared_gate", |s| {
        s.experts = Some(Experts { shared: Some(19), ..experts().unwrap() });
        s.names.shared_gate = None;
    }),
    ("names.output_norm", |s| s.names.output_norm = "{}.other_norm"),
    ("names.output_post_norm", |s| {
        s.norm.place = NormPlace::Both;
        s.names.output_post_norm = Some("{}.other_norm");
    }),
    ("names.final_norm", |s| s.names.final_norm = None),
];

/// What only encoders have.
const ENCODER_CHANGES: &[(&str, Change)] = &[
    ("position learned after padding", |s| {
        s.position = Position::LearnedAfterPadding { rows: LONGEST + PADDING + 1, padding: PADDING };
    }),
    ("position sinusoidal after padding", |s| {
        s.position = Position::SinusoidalAfterPadding { rows: LONGEST + PADDING + 1, padding: PADDING };
    }),
    ("embedding_size", |s| {
        s.embedding_size = 12;
        s.token_types = 2;
        s.position = Position::Learned { rows: LONGEST, first: 0 };
        s.names.embedding_projection = Some("projection");
    }),
    ("names.embedding_projection", |s| s.names.embedding_projection = Some("other")),
    ("disentangled", |s| s.disentangled = disentangled()),
    ("disentangled.span", |s| s.disentangled = Some(Disentangled { span: 40, ..disentangled().unwrap() })),
    ("disentangled.span of all distances", |s| {
        s.disentangled = Some(Disentangled { span: 170, max_distance: None, ..disentangled().unwrap() });
    }),
    ("disentangled.max_distance", |s| {
        s.disentangled = Some(Disentangled { max_distance: None, ..disentangled().unwrap() });
    }),
    ("disentangled.content_to_position", |s| {
        s.disentangled = Some(Disentangled { content_to_position: false, ..disentangled().unwrap() });
    }),
    ("disentangled.position_to_content", |s| {
        s.disentangled = Some(Disentangled { position_to_content: false, ..disentangled().unwrap() });
    }),
    ("disentangled attention with a soft cap, a window and other layers' weights", |s| {
        s.disentangled = disentangled();
        s.shared_layers = true;
        (s.attention.softcap, s.attention.windows) = (0.5, vec![40, 140]);
    }),
    ("names.distances", |s| {
        s.disentangled = disentangled();
        s.names.distances = Some("other");
    }),
    ("names.distance_norm", |s| {
        s.disentangled = disentangled();
        s.names.distance_norm = None;
    }),
    ("names.distance_key", |s| {
        s.disentangled = disentangled();
        s.names.distance_key = Some("{}.distance_key");
    }),
    ("names.distance_query", |s| {
        s.disentangled = disentangled();
        s.names.distance_query = Some("{}.distance_query");
    }),
    ("token_types", |s| s.token_types = 2),
    ("names.token_type", |s| {
        s.token_types = 2;
        s.names.token_type = Some("other");
    }),
];

/// Fields of a stack that tests of their own change.
const ELSEWHERE: [&str; 6] =
    ["max_tokens", "cross", "names.cross_query", "names.cross_key_value", "names.cross_output", "names.cross_norm"];

type SpecChange = fn(&mut Spec);

/// Changes of a decoder's Spec that change its logits.
const LANGUAGE_CHANGES: &[(&str, SpecChange)] = &[
    ("plain", |_| {}),
    ("vocabulary", |s| s.vocabulary = VOCABULARY + 5),
    ("language.weight", |s| language(s).weight = LanguageWeight::Own(&["other"])),
    ("language.weight that may be tied", |s| language(s).weight = LanguageWeight::OwnOrTied(&["other"])),
    ("language.bias", |s| language(s).bias = Some("bias")),
    ("language.scale", |s| language(s).scale = 0.5),
    ("language.softcap", |s| language(s).softcap = 0.75),
];

/// Changes of an encoder's Spec that change what its head gives.
const HEAD_CHANGES: &[(&str, SpecChange)] = &[
    ("plain", |_| {}),
    ("head.kind", |s| head(s).kind = HeadKind::Token),
    ("head.token", |s| head(s).token = HeadToken::Last { padding: None }),
    ("head.token after padding", |s| head(s).token = HeadToken::Last { padding: Some(165 % VOCABULARY as u32) }),
    ("head.layers", |s| head(s).layers.insert(0, Dense { activation: Activation::Tanh, ..dense("dense") })),
    ("head.labels", |s| head(s).labels = 7),
];

fn language(spec: &mut Spec) -> &mut LanguageHead {
    spec.language.as_mut().unwrap()
}

fn head(spec: &mut Spec) -> &mut Head {
    spec.head.as_mut().unwrap()
}

fn dense(name: &'static str) -> Dense {
    Dense { name, bias: true, activation: Activation::None, prefixed: false }
}

/// Specs that must be refused, and the field that the error names.
const REFUSED: &[(&str, SpecChange)] = &[
    ("encoder.cross", |s| s.encoder.as_mut().unwrap().cross = true),
    ("encoder.max_tokens", |s| {
        let position = Position::Sinusoidal { rows: LONGEST - 1, first: 0, inclusive: false };
        s.encoder.as_mut().unwrap().position = position;
    }),
    ("encoder.embedding_size", |s| s.encoder.as_mut().unwrap().embedding_size = 12),
    ("decoder.embedding_size", |s| {
        let decoder = s.decoder.as_mut().unwrap();
        (decoder.embedding_size, decoder.names.embedding_projection) = (12, Some("projection"));
    }),
    ("encoder.relative", |s| unnamed(s, |names| names.relative_bias = None).relative = relative(true)),
    ("encoder.token_types", |s| unnamed(s, |names| names.token_type = None).token_types = 2),
    ("encoder.norm.place", |s| unnamed(s, |names| names.attention_post_norm = None).norm.place = NormPlace::Both),
    ("encoder.norm.place", |s| unnamed(s, |names| names.output_post_norm = None).norm.place = NormPlace::Both),
    ("encoder.norm.first_attention", |s| s.encoder.as_mut().unwrap().norm.first_attention = false),
    ("encoder.rotary.without", |s| {
        let without = vec![true];
        s.encoder.as_mut().unwrap().rotary = Some(Rotary { without, ..rotary(12, RotaryScaling::None).unwrap() });
    }),
    ("encoder.attention.head_norm", |s| unnamed(s, |names| names.key_norm = None).attention.head_norm = true),
    ("encoder.heads.kv", |s| unnamed(s, |names| names.qkv = LinearTensors::ByHead("{}.qkv")).heads.kv = 2),
    ("encoder.attention.windows", |s| s.encoder.as_mut().unwrap().attention.windows = vec![4]),
    ("encoder.attention.softcap", |s| s.encoder.as_mut().unwrap().attention.softcap = -1.0),
    ("encoder.rotary.dim", |s| s.encoder.as_mut().unwrap().rotary = rotary(20, RotaryScaling::None)),
    ("encoder.rotary.scaling", |s| s.encoder.as_mut().unwrap().rotary = rotary(10, long(100))),
    ("decoder.position", |s| {
        let position = Position::LearnedAfterPadding { rows: LONGEST + PADDING + 1, padding: PADDING };
        s.decoder.as_mut().unwrap().position = position;
    }),
    ("encoder.disentangled", |s| unnamed(s, |names| names.distances = None).disentangled = disentangled()),
    ("encoder.disentangled.span", |s| {
        let table = Disentangled { span: 1, ..disentangled().unwrap() };
        s.encoder.as_mut().unwrap().disentangled = Some(table);
    }),
    ("encoder.disentangled.max_distance", |s| {
        let table = Disentangled { max_distance: Some(9), ..disentangled().unwrap() };
        s.encoder.as_mut().unwrap().disentangled = Some(table);
    }),
    ("encoder.heads.kv", |s| {
        let encoder = s.encoder.as_mut().unwrap();
        (encoder.disentangled, encoder.heads.kv) = (disentangled(), 2);
    }),
    ("encoder.experts.per_token", |s| {
        s.encoder.as_mut().unwrap().experts = Some(Experts { per_token: 6, ..experts().unwrap() });
    }),
    ("encoder.experts.layers", |s| {
        s.encoder.as_mut().unwrap().experts = Some(Experts { layers: vec![true], ..experts().unwrap() });
    }),
    ("encoder.experts", |s| unnamed(s, |names| names.router = None).experts = experts()),
    ("encoder.experts", |s| {
        let encoder = s.encoder.as_mut().unwrap();
        (encoder.experts, encoder.shared_layers) = (experts(), true);
    }),
    ("encoder.experts", |s| {
        let encoder = s.encoder.as_mut().unwrap();
        (encoder.experts, encoder.norm.place) = (experts(), NormPlace::Both);
    }),
    ("encoder.names.expert_up", |s| {
        unnamed(s, |names| names.expert_up = LinearTensors::Reversed("x")).experts = experts();
    }),
    ("decoder.disentangled", |s| s.decoder.as_mut().unwrap().disentangled = disentangled()),
    ("decoder.token_types", |s| s.decoder.as_mut().unwrap().token_types = 2),
    ("decoder.cross", |s| s.decoder.as_mut().unwrap().cross = false),
    ("decoder.cross", |s| s.encoder = None),
    ("decoder.hidden", |s| {
        let decoder = s.decoder.as_mut().unwrap();
        (decoder.hidden, decoder.embedding_size) = (40, 40);
    }),
    ("decoder.norm.place", |s| s.decoder.as_mut().unwrap().norm.place = NormPlace::Parallel),
    ("head.layers", |s| {
        s.head = Some(Head { kind: HeadKind::Sequence, token: HeadToken::First, layers: Vec::new(), labels: 2 })
    }),
    ("language:", |s| s.decoder = None),
    ("language.scale", |s| {
        s.decoder.as_mut().unwrap().names.final_norm = None;
        s.language.as_mut().unwrap().scale = 0.5;
    }),
    ("encoder:", |s| (s.encoder, s.decoder) = (None, None)),
];

fn unnamed(spec: &mut Spec, change: impl Fn(&mut Names)) -> &mut Stack {
    let encoder = spec.encoder.as_mut().unwrap();
    change(&mut encoder.names);
    encoder
}

fn plain_language() -> LanguageHead {
    LanguageHead { weight: LanguageWeight::Tied, bias: None, scale: 1.0, softcap: 0.0 }
}

fn spec(encoder: Option<Stack>, decoder: Option<Stack>) -> Spec {
    let language = decoder.as_ref().map(|_| plain_language());
    Spec { family: "test", vocabulary: VOCABULARY, encoder, decoder, head: None, language, masked: None }
}

/// The texts of a pass: short ones, and one of more keys than the kernels take at once. Some tokens are padding.
fn texts() -> Vec<Vec<u32>> {
    let text = |tokens: u32, seed: u32| (0..tokens).map(|i| (i * i * 7 + i * 13 + seed) % VOCABULARY as u32).collect();
    vec![text(5, 1), text(1, 9), text(150, 4), text(33, 30)]
}

fn types(ids: &[u32]) -> Vec<u32> {
    ids.iter().map(|id| id % 2).collect()
}

fn run<T>(texts: &[Vec<u32>], work: impl FnOnce(&Batch, Call<'_>) -> Result<T>) -> Result<T> {
    let mut starts = vec![0];
    texts.iter().for_each(|text| starts.push(starts[starts.len() - 1] + text.len()));
    let ids = texts.concat();
    let positions = texts.iter().flat_map(|text| 0..text.len() as u32).collect();
    let batch = Batch { layout: Layout::new(starts), ids: &ids, type_ids: &types(&ids), positions };
    work(&batch, Call::new(&Counters::default()))
}

fn load<B: Backend>(backend: B, spec: &Spec, weights: &Weights) -> Result<Transformer<B>> {
    let mut view = ModelView::find(spec, weights)?;
    Transformer::load(backend, spec, &mut view, &Arc::new(Budget::new(u64::MAX)), |_, _| Ok(()))
}

/// The backends, and the bars on their relative distance from the reference.
fn networks(spec: &Spec, weights: &Weights) -> Vec<(String, f64, Box<dyn Network>)> {
    let mut all: Vec<(String, f64, Box<dyn Network>)> = Vec::new();
    // The kernels have tests of their own: the best one in every precision, and the portable one.
    let (best, portable) = (kernels::available()[0], kernels::available().pop().unwrap());
    let own = [(Precision::F32, 2e-5), (Precision::F16, 2e-2), (Precision::Bf16, 0.05), (Precision::Int8, 0.1)];
    for (kernel, precision, bar) in
        own.map(|(precision, bar)| (best, precision, bar)).into_iter().chain([(portable, Precision::F32, 2e-5)])
    {
        let cpu = Cpu::new(kernel, precision, Arc::new(Pool::new(2)));
        let name = format!("{} in {}", kernel.name(), precision.name());
        all.push((name, bar, Box::new(load(cpu, spec, weights).unwrap())));
    }
    #[cfg(feature = "candle")]
    {
        let candle = Candle::open(crate::spec::Device::CandleCpu, 0, Precision::F32).unwrap();
        all.push(("candle".into(), 2e-5, Box::new(load(candle, spec, weights).unwrap())));
    }
    all
}

fn check(values: &[f32], expected: &[f64], bar: f64, what: &str) {
    assert_eq!(values.len(), expected.len(), "{what}");
    let norm = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut values.iter().zip(expected).map(|(x, y)| f64::from(*x) - y));
    let error = difference / norm(&mut expected.iter().copied());
    assert!(error < bar, "{what}: the reference differs by {error:e}");
}

/// The checkpoint that the reference has read.
fn weights(tensors: &Tensors, folder: &Path) -> Weights {
    let path = folder.join("model.safetensors");
    tensors.write(&path);
    Weights::open_file(&path).unwrap()
}

fn reference<'a>(tensors: &'a Tensors, stack: &'a Stack, causal: bool) -> Reference<'a> {
    Reference { tensors, stack, vocabulary: VOCABULARY, causal }
}

/// Hidden states of whole texts, with one change at a time.
fn table(changes: &[&[(&str, Change)]], causal: bool) {
    let states = |stack: &Stack| {
        let tensors = Tensors::default();
        let reference = reference(&tensors, stack, causal);
        let one = |text: &Vec<u32>| reference.states(text, &types(text), None);
        let states = texts().iter().flat_map(one).flatten().collect::<Vec<_>>();
        (states, tensors)
    };
    let plain = states(&stack("")).0;
    for (name, change) in changes.iter().copied().flatten() {
        let mut changed = stack("");
        change(&mut changed);
        let (expected, tensors) = states(&changed);
        assert_ne!(expected, plain, "{name} changes nothing");
        let folder = tempfile::tempdir().unwrap();
        let weights = weights(&tensors, folder.path());
        let spec = match causal {
            true => Spec { language: None, ..spec(None, Some(changed)) },
            false => spec(Some(changed), None),
        };
        for (backend, bar, network) in networks(&spec, &weights) {
            let values =
                run(&texts(), |batch, call| network.encode(batch, &EncodeOutput::states(Pooling::None), call)).unwrap();
            // Rounding sends some tokens to other experts.
            let bar = if spec.reader().unwrap().experts.is_some() && bar > 1e-3 { 0.5 } else { bar };
            check(&values, &expected, bar, &format!("{name}, {backend}"));
        }
    }
}

#[test]
fn encoders_honour_every_field() {
    table(&[CHANGES, ENCODER_CHANGES], false);
}

#[test]
fn decoders_honour_every_field() {
    table(&[CHANGES], true);
}

/// Appends tokens to a sequence, and gives their logits.
fn step(network: &dyn Network, feeds: &mut [Feed], call: Call<'_>) -> Vec<f32> {
    let mut output = StepOutput::default();
    network.step(feeds, &mut output, call).unwrap();
    output.logits
}

#[test]
fn decoding_in_steps_gives_the_logits_of_whole_texts() {
    let crossing: &[(&str, Change)] = &[
        ("plain", |_| {}),
        ("pre-norm", |s| s.norm.place = NormPlace::Pre),
        ("all of attention", |s| {
            s.heads.kv = 2;
            s.relative = relative(false);
            s.rotary = rotary(12, RotaryScaling::None);
            s.attention = AttentionSpec { softcap: 0.5, windows: vec![40, 3], head_norm: true, ..s.attention.clone() };
        }),
        ("names of cross-attention", |s| {
            let names = &mut s.names;
            (names.cross_query, names.cross_output) = (Some("{}.other_query"), Some("{}.other_mix"));
            names.cross_key_value = Some(&["{}.other_key", "{}.other_value"]);
            names.cross_norm = Some("{}.other_norm");
        }),
    ];
    for (cross, (name, change)) in [false, true].into_iter().flat_map(|cross| crossing.iter().map(move |c| (cross, c)))
    {
        let (encoder, mut decoder) = (cross.then(|| stack("encoder.")), stack("decoder."));
        decoder.cross = cross;
        change(&mut decoder);
        let (tensors, texts) = (Tensors::default(), texts());
        let reference = |stack, causal| reference(&tensors, stack, causal);
        // Each text is read by the encoder and written by the decoder.
        let one = |text: &Vec<u32>| {
            let source = encoder.as_ref().map(|encoder| reference(encoder, false).states(text, &[], None));
            let decoder = reference(&decoder, true);
            decoder.logits(&decoder.states(text, &[], source.as_ref()), &plain_language()).concat()
        };
        let expected: Vec<_> = texts.iter().map(one).collect();
        let folder = tempfile::tempdir().unwrap();
        let weights = weights(&tensors, folder.path());
        let spec = spec(encoder.clone(), Some(decoder.clone()));
        for (backend, bar, network) in networks(&spec, &weights) {
            let what = format!("{name}, cross {cross}, {backend}");
            let mut sequences = match cross {
                true => run(&texts, |batch, call| network.read_sources(batch, call)).unwrap(),
                false => texts.iter().map(|_| network.sequence().unwrap()).collect(),
            };
            let mut logits = vec![Vec::new(); texts.len()];
            // The prompts together, then a token each, then the rest.
            let cuts = |text: &Vec<u32>| [0, text.len() / 2, (text.len() / 2 + 1).min(text.len()), text.len()];
            run(&texts, |_, call| {
                for part in 0..3 {
                    let range = |text: &Vec<u32>| cuts(text)[part]..cuts(text)[part + 1];
                    let mut feeds: Vec<Feed> = (sequences.iter_mut().zip(&texts))
                        .map(|(sequence, text)| {
                            let ids = &text[range(text)];
                            Feed { sequence, ids, want: Want::Logits, last: ids.len(), cancelled: None }
                        })
                        .collect();
                    let made = step(&*network, &mut feeds, call);
                    let mut rows = made.chunks_exact(VOCABULARY);
                    for (text, logits) in texts.iter().zip(&mut logits) {
                        range(text).for_each(|_| logits.extend_from_slice(rows.next().unwrap()));
                    }
                }
                Ok(())
            })
            .unwrap();
            check(&logits.concat(), &expected.concat(), bar, &what);
        }
    }
}

#[test]
fn heads_honour_every_field() {
    let texts = &texts()[..2];
    let changes = [(LANGUAGE_CHANGES, true), (HEAD_CHANGES, false)];
    let changes = changes.iter().flat_map(|(list, causal)| list.iter().map(move |change| (change, *causal)));
    for ((name, change), causal) in changes {
        let mut spec = match causal {
            true => spec(None, Some(stack(""))),
            false => spec(Some(stack("")), None),
        };
        if !causal {
            spec.head = Some(Head {
                kind: HeadKind::Sequence,
                token: HeadToken::First,
                layers: vec![dense("classifier")],
                labels: 3,
            });
        }
        change(&mut spec);
        let tensors = Tensors::default();
        let stack = spec.reader().unwrap();
        let reference = Reference { tensors: &tensors, stack, vocabulary: spec.vocabulary, causal };
        let one = |text: &Vec<u32>| {
            let states = reference.states(text, &types(text), None);
            match (&spec.language, &spec.head) {
                (Some(language), _) => reference.logits(&states, language).concat(),
                (_, Some(head)) => reference.classify(states, text, head).concat(),
                _ => panic!("no head"),
            }
        };
        let expected: Vec<f64> = texts.iter().flat_map(one).collect();
        let folder = tempfile::tempdir().unwrap();
        let weights = weights(&tensors, folder.path());
        for (backend, bar, network) in networks(&spec, &weights) {
            let values = run(texts, |batch, call| match &spec.head {
                Some(head) => network.encode(batch, &EncodeOutput::head(head.kind), call),
                None => {
                    let mut sequences: Vec<_> = texts.iter().map(|_| network.sequence().unwrap()).collect();
                    let feeds = sequences.iter_mut().zip(texts).map(|(sequence, ids)| {
                        let last = ids.len();
                        Feed { sequence, ids, want: Want::Logits, last, cancelled: None }
                    });
                    Ok(step(&*network, &mut feeds.collect::<Vec<_>>(), call))
                }
            });
            check(&values.unwrap(), &expected, bar, &format!("{name}, {backend}"));
        }
    }
}

#[test]
fn texts_longer_than_max_tokens_are_refused() {
    for causal in [false, true] {
        let short = Stack { max_tokens: 32, ..stack("") };
        let (tensors, folder) = (Tensors::default(), tempfile::tempdir().unwrap());
        reference(&tensors, &short, causal).states(&[1], &[0], None);
        let weights = weights(&tensors, folder.path());
        let spec = if causal { spec(None, Some(short)) } else { spec(Some(short), None) };
        for (backend, _, network) in networks(&spec, &weights) {
            let encode = |tokens: usize| {
                let text = vec![5; tokens];
                run(&[text], |batch, call| network.encode(batch, &EncodeOutput::states(Pooling::Mean), call))
            };
            assert!(encode(32).is_ok(), "{backend}");
            assert!(encode(33).unwrap_err().message().contains("at most 32"), "{backend}");
        }
    }
}

#[test]
fn every_field_has_a_case() {
    let cases = CHANGES.iter().chain(ENCODER_CHANGES).map(|(name, _)| *name);
    fields::assert_cases(&fields::of_stack(), cases.chain(ELSEWHERE));
    let cases = LANGUAGE_CHANGES.iter().chain(HEAD_CHANGES).chain(masked::CHANGES).map(|(name, _)| *name);
    // The family is a name. All tables have Specs with and without an encoder and a decoder.
    fields::assert_cases(&fields::of_spec(), cases.chain(["family", "encoder", "decoder"]));
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(&Tensors::default(), folder.path());
    let plain = || spec(Some(stack("encoder.")), Some(Stack { cross: true, ..stack("decoder.") }));
    // The plain one is not refused: its tensors are missing.
    assert_eq!(ModelView::find(&plain(), &weights).err().unwrap().status(), Status::InvalidFile);
    for (field, change) in REFUSED {
        let mut spec = plain();
        change(&mut spec);
        let error = ModelView::find(&spec, &weights).err().unwrap();
        assert_eq!(error.status(), Status::Unsupported, "{field}: {error}");
        assert!(error.to_string().contains(&format!("specification: {field}")), "{field}: {error}");
    }
}
