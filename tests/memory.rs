//! Peak memory of a process that loads MiniLM in INT8 and embeds: at most 1.2 × the size of its INT8 weights plus 30 MB.

#![cfg(all(feature = "cli", target_os = "linux"))]

mod support;

use std::io::{Seek, Write};
use std::process::{Child, Command, Stdio};

use kinglet::{Device, Precision};
use support::{load, minilm};

#[test]
fn int8_minilm_stays_small() {
    let Some(path) = minilm() else { return };
    let weights = load(&path, Device::Cpu, Precision::Int8, 1).weight_bytes();
    let limit = 1.2 * weights as f64 + 30e6;
    let words = ["the", "small", "bird", "sings", "in", "the", "rain", "and", "runs", "to", "the", "sea", "while"];
    for (batch, tokens) in [(1, 16..17), (8, 128..129), (64, 8..65), (32, 128..129)] {
        // Two special tokens, and lengths in no order.
        let length = |i: usize| tokens.start + 31 * i % tokens.len() - 2;
        let text = |i: usize| (0..length(i)).map(|k| words[(k + i) % words.len()]).collect::<Vec<_>>().join(" ") + "\n";
        let mut input = tempfile::tempfile().unwrap();
        input.write_all((0..batch).map(text).collect::<String>().as_bytes()).unwrap();
        input.rewind().unwrap();
        let arguments = ["embed", "--precision", "int8", "--threads", "2", "--json", "--model"];
        let child = Command::new(env!("CARGO_BIN_EXE_kinglet"))
            .args(arguments)
            .arg(&path)
            .stdin(input)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let peak = peak(child) as f64;
        let megabytes = |bytes: f64| bytes / 1e6;
        println!(
            "{batch} texts of {tokens:?} tokens: peak {:.1} MB, bound {:.1} MB (INT8 weights {:.1} MB)",
            megabytes(peak),
            megabytes(limit),
            megabytes(weights as f64)
        );
        assert!(peak <= limit, "{batch} texts of {tokens:?} tokens");
    }
}

/// Waits for a child that succeeds. Returns the largest resident memory, in bytes, of it or of this process when it was started.
fn peak(child: Child) -> u64 {
    let mut status = 0;
    // SAFETY: zeros are a valid value of this struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the child has not been waited for, and both places outlive the call.
    let ended = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert!(ended > 0 && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status}");
    usage.ru_maxrss as u64 * 1024
}
