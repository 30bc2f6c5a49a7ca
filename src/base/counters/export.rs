//! The counters as text for dashboards: JSON, CSV, and the Prometheus exposition format 0.0.4.

use std::fmt::Write;

use serde_json::{Map, json};

use super::{Snapshot, Stage, StageTotals};

/// The numbers are part of the C ABI: new formats are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Format {
    /// One object: `stages` by name, and `latency`; times in nanoseconds.
    Json = 0,
    /// A header line, then one line per stage; only the line of `call` has values in the latency columns.
    Csv = 1,
    /// Counters by stage, and a summary of calls in seconds.
    Prometheus = 2,
}

impl Format {
    pub fn from_u32(value: u32) -> Option<Self> {
        [Self::Json, Self::Csv, Self::Prometheus].into_iter().find(|&format| format as u32 == value)
    }
}

impl Snapshot {
    /// All counters as text, ending with a line feed.
    pub fn export(&self, format: Format) -> String {
        match format {
            Format::Json => self.json(),
            Format::Csv => self.csv(),
            Format::Prometheus => self.prometheus(),
        }
    }

    fn json(&self) -> String {
        let stages: Map<_, _> = Stage::ALL
            .iter()
            .map(|&stage| {
                let t = self.stage(stage);
                let value = json!({
                    "calls": t.calls, "items": t.items, "tokens": t.tokens, "nanoseconds": t.nanoseconds,
                    "tokens_per_second": t.tokens_per_second(),
                });
                (stage.name().to_string(), value)
            })
            .collect();
        let l = self.latency();
        let value = json!({
            "stages": stages,
            "latency": {
                "count": l.count, "min_ns": l.min, "max_ns": l.max, "mean_ns": l.mean,
                "standard_deviation_ns": l.standard_deviation,
                "p50_ns": l.p50, "p90_ns": l.p90, "p95_ns": l.p95, "p99_ns": l.p99,
            },
            "device_memory_bytes": self.device_memory,
        });
        format!("{value}\n")
    }

    fn csv(&self) -> String {
        let mut text = String::from(
            "stage,calls,items,tokens,nanoseconds,tokens_per_second,\
             min_ns,max_ns,mean_ns,standard_deviation_ns,p50_ns,p90_ns,p95_ns,p99_ns\n",
        );
        for stage in Stage::ALL {
            let t = self.stage(stage);
            let rate = t.tokens_per_second();
            let _ = write!(text, "{},{},{},{},{},{rate:.1}", stage.name(), t.calls, t.items, t.tokens, t.nanoseconds);
            let l = self.latency();
            let _ = match stage {
                Stage::Call => writeln!(
                    text,
                    ",{},{},{:.1},{:.1},{},{},{},{}",
                    l.min, l.max, l.mean, l.standard_deviation, l.p50, l.p90, l.p95, l.p99
                ),
                _ => writeln!(text, ",,,,,,,,"),
            };
        }
        text
    }

    fn prometheus(&self) -> String {
        let mut text = String::new();
        type Figure = fn(&StageTotals) -> f64;
        let families: [(&str, &str, Figure); 4] = [
            ("kinglet_stage_calls_total", "Number of times that the stage was entered.", |t| t.calls as f64),
            ("kinglet_stage_items_total", "Texts that went through the stage.", |t| t.items as f64),
            ("kinglet_stage_tokens_total", "Tokens that went through the stage.", |t| t.tokens as f64),
            ("kinglet_stage_seconds_total", "Time spent in the stage.", |t| t.nanoseconds as f64 / 1e9),
        ];
        for (name, help, value) in families {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for stage in Stage::ALL {
                let _ = writeln!(text, "{name}{{stage=\"{}\"}} {}", stage.name(), value(&self.stage(stage)));
            }
        }
        let l = self.latency();
        let name = "kinglet_call_seconds";
        let _ = writeln!(text, "# HELP {name} Durations of whole calls.\n# TYPE {name} summary");
        for (quantile, value) in [("0.5", l.p50), ("0.9", l.p90), ("0.95", l.p95), ("0.99", l.p99)] {
            let _ = writeln!(text, "{name}{{quantile=\"{quantile}\"}} {}", value as f64 / 1e9);
        }
        let _ = writeln!(text, "{name}_sum {}", self.stage(Stage::Call).nanoseconds as f64 / 1e9);
        let _ = writeln!(text, "{name}_count {}", l.count);
        let name = "kinglet_device_memory_bytes";
        let _ = writeln!(text, "# HELP {name} Bytes that the model holds on a GPU.\n# TYPE {name} gauge");
        let _ = writeln!(text, "{name} {}", self.device_memory);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::counters::Counters;
    use std::time::Duration;

    fn sample() -> Snapshot {
        let counters = Counters::default();
        counters.add(Stage::Tokenize, 3, 42, Duration::from_millis(2));
        counters.call(3, 42, Duration::from_millis(10));
        counters.read()
    }

    #[test]
    fn json_parses_and_has_every_stage() {
        let value: serde_json::Value = serde_json::from_str(&sample().export(Format::Json)).unwrap();
        for stage in Stage::ALL {
            assert!(value["stages"][stage.name()]["calls"].is_u64(), "{}", stage.name());
        }
        assert_eq!(value["stages"]["tokenize"]["tokens"], 42);
        assert_eq!(value["latency"]["count"], 1);
    }

    #[test]
    fn csv_lines_have_as_many_columns_as_the_header() {
        let text = sample().export(Format::Csv);
        let columns: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(columns, vec![14; 1 + Stage::ALL.len()]);
        assert!(text.contains("\ntokenize,1,3,42,2000000,21000.0,"));
    }

    #[test]
    fn prometheus_lines_are_comments_or_samples() {
        let text = sample().export(Format::Prometheus);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("kinglet_"), "{line}");
            value.parse::<f64>().unwrap();
        }
        assert!(text.contains("kinglet_stage_tokens_total{stage=\"tokenize\"} 42\n"));
        assert!(text.contains("kinglet_call_seconds_count 1\n"));
    }
}
