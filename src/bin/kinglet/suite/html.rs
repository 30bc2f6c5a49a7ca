//! Pages of one file: a report, and the trends of a history. Charts are SVG, in the page and as files.

use std::collections::BTreeMap;
use std::fmt::Write;

use plotters::prelude::*;

use super::advice;
use super::compare::Comparison;
use super::figure::{Figure, Measure, SuiteName};
use super::history::{self, HistoryFile, Row};
use super::report::{Report, number};
use crate::failure::{Failure, Outcome};

const SIZE: (u32, u32) = (760, 380);
/// Readable on white and on black.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x83, 0xc9),
    RGBColor(0xd9, 0x6b, 0x12),
    RGBColor(0x2c, 0x9e, 0x4b),
    RGBColor(0xc2, 0x4a, 0x8c),
    RGBColor(0x8a, 0x6f, 0xd8),
    RGBColor(0x9a, 0x8b, 0x1e),
];
/// Charts with more lines cannot be read.
const MOST_LINES: usize = 12;
const STYLE: &str = "<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{padding:.2rem .6rem;border-bottom:1px solid #8886;text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{background:#1f83c9;height:.7rem}svg{max-width:100%;height:auto}
.critical{color:#c62828}.warning{color:#b26a00}.better{color:#2e7d32}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}.critical{color:#ff7b72}.warning{color:#e3a13f}.better{color:#6cc070}}
</style>";

type Points = Vec<(f64, f64)>;
/// A line of a chart: its name and its points.
type Line = (String, Points);

/// A chart with the name of its file.
pub struct Chart {
    pub file: &'static str,
    pub svg: String,
}

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
    for chart in charts(report)? {
        text += &chart.svg;
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

/// The charts of a report, of those for which it has figures.
pub fn charts(report: &Report) -> Outcome<Vec<Chart>> {
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
    let wanted = [
        ("batch_size_speedup_chart.svg", "Texts per second, beside the smallest batch", "batch", "times", speedups),
        ("inference_speedup_chart.svg", "Speed of inference", "batch", "tokens/s", rates.into_iter().collect()),
        (
            "latency_distribution.svg",
            "Latency of inference",
            "ms",
            "% of calls are as fast",
            of_inference(Measure::Latency).map(distribution).collect(),
        ),
    ];
    let drawn = wanted.into_iter().filter(|(.., lines)| !lines.is_empty());
    drawn.map(|(file, title, x, y, lines)| Ok(Chart { file, svg: chart(title, x, y, lines)? })).collect()
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
        *text += &chart(&title, "run", "", lines.collect())?;
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

/// Lines over numbers. Text takes the colour of the page, or of the system's theme where the chart is a file.
fn chart(title: &str, x: &str, y: &str, mut lines: Vec<Line>) -> Outcome<String> {
    let all = lines.len();
    lines.truncate(MOST_LINES);
    let title = if all > lines.len() { format!("{title} (the first {MOST_LINES} of {all})") } else { title.into() };
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (low, high) = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.0), h.max(p.0)));
    let top = points().fold(0.0, |top, p| p.1.max(top));
    let high = if high > low { high } else { low + 1.0 };
    let top = if top > 0.0 { 1.05 * top } else { 1.0 };
    let failed = |e: String| Failure::new(format!("chart {title:?}: {e}"));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let draw = || -> Result<(), Box<dyn std::error::Error>> {
            let mut chart = ChartBuilder::on(&area)
                .caption(&title, ("sans-serif", 20))
                .margin(10)
                .x_label_area_size(36)
                .y_label_area_size(64)
                .build_cartesian_2d(low..high, 0.0..top)?;
            chart.configure_mesh().light_line_style(TRANSPARENT).x_desc(x).y_desc(y).draw()?;
            for (i, (name, points)) in lines.iter().enumerate() {
                let colour = COLOURS[i % COLOURS.len()];
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
                    .label(name)
                    .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], colour.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .border_style(TRANSPARENT)
                .label_font(("sans-serif", 14))
                .draw()?;
            area.present()?;
            Ok(())
        };
        draw().map_err(|e| failed(e.to_string()))?;
    }
    let style =
        "<style>.kinglet-chart{color:#222}@media(prefers-color-scheme:dark){.kinglet-chart{color:#ddd}}</style>";
    let svg = svg.replace("#000000", "currentColor").replacen("<svg ", "<svg class=\"kinglet-chart\" ", 1);
    Ok(svg.replacen(">\n", &format!(">\n{style}\n"), 1))
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
