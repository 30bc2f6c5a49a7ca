//! The tasks of `kinglet run`: their options, one call on a batch, and the fields of its results.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use kinglet::{
    Cancellation, Classifications, ClassifyOptions, CompressOptions, Compression, EmbedOptions, Embeddings,
    EncodeOptions, Encoding, Entity, GenerateOptions, Generations, Model, Pooling, TokenClassifications,
};
use serde::ser::{Serialize, SerializeMap};
use serde_json::{Map, Value};

use crate::classify::EntityLine;
use crate::failure::{Failure, Outcome};
use crate::output::{JsonRows, JsonScores};
use crate::run_args::{BulkTask, Run};

pub enum Task {
    Embed(EmbedOptions),
    Classify(ClassifyOptions),
    Entities(ClassifyOptions, kinglet::Aggregation),
    Score(ClassifyOptions),
    Generate(Box<GenerateOptions>),
    Tokenize(EncodeOptions),
    Compress(Box<CompressOptions>),
}

/// The results of a batch.
pub enum Results {
    /// And whether there is a vector per token.
    Embeddings(Embeddings, bool),
    Classes(Classifications),
    /// With the entities of each text.
    Entities(TokenClassifications, Vec<Range<usize>>),
    Scores(Classifications),
    Texts(Generations),
    Tokens(Encoding),
    Compressions(Vec<Compression>),
}

impl Results {
    pub fn truncated(&self, row: usize) -> bool {
        let all = match self {
            Self::Embeddings(embeddings, _) => &embeddings.truncated,
            Self::Classes(classes) | Self::Scores(classes) => &classes.truncated,
            Self::Entities(found, _) => &found.truncated,
            Self::Texts(texts) => &texts.truncated,
            Self::Tokens(encoding) => encoding.truncated(),
            // Documents of any length are read.
            Self::Compressions(_) => return false,
        };
        all[row] != 0
    }

    pub fn compression(&self, row: usize) -> Option<&Compression> {
        match self {
            Self::Compressions(all) => all.get(row),
            _ => None,
        }
    }
}

impl Task {
    /// Refuses options of other tasks by name.
    pub fn check(args: &Run) -> Outcome<()> {
        use BulkTask::*;
        let prompt = args.prompt.prompt.is_some() || args.prompt.prompt_name.is_some();
        let pair = args.pair_field.is_some();
        let generation = args.first_of_generation.as_deref();
        let compression = args.first_of_compression.as_deref();
        for (given, option, tasks) in [
            (args.max_length.is_some(), "--max-length", &[Embed, Classify, Score, Tokenize][..]),
            (args.pooling.is_some(), "--pooling", &[Embed]),
            (args.normalize.is_some(), "--normalize", &[Embed]),
            (args.truncate_dim.is_some(), "--truncate-dim", &[Embed]),
            (args.function.is_some(), "--function", &[Classify, Score]),
            (args.aggregation.is_some(), "--aggregation", &[Classify]),
            (prompt, "--prompt and --prompt-name", &[Embed, Classify, Score]),
            (pair, "--pair-field", &[Classify, Score, Tokenize]),
            (generation.is_some(), generation.unwrap_or_default(), &[Generate]),
            (compression.is_some(), compression.unwrap_or_default(), &[Compress]),
        ] {
            if given && !tasks.contains(&args.task) {
                return Err(Failure::usage(format!("{option}: not for --task {}", args.task.name())));
            }
        }
        match args.task {
            Score if !pair => Err(Failure::usage("--task score needs --pair-field, the field of the second text")),
            Compress if args.compression.ratio.is_none() && args.compression.max_tokens.is_none() => {
                Err(Failure::usage("--task compress needs --ratio or --max-tokens"))
            }
            _ => Ok(()),
        }
    }

    pub fn new(model: &Model, args: &Run) -> Outcome<Self> {
        let (prompt, prompt_name) = (args.prompt.prompt.clone(), args.prompt.prompt_name.clone());
        let classify = ClassifyOptions {
            function: args.function,
            max_length: args.max_length,
            prompt_name: prompt_name.clone(),
            prompt: prompt.clone(),
            ..ClassifyOptions::default()
        };
        Ok(match args.task {
            BulkTask::Embed => Self::Embed(EmbedOptions {
                pooling: args.pooling,
                normalize: args.normalize.and_then(|normalize| normalize.0),
                max_length: args.max_length,
                truncate_dim: args.truncate_dim,
                prompt_name,
                prompt,
                ..EmbedOptions::default()
            }),
            BulkTask::Classify if args.pair_field.is_none() && model.info()["head"] == "token" => {
                Self::Entities(classify, args.aggregation.unwrap_or_default())
            }
            BulkTask::Classify if args.aggregation.is_some() => {
                return Err(Failure::usage(
                    "--aggregation needs a model that classifies tokens; this one classifies texts",
                ));
            }
            BulkTask::Classify => Self::Classify(classify),
            BulkTask::Score => Self::Score(classify),
            BulkTask::Generate => Self::Generate(Box::new(args.generation.options_of_text()?)),
            BulkTask::Tokenize => {
                Self::Tokenize(EncodeOptions { max_length: args.max_length, ..EncodeOptions::default() })
            }
            BulkTask::Compress => Self::Compress(Box::new(args.compression.options())),
        })
    }

    /// All options, to be compared with those of an unfinished run.
    pub fn settings(&self) -> String {
        match self {
            Self::Embed(options) => format!("{options:?}"),
            Self::Classify(options) | Self::Score(options) => format!("{options:?}"),
            Self::Entities(options, aggregation) => format!("{options:?} {aggregation:?}"),
            Self::Generate(options) => format!("{options:?}"),
            Self::Tokenize(options) => format!("{options:?}"),
            Self::Compress(options) => format!("{options:?}"),
        }
    }

    /// The names of the fields of the results.
    pub fn fields(&self) -> &'static [&'static str] {
        match self {
            Self::Embed(_) => &["embedding", "truncated"],
            Self::Classify(_) => &["label", "score", "scores", "truncated"],
            Self::Entities(..) => &["entities", "truncated"],
            Self::Score(_) => &["score", "truncated"],
            Self::Generate(_) => &["generated_text", "finish_reason", "truncated"],
            Self::Tokenize(_) => &["input_ids", "truncated"],
            Self::Compress(_) => &["compressed_text", "tokens_before", "tokens_after", "ratio"],
        }
    }

    /// `first` is the number of the first row: texts that are sampled get a seed of their own.
    pub fn run(
        &self,
        model: &Model,
        texts: &[&str],
        pairs: Option<&[&str]>,
        first: u64,
        cancellation: &Cancellation,
    ) -> kinglet::Result<Results> {
        let cancelled = Some(cancellation.clone());
        let classify =
            |options: &ClassifyOptions| ClassifyOptions { cancellation: cancelled.clone(), ..options.clone() };
        Ok(match self {
            Self::Embed(options) => {
                let options = EmbedOptions { cancellation: cancelled, ..options.clone() };
                Results::Embeddings(model.embed(texts, &options)?, options.pooling == Some(Pooling::None))
            }
            Self::Classify(options) => Results::Classes(model.classify(texts, pairs, &classify(options))?),
            Self::Score(options) => {
                Results::Scores(model.score(texts, pairs.unwrap_or_default(), &classify(options))?)
            }
            Self::Entities(options, aggregation) => {
                let found = model.classify_tokens(texts, *aggregation, &classify(options))?;
                let mut end = 0;
                let ranges = (0..texts.len()).map(|text| {
                    let start = end;
                    end += found.entities[start..].iter().take_while(|entity| entity.text == text).count();
                    start..end
                });
                let ranges = ranges.collect();
                Results::Entities(found, ranges)
            }
            Self::Generate(options) => {
                let seed = options.seed.map(|seed| seed.wrapping_add(first));
                let options = GenerateOptions { cancellation: cancelled, seed, ..(**options).clone() };
                Results::Texts(model.generate(texts, &options, None)?)
            }
            Self::Tokenize(options) => Results::Tokens(model.tokenize(texts, pairs, options, Some(cancellation))?),
            Self::Compress(options) => {
                let options = CompressOptions { cancellation: cancelled, ..(**options).clone() };
                Results::Compressions(compress(model, texts, &options)?)
            }
        })
    }
}

/// Compresses documents, several at a time: one of a few windows does not give work to all CPUs.
fn compress(model: &Model, texts: &[&str], options: &CompressOptions) -> kinglet::Result<Vec<Compression>> {
    let callers = thread::available_parallelism().map_or(1, usize::from);
    let share = texts.len().div_ceil(callers).max(1);
    let call = &|texts: &[&str]| texts.iter().map(|text| model.compress(text, options)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let callers: Vec<_> = texts.chunks(share).map(|texts| scope.spawn(move || call(texts))).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap_or_else(|fault| resume_unwind(fault))).collect()
    })
}

/// The results of row `row` of a batch, as fields.
pub struct Fields<'a> {
    pub model: &'a Model,
    pub results: &'a Results,
    pub row: usize,
    pub text: &'a str,
}

impl Fields<'_> {
    pub fn truncated(&self) -> bool {
        self.results.truncated(self.row)
    }

    pub fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let row = self.row;
        match self.results {
            Results::Embeddings(embeddings, by_token) => {
                let width = embeddings.dimension;
                let values = &embeddings.values[embeddings.starts[row] * width..embeddings.starts[row + 1] * width];
                match by_token {
                    true => map.serialize_entry("embedding", &JsonRows { values, width })?,
                    false => map.serialize_entry("embedding", values)?,
                }
            }
            Results::Classes(classes) => {
                let scores = &classes.scores[row * classes.labels..][..classes.labels];
                let best = classes.best[row] as usize;
                let labels = self.model.labels();
                map.serialize_entry("label", labels.get(best).map_or("", String::as_str))?;
                map.serialize_entry("score", &scores[best])?;
                map.serialize_entry("scores", &JsonScores { labels, scores })?;
            }
            Results::Scores(classes) => {
                let scores = &classes.scores[row * classes.labels..][..classes.labels];
                map.serialize_entry("score", &scores[classes.best[row] as usize])?;
            }
            Results::Entities(found, ranges) => {
                let entities = &found.entities[ranges[row].clone()];
                let lines: Vec<EntityLine> = entities.iter().map(|e: &Entity| EntityLine::of(e, self.text)).collect();
                map.serialize_entry("entities", &lines)?;
            }
            Results::Texts(texts) => {
                let outputs = &texts.outputs[row];
                match &outputs[..] {
                    [one] => {
                        map.serialize_entry("generated_text", &one.text)?;
                        map.serialize_entry("finish_reason", one.finish_reason.name())?;
                    }
                    all => {
                        let (texts, reasons): (Vec<_>, Vec<_>) =
                            all.iter().map(|one| (&one.text, one.finish_reason.name())).unzip();
                        map.serialize_entry("generated_text", &texts)?;
                        map.serialize_entry("finish_reason", &reasons)?;
                    }
                }
            }
            Results::Tokens(encoding) => {
                let tokens = encoding.starts()[row]..encoding.starts()[row + 1];
                map.serialize_entry("input_ids", &encoding.ids()[tokens])?;
            }
            Results::Compressions(all) => {
                let found = &all[row];
                map.serialize_entry("compressed_text", &found.text)?;
                map.serialize_entry("tokens_before", &found.tokens_before)?;
                map.serialize_entry("tokens_after", &found.tokens_after)?;
                map.serialize_entry("ratio", &found.ratio())?;
            }
        }
        if self.truncated() { map.serialize_entry("truncated", &true) } else { Ok(()) }
    }
}

/// A row of the output.
pub struct Line<'a> {
    pub kept: &'a Map<String, Value>,
    pub fields: Fields<'a>,
}

impl Line<'_> {
    /// The fields as cells: a string as it is, anything else as JSON.
    pub fn cells(&self) -> Vec<(String, String)> {
        let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
        let mut cells = Cells(self.kept.iter().map(|(name, value)| (name.clone(), cell(value))).collect());
        // Writing to memory does not fail.
        let _ = self.fields.write(&mut cells);
        cells.0
    }
}

/// Collects fields as cells.
struct Cells(Vec<(String, String)>);

impl SerializeMap for Cells {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> serde_json::Result<()> {
        self.0.push((plain(key)?, String::new()));
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> serde_json::Result<()> {
        let value = plain(value)?;
        if let Some((_, cell)) = self.0.last_mut() {
            *cell = value;
        }
        Ok(())
    }

    fn end(self) -> serde_json::Result<()> {
        Ok(())
    }
}

fn plain<T: ?Sized + Serialize>(value: &T) -> serde_json::Result<String> {
    let json = serde_json::to_string(value)?;
    if json.starts_with('"') { serde_json::from_str(&json) } else { Ok(json) }
}

impl Serialize for Line<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.kept {
            map.serialize_entry(name, value)?;
        }
        self.fields.write(&mut map)?;
        map.end()
    }
}
