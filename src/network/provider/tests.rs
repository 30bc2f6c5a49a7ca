//! The table of functions within one process: the numbers of the network behind it, and every field of the Spec.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{remote, table};
use crate::base::call::Call;
use crate::base::counters::Counters;
use crate::base::error::{Result, Status};
use crate::base::threads::Pool;
use crate::families;
use crate::formats::packed::Opening;
use crate::formats::source::Source;
use crate::network::placement::{Limit, LoadedNetwork, Placement};
use crate::network::transformer::weights::ModelView;
use crate::network::{Feed, Network, StepOutput, Want};
use crate::spec::{Batch, Device, EncodeOutput, Layout, Module, Modules, Pooling, Precision, Spec, fields};

fn fixture(name: &str) -> (PathBuf, Spec, Modules) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let files = Source::open(&path, Opening::default()).unwrap().files;
    let config = files.require_config("config.json").unwrap();
    let spec = families::spec(&config).unwrap();
    let modules = families::sentence_transformers(&files, &config, spec.hidden()).unwrap().known_modules();
    (path, spec, modules)
}

const PLACE: Placement = Placement {
    device: Device::Cpu,
    index: 0,
    precision: Precision::F32,
    packed: None,
    read: false,
    limit: Limit { bytes: 0, tokenizer: 0, threads: 1 },
};

fn remote(path: &Path, spec: &Spec, modules: &Modules) -> Result<LoadedNetwork> {
    remote::load(table(), &PLACE, path, spec, modules, &mut |_, _| Ok(()), None)
}

/// Hidden states or logits of a text.
fn numbers(network: &dyn Network, spec: &Spec) -> Vec<f32> {
    let ids = [5, 99, 7, 42, 9];
    let (counters, type_ids) = (Counters::default(), [0; 5]);
    let call = Call::new(&counters);
    let pass =
        Batch { layout: Layout::new(vec![0, 5]), ids: &ids, type_ids: &type_ids, positions: vec![0, 1, 2, 3, 4] };
    let mut sequence = match (&spec.encoder, &spec.decoder) {
        (_, None) => return network.encode(&pass, &EncodeOutput::states(Pooling::None), call).unwrap(),
        (None, _) => network.sequence().unwrap(),
        _ => network.read_sources(&pass, call).unwrap().remove(0),
    };
    let mut output = StepOutput::default();
    let feed = Feed { sequence: &mut sequence, ids: &ids, want: Want::Logits, last: 5, cancelled: None };
    network.step(&mut [feed], &mut output, call).unwrap();
    output.logits
}

#[test]
fn a_provider_has_the_numbers_of_its_network_and_refuses_another_spec() {
    for name in ["bert-classifier", "generation/llama", "generation/t5"] {
        let (path, spec, modules) = fixture(name);
        let weights = Source::open(&path, Opening::default()).unwrap().weights;
        let mut view = ModelView::find(&spec, &weights).unwrap();
        let here = PLACE.load(&path, &spec, &mut view, &Arc::new(Pool::new(1)), None, &mut |_, _| Ok(())).unwrap();
        let there = remote(&path, &spec, &modules).unwrap();
        assert_eq!(numbers(&*there.network, &spec), numbers(&*here.network, &spec), "{name}");

        let refuses = |field: &str, change: &dyn Fn(&mut Spec)| {
            let mut changed = spec.clone();
            change(&mut changed);
            let error = remote(&path, &changed, &modules).err().unwrap_or_else(|| panic!("{name}: {field} is ignored"));
            assert_eq!(error.status(), Status::Unsupported, "{field}: {error}");
            let named = error.message().strip_prefix("the model's specification: ").unwrap();
            // An option is named as a whole where the fixture has none.
            let named = named.split(':').next().unwrap();
            assert!(format!("{field}.").starts_with(&format!("{named}.")), "{name}, {field}: {error}");
        };
        for (field, change) in fields::SPEC_CHANGES {
            refuses(field, change);
        }
        for (field, change) in fields::STACK_CHANGES {
            if let Some(stack) = &spec.decoder {
                let part = format!("decoder.{field}");
                let mut changed = stack.clone();
                change(&mut changed);
                refuses(&part, &|spec| spec.decoder = Some(changed.clone()));
            }
        }
    }
}

#[test]
fn a_provider_refuses_other_modules() {
    type Change = fn(&mut Modules);
    let (path, spec, modules) = fixture("bert");
    let changes: [(&str, Change); 5] = [
        ("tokens", |m| m.tokens.push(Module::Normalize)),
        ("poolings", |m| m.poolings.push(Pooling::Max)),
        ("include_prompt", |m| m.include_prompt = !m.include_prompt),
        ("texts", |m| m.texts.push(Module::LayerNorm { name: "other".into(), width: 8 })),
        ("graph", |m| m.graph = Some(8)),
    ];
    // A field that is added and not listed here does not compile.
    let Modules { tokens: _, poolings: _, include_prompt: _, texts: _, graph: _ } = &modules;
    for (field, change) in changes {
        let mut changed = modules.clone();
        change(&mut changed);
        let error = remote(&path, &spec, &changed).err().unwrap_or_else(|| panic!("{field} is ignored"));
        let named = error.message().strip_prefix("the model's specification: ").unwrap();
        assert!(named.starts_with(field), "{error}");
    }
}
