//! A model of ONNX graphs, opened with what its files say.

use std::path::Path;

use crate::error::Result;
use crate::formats::json::Config;
use crate::formats::onnx::Export;
use crate::log::Log;
use crate::tasks::classification::ClassifierSettings;
use crate::tasks::embedding::EmbeddingSettings;
use crate::transformer::spec::Spec;

use super::device::{Place, Placed, Progress};

/// What is known of the model before its graphs are opened, and what they change of it.
pub(super) struct Known<'a> {
    pub config: &'a Config,
    pub spec: &'a mut Spec,
    pub embedding: &'a mut EmbeddingSettings,
    pub classifier: &'a mut ClassifierSettings,
}

impl Place {
    /// Opens the graphs of an export, and tells how many there are. `library` is where ONNX Runtime lies, if the caller said so.
    pub(super) fn load_graphs(
        &self,
        directory: &Path,
        export: &Export,
        known: Known,
        library: Option<&Path>,
        log: &Log,
        progress: Progress<'_>,
    ) -> Result<(Placed, usize)> {
        let Known { config, spec, embedding, classifier } = known;
        let graphs = export.choose(crate::onnx::shape(spec), self.precision)?;
        let precision = graphs.held();
        let (weight_bytes, budget) = self.limit.of(graphs.bytes(), 0, precision, directory)?;
        let opening = crate::onnx::Opening {
            graphs: &graphs,
            config,
            pooling: embedding.pooling.as_ref().ok().copied(),
            device: self.device,
            index: self.index,
            threads: self.limit.threads,
            library,
            budget: &budget,
            log,
        };
        let network = crate::onnx::OnnxNetwork::open(opening, spec, progress)?;
        if let Some(pooling) = network.pools() {
            embedding.pooling = Ok(pooling);
        }
        if spec.head.is_none() {
            *classifier = ClassifierSettings::default();
        }
        Ok((Placed { network: Box::new(network), precision, weight_bytes, budget }, graphs.paths().count()))
    }
}
