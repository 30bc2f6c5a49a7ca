//! A `.kinglet` file that is far longer than its contents: sparse on disk, it costs nothing to make and hours to read.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use kinglet::{Cancellation, LoadOptions, Model, Precision, Status};

use crate::support;

/// Far longer than a test takes, far shorter than reading the file.
const WATCHDOG: Duration = Duration::from_secs(300);
const TERABYTE: u64 = 1 << 40;

fn packed(folder: &Path) -> PathBuf {
    let file = folder.join("model.kinglet");
    let source = support::fixtures().join("generation/llama");
    kinglet::quantize(&source, &file, Precision::Int8, &mut |_| true).unwrap();
    file
}

/// Makes the file a terabyte long, and its prefix agree.
fn stretch(file: &Path) {
    let mut out = File::options().write(true).open(file).unwrap();
    out.set_len(TERABYTE).unwrap();
    out.seek(SeekFrom::Start(24)).unwrap();
    out.write_all(&TERABYTE.to_le_bytes()).unwrap();
}

/// The status of the load, which must come before the watchdog's time is over.
fn load(file: &Path, memory_limit: u64, cancellation: Option<Cancellation>) -> kinglet::Result<()> {
    let (sender, receiver) = channel();
    let file = file.to_owned();
    std::thread::spawn(move || {
        let options = LoadOptions { memory_limit, cancellation, ..LoadOptions::default() };
        sender.send(Model::load(&file, options).map(drop))
    });
    receiver.recv_timeout(WATCHDOG).expect("the load did not end")
}

#[test]
fn a_file_with_more_than_its_header_describes_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let file = packed(folder.path());
    stretch(&file);
    let error = load(&file, 0, None).unwrap_err();
    assert_eq!(error.status(), Status::InvalidFile, "{error}");
    assert!(error.message().contains("model.kinglet") && error.message().contains("header"), "{error}");
}

#[test]
fn a_long_file_is_refused_by_the_memory_limit_and_by_cancellation() {
    let folder = tempfile::tempdir().unwrap();
    let file = packed(folder.path());
    // A tensor that nobody asks for fills the file, so that its header describes all of it.
    let bytes = fs::read(&file).unwrap();
    let header = u64::from_le_bytes(*bytes[16..].first_chunk().unwrap()) as usize;
    let text = String::from_utf8(bytes[64..64 + header].to_vec()).unwrap();
    let rows = TERABYTE / 2048 - 8;
    let more = format!(r#""tensors":{{"filler":{{"dtype":"F16","shape":[{rows},1024],"offset":4096}},"#);
    let text = text.replacen(r#""tensors":{"#, &more, 1);
    assert!(text.contains("filler"));
    let room = bytes[64..].iter().skip(header).take_while(|&&b| b == b' ').count();
    assert!(room >= text.len() - header, "{room} blanks behind the header");
    let mut changed = bytes.clone();
    changed[16..24].copy_from_slice(&(text.len() as u64).to_le_bytes());
    changed[64..64 + text.len()].copy_from_slice(text.as_bytes());
    fs::write(&file, changed).unwrap();
    stretch(&file);

    let error = load(&file, 1 << 30, None).unwrap_err();
    assert_eq!(error.status(), Status::OutOfMemory, "{error}");
    assert!(error.message().contains("memory limit"), "{error}");

    let cancellation = Cancellation::new();
    let stop = cancellation.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        stop.cancel();
    });
    assert_eq!(load(&file, 0, Some(cancellation)).unwrap_err().status(), Status::Cancelled);
    stopper.join().unwrap();
}
