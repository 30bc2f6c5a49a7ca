//! `kinglet quantize`: packs a model's weights once, so that loading them later costs only page faults.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::backend::cpu::weights as pack;
use crate::backend::{FACTORS, InputTransform, LinearView, NormView, ROTATION, Role};
use crate::base::error::{Error, Result};
use crate::base::memory::ensure;
use crate::base::storage;
use crate::base::threads::available;
use crate::families;
use crate::formats::files::Files;
use crate::formats::packed::{self, Opening, Writer};
use crate::formats::source::Source;
use crate::formats::tensor::{DType, TensorView};
use crate::formats::{hub_cache, modules};
use crate::kernels::weight::{Format, ROWS_I8, Shape, TableType, row_scales_at};
use crate::network::transformer::weights::{ModelView, StackView};
use crate::spec::{Precision, Spec};
use crate::text::tokenizer::vocabulary;

use super::calibrate::{self, CalibratedLayer, Calibrator};

/// The maximum size of a configuration or tokenizer file, in bytes.
const FILE_LIMIT: u64 = 256 << 20;

/// The share of the work that running the texts of a calibration is.
const OBSERVING: f32 = 0.3;

/// How to write a `.kinglet` file. A [`Precision`] alone is one without calibration.
#[derive(Clone, Copy, Debug)]
pub struct QuantizeOptions<'a> {
    /// Of the weights; not [`Precision::Auto`].
    pub precision: Precision,
    /// Texts like those that the model will get, for int8 and int4: 128 of them, evenly spaced, and 128 tokens of each are run, and for each
    /// layer the factors of its inputs are chosen with which rounding loses least (SmoothQuant, AWQ). Empty: no calibration.
    pub calibration_texts: &'a [&'a str],
}

impl From<Precision> for QuantizeOptions<'_> {
    fn from(precision: Precision) -> Self {
        Self { precision, calibration_texts: &[] }
    }
}

/// Reads a model (a Hugging Face directory or a GGUF file) and writes it to `destination` as one `.kinglet` file. `progress` receives the
/// fraction of the work that is done, and returns false to cancel. Returns what calibration chose for each layer.
///
/// # Errors
/// As [`crate::Model::load`]; a source that is already a `.kinglet` file; a destination that cannot be written or that holds anything but
/// an older `.kinglet` file; calibration texts for another precision than int8 and int4, or for a model without a tokenizer. A failed or cancelled call leaves no file and does not touch an older one.
pub fn quantize<'a>(
    source: &Path,
    destination: &Path,
    options: impl Into<QuantizeOptions<'a>>,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Result<Vec<CalibratedLayer>> {
    let QuantizeOptions { precision, calibration_texts: texts } = options.into();
    let source = &*hub_cache::resolve(source)?;
    let Source { files, weights, precision: packed, export, .. } = Source::open(source, Opening::default())?;
    if export.is_some() {
        return Err(Error::unsupported(format!(
            "{}: an ONNX export cannot be quantized; quantize the original safetensors, or load an export in int8 \
             (model_quantized.onnx)",
            source.display()
        )));
    }
    if packed.is_some() {
        return Err(Error::invalid_argument(format!(
            "{}: is already a .kinglet file; quantize the original weights",
            source.display()
        )));
    }
    if precision == Precision::Auto {
        return Err(Error::invalid_argument("precision: auto cannot be written; choose int8, int4, bf16, f16 or f32"));
    }
    if !texts.is_empty() && !matches!(precision, Precision::Int8 | Precision::Int4) {
        let name = precision.name();
        return Err(Error::invalid_argument(format!(
            "calibration_texts: {name} has no calibration; it is for int8 and int4"
        )));
    }
    let config = files.require_config("config.json")?;
    let spec = families::spec(&config)?;
    let settings = families::sentence_transformers(&files, &config, spec.hidden())?;
    let view = ModelView::find(&spec, &weights)?.with_modules(&settings.known_modules(), &weights)?;
    let writer = Writer::create(destination)?;
    let mut progress = |share: f32| if progress(share) { Ok(()) } else { Err(Error::cancelled()) };
    let (mut calibrator, mut before) = (None, 0.0);
    if !texts.is_empty() {
        let observed = calibrate::observe(source, texts, &mut |share| progress(OBSERVING * share))?;
        (calibrator, before) = (Some(Calibrator::new(precision, observed)?), OBSERVING);
    }
    let mut packed = |share: f32| progress(before + (1.0 - before) * share);
    let mut packer = Packer { writer, precision, calibrator, done: 0, all: steps(&spec), progress: &mut packed };
    packer.model(&view)?;
    let Packer { writer, calibrator, .. } = packer;
    let layers = calibrator.map_or_else(Vec::new, |calibrator| calibrator.layers);
    let calibration = (!texts.is_empty()).then(|| {
        let layers: Map<String, Value> = layers.iter().map(|layer| (layer.name.clone(), layer.to_json())).collect();
        json!({ "texts": texts.len(), "layers": layers })
    });
    writer.finish(precision, calibration.as_ref(), &small_files(&files)?, &mut || progress(1.0))?;
    Ok(layers)
}

/// The configuration and tokenizer files, by their names from the top: those of the transformer, and those of
/// sentence-transformers with the configuration of each module.
fn small_files(files: &Files) -> Result<BTreeMap<String, Vec<u8>>> {
    let top = files.top();
    let mut found = BTreeMap::new();
    let mut add = |files: &Files, name: &str| {
        if let Some(bytes) = files.bytes(name, FILE_LIMIT)? {
            found.insert(files.key(name), bytes);
        }
        Ok::<_, Error>(())
    };
    for name in packed::files() {
        // Vocabulary files count only where there is no tokenizer.json.
        if vocabulary::NAMES.contains(&name) && files.has("tokenizer.json") {
            continue;
        }
        add(files, name)?;
        add(&top, name)?;
    }
    for folder in modules::read(&top)?.into_iter().flatten().map(|module| module.folder) {
        add(&top.folder(&folder), "config.json")?;
    }
    add(&top.folder("1_Pooling"), "config.json")?;
    Ok(found)
}

fn steps(spec: &Spec) -> usize {
    [&spec.encoder, &spec.decoder].into_iter().flatten().map(|stack| stack.distinct_layers() + 1).sum::<usize>() + 1
}

struct Packer<'a> {
    writer: Writer,
    precision: Precision,
    calibrator: Option<Calibrator>,
    done: usize,
    all: usize,
    progress: &'a mut dyn FnMut(f32) -> Result<()>,
}

impl Packer<'_> {
    fn step(&mut self) -> Result<()> {
        self.done += 1;
        (self.progress)(self.done as f32 / self.all as f32)
    }

    fn model(&mut self, view: &ModelView) -> Result<()> {
        // The language heads first: if they are tied to the word embeddings, these are then already packed.
        for linear in view.language.iter().chain(&view.head) {
            self.linear(Role::Head, linear)?;
        }
        if let Some(masked) = &view.masked {
            let mut decoder = masked.decoder.clone();
            if let Some(name) = masked.own_name.filter(|_| !pack::tables_are_exact(self.precision)) {
                decoder.key = name.to_string();
            }
            self.linear(Role::Head, &masked.dense)?;
            self.linear(Role::Head, &decoder)?;
            self.norm(&masked.norm)?;
        }
        self.step()?;
        [&view.encoder, &view.decoder].into_iter().flatten().try_for_each(|stack| self.stack(stack))?;
        view.modules.linears().try_for_each(|linear| self.linear(Role::Vector, linear))?;
        view.modules.norms().try_for_each(|norm| self.norm(norm))
    }

    fn stack(&mut self, view: &StackView) -> Result<()> {
        let tables = [Some(&view.word), view.position.as_ref(), view.token_type.as_ref()];
        tables.into_iter().flatten().try_for_each(|table| self.table(table))?;
        view.relative_bias.iter().chain(&view.distances).try_for_each(|table| self.plain(table))?;
        [&view.embedding_norm, &view.distance_norm, &view.final_norm]
            .into_iter()
            .flatten()
            .try_for_each(|norm| self.norm(norm))?;
        view.embedding_projection.iter().try_for_each(|linear| self.linear(Role::Head, linear))?;
        self.step()?;
        for layer in &view.layers {
            layer.linears().try_for_each(|(role, linear)| self.linear(role, linear))?;
            layer.applied().try_for_each(|linear| self.linear(Role::Layer, linear))?;
            layer.norms().try_for_each(|norm| self.norm(norm))?;
            layer.vectors().try_for_each(|vector| self.plain(vector))?;
            self.step()?;
        }
        Ok(())
    }

    fn linear(&mut self, role: Role, view: &LinearView) -> Result<()> {
        let shape = [view.outputs, view.inputs];
        let transform = match &mut self.calibrator {
            Some(calibrator) => calibrator.transform(role, view)?,
            None => InputTransform::default(),
        };
        let packed = pack::linear_transformed(role.precision(self.precision), view, &transform, available())?;
        if !transform.factors.is_empty() {
            let name = format!("{}.{FACTORS}", view.key);
            self.writer.tensor(&name, DType::F32, &[view.inputs], &[storage::bytes(&transform.factors)])?;
        }
        if transform.block > 0 {
            let name = format!("{}.{ROTATION}", view.key);
            self.writer.tensor(&name, DType::F32, &[1], &[&(transform.block as f32).to_le_bytes()])?;
        }
        let name = format!("{}.weight", view.key);
        let weight = &packed.weight;
        self.writer.tensor(&name, DType::Packed(&weight.format().stored), &shape, &[weight.bytes()])?;
        if view.parts.iter().any(|part| part.bias.is_some()) {
            let name = format!("{}.bias", view.key);
            self.writer.tensor(&name, DType::F32, &[view.outputs], &[storage::bytes(&packed.bias)])?;
        }
        Ok(())
    }

    fn table(&mut self, view: &TensorView) -> Result<()> {
        let shape = [view.rows(), view.cols()];
        let table = Format::new(self.precision).table;
        ensure(table.bytes(view.rows(), view.cols()) as u64, "a table of embeddings")?;
        match table {
            TableType::I8 => {
                let rows = Shape { outputs: view.rows(), inputs: view.cols() };
                let (values, scales) = pack::rows_i8(view)?;
                let (values, scales) = (storage::bytes(&values), storage::bytes(&scales));
                let padding = row_scales_at(rows).map_or(0, |at| at - values.len());
                self.writer.tensor(view.name, DType::Packed(&ROWS_I8), &shape, &[values, &vec![0; padding], scales])
            }
            TableType::F16 => {
                let values = pack::rows_f16(view)?;
                self.writer.tensor(view.name, DType::F16, &shape, &[storage::bytes(&values)])
            }
            TableType::F32 => self.plain(view),
        }
    }

    /// Norms and biases stay in f32.
    fn plain(&mut self, view: &TensorView) -> Result<()> {
        self.writer.tensor(view.name, DType::F32, view.shape, &[storage::bytes(&view.to_vec_f32()?)])
    }

    fn norm(&mut self, norm: &NormView) -> Result<()> {
        self.plain(&norm.weight)?;
        norm.bias.iter().try_for_each(|bias| self.plain(bias))
    }
}
