//! Every field of the Spec for each kind of graph: the graph's numbers, or an error. Skipped where ONNX Runtime is not there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::base::counters::Counters;
use crate::families;
use crate::formats::onnx::Export;
use crate::network::Want;
use crate::spec::{HeadKind, Layout, Pooling, Position, fields};

/// A fixture, and what is read of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Encoder,
    Classifier,
    /// A decoder that was exported to embed.
    States,
    Decoder,
    EncoderDecoder,
}

use Case::{Classifier, Decoder as Decodes, Encoder, EncoderDecoder, States};

const CASES: [Case; 5] = [Encoder, Classifier, States, Decodes, EncoderDecoder];

impl Case {
    fn path(self) -> PathBuf {
        let name = match self {
            Encoder => "bert",
            Classifier => "bert-classifier",
            States => "gpt2/states.onnx",
            Decodes => "gpt2/model.onnx",
            EncoderDecoder => "t5",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name)
    }

    fn stacks(self) -> &'static [&'static str] {
        match self {
            Encoder | Classifier => &["encoder"],
            States | Decodes => &["decoder"],
            EncoderDecoder => &["encoder", "decoder"],
        }
    }
}

/// Fields of stacks that describe what a graph computes.
const DESCRIBED: &[&str] = &[
    "embedding_size",
    "layers",
    "shared_layers",
    "heads.count",
    "heads.kv",
    "heads.dim",
    "intermediate",
    "activation",
    "gated",
    "experts.count",
    "experts.per_token",
    "experts.intermediate",
    "experts.normalized",
    "experts.shared",
    "experts.layers",
    "norm.kind",
    "norm.place",
    "norm.eps",
    "norm.bias",
    "norm.shift",
    "norm.first_attention",
    "biases.qkv",
    "biases.attention_output",
    "biases.feed_forward",
    "biases.feed_forward_output",
    "embedding_scale",
    "relative.buckets",
    "relative.max_distance",
    "relative.bidirectional",
    "alibi",
    "disentangled.span",
    "disentangled.max_distance",
    "disentangled.content_to_position",
    "disentangled.position_to_content",
    "rotary.dim",
    "rotary.theta",
    "rotary.local_theta",
    "rotary.without",
    "rotary.interleaved",
    "attention.scale",
    "attention.softcap",
    "attention.windows",
    "attention.head_norm",
    "attention.joint_norm",
    "names.prefix",
    "names.word",
    "names.position",
    "names.token_type",
    "names.embedding_norm",
    "names.embedding_projection",
    "names.relative_bias",
    "names.distances",
    "names.distance_norm",
    "names.distance_key",
    "names.distance_query",
    "names.qkv",
    "names.attention_output",
    "names.attention_norm",
    "names.attention_post_norm",
    "names.query_norm",
    "names.key_norm",
    "names.cross_query",
    "names.cross_key_value",
    "names.cross_output",
    "names.cross_norm",
    "names.up",
    "names.down",
    "names.router",
    "names.expert_up",
    "names.expert_down",
    "names.expert_bias",
    "names.shared_up",
    "names.shared_down",
    "names.shared_gate",
    "names.output_norm",
    "names.output_post_norm",
    "names.final_norm",
];

/// What becomes of a change.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The field describes the graph, or the model has no use for it: the numbers stay.
    Same,
    Other,
    /// Part of the error.
    Refused(&'static str),
}

use Outcome::{Other, Refused, Same};

/// The outcome for every field that is not in `DESCRIBED`.
fn outcome(case: Case, part: &str, field: &str) -> Outcome {
    match (case, part, field) {
        // The head inside a graph is not read.
        (_, "", "masked.dense" | "masked.norm" | "masked.weight" | "masked.bias") => Same,
        (_, "", "family" | "head.layers" | "head.labels" | "head.kind" | "head.token")
            if case != Decodes && case != Classifier =>
        {
            Same
        }
        (_, "", "family") | (Classifier, "", "head.layers" | "head.token") => Same,
        (Classifier, "", "head.kind") => Refused("2 labels in 3 dimensions"),
        (Classifier, "", "head.labels") => Refused("3 labels"),
        (Decodes, "", "head.kind" | "head.token" | "head.layers" | "head.labels") => Refused("specification: head"),
        (Decodes | EncoderDecoder, "", "vocabulary") => Refused("vocabulary has 299"),
        (_, "", "vocabulary") => Refused("299 is not below 299"),
        (_, "", "encoder") | (States, "", "decoder") => Refused("specification: encoder"),
        // The export has no graph of a decoder; that is logged, and the encoder is used.
        (Encoder | Classifier, "", "decoder") => Same,
        (_, "", "decoder") => Refused("specification: decoder"),
        (Encoder | Classifier, "", _) => Refused("specification: language"),
        (_, "", "language.weight" | "language.bias" | "language.scale" | "language.softcap") => Same,
        (Classifier | Decodes, _, "hidden") | (EncoderDecoder, "decoder", "hidden") => Same,
        (_, _, "hidden") => Refused("wide"),
        (States, _, "position") => Other,
        (Decodes, _, "position") => Refused("specification: decoder.position"),
        (_, _, "position") => Same,
        (_, _, "rotary.scaling" | "max_tokens") => Refused("at most 3"),
        (Decodes, _, "token_types") | (EncoderDecoder, "decoder", "token_types") => Same,
        (_, _, "token_types") => Refused("type_ids: 1 is not below 1"),
        (States, _, "cross") => Refused("specification: encoder.cross"),
        (_, "encoder", "cross") => Refused("specification: encoder.cross"),
        (_, "decoder", "cross") => Refused("specification: decoder.cross"),
        _ => panic!("{case:?}: {part} {field}: whether graphs honour it is not said"),
    }
}

/// Opens a case's graphs with a changed Spec, and reads a text of five tokens with `positions`.
fn numbers(library: &Path, case: Case, positions: &[u32], change: &dyn Fn(&mut Spec)) -> Result<Vec<f32>> {
    let export = Export::find(&case.path()).unwrap();
    let config = export.files().require_config("config.json").unwrap();
    let mut spec = families::spec_of_graph(&config, export.has_decoder()).unwrap();
    let graphs = export.choose(shape(&spec), crate::spec::Precision::Auto).unwrap();
    change(&mut spec);
    let opening = Opening {
        graphs: &graphs,
        config: &config,
        modules: Some(&Modules::pooling(Pooling::Mean)),
        view: &ModulesView::default(),
        pool: &Arc::new(Pool::new(1)),
        device: Device::Cpu,
        index: 0,
        threads: 1,
        library: Some(library),
        budget: &Arc::new(Budget::new(u64::MAX)),
        log: &Log::default(),
    };
    let network = OnnxNetwork::open(opening, &mut spec, |_, _| Ok(()))?;
    let (ids, type_ids) = ([5, 299, 7, 42, 9], [0, 0, 1, 1, 0]);
    let (counters, positions) = (Counters::default(), positions.to_vec());
    let call = Call::new(&counters);
    let pass = Batch { layout: Layout::new(vec![0, ids.len()]), ids: &ids, type_ids: &type_ids, positions };
    let mut sequence = match case {
        Encoder | States => return network.encode(&pass, &EncodeOutput::states(Pooling::None), call),
        Classifier => return network.encode(&pass, &EncodeOutput::head(HeadKind::Sequence), call),
        Decodes => network.sequence()?,
        EncoderDecoder => network.read_sources(&pass, call)?.remove(0),
    };
    let mut output = StepOutput::default();
    let feed = Feed { sequence: &mut sequence, ids: &ids, want: Want::Logits, last: ids.len(), cancelled: None };
    network.step(&mut [feed], &mut output, call)?;
    Ok(output.logits)
}

fn library() -> Option<PathBuf> {
    let name = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/onnxruntime").join(name);
    let path = std::env::var_os("KINGLET_ONNXRUNTIME").map_or(default, PathBuf::from);
    let found = path.is_file().then(|| path.clone());
    if found.is_none() {
        eprintln!("skipped: ONNX Runtime is not in {}; `make test` fetches it", path.display());
    }
    found
}

const POSITIONS: [u32; 5] = [0, 1, 2, 3, 4];

#[test]
fn each_field_is_honoured_or_refused() {
    let Some(library) = library() else { return };
    for case in CASES {
        let plain = numbers(&library, case, &POSITIONS, &|_| ()).unwrap();
        let try_one = |part: &str, field: &str, change: &dyn Fn(&mut Spec)| {
            let expected = if DESCRIBED.contains(&field) { Same } else { outcome(case, part, field) };
            let at = format!("{case:?}: {part} {field}");
            match (numbers(&library, case, &POSITIONS, change), expected) {
                (Ok(found), Same) => assert_eq!(found, plain, "{at}"),
                (Ok(found), Other) => assert_ne!(found, plain, "{at}"),
                (Err(error), Refused(why)) => assert!(error.message().contains(why), "{at}: {error}"),
                (found, expected) => panic!("{at}: {:?} instead of {expected:?}", found.map(|_| ())),
            }
        };
        for (field, change) in fields::SPEC_CHANGES {
            try_one("", field, change);
        }
        for part in case.stacks() {
            for (field, change) in fields::STACK_CHANGES {
                let stack = |spec: &mut Spec| {
                    let stack = if *part == "encoder" { &mut spec.encoder } else { &mut spec.decoder };
                    change(stack.as_mut().unwrap());
                };
                try_one(part, field, &stack);
            }
        }
    }
}

#[test]
fn position_ids_begin_after_the_padding_token() {
    let Some(library) = library() else { return };
    let after_padding = |spec: &mut Spec| {
        spec.decoder.as_mut().unwrap().position = Position::LearnedAfterPadding { rows: 1000, padding: 1 };
    };
    let shifted = POSITIONS.map(|position| position + 2);
    let found = numbers(&library, States, &POSITIONS, &after_padding).unwrap();
    assert_eq!(found, numbers(&library, States, &shifted, &|_| ()).unwrap());
}

#[test]
fn type_ids_that_a_graph_does_not_take_are_refused() {
    let Some(library) = library() else { return };
    let types = |spec: &mut Spec| spec.encoder.as_mut().unwrap().token_types = 2;
    let error = numbers(&library, EncoderDecoder, &POSITIONS, &types).unwrap_err();
    assert!(error.message().contains("no input `token_type_ids`"), "{error}");
}
