//! Published ONNX exports: which files belong together, and which export is chosen. ONNX Runtime reads their contents.

use std::path::{Path, PathBuf};

use super::files::Files;
use crate::base::error::{Error, Result, Status};
use crate::spec::Precision;

/// File name suffixes and the precision that each one means, in the order in which they are tried. The names are those of
/// Optimum, transformers.js and sentence-transformers.
const KINDS: [(&str, Precision); 17] = [
    ("", Precision::F32),
    ("_quantized", Precision::Int8),
    ("_int8", Precision::Int8),
    ("_uint8", Precision::Int8),
    ("_qint8_avx512_vnni", Precision::Int8),
    ("_qint8_avx512", Precision::Int8),
    ("_quint8_avx2", Precision::Int8),
    ("_qint8_arm64", Precision::Int8),
    ("_optimized", Precision::F32),
    ("_O1", Precision::F32),
    ("_O2", Precision::F32),
    ("_O3", Precision::F32),
    // Optimum's O4 is O3 in f16.
    ("_O4", Precision::F16),
    ("_fp16", Precision::F16),
    ("_q4", Precision::Int4),
    ("_q4f16", Precision::Int4),
    ("_bnb4", Precision::Int4),
];

const ENCODER: &str = "encoder_model";
const MERGED: &str = "decoder_model_merged";
const FIRST: &str = "decoder_model";
const LATER: &str = "decoder_with_past_model";
const WHOLE: &str = "model";

/// The maximum number of files that an error lists.
const LISTED: usize = 20;

/// The shape of a model, which decides which files to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Encoder,
    Decoder,
    EncoderDecoder,
}

/// A directory or a file with an export.
#[derive(Clone, Debug)]
pub struct Export {
    path: PathBuf,
    /// Folders to look for graphs in.
    folders: Vec<PathBuf>,
    /// The graph that the caller named.
    named: Option<PathBuf>,
}

/// The files of a model, and their precision by name.
#[derive(Clone, Debug)]
pub struct Graphs {
    pub encoder: Option<PathBuf>,
    /// The decoder, or its part for the first step, without a KV cache as input.
    pub decoder: Option<PathBuf>,
    /// The part of a decoder for later steps, with a KV cache as input, if it is a separate file.
    pub with_past: Option<PathBuf>,
    pub precision: Precision,
}

impl Graphs {
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.encoder, &self.decoder, &self.with_past].into_iter().flatten().map(PathBuf::as_path)
    }

    /// The precision of most weights: as the largest graph says, or else as its name says.
    pub fn weight_precision(&self) -> Precision {
        let largest = self.paths().max_by_key(|path| std::fs::metadata(path).map_or(0, |file| file.len()));
        largest.and_then(super::onnx_weights::precision).unwrap_or(self.precision)
    }

    /// Bytes of the graphs and of their external data.
    pub fn bytes(&self) -> u64 {
        self.paths().map(bytes_of).sum()
    }
}

impl Export {
    /// The ONNX export at `path`, if it is one: a `.onnx` file, or a directory that has `.onnx` files, or a folder `onnx` with such
    /// files, and no safetensors, which are run natively.
    pub fn find(path: &Path) -> Option<Self> {
        if path.is_file() {
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            return is_graph(path).then(|| Self {
                path: path.to_owned(),
                folders: vec![folder],
                named: Some(path.to_owned()),
            });
        }
        let folders = vec![path.to_owned(), path.join("onnx")];
        let native =
            names(path).any(|name| name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"));
        let found = Self { path: path.to_owned(), folders, named: None };
        (!native && !found.there().is_empty()).then_some(found)
    }

    /// The path that the caller gave.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration and tokenizer files: next to the graph, or in the parent directory.
    pub fn files(&self) -> Files {
        let beside = if self.named.is_some() { &self.folders[0] } else { &self.path };
        // An empty path is the working directory, whose parent is `..`.
        let above = match beside.file_name() {
            Some(_) => beside.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }.to_owned()),
            None => Some(beside.join("..")),
        };
        let above = above.filter(|above| !beside.join("config.json").exists() && above.join("config.json").exists());
        Files::in_directory(above.as_deref().unwrap_or(beside))
    }

    /// Whether the export has a decoder, by file names.
    pub fn has_decoder(&self) -> bool {
        self.folders
            .iter()
            .flat_map(|folder| names(folder))
            .any(|name| name.starts_with("decoder_") && is_graph(name.as_ref()))
    }

    /// The files of a model of this shape in this precision. For an encoder-decoder without decoder files, only the encoder.
    pub fn choose(&self, shape: Shape, precision: Precision) -> Result<Graphs> {
        if precision == Precision::Bf16 {
            return Err(Error::unsupported(format!(
                "precision bf16: {}: ONNX exports are in f32, f16, int8 or int4; use auto, or the model's safetensors",
                self.path.display()
            )));
        }
        if let Some(named) = &self.named {
            return self.choose_named(named, shape, precision);
        }
        let only_encoder = [Shape::Encoder].into_iter().filter(|_| shape == Shape::EncoderDecoder);
        for shape in [shape].into_iter().chain(only_encoder) {
            for (suffix, kind) in KINDS {
                if precision != Precision::Auto && precision != kind {
                    continue;
                }
                for folder in &self.folders {
                    if let Some(graphs) = set_of(folder, suffix, shape, kind) {
                        return Ok(graphs);
                    }
                }
            }
        }
        if precision == Precision::Auto
            && shape != Shape::EncoderDecoder
            && let Some(graph) = self.only_graph()
        {
            let (encoder, decoder) = if shape == Shape::Encoder { (Some(graph), None) } else { (None, Some(graph)) };
            return Ok(Graphs { encoder, decoder, with_past: None, precision: Precision::F32 });
        }
        let wanted = match shape {
            Shape::Encoder => "model.onnx",
            Shape::Decoder => "model.onnx or decoder_model_merged.onnx",
            Shape::EncoderDecoder => "encoder_model.onnx with decoder_model_merged.onnx",
        };
        let precision = if precision == Precision::Auto { "any precision" } else { precision.name() };
        let (path, there) = (self.path.display(), self.there());
        Err(Error::new(
            Status::NotFound,
            format!(
                "{path}: no ONNX export in {precision} ({wanted}, or the same with _fp16, _quantized, _int8 or _q4) here or in onnx/; \
                 there are {}",
                if there.is_empty() { "none".into() } else { there.join(", ") }
            ),
        ))
    }

    fn choose_named(&self, named: &Path, shape: Shape, precision: Precision) -> Result<Graphs> {
        let name = named.file_stem().unwrap_or_default().to_string_lossy();
        let stem = [LATER, MERGED, FIRST, ENCODER, WHOLE].into_iter().find(|stem| name.starts_with(stem));
        let suffix = stem.map_or("", |stem| &name[stem.len()..]);
        let kind = KINDS.iter().find(|(known, _)| *known == suffix).map_or(Precision::F32, |&(_, kind)| kind);
        if precision != Precision::Auto && precision != kind {
            return Err(Error::unsupported(format!(
                "precision {}: the name of {} means {}; use precision auto, or another file",
                precision.name(),
                named.display(),
                kind.name()
            )));
        }
        let graphs = match (stem, shape) {
            (Some(stem), Shape::EncoderDecoder) if stem != WHOLE => set_of(&self.folders[0], suffix, shape, kind),
            (Some(FIRST | LATER), Shape::Decoder) => set_of_decoder(&self.folders[0], suffix, FIRST, kind),
            (_, Shape::Decoder) => {
                Some(Graphs { encoder: None, decoder: Some(named.to_owned()), with_past: None, precision: kind })
            }
            _ => Some(Graphs { encoder: Some(named.to_owned()), decoder: None, with_past: None, precision: kind }),
        };
        graphs.ok_or_else(|| {
            let (named, there) = (named.display(), self.there().join(", "));
            Error::new(
                Status::NotFound,
                format!("{named}: the other graphs of this export are not in its folder; there are {there}"),
            )
        })
    }

    /// The one graph, if there is exactly one and its name does not say that it is a part of a model.
    fn only_graph(&self) -> Option<PathBuf> {
        let graphs = self.folders.iter().flat_map(|folder| names(folder).map(move |name| (folder, name)));
        let mut graphs = graphs.filter(|(_, name)| is_graph(name.as_ref()));
        let (folder, name) = graphs.next().filter(|_| graphs.next().is_none())?;
        let part = [LATER, MERGED, FIRST, ENCODER].into_iter().any(|stem| name.starts_with(stem));
        (!part).then(|| folder.join(name))
    }

    /// The graphs that exist, for messages.
    fn there(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (place, folder) in self.folders.iter().enumerate() {
            let prefix = if place == 0 { "" } else { "onnx/" };
            found.extend(names(folder).filter(|name| is_graph(name.as_ref())).map(|name| format!("{prefix}{name}")));
        }
        found.sort();
        found.truncate(LISTED);
        found
    }
}

/// The files of a shape in a folder, if all exist.
fn set_of(folder: &Path, suffix: &str, shape: Shape, precision: Precision) -> Option<Graphs> {
    let file = |stem: &str| Some(folder.join(format!("{stem}{suffix}.onnx"))).filter(|path| path.is_file());
    match shape {
        Shape::Encoder => {
            let encoder = file(WHOLE).or_else(|| file(ENCODER))?;
            Some(Graphs { encoder: Some(encoder), decoder: None, with_past: None, precision })
        }
        Shape::Decoder => {
            let stems = [WHOLE, MERGED, FIRST];
            stems.into_iter().find_map(|stem| set_of_decoder(folder, suffix, stem, precision))
        }
        Shape::EncoderDecoder => {
            let encoder = file(ENCODER)?;
            let stems = [MERGED, FIRST];
            let graphs = stems.into_iter().find_map(|stem| set_of_decoder(folder, suffix, stem, precision))?;
            Some(Graphs { encoder: Some(encoder), ..graphs })
        }
    }
}

fn set_of_decoder(folder: &Path, suffix: &str, stem: &str, precision: Precision) -> Option<Graphs> {
    let file = |stem: &str| Some(folder.join(format!("{stem}{suffix}.onnx"))).filter(|path| path.is_file());
    let decoder = file(stem)?;
    let with_past = (stem == FIRST).then(|| file(LATER)).flatten();
    Some(Graphs { encoder: None, decoder: Some(decoder), with_past, precision })
}

fn is_graph(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

/// The file names in a folder; empty if it cannot be read.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder).ok().into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// The size of a graph and of its external data: `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`.
fn bytes_of(graph: &Path) -> u64 {
    let folder = graph.parent().unwrap_or(Path::new(""));
    let name = graph.file_name().unwrap_or_default().to_string_lossy();
    let parts = names(folder).filter(|other| {
        let rest = other.strip_prefix(name.as_ref());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("_data") || rest == ".data")
    });
    parts.filter_map(|part| std::fs::metadata(folder.join(part)).ok()).map(|part| part.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("onnx")).unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), file).unwrap();
        }
        folder
    }

    fn chosen(files: &[&str], shape: Shape, precision: Precision) -> Result<Vec<String>> {
        let folder = folder(files);
        let export = Export::find(folder.path()).unwrap();
        let graphs = export.choose(shape, precision)?;
        let name = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_string_lossy().replace('\\', "/");
        Ok(graphs.paths().map(name).collect())
    }

    #[test]
    fn the_order_of_files() {
        let all =
            ["model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_int8.onnx", "onnx/model_fp16.onnx"];
        for first in 0..all.len() {
            assert_eq!(chosen(&all[first..], Shape::Encoder, Precision::Auto).unwrap(), [all[first]]);
        }
        let in_precision = |precision| chosen(&all, Shape::Decoder, precision).unwrap().swap_remove(0);
        assert_eq!(in_precision(Precision::F32), "model.onnx");
        assert_eq!(in_precision(Precision::F16), "onnx/model_fp16.onnx");
        assert_eq!(in_precision(Precision::Int8), "model_quantized.onnx");
    }

    #[test]
    fn decoders_come_merged_or_in_two_parts() {
        let shape = Shape::EncoderDecoder;
        let two = ["encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"];
        assert_eq!(chosen(&two, shape, Precision::Auto).unwrap(), two);
        let merged = [&two[..], &["decoder_model_merged.onnx"]].concat();
        assert_eq!(
            chosen(&merged, shape, Precision::Auto).unwrap(),
            ["encoder_model.onnx", "decoder_model_merged.onnx"]
        );
        assert_eq!(chosen(&two[..1], shape, Precision::Auto).unwrap(), ["encoder_model.onnx"]);
        assert_eq!(chosen(&two[1..], Shape::Decoder, Precision::Auto).unwrap(), two[1..]);
        // All parts have the same precision.
        let mixed = ["encoder_model.onnx", "encoder_model_int8.onnx", "decoder_model_merged_int8.onnx"];
        assert_eq!(chosen(&mixed, shape, Precision::Auto).unwrap(), mixed[1..]);
    }

    #[test]
    fn a_missing_export_is_an_error_that_lists_the_graphs_found() {
        let error = chosen(&["onnx/model_fp16.onnx"], Shape::Encoder, Precision::Int8).unwrap_err();
        assert_eq!(error.status(), Status::NotFound);
        assert!(
            error.message().contains("int8") && error.message().ends_with("there are onnx/model_fp16.onnx"),
            "{error}"
        );
        let error = chosen(&["model.onnx"], Shape::Encoder, Precision::Bf16).unwrap_err();
        assert!(error.message().contains("auto"), "{error}");
    }

    #[test]
    fn a_file_names_its_companions_and_its_precision() {
        let folder =
            folder(&["encoder_model_int8.onnx", "decoder_model_merged_int8.onnx", "other.onnx", "other.onnx_data"]);
        let export = |name: &str| Export::find(&folder.path().join(name)).unwrap();
        let graphs = export("decoder_model_merged_int8.onnx").choose(Shape::EncoderDecoder, Precision::Auto).unwrap();
        assert_eq!((graphs.paths().count(), graphs.precision), (2, Precision::Int8));
        let graphs = export("other.onnx").choose(Shape::Encoder, Precision::Auto).unwrap();
        assert_eq!((graphs.bytes(), graphs.precision), (10 + 15, Precision::F32));
        let error = export("other.onnx").choose(Shape::Encoder, Precision::F16).unwrap_err();
        assert!(error.message().contains("auto"), "{error}");
    }

    #[test]
    fn safetensors_come_first_and_small_files_may_be_in_the_parent() {
        let folder = folder(&["onnx/model.onnx", "config.json"]);
        let export = Export::find(folder.path()).unwrap();
        assert_eq!(export.files().path(), folder.path());
        for inside in [folder.path().join("onnx"), folder.path().join("onnx/model.onnx")] {
            assert_eq!(Export::find(&inside).unwrap().files().path(), folder.path());
        }
        std::fs::write(folder.path().join("model.safetensors"), "").unwrap();
        assert!(Export::find(folder.path()).is_none());
        assert!(Export::find(&folder.path().join("onnx/model.onnx")).is_some());
        assert!(Export::find(&folder.path().join("config.json")).is_none());
    }
}
