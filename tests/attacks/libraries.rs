//! Libraries that are opened at run time come from absolute paths: not from the working folder, not from `argv[0]`, not from an empty
//! entry of the linker's variable.

#![cfg(all(target_os = "linux", feature = "cli"))]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support;

/// Writes a library that leaves a file in the working folder when it is opened. False if there is no C compiler.
fn plant(path: &Path) -> bool {
    let source = path.with_extension("c");
    let code = "#include <stdio.h>\n\
                __attribute__((constructor)) static void opened(void) { fclose(fopen(\"opened\", \"w\")); }\n";
    fs::write(&source, code).unwrap();
    match Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(path).arg(&source).status() {
        Ok(status) => {
            assert!(status.success());
            true
        }
        Err(error) => {
            eprintln!("skipped: cc: {error}");
            false
        }
    }
}

#[cfg(feature = "onnx")]
#[test]
fn a_library_that_never_returns_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("hanging.c"), folder.path().join("hanging.so"));
    let code = "#include <unistd.h>\n__attribute__((constructor)) static void opened(void) { for (;;) sleep(1); }\n";
    fs::write(&source, code).unwrap();
    let Ok(made) = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status() else {
        eprintln!("skipped: no C compiler");
        return;
    };
    assert!(made.success());
    let graph = support::fixtures().join("onnx/bert/model.onnx");
    let mut child = kinglet(folder.path())
        .args(["embed", "--onnxruntime"])
        .arg(&library)
        .arg("--model")
        .arg(&graph)
        .arg("a bird")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > std::time::Duration::from_secs(240) {
            child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("hanging.so: the library has not returned"), "{}", said(&output));
}

fn kinglet(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command
        .current_dir(folder)
        .env_remove("KINGLET_PROVIDER")
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("LD_LIBRARY_PATH");
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_provider_in_the_working_folder_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    if !plant(&folder.path().join("libkinglet_cuda.so")) {
        return;
    }
    let forged = folder.path().join("kinglet");
    for (arg0, path) in [("kinglet", ""), ("./kinglet", ":"), ("kinglet", "."), (forged.to_str().unwrap(), "")] {
        let output = kinglet(folder.path()).arg0(arg0).env("LD_LIBRARY_PATH", path).arg("devices").output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(!folder.path().join("opened").exists(), "argv[0] {arg0}, LD_LIBRARY_PATH {path:?}");
        assert!(said(&output).contains("there is no libkinglet_cuda.so in /"), "{}", said(&output));
    }
}

#[test]
fn relative_paths_in_variables_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    if !plant(&folder.path().join("planted.so")) {
        return;
    }
    for name in ["planted.so", "./planted.so", "../planted.so"] {
        let output = kinglet(folder.path()).env("KINGLET_PROVIDER", name).arg("devices").output().unwrap();
        assert!(
            said(&output).contains(&format!("KINGLET_PROVIDER: {name} is not an absolute path")),
            "{}",
            said(&output)
        );
        if cfg!(feature = "onnx") {
            let graph = support::fixtures().join("onnx/bert/model.onnx");
            assert!(graph.exists());
            let output = kinglet(folder.path())
                .env("ORT_DYLIB_PATH", name)
                .args(["inspect", "--model"])
                .arg(&graph)
                .output()
                .unwrap();
            assert!(!output.status.success());
            assert!(
                said(&output).contains(&format!("ORT_DYLIB_PATH: {name} is not an absolute path")),
                "{}",
                said(&output)
            );
        }
        assert!(!folder.path().join("opened").exists(), "{name}");
    }
}

#[test]
fn listing_can_open_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("named.so");
    if !plant(&library) {
        return;
    }
    let output = kinglet(folder.path())
        .env("KINGLET_PROVIDER", &library)
        .args(["devices", "--no-open-libraries"])
        .output()
        .unwrap();
    assert!(output.status.success() && said(&output).contains("not to be opened"), "{}", said(&output));
    assert!(!folder.path().join("opened").exists());
    // The same variable, without the option: the file is opened, as the user asked.
    let output = kinglet(folder.path()).env("KINGLET_PROVIDER", &library).arg("devices").output().unwrap();
    assert!(said(&output).contains("is not a provider of Kinglet"), "{}", said(&output));
    assert!(folder.path().join("opened").exists());
}
