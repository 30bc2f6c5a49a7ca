//! `quantize` replaces nothing but a `.kinglet` file, and leaves nothing when it fails, is cancelled or is ended by a signal.

use std::fs;
use std::path::{Path, PathBuf};

use kinglet::{Precision, Status};

use crate::support;

fn llama() -> PathBuf {
    support::fixtures().join("generation/llama")
}

fn quantize(source: &Path, destination: &Path) -> kinglet::Result<()> {
    kinglet::quantize(source, destination, Precision::Int8, &mut |_| true).map(drop)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_a_kinglet_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.kinglet");
    quantize(&llama(), &file).unwrap();
    let first = fs::read(&file).unwrap();
    quantize(&llama(), &file).unwrap();
    assert_eq!(fs::read(&file).unwrap(), first, "an older file is replaced");
    fs::write(&file, "").unwrap();
    quantize(&llama(), &file).unwrap();
    assert_eq!(fs::read(&file).unwrap(), first, "an empty file (mktemp) is replaced");

    let refuses = |path: &Path, what: &str| {
        let error = quantize(&llama(), path).unwrap_err();
        assert_eq!(error.status(), Status::InvalidArgument, "{error}");
        assert!(error.message().contains(what) && error.message().contains(&*path.to_string_lossy()), "{error}");
    };
    let text = folder.path().join("notes.txt");
    fs::write(&text, "important").unwrap();
    refuses(&text, "another file");
    assert_eq!(fs::read_to_string(&text).unwrap(), "important");
    refuses(folder.path(), "a directory");
    refuses(Path::new("/"), "a directory");
    #[cfg(unix)]
    {
        let link = folder.path().join("link.kinglet");
        std::os::unix::fs::symlink(&text, &link).unwrap();
        refuses(&link, "a symbolic link");
        assert_eq!(fs::read_to_string(&text).unwrap(), "important");
        refuses(Path::new("/dev/null"), "a pipe, socket or device");
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        refuses(&fifo, "a pipe, socket or device");
        assert_eq!(names(folder.path()), ["fifo", "link.kinglet", "model.kinglet", "notes.txt"]);
    }
}

#[test]
fn a_source_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    for name in names(&llama()) {
        if llama().join(&name).is_file() {
            fs::copy(llama().join(&name), folder.path().join(&name)).unwrap();
        }
    }
    let before = names(folder.path());
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(quantize(folder.path(), &path).unwrap_err().status(), Status::InvalidArgument, "{name}");
        assert!(fs::read(&path).unwrap() == bytes, "{name}");
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such");
    let error = quantize(&llama(), &missing.join("x.kinglet")).unwrap_err();
    assert_eq!(error.status(), Status::NotFound, "{error}");
    assert!(error.message().contains("no/such: the destination's folder does not exist"), "{error}");
}

#[test]
fn a_cancelled_call_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.kinglet");
    quantize(&llama(), &file).unwrap();
    let before = fs::read(&file).unwrap();
    // Cancelled at every point at which the library asks.
    let mut points = 0;
    let count = |points: &mut usize| *points += 1;
    kinglet::quantize(&llama(), &file, Precision::F32, &mut |_| {
        count(&mut points);
        true
    })
    .unwrap();
    quantize(&llama(), &file).unwrap();
    for stop in 0..points {
        let mut asked = 0;
        let result = kinglet::quantize(&llama(), &file, Precision::F32, &mut |_| {
            asked += 1;
            asked <= stop
        });
        assert_eq!(result.unwrap_err().status(), Status::Cancelled, "{stop} of {points}");
        assert_eq!(names(folder.path()), ["model.kinglet"]);
        assert!(fs::read(&file).unwrap() == before, "{stop} of {points}");
    }
}

/// By the command line, in a process that the limit or the signal may end.
#[cfg(all(unix, feature = "cli"))]
mod processes {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use super::*;

    fn command(destination: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
        command.args(["quantize", "--precision", "f32"]).arg(llama()).arg(destination);
        command
    }

    #[test]
    fn a_limit_on_the_size_of_files_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(&folder.path().join("model.kinglet"));
        // SAFETY: setrlimit may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit { rlim_cur: 20_000, rlim_max: 20_000 };
                match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("model.kinglet") && said.contains("large"), "{said}");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_signal_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.kinglet");
        let mut ended = 0;
        for delay in 0..40 {
            let mut child = command(&file).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(delay));
            // SAFETY: the child has not been waited for, so its number is its own.
            unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
            let status = child.wait().unwrap();
            ended += usize::from(status.signal() == Some(libc::SIGTERM));
            // Finished, or nothing at all.
            let names = names(folder.path());
            assert!(names.is_empty() || names == ["model.kinglet"], "{names:?}");
            let _finished = fs::remove_file(&file);
        }
        assert!(ended > 0, "every run was over before its signal");
    }
}
