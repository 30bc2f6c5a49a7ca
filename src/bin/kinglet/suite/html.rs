//! Pages of one file: a report, and the trends of a history. Charts are SVG in them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::advice;
use super::chart::{Chart, Line, Points};
use super::compare::Comparison;
use super::figure::{Figure, Measure, SuiteName};
use super::history::{self, HistoryFile, Row};
use super::report::{Report, number};
use crate::failure::Outcome;

const STYLE: &str = "<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{padding:.2rem .6rem;border-bottom:1px solid #8886;text-align:left}td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.bar{background:#1f83c9;height:.7rem}svg{max-width:100%;height:auto}
.critical{color:#c62828}.warning{color:#b26a00}.better{color:#2e7d32}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}.critical{color:#ff7b72}.warning{color:#e3a13f}.better{color:#6cc070}}
</style>";

/// The page of a report, with the history of its machine if there is one.
pub fn page(report: &Report, history: &[&Row], comparison: Option<&Comparison>) -> Outcome<String> {
    let mut text = head("Kinglet benchmark report");
    section(&mut text, "Summary");
    for line in &report.summary() {
        let _ = writeln!(text, "<p>{}</p>", escape(line));
    }
    list(&mut text, "Recommendations", &advice::of(report));
    section(&mut text, "Regression analysis");
    match comparison {
        Some(comparison) => compared(&mut text, comparison),
        None => text += "<p>There is nothing to compare with: give --compare-with.</p>\n",
    }
    section(&mut text, "Charts");
    for (_, chart) in charts(report) {
        text += &chart.svg()?;
    }
    memory(&mut text, report);
    section(&mut text, "Results");
    results(&mut text, &report.figures);
    let missing: Vec<String> = report.not_measured.iter().map(ToString::to_string).collect();
    list(&mut text, "Not measured", &missing);
    section(&mut text, "History");
    if history.len() < 2 {
        text += "<p>There are no earlier runs: give --history.</p>\n";
    } else {
        trend_charts(&mut text, history)?;
    }
    section(&mut text, "System");
    text += "<table>\n";
    for (name, value) in report.system() {
        let _ = writeln!(text, "<tr><td>{}</td><td>{}</td></tr>", escape(&name), escape(&value));
    }
    Ok(text + "</table>\n</body></html>\n")
}

/// The page of a history.
pub fn trends(files: &[HistoryFile]) -> Outcome<String> {
    let mut text = head("Kinglet benchmark history");
    for file in files {
        let rows = file.rows();
        let Some(last) = rows.last() else { continue };
        section(&mut text, &last.machine);
        let _ = writeln!(text, "<p>{} runs, the last on {}.</p>", rows.len(), last.date);
        trend_charts(&mut text, &rows)?;
    }
    Ok(text + "</body></html>\n")
}

/// The charts of a report with the names of their files, of those for which it has figures.
pub fn charts(report: &Report) -> Vec<(&'static str, Chart)> {
    let speedups: Vec<Line> = advice::speedups(report)
        .into_iter()
        .map(|s| (format!("{}: {}", s.target, s.suite.name()), s.points.iter().map(|&(x, y)| (x as f64, y)).collect()))
        .collect();
    let of_inference =
        |measure| report.figures.iter().filter(move |f| f.suite == SuiteName::Inference && f.measure == measure);
    let mut rates: BTreeMap<String, Points> = BTreeMap::new();
    for figure in of_inference(Measure::Throughput) {
        if let Some(batch) = figure.batch {
            rates.entry(figure.target.to_string()).or_default().push((batch as f64, figure.statistics.median));
        }
    }
    let distribution = |figure: &Figure| {
        let mut times = figure.rounds.concat();
        times.sort_by(f64::total_cmp);
        let count = times.len() as f64;
        let points = times.iter().enumerate().map(|(i, &time)| (time, 100.0 * (i + 1) as f64 / count)).collect();
        (format!("{}: {}", figure.target, figure.case), points)
    };
    let latencies = of_inference(Measure::Latency).map(distribution).collect();
    let wanted = [
        ("batch_size_speedup_chart", "Texts per second, beside the smallest batch", ["batch", "times"], speedups),
        ("inference_speedup_chart", "Speed of inference", ["batch", "tokens/s"], rates.into_iter().collect()),
        ("latency_distribution", "Latency of inference", ["ms", "% of calls are as fast"], latencies),
    ];
    let drawn = wanted.into_iter().filter(|(.., lines)| !lines.is_empty());
    drawn.map(|(file, title, axes, lines)| (file, Chart::new(title, axes, lines))).collect()
}

/// What has become worse, and one chart per measure and suite over the runs.
fn trend_charts(text: &mut String, rows: &[&Row]) -> Outcome<()> {
    let regressions = history::regressions(rows)?;
    if regressions.is_empty() {
        *text += "<p>No figure is worse than in the run before it.</p>\n";
    }
    for (run, verdict, figure) in regressions {
        let name = verdict.name();
        let _ = writeln!(text, "<p class={name}>Run {run}, {name}: {}</p>", escape(&figure));
    }
    let mut lines: BTreeMap<String, BTreeMap<&str, Points>> = BTreeMap::new();
    for (run, row) in rows.iter().enumerate() {
        for (case, measures) in &row.results {
            // `target: suite, case`: one chart for each target and suite.
            let group = case
                .split_once(": ")
                .and_then(|(target, rest)| Some(format!("{target}: {}", rest.split_once(", ")?.0)));
            for (measure, value) in measures {
                let title = format!("{}: {measure}", group.as_deref().unwrap_or(case));
                lines.entry(title).or_default().entry(case).or_default().push(((run + 1) as f64, value.value));
            }
        }
    }
    for (title, lines) in lines {
        let lines = lines.into_iter().map(|(case, points)| {
            let name = case.split_once(": ").and_then(|(_, rest)| rest.split_once(", ")).map_or(case, |(_, name)| name);
            (name.to_string(), points)
        });
        *text += &Chart::new(&title, ["run", ""], lines.collect()).svg()?;
    }
    *text += "<details><summary>Runs</summary><table>\n";
    for (run, row) in rows.iter().enumerate() {
        let commit = row.commit.as_deref().unwrap_or("no revision");
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            run + 1,
            row.date,
            escape(&row.version),
            escape(commit)
        );
    }
    *text += "</table></details>\n";
    Ok(())
}

fn results(text: &mut String, figures: &[Figure]) {
    let mut title = String::new();
    for figure in figures {
        let of = format!("{}: {}", figure.target, figure.suite.name());
        if of != title {
            let _ = writeln!(
                text,
                "{}<h3>{}</h3><table><tr><th>case</th><th>measure</th><th>median</th><th>95 % interval</th><th>mean</th><th>std. dev.</th>\
                 <th>p90</th><th>p95</th><th>p99</th><th>min</th><th>max</th><th>repeats</th><th>noise</th></tr>",
                if title.is_empty() { "" } else { "</table>" },
                escape(&of)
            );
            title = of;
        }
        let s = &figure.statistics;
        let _ = write!(
            text,
            "<tr><td>{}</td><td>{} ({})</td>",
            escape(&figure.case),
            figure.measure.name(),
            escape(&figure.unit)
        );
        let [low, high] = s.interval.map(number);
        let mut cells = vec![number(s.median), format!("{low} to {high}")];
        cells.extend([s.mean, s.standard_deviation, s.p90, s.p95, s.p99, s.min, s.max].map(number));
        cells.extend([s.repeats.to_string(), format!("{:.1} %", 100.0 * s.noise)]);
        for cell in &cells {
            let _ = write!(text, "<td class=n>{cell}</td>");
        }
        *text += "</tr>\n";
    }
    if !title.is_empty() {
        *text += "</table>\n";
    }
}

fn compared(text: &mut String, comparison: &Comparison) {
    let _ = writeln!(text, "<p>{}</p>", escape(&comparison.counts()));
    for note in &comparison.notes {
        let _ = writeln!(text, "<p>{}</p>", escape(note));
    }
    *text += "<table><tr><th>figure</th><th>base</th><th>new</th><th>worse by</th><th>95 % interval</th><th>noise</th><th>verdict</th></tr>\n";
    for change in &comparison.changes {
        let cells = change.cells().map(|cell| format!("<td class=n>{}</td>", escape(&cell))).concat();
        let (figure, verdict) = (escape(&change.figure), escape(&change.verdict()));
        let _ = writeln!(text, "<tr><td>{figure}</td>{cells}<td class={}>{verdict}</td></tr>", change.verdict.name());
    }
    *text += "</table>\n";
}

/// Memory as bars.
fn memory(text: &mut String, report: &Report) {
    let figures: Vec<&Figure> = report.figures.iter().filter(|figure| figure.measure == Measure::Memory).collect();
    let most = figures.iter().map(|figure| figure.statistics.median).fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    *text += "<h3>Memory</h3><table>\n";
    for figure in figures {
        let median = figure.statistics.median;
        let name = format!("{}: {}, {}", figure.target, figure.suite.name(), figure.case);
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td class=n>{} MiB</td><td style=\"width:20rem\"><div class=bar style=\"width:{:.0}%\"></div></td></tr>",
            escape(&name),
            number(median),
            100.0 * median / most
        );
    }
    *text += "</table>\n";
}

fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{title}</title>\
         {STYLE}</head><body>\n<h1>{title}</h1>\n"
    )
}

fn section(text: &mut String, title: &str) {
    let _ = writeln!(text, "<h2>{}</h2>", escape(title));
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        section(text, title);
        let items: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
        let _ = writeln!(text, "<ul>{items}</ul>");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
