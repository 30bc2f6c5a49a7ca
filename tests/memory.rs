//! Peak memory of a process that loads MiniLM in INT8 and embeds: at most 1.2 × the size of its INT8 weights plus 30 MB.

#![cfg(feature = "cli")]

mod support;

use std::process::Command;

use kinglet::{Device, Precision};
use support::{load, minilm};

#[test]
fn int8_minilm_stays_small() {
    let Some(path) = minilm() else { return };
    if support::resident("VmHWM").is_none() {
        eprintln!("skipped: this system has no /proc/self/status to read the peak from");
        return;
    }
    let weights = load(&path, Device::Cpu, Precision::Int8, 1).weight_bytes();
    let limit = 1.2 * weights as f64 + 30e6;
    // `bench` keeps one hidden state per token, up to 6 MB here; an ordinary embedding keeps one row per text.
    for (batch, tokens) in [("1", "16"), ("8", "128"), ("64", "8-64"), ("32", "128")] {
        let arguments = ["bench", "--task", "embed", "--batch", batch, "--input-tokens", tokens, "--precision", "int8"];
        let output = Command::new(env!("CARGO_BIN_EXE_kinglet"))
            .args(arguments)
            .args(["--threads", "2", "--repeat", "2", "--json", "--model"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let figures: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let peak = figures["peak_rss_mb"].as_f64().unwrap() * 1024.0 * 1024.0;
        let megabytes = |bytes: f64| bytes / 1e6;
        println!(
            "batch {batch} of {tokens} tokens: peak {:.1} MB, bound {:.1} MB (INT8 weights {:.1} MB)",
            megabytes(peak),
            megabytes(limit),
            megabytes(weights as f64)
        );
        assert!(peak <= limit, "batch {batch} of {tokens} tokens");
    }
}
