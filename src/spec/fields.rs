//! For tests: every field of a Spec, with a change of each. A field that is added and not listed here does not compile.

use super::{
    Activation, AttentionSpec, Biases, Dense, Disentangled, Experts, Head, HeadKind, HeadToken, Heads, LanguageHead,
    LanguageWeight, LinearTensors, MaskedHead, Names, Norm, NormKind, NormPlace, Position, Relative, Rotary,
    RotaryScaling, Spec, Stack,
};

type StackChange = fn(&mut Stack);

type SpecChange = fn(&mut Spec);

/// The fields of a struct, with the field of another struct that holds it before them.
macro_rules! fields {
    ($within:literal, $type:ident { $($field:ident),* $(,)? }) => {{
        let _: fn(&$type) = |$type { $($field: _),* }| {};
        [$(concat!($within, stringify!($field))),*]
    }};
}

/// The fields of a stack that are not structs themselves, with dots between the levels.
pub fn of_stack() -> Vec<&'static str> {
    let whole = fields!(
        "",
        Stack {
            hidden,
            embedding_size,
            layers,
            shared_layers,
            heads,
            intermediate,
            activation,
            gated,
            experts,
            norm,
            biases,
            embedding_scale,
            position,
            relative,
            alibi,
            disentangled,
            rotary,
            attention,
            token_types,
            max_tokens,
            cross,
            names
        }
    );
    let names = fields!(
        "names.",
        Names {
            prefix,
            word,
            position,
            token_type,
            embedding_norm,
            embedding_projection,
            relative_bias,
            distances,
            distance_norm,
            distance_key,
            distance_query,
            qkv,
            attention_output,
            attention_norm,
            attention_post_norm,
            query_norm,
            key_norm,
            cross_query,
            cross_key_value,
            cross_output,
            cross_norm,
            up,
            down,
            router,
            expert_up,
            expert_down,
            expert_bias,
            shared_up,
            shared_down,
            shared_gate,
            output_norm,
            output_post_norm,
            final_norm
        }
    );
    let parts: [&[&str]; 9] = [
        &fields!("heads.", Heads { count, kv, dim }),
        &fields!("experts.", Experts { count, per_token, intermediate, normalized, shared, layers }),
        &fields!("norm.", Norm { kind, place, eps, bias, shift, first_attention }),
        &fields!("biases.", Biases { qkv, attention_output, feed_forward, feed_forward_output }),
        &fields!("relative.", Relative { buckets, max_distance, bidirectional }),
        &fields!("disentangled.", Disentangled { span, max_distance, content_to_position, position_to_content }),
        &fields!("rotary.", Rotary { dim, theta, scaling, local_theta, without, interleaved }),
        &fields!("attention.", AttentionSpec { scale, softcap, windows, head_norm, joint_norm }),
        &names,
    ];
    leaves(&whole, &parts)
}

/// The fields of a Spec but those of its stacks.
pub fn of_spec() -> Vec<&'static str> {
    let whole = fields!("", Spec { family, vocabulary, encoder, decoder, head, language, masked });
    let parts: [&[&str]; 3] = [
        &fields!("head.", Head { kind, token, layers, labels }),
        &fields!("language.", LanguageHead { weight, bias, scale, softcap }),
        &fields!("masked.", MaskedHead { dense, norm, weight, bias }),
    ];
    leaves(&whole, &parts)
}

fn leaves(whole: &[&'static str], parts: &[&[&'static str]]) -> Vec<&'static str> {
    let within = |part: &[&str], field: &str| part[0].split('.').next() == Some(field);
    let simple = whole.iter().filter(|field| !parts.iter().any(|part| within(part, field)));
    simple.chain(parts.iter().copied().flatten()).copied().collect()
}

/// A change of each field of a stack.
pub const STACK_CHANGES: &[(&str, StackChange)] = &[
    ("hidden", |s| s.hidden += 1),
    ("embedding_size", |s| {
        s.embedding_size += 1;
        s.names.embedding_projection = Some("other");
    }),
    ("layers", |s| s.layers += 1),
    ("shared_layers", |s| s.shared_layers = !s.shared_layers),
    ("heads.count", |s| s.heads.count += 1),
    ("heads.kv", |s| s.heads.kv += 1),
    ("heads.dim", |s| s.heads.dim += 2),
    ("intermediate", |s| s.intermediate += 1),
    ("activation", |s| s.activation = Activation::Tanh),
    ("gated", |s| s.gated = !s.gated),
    ("experts.count", |s| experts(s).count += 1),
    ("experts.per_token", |s| experts(s).per_token += 1),
    ("experts.intermediate", |s| experts(s).intermediate += 1),
    ("experts.normalized", |s| experts(s).normalized = true),
    ("experts.shared", |s| experts(s).shared = Some(7)),
    ("experts.layers", |s| {
        let layers = s.layers;
        experts(s).layers = vec![false; layers];
    }),
    ("norm.kind", |s| {
        s.norm.kind = if s.norm.kind == NormKind::RmsNorm { NormKind::LayerNorm } else { NormKind::RmsNorm }
    }),
    ("norm.place", |s| s.norm.place = NormPlace::Both),
    ("norm.eps", |s| s.norm.eps = 0.5),
    ("norm.bias", |s| s.norm.bias = !s.norm.bias),
    ("norm.shift", |s| s.norm.shift = 0.25),
    ("norm.first_attention", |s| s.norm.first_attention = false),
    ("biases.qkv", |s| s.biases.qkv = !s.biases.qkv),
    ("biases.attention_output", |s| s.biases.attention_output = !s.biases.attention_output),
    ("biases.feed_forward", |s| s.biases.feed_forward = !s.biases.feed_forward),
    ("biases.feed_forward_output", |s| s.biases.feed_forward_output = !s.biases.feed_forward_output),
    ("embedding_scale", |s| s.embedding_scale = 3.0),
    ("position", |s| s.position = Position::LearnedAfterPadding { rows: 1000, padding: 1 }),
    ("relative.buckets", |s| relative(s).buckets += 1),
    ("relative.max_distance", |s| relative(s).max_distance += 1),
    ("relative.bidirectional", |s| relative(s).bidirectional = !relative(s).bidirectional),
    ("alibi", |s| s.alibi = Some(s.alibi.unwrap_or(4.0) + 1.0)),
    ("disentangled.span", |s| disentangled(s).span += 1),
    ("disentangled.max_distance", |s| disentangled(s).max_distance = Some(9)),
    ("disentangled.content_to_position", |s| {
        disentangled(s).content_to_position = !disentangled(s).content_to_position;
    }),
    ("disentangled.position_to_content", |s| {
        disentangled(s).position_to_content = !disentangled(s).position_to_content;
    }),
    ("rotary.dim", |s| rotary(s).dim += 2),
    ("rotary.theta", |s| rotary(s).theta += 1.0),
    ("rotary.scaling", |s| {
        let divisors = vec![1.0; s.heads.dim / 2];
        rotary(s).scaling =
            RotaryScaling::Long { short: divisors.clone(), long: divisors, original: 3, attention: 1.0 };
    }),
    ("rotary.local_theta", |s| rotary(s).local_theta = Some(7.0)),
    ("rotary.without", |s| rotary(s).without = vec![true; s.layers]),
    ("rotary.interleaved", |s| rotary(s).interleaved = !rotary(s).interleaved),
    ("attention.scale", |s| s.attention.scale += 0.25),
    ("attention.softcap", |s| s.attention.softcap += 0.5),
    ("attention.windows", |s| s.attention.windows = vec![2; s.layers]),
    ("attention.head_norm", |s| s.attention.head_norm = !s.attention.head_norm),
    ("attention.joint_norm", |s| s.attention.joint_norm = !s.attention.joint_norm),
    ("token_types", |s| s.token_types = 1),
    ("max_tokens", |s| s.max_tokens = 3),
    ("cross", |s| s.cross = !s.cross),
    ("names.prefix", |s| s.names.prefix = "other."),
    ("names.word", |s| s.names.word = &["other"]),
    ("names.position", |s| s.names.position = "other"),
    ("names.token_type", |s| s.names.token_type = Some("other")),
    ("names.embedding_norm", |s| s.names.embedding_norm = Some("other")),
    ("names.embedding_projection", |s| s.names.embedding_projection = Some("other")),
    ("names.relative_bias", |s| s.names.relative_bias = Some("other")),
    ("names.distances", |s| s.names.distances = Some("other")),
    ("names.distance_norm", |s| s.names.distance_norm = Some("other")),
    ("names.distance_key", |s| s.names.distance_key = Some("other")),
    ("names.distance_query", |s| s.names.distance_query = Some("other")),
    ("names.qkv", |s| s.names.qkv = LinearTensors::Single("other")),
    ("names.attention_output", |s| s.names.attention_output = LinearTensors::Single("other")),
    ("names.attention_norm", |s| s.names.attention_norm = "other"),
    ("names.attention_post_norm", |s| s.names.attention_post_norm = Some("other")),
    ("names.query_norm", |s| s.names.query_norm = Some("other")),
    ("names.key_norm", |s| s.names.key_norm = Some("other")),
    ("names.cross_query", |s| s.names.cross_query = Some("other")),
    ("names.cross_key_value", |s| s.names.cross_key_value = Some(&["other"])),
    ("names.cross_output", |s| s.names.cross_output = Some("other")),
    ("names.cross_norm", |s| s.names.cross_norm = Some("other")),
    ("names.up", |s| s.names.up = LinearTensors::Single("other")),
    ("names.down", |s| s.names.down = LinearTensors::Single("other")),
    ("names.router", |s| s.names.router = Some("other")),
    ("names.expert_up", |s| s.names.expert_up = LinearTensors::Single("other")),
    ("names.expert_down", |s| s.names.expert_down = LinearTensors::Single("other")),
    ("names.expert_bias", |s| s.names.expert_bias = Some("other")),
    ("names.shared_up", |s| s.names.shared_up = LinearTensors::Single("other")),
    ("names.shared_down", |s| s.names.shared_down = LinearTensors::Single("other")),
    ("names.shared_gate", |s| s.names.shared_gate = Some("other")),
    ("names.output_norm", |s| s.names.output_norm = "other"),
    ("names.output_post_norm", |s| s.names.output_post_norm = Some("other")),
    ("names.final_norm", |s| s.names.final_norm = Some("other")),
];

/// A change of each other field of a Spec.
pub const SPEC_CHANGES: &[(&str, SpecChange)] = &[
    ("family", |s| s.family = "other"),
    ("vocabulary", |s| s.vocabulary -= 1),
    ("encoder", |s| s.encoder = if s.encoder.is_some() { None } else { s.decoder.clone() }),
    ("decoder", |s| s.decoder = if s.decoder.is_some() { None } else { s.encoder.clone() }),
    ("head.kind", |s| {
        let head = head(s);
        head.kind = if head.kind == HeadKind::Token { HeadKind::Sequence } else { HeadKind::Token };
    }),
    ("head.token", |s| head(s).token = HeadToken::Last { padding: None }),
    ("head.layers", |s| {
        head(s).layers.push(Dense { name: "other", bias: true, activation: Activation::None, prefixed: false });
    }),
    ("head.labels", |s| head(s).labels += 1),
    ("language.weight", |s| language(s).weight = LanguageWeight::Own(&["other"])),
    ("language.bias", |s| language(s).bias = Some("other")),
    ("language.scale", |s| language(s).scale += 0.5),
    ("language.softcap", |s| language(s).softcap += 0.5),
    ("masked.dense", |s| masked(s).dense.activation = Activation::Tanh),
    ("masked.norm", |s| masked(s).norm = "other"),
    ("masked.weight", |s| masked(s).weight = LanguageWeight::Own(&["other"])),
    ("masked.bias", |s| masked(s).bias = &["other"]),
];

fn relative(stack: &mut Stack) -> &mut Relative {
    stack.relative.get_or_insert(Relative { buckets: 8, max_distance: 20, bidirectional: true })
}

fn experts(stack: &mut Stack) -> &mut Experts {
    let plain =
        Experts { count: 4, per_token: 2, intermediate: 8, normalized: false, shared: None, layers: Vec::new() };
    stack.experts.get_or_insert(plain)
}

fn disentangled(stack: &mut Stack) -> &mut Disentangled {
    let plain = Disentangled { span: 4, max_distance: None, content_to_position: true, position_to_content: true };
    stack.disentangled.get_or_insert(plain)
}

fn rotary(stack: &mut Stack) -> &mut Rotary {
    let plain = Rotary {
        dim: 2,
        theta: 100.0,
        scaling: RotaryScaling::None,
        local_theta: None,
        without: Vec::new(),
        interleaved: false,
    };
    stack.rotary.get_or_insert(plain)
}

fn head(spec: &mut Spec) -> &mut Head {
    spec.head.get_or_insert(Head { kind: HeadKind::Sequence, token: HeadToken::First, layers: Vec::new(), labels: 2 })
}

fn language(spec: &mut Spec) -> &mut LanguageHead {
    let plain = LanguageHead { weight: LanguageWeight::Tied, bias: None, scale: 1.0, softcap: 0.0 };
    spec.language.get_or_insert(plain)
}

fn masked(spec: &mut Spec) -> &mut MaskedHead {
    let dense = Dense { name: "dense", bias: true, activation: Activation::Gelu, prefixed: false };
    let plain = MaskedHead { dense, norm: "norm", weight: LanguageWeight::Tied, bias: &[] };
    spec.masked.get_or_insert(plain)
}

/// Fails unless each field begins the name of a case.
pub fn assert_cases<'a>(fields: &[&str], cases: impl Iterator<Item = &'a str> + Clone) {
    let missing = |field: &&&str| {
        !cases
            .clone()
            .any(|case| case.strip_prefix(**field).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
    };
    let missing: Vec<_> = fields.iter().filter(missing).collect();
    assert!(missing.is_empty(), "no case of {missing:?}");
}

#[test]
fn every_field_has_a_change() {
    assert_cases(&of_stack(), STACK_CHANGES.iter().map(|(name, _)| *name));
    assert_cases(&of_spec(), SPEC_CHANGES.iter().map(|(name, _)| *name));
}
