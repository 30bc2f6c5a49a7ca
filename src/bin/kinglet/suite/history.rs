//! The history of suites: JSON lines in a folder, one file per kind of machine. Each line begins with its checksum, and has its figures
//! in the Bencher Metric Format.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::compare::{Verdict, worse};
use super::config::Config;
use super::figure::{Figure, Measure};
use super::report::{Report, number, quoted};
use crate::bench_args::HistoryArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::output::Output;

/// The longest file, in bytes.
const MAX_BYTES: u64 = 1 << 30;
const MONTH: u64 = 30 * 86_400;
/// The hexadecimal digits of a checksum.
const DIGITS: usize = 64;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    pub time: u64,
    pub date: String,
    pub machine: String,
    pub commit: Option<String>,
    pub version: String,
    /// Whether the machine did so much else that times are not judged.
    pub busy: bool,
    /// Names and hashes of the models.
    pub models: BTreeMap<String, String>,
    /// By case, then by measure.
    pub results: BTreeMap<String, BTreeMap<String, Value>>,
}

/// A figure's median and its 95 % interval.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Value {
    pub value: f64,
    pub lower_value: f64,
    pub upper_value: f64,
}

impl Row {
    fn of(report: &Report) -> Self {
        let mut results: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        for Figure { target, suite, case, measure, statistics, .. } in &report.figures {
            let [lower_value, upper_value] = statistics.interval;
            let value = Value { value: statistics.median, lower_value, upper_value };
            let key = format!("{target}: {}, {case}", suite.name());
            results.entry(key).or_default().insert(measure.name().into(), value);
        }
        Self {
            time: report.time,
            date: super::date(report.time),
            machine: report.machine.class(),
            commit: report.versions.git_revision.clone(),
            version: report.versions.kinglet.clone(),
            busy: report.busy(&report.configuration.noise).is_some(),
            models: report.models.iter().map(|model| (model.name.clone(), model.sha256.clone())).collect(),
            results,
        }
    }
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row as a line: its JSON object with the checksum of the rest as the first field.
fn line(row: &Row) -> Outcome<String> {
    let text = serde_json::to_string(row).map_err(Failure::new)?;
    Ok(format!("{{\"checksum\":\"{}\",{}\n", checksum(&text), &text[1..]))
}

/// The row of a line, or what is wrong with it.
fn row(line: &str) -> Result<Row, String> {
    let parts = line.strip_prefix("{\"checksum\":\"").and_then(|rest| rest.split_at_checked(DIGITS));
    let (sum, rest) =
        parts.and_then(|(sum, rest)| Some((sum, rest.strip_prefix("\",")?))).ok_or("it has no checksum")?;
    let text = format!("{{{rest}");
    if checksum(&text) != sum {
        return Err("its checksum does not match".into());
    }
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// Adds a report to the file of its machine. Returns the file's path.
pub fn append(folder: &Path, report: &Report) -> Outcome<PathBuf> {
    let path = folder.join(format!("{}.jsonl", slug(&report.machine.class())));
    let line = line(&Row::of(report))?;
    let write = || {
        fs::create_dir_all(folder)?;
        // After a line that was cut off, on a line of its own.
        let cut = fs::read(&path).is_ok_and(|text| text.last().is_some_and(|&byte| byte != b'\n'));
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(format!("{}{line}", if cut { "\n" } else { "" }).as_bytes())?;
        file.sync_all()
    };
    write().map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    Ok(path)
}

/// Letters and digits, with hyphens between.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// A file of a history: its lines with their rows, oldest first.
pub struct HistoryFile {
    pub path: PathBuf,
    lines: Vec<(String, Result<Row, String>)>,
}

impl HistoryFile {
    pub fn read(path: PathBuf) -> Outcome<Self> {
        let text = crate::files::text(&path, MAX_BYTES)?;
        let lines =
            text.lines().filter(|line| !line.trim().is_empty()).map(|line| (line.to_string(), row(line))).collect();
        Ok(Self { path, lines })
    }

    pub fn rows(&self) -> Vec<&Row> {
        self.lines.iter().filter_map(|(_, row)| row.as_ref().ok()).collect()
    }

    /// Reports damaged lines. Returns how many there are.
    pub fn report(&self) -> usize {
        let mut damaged = 0;
        for (i, (_, row)) in self.lines.iter().enumerate() {
            if let Err(why) = row {
                output::note(&format!("{}, line {}: skipped: {why}", self.path.display(), i + 1));
                damaged += 1;
            }
        }
        damaged
    }

    /// Removes rows from before `oldest`; damaged lines stay. Returns how many were removed.
    fn prune(&mut self, oldest: u64) -> Outcome<usize> {
        let before = self.lines.len();
        self.lines.retain(|(_, row)| row.as_ref().map_or(true, |row| row.time >= oldest));
        let removed = before - self.lines.len();
        if removed > 0 {
            let write = || {
                let folder = self.path.parent().unwrap_or(Path::new("."));
                let mut file = tempfile::NamedTempFile::new_in(folder)?;
                for (line, _) in &self.lines {
                    writeln!(file, "{line}")?;
                }
                file.as_file().sync_all()?;
                file.persist(&self.path).map_err(|e| e.error)
            };
            write().map_err(|e| Failure::new(format!("{}: {e}", self.path.display())))?;
        }
        Ok(removed)
    }
}

/// What is worse than in the run before by more than the default thresholds, with intervals that do not meet: run, verdict, figure.
pub fn regressions(rows: &[&Row]) -> Outcome<Vec<(usize, Verdict, String)>> {
    let config = Config::read(None)?;
    let mut found = Vec::new();
    for (run, pair) in rows.windows(2).enumerate() {
        let (before, after) = (pair[0], pair[1]);
        for (case, measures) in &after.results {
            for (name, new) in measures {
                let Ok(measure) = serde_json::from_value::<Measure>(name.as_str().into()) else { continue };
                let old = before.results.get(case).and_then(|measures| measures.get(name));
                let (Some(old), Some(threshold)) = (old, config.threshold(measure)) else { continue };
                let apart = if measure.more_is_better() {
                    new.upper_value < old.lower_value
                } else {
                    new.lower_value > old.upper_value
                };
                let change = worse(measure, old.value, new.value);
                if !apart || change <= threshold.warning || (measure.is_time() && (before.busy || after.busy)) {
                    continue;
                }
                let verdict = if change > threshold.critical { Verdict::Critical } else { Verdict::Warning };
                let (old, new, unit) = (number(old.value), number(new.value), measure.unit());
                found.push((run + 2, verdict, format!("{case}: {name}: {old} -> {new} {unit}")));
            }
        }
    }
    Ok(found)
}

/// The files of a history, by name.
pub fn read(folder: &Path) -> Outcome<Vec<HistoryFile>> {
    let entries = fs::read_dir(folder).map_err(|e| Failure::new(format!("{}: {e}", folder.display())))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect();
    paths.sort();
    paths.into_iter().map(HistoryFile::read).collect()
}

pub fn run(args: &HistoryArgs) -> Outcome<()> {
    let mut files = read(&args.folder)?;
    if files.is_empty() {
        return Err(Failure::new(format!("{}: no history: no file ends in .jsonl", args.folder.display())));
    }
    let damaged: usize = files.iter().map(HistoryFile::report).sum();
    let mut out = Output::new();
    if let Some(folder) = &args.backup {
        back_up(&files, folder)?;
        out.line(format_args!("copied {} files to {}", files.len(), folder.display()))?;
    }
    if let Some(months) = args.prune {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let oldest = now.saturating_sub(months * MONTH);
        let mut removed = 0;
        for file in &mut files {
            removed += file.prune(oldest)?;
        }
        out.line(format_args!("removed {removed} entries from before {}", super::date(oldest)))?;
    }
    let write =
        |path: &Path, text: String| fs::write(path, text).map_err(|e| Failure::new(format!("{}: {e}", path.display())));
    if let Some(path) = &args.export {
        write(path, csv(&files))?;
    }
    if let Some(path) = &args.page {
        write(path, super::html::trends(&files)?)?;
    }
    for file in &files {
        let rows = file.rows();
        out.line(format_args!("{}: {} entries", file.path.display(), rows.len()))?;
        for row in rows {
            let figures: usize = row.results.values().map(BTreeMap::len).sum();
            let commit = row.commit.as_deref().unwrap_or("no revision");
            out.line(format_args!("  {}  {}  {commit}  {figures} figures", row.date, row.version))?;
        }
    }
    out.flush()?;
    if damaged == 0 { Ok(()) } else { Err(Failure::new(format!("{damaged} lines are damaged; they were skipped"))) }
}

fn back_up(files: &[HistoryFile], folder: &Path) -> Outcome<()> {
    let failed = |path: &Path, error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    for file in files {
        let copy = folder.join(file.path.file_name().unwrap_or_default());
        let text = fs::read(&file.path).map_err(|e| failed(&file.path, e))?;
        let mut new = OpenOptions::new().write(true).create_new(true).open(&copy).map_err(|e| failed(&copy, e))?;
        new.write_all(&text).and_then(|()| new.sync_all()).map_err(|e| failed(&copy, e))?;
    }
    Ok(())
}

fn csv(files: &[HistoryFile]) -> String {
    let mut text = "date,machine,commit,version,case,measure,value,lower_value,upper_value\n".to_string();
    for row in files.iter().flat_map(HistoryFile::rows) {
        let names =
            [row.date.as_str(), &row.machine, row.commit.as_deref().unwrap_or_default(), &row.version].map(quoted);
        for (case, measures) in &row.results {
            for (measure, Value { value, lower_value, upper_value }) in measures {
                text +=
                    &format!("{},{},{measure},{value},{lower_value},{upper_value}\n", names.join(","), quoted(case));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(time: u64) -> Row {
        let value = Value { value: 0.1 + 0.2, lower_value: 0.25, upper_value: 1.0 / 3.0 };
        let results = BTreeMap::from([("a case".to_string(), BTreeMap::from([("latency".to_string(), value)]))]);
        let (date, machine, version) = (super::super::date(time), "a machine".into(), "0.1.0".into());
        Row { time, date, machine, commit: Some("abc".into()), version, busy: false, models: BTreeMap::new(), results }
    }

    #[test]
    fn a_line_is_checked_and_damage_is_seen() {
        let text = line(&example(1000)).ok().unwrap();
        let found = row(text.trim_end()).unwrap();
        assert_eq!((found.time, found.results["a case"]["latency"].value), (1000, 0.1 + 0.2));
        for damaged in [
            text.replace("0.25", "0.26"),
            text[..text.len() - 5].to_string(),
            "{}".into(),
            "é".repeat(40),
            String::new(),
        ] {
            assert!(row(damaged.trim_end()).is_err(), "{damaged}");
        }
    }

    #[test]
    fn regressions_of_a_history() {
        let with = |value: f64, measure: &str, busy| {
            let value = Value { value, lower_value: 0.99 * value, upper_value: 1.01 * value };
            let results = BTreeMap::from([("c".to_string(), BTreeMap::from([(measure.to_string(), value)]))]);
            Row { results, busy, ..example(0) }
        };
        let found = |values: [f64; 4], measure, busy| {
            let rows = values.map(|value| with(value, measure, busy));
            let found = regressions(&rows.iter().collect::<Vec<_>>()).ok().unwrap();
            found.into_iter().map(|(run, verdict, _)| (run, verdict)).collect::<Vec<_>>()
        };
        let wanted = [(2, Verdict::Warning), (4, Verdict::Critical)];
        assert_eq!(found([10.0, 12.0, 10.0, 14.0], "latency", false), wanted);
        assert_eq!(found([14.0, 11.7, 14.0, 10.0], "throughput", false), wanted);
        assert_eq!(found([10.0, 12.0, 10.0, 14.0], "latency", true), []);
        assert_eq!(found([10.0, 11.0, 12.0, 13.0], "latency", false), []);
    }

    #[test]
    fn pruning_removes_what_is_old_and_keeps_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        let lines = [line(&example(1000)).ok().unwrap(), "damaged\n".into(), line(&example(5000)).ok().unwrap()];
        fs::write(&path, lines.concat()).unwrap();
        let mut file = HistoryFile::read(path.clone()).ok().unwrap();
        assert_eq!((file.rows().len(), file.report()), (2, 1));
        assert_eq!(file.prune(2000).ok(), Some(1));
        assert_eq!(fs::read_to_string(&path).unwrap(), lines[1..].concat());
        assert_eq!(csv(&[file]).lines().count(), 2);
        assert_eq!(slug("AMD EPYC 9R14, avx512, 2 cores"), "amd-epyc-9r14-avx512-2-cores");
    }
}
