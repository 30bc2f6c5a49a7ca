//! Opening a model of ONNX graphs.

use std::path::Path;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::log::Log;
use crate::base::threads::Pool;
use crate::families::SentenceTransformers;
use crate::formats::json::Config;
use crate::formats::onnx::Export;
use crate::network::modules::ModulesView;
use crate::spec::{Module, Modules, Spec};
use crate::tasks::classification::ClassifierSettings;

use crate::network::placement::{LoadedNetwork, Placement, Progress};

/// The contents of the configuration files; opening the graphs may change all except `config`.
pub(super) struct Known<'a> {
    pub config: &'a Config,
    pub spec: &'a mut Spec,
    pub embedding: &'a mut SentenceTransformers,
    pub modules: &'a mut Modules,
    /// The modules' tensors.
    pub view: &'a ModulesView<'a>,
    pub classifier: &'a mut ClassifierSettings,
    pub pool: &'a Arc<Pool>,
}

/// Opens the graphs of an export and returns their number. `library` is the path of ONNX Runtime, if the caller gave one.
pub(super) fn load(
    place: &Placement,
    directory: &Path,
    export: &Export,
    known: Known,
    library: Option<&Path>,
    log: &Log,
    progress: Progress<'_>,
) -> Result<(LoadedNetwork, usize)> {
    let Known { config, spec, embedding, modules, view, classifier, pool } = known;
    let found = embedding.found && embedding.modules.is_ok();
    let graphs = export.choose(crate::network::onnx::shape(spec), place.precision)?;
    let precision = graphs.weight_precision();
    let (weight_bytes, budget) = place.limit.of(graphs.bytes(), 0, precision, directory)?;
    let opening = crate::network::onnx::Opening {
        graphs: &graphs,
        config,
        modules: found.then_some(&*modules),
        view,
        pool,
        device: place.device,
        index: place.index,
        threads: place.limit.threads,
        library,
        budget: &budget,
        log,
    };
    let network = crate::network::onnx::OnnxNetwork::open(opening, spec, progress)?;
    if let Some(width) = network.own_vectors() {
        // The graph has the other modules inside; scaling a vector twice changes nothing.
        let normalize = modules.normalizes().then_some(Module::Normalize).into_iter().collect();
        *modules = Modules { tokens: Vec::new(), texts: normalize, graph: Some(width), ..modules.clone() };
        embedding.modules = Ok(modules.clone());
    }
    *classifier = ClassifierSettings::read(config, spec, embedding)?;
    Ok((LoadedNetwork { network: Box::new(network), precision, weight_bytes, budget }, graphs.paths().count()))
}
