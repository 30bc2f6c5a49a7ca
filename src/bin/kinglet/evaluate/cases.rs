//! The cases of an evaluation, from JSON lines.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use crate::args::{Evaluate, EvaluationTask};
use crate::failure::{Failure, Outcome};
use crate::files;

/// Cases, by task.
pub enum Cases {
    /// Questions and expected answers.
    Generate(Vec<(String, String)>),
    /// Texts, or pairs of texts, and labels.
    Classify { texts: Vec<String>, pairs: Option<Vec<String>>, labels: Vec<String> },
    /// Pairs of texts and how similar they are.
    Similarity { first: Vec<String>, second: Vec<String>, scores: Vec<f64> },
    /// Queries, and for each the gains of its relevant documents by their index in the corpus.
    Retrieval { corpus: Vec<String>, queries: Vec<String>, relevant: Vec<HashMap<usize, f64>> },
    /// Texts.
    Perplexity(Vec<String>),
}

impl Cases {
    pub fn count(&self) -> usize {
        match self {
            Self::Generate(cases) => cases.len(),
            Self::Classify { texts, .. } | Self::Perplexity(texts) => texts.len(),
            Self::Similarity { first, .. } => first.len(),
            Self::Retrieval { queries, .. } => queries.len(),
        }
    }

    pub fn read(args: &Evaluate) -> Outcome<Self> {
        let lines = Lines::read(args.file.as_deref(), args.limit)?;
        let field = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.into());
        let input = |default| field(&args.input_field, default);
        let expected = |default| field(&args.expected_field, default);
        let cases = match args.task {
            EvaluationTask::Generate => {
                let (questions, answers) = (lines.texts(&input("input"))?, lines.texts(&expected("expected"))?);
                Self::Generate(questions.into_iter().zip(answers).collect())
            }
            EvaluationTask::Classify => Self::Classify {
                texts: lines.texts(&input("text"))?,
                pairs: args.pair_field.as_deref().map(|pair| lines.texts(pair)).transpose()?,
                labels: lines.texts(&expected("label"))?,
            },
            EvaluationTask::Similarity => Self::Similarity {
                first: lines.texts(&input("sentence1"))?,
                second: lines.texts(&field(&args.pair_field, "sentence2"))?,
                scores: lines.each(&expected("score"), "a number", Value::as_f64)?,
            },
            EvaluationTask::Retrieval => {
                let path = args.corpus.as_deref();
                let path = path.ok_or_else(|| Failure::usage("--task retrieval needs the documents: --corpus FILE"))?;
                let (ids, corpus) = documents(path)?;
                let queries = lines.texts(&input("query"))?;
                let wanted = "a list of documents' ids, or an object of ids and gains";
                let relevant = lines.each(&expected("relevant"), wanted, gains)?;
                let found = relevant.into_iter().enumerate().map(|(i, gains)| {
                    let index = |(id, gain)| match ids.get(&id) {
                        Some(&index) => Ok((index, gain)),
                        None => Err(lines.wrong(i, format!("document {id:?} is not in {}", path.display()))),
                    };
                    gains.into_iter().map(index).collect::<Outcome<HashMap<_, _>>>()
                });
                Self::Retrieval { corpus, queries, relevant: found.collect::<Outcome<_>>()? }
            }
            EvaluationTask::Perplexity => Self::Perplexity(lines.texts(&input("text"))?),
        };
        Ok(cases)
    }
}

/// Ids and gains; in a list each gain is 1.
fn gains(value: &Value) -> Option<Vec<(String, f64)>> {
    let id = |value: &Value| match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    };
    match value {
        Value::Array(ids) => ids.iter().map(|value| Some((id(value)?, 1.0))).collect(),
        Value::Object(gains) => gains.iter().map(|(id, gain)| Some((id.clone(), gain.as_f64()?))).collect(),
        _ => None,
    }
}

/// The documents of a corpus and their indexes: lines with `id` (or BEIR's `_id`), `text`, and perhaps `title`, which is put before the text.
fn documents(path: &Path) -> Outcome<(HashMap<String, usize>, Vec<String>)> {
    let lines = Lines::read(Some(path), None)?;
    let key = if lines.values.iter().all(|(_, value)| value.get("_id").is_some()) { "_id" } else { "id" };
    let mut ids = HashMap::new();
    let list = lines.each(key, "a string or a number", |value| gains(&Value::Array(vec![value.clone()])))?;
    for (i, id) in list.into_iter().flatten().map(|(id, _)| id).enumerate() {
        if let Some(first) = ids.insert(id.clone(), i) {
            let line = lines.values[first].0;
            return Err(lines.wrong(i, format!("document {id:?} is on line {line} already")));
        }
    }
    let texts = lines.texts("text")?;
    let titles = lines.values.iter().map(|(_, value)| value.get("title").and_then(Value::as_str).unwrap_or_default());
    let texts = titles.zip(texts).map(|(title, text)| if title.is_empty() { text } else { format!("{title} {text}") });
    Ok((ids, texts.collect()))
}

/// The JSON objects of a file with the numbers of their lines.
struct Lines {
    name: String,
    values: Vec<(usize, Value)>,
}

impl Lines {
    fn read(path: Option<&Path>, limit: Option<usize>) -> Outcome<Self> {
        let name = path.map_or_else(|| "standard input".into(), |path| path.display().to_string());
        let mut values = Vec::new();
        for (i, line) in files::lines(path)?.enumerate() {
            let wrong = |what: String| Failure::new(format!("{name}, line {}: {what}", i + 1));
            let line = line.map_err(|e| wrong(e.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            values.push((i + 1, serde_json::from_str(&line).map_err(|e| wrong(format!("not JSON: {e}")))?));
            if limit.is_some_and(|limit| values.len() == limit) {
                break;
            }
        }
        match values.is_empty() {
            true => Err(Failure::new(format!("{name}: holds no cases; expected one JSON object per line"))),
            false => Ok(Self { name, values }),
        }
    }

    fn wrong(&self, index: usize, what: String) -> Failure {
        Failure::new(format!("{}, line {}: {what}", self.name, self.values[index].0))
    }

    /// A field of each line.
    fn each<T>(&self, field: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Outcome<Vec<T>> {
        let one = |(i, (_, value)): (usize, &(usize, Value))| {
            let found = value.get(field).and_then(&read);
            found.ok_or_else(|| self.wrong(i, format!("field {field:?} is missing or not {kind}")))
        };
        self.values.iter().enumerate().map(one).collect()
    }

    fn texts(&self, field: &str) -> Outcome<Vec<String>> {
        self.each(field, "a string", |value| value.as_str().map(String::from))
    }
}
