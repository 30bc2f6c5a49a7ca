//! `kinglet classify`: texts, pairs and tokens.

use kinglet::{ClassifyOptions, Entity, Model};
use serde::Serialize;

use crate::args::Classify;
use crate::failure::{Failure, Outcome};
use crate::input::{Batches, InputBatch, Kind};
use crate::output::{JsonScores, OneLine, Output, Significant, is_false};

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<&'a str>,
    /// Left out by --score: its only label has no meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<JsonScores<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Serialize)]
struct TokensLine<'a> {
    text: &'a str,
    entities: Vec<EntityLine<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Serialize)]
pub struct EntityLine<'a> {
    pub entity: &'a str,
    pub score: f32,
    pub start: usize,
    pub end: usize,
    pub text: &'a str,
}

pub fn run(model: &Model, args: &Classify) -> Outcome<()> {
    let options = ClassifyOptions {
        function: args.function,
        max_length: args.max_length,
        prompt_name: args.prompt.prompt_name.clone(),
        prompt: args.prompt.prompt.clone(),
        cancellation: None,
        priority: args.call.priority.unwrap_or_default(),
        deadline: None,
    };
    let pairs = args.score || args.pair.asked();
    let tokens = args.tokens || (!pairs && model.info()["head"] == "token");
    if args.aggregation.is_some() && !tokens {
        return Err(Failure::usage("--aggregation needs a model that classifies tokens; this one classifies texts"));
    }
    let kind = if pairs { Kind::Pair } else { Kind::Text };
    let mut out = Output::new();
    Batches::new(&args.input, kind, args.pair.pair_field.as_deref())?.each(|batch| {
        let options = ClassifyOptions { deadline: args.call.deadline(), ..options.clone() };
        let cut = if tokens {
            batch_tokens(model, args, &options, &batch, &mut out)
        } else {
            batch_texts(model, args, &options, &batch, &mut out)
        }?;
        out.flush()?;
        Ok(cut.iter().filter(|&&cut| cut != 0).count())
    })
}

/// Returns which texts were cut.
fn batch_texts(
    model: &Model,
    args: &Classify,
    options: &ClassifyOptions,
    batch: &InputBatch,
    out: &mut Output,
) -> Outcome<Vec<u8>> {
    let (texts, pairs) = (batch.texts(), batch.pairs());
    let result = match &pairs {
        Some(pairs) if args.score => model.score(&texts, pairs, options)?,
        _ => model.classify(&texts, pairs.as_deref(), options)?,
    };
    for (i, &text) in texts.iter().enumerate() {
        let scores = &result.scores[i * result.labels..][..result.labels];
        let best = result.best[i] as usize;
        let (label, score, pair) = (model.labels().get(best).map_or("", String::as_str), scores[best], batch.pair(i));
        if args.input.json() {
            out.json(&Line {
                text,
                pair,
                label: (!args.score).then_some(label),
                score,
                scores: (!args.score).then_some(JsonScores { labels: model.labels(), scores }),
                truncated: result.truncated[i] != 0,
            })?;
            continue;
        }
        let label = if args.score { String::new() } else { format!("{}\t", OneLine(label)) };
        let pair = pair.map_or_else(String::new, |pair| format!("\t{}", OneLine(pair)));
        out.line(format_args!("{label}{}\t{}{pair}", Significant(score), OneLine(text)))?;
    }
    Ok(result.truncated)
}

/// Returns which texts were cut.
fn batch_tokens(
    model: &Model,
    args: &Classify,
    options: &ClassifyOptions,
    batch: &InputBatch,
    out: &mut Output,
) -> Outcome<Vec<u8>> {
    let result = model.classify_tokens(&batch.texts(), args.aggregation.unwrap_or_default(), options)?;
    let mut entities = result.entities.iter().peekable();
    for (i, text) in batch.texts.iter().enumerate() {
        let mut of_text = Vec::new();
        while let Some(entity) = entities.next_if(|entity| entity.text == i) {
            of_text.push(EntityLine::of(entity, text));
        }
        if args.input.json() {
            out.json(&TokensLine { text, entities: of_text, truncated: result.truncated[i] != 0 })?;
            continue;
        }
        out.line(OneLine(text))?;
        for e in of_text {
            let (name, place) = (OneLine(e.entity), format_args!("{}-{}", e.start, e.end));
            out.line(format_args!("\t{name}\t{}\t{place}\t{}", Significant(e.score), OneLine(e.text)))?;
        }
    }
    Ok(result.truncated)
}

impl<'a> EntityLine<'a> {
    pub fn of(entity: &'a Entity, text: &'a str) -> Self {
        let Entity { name, score, start, end, .. } = entity;
        // A byte-level token may end within a character; such a piece is not valid UTF-8 and is left empty.
        let piece = text.get(*start..*end).unwrap_or_default();
        Self { entity: name, score: *score, start: *start, end: *end, text: piece }
    }
}
