//! Files that never end, given to the command line.

use std::path::Path;
use std::process::Command;

use crate::support;

#[test]
fn endless_files_are_refused_by_name() {
    if !Path::new("/dev/zero").exists() {
        println!("skipped: there is no /dev/zero");
        return;
    }
    let model = support::fixtures().join("generation/gpt2");
    for arguments in [
        &["generate", "--json-schema", "/dev/zero", "a"][..],
        &["generate", "--lark", "/dev/zero", "a"],
        &["evaluate", "/dev/zero"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
        let output = command.arg(arguments[0]).arg("--model").arg(&model).args(&arguments[1..]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("/dev/zero") && said.contains("is longer than"), "{arguments:?}: {said}");
    }
}
