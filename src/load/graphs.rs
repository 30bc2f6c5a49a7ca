//! Opening a model of ONNX graphs.

use std::path::Path;

use crate::base::error::Result;
use crate::base::log::Log;
use crate::formats::json::Config;
use crate::formats::onnx::Export;
use crate::spec::Spec;
use crate::tasks::classification::ClassifierSettings;
use crate::tasks::embedding::EmbeddingSettings;

use crate::network::placement::{LoadedNetwork, Placement, Progress};

/// The contents of the configuration files; opening the graphs may change all except `config`.
pub(super) struct Known<'a> {
    pub config: &'a Config,
    pub spec: &'a mut Spec,
    pub embedding: &'a mut EmbeddingSettings,
    pub classifier: &'a mut ClassifierSettings,
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
    let Known { config, spec, embedding, classifier } = known;
    let graphs = export.choose(crate::network::onnx::shape(spec), place.precision)?;
    let precision = graphs.weight_precision();
    let (weight_bytes, budget) = place.limit.of(graphs.bytes(), 0, precision, directory)?;
    let opening = crate::network::onnx::Opening {
        graphs: &graphs,
        config,
        pooling: embedding.pooling.as_ref().ok().copied(),
        device: place.device,
        index: place.index,
        threads: place.limit.threads,
        library,
        budget: &budget,
        log,
    };
    let network = crate::network::onnx::OnnxNetwork::open(opening, spec, progress)?;
    if let Some(pooling) = network.built_in_pooling() {
        embedding.pooling = Ok(pooling);
    }
    if spec.head.is_none() {
        *classifier = ClassifierSettings::default();
    }
    Ok((LoadedNetwork { network: Box::new(network), precision, weight_bytes, budget }, graphs.paths().count()))
}
