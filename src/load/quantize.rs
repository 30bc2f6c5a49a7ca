//! `kinglet quantize`: packs a model's weights once, so that loading them later costs only page faults.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backend::cpu::weights as pack;
use crate::backend::{LinearView, NormView, Role};
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

/// The maximum size of a configuration or tokenizer file, in bytes.
const FILE_LIMIT: u64 = 256 << 20;

/// Reads a model (a Hugging Face directory or a GGUF file) and writes it to `destination` as one `.kinglet` file, its weights in
/// `precision`. `progress` receives the fraction of the work that is done, and returns false to cancel.
///
/// # Errors
/// As [`crate::Model::load`]; a source that is already a `.kinglet` file; a destination that cannot be written or that holds anything but
/// an older `.kinglet` file. A failed or cancelled call leaves no file and does not touch an older one.
pub fn quantize(
    source: &Path,
    destination: &Path,
    precision: Precision,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Result<()> {
    let source = &*hub_cache::resolve(source)?;
    let Source { files, weights, precision: packed, export } = Source::open(source, Opening::default())?;
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
    let config = files.require_config("config.json")?;
    let spec = families::spec(&config)?;
    let settings = families::sentence_transformers(&files, &config, spec.hidden())?;
    let view = ModelView::find(&spec, &weights)?.with_modules(&settings.known_modules(), &weights)?;
    let mut packer = Packer { writer: Writer::create(destination)?, precision, done: 0, all: steps(&spec), progress };
    packer.model(&view)?;
    let progress = packer.progress;
    packer.writer.finish(precision, &small_files(&files)?, &mut || match progress(1.0) {
        true => Ok(()),
        false => Err(Error::cancelled()),
    })
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
    done: usize,
    all: usize,
    progress: &'a mut dyn FnMut(f32) -> bool,
}

impl Packer<'_> {
    fn step(&mut self) -> Result<()> {
        self.done += 1;
        match (self.progress)(self.done as f32 / self.all as f32) {
            true => Ok(()),
            false => Err(Error::cancelled()),
        }
    }

    fn model(&mut self, view: &ModelView) -> Result<()> {
        // The language head first: if it is tied to the word embeddings, these are then already packed.
        for linear in view.language.iter().chain(&view.head) {
            self.linear(Role::Head, linear)?;
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
            layer.linears().chain(layer.applied()).try_for_each(|linear| self.linear(Role::Layer, linear))?;
            layer.norms().try_for_each(|norm| self.norm(norm))?;
            self.step()?;
        }
        Ok(())
    }

    fn linear(&mut self, role: Role, view: &LinearView) -> Result<()> {
        let shape = [view.outputs, view.inputs];
        let packed = pack::linear_load(role.precision(self.precision), view, available())?;
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
