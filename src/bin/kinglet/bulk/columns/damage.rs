//! Tests of damaged and hostile files: an error or other rows, but no panic, no end of the process and no unbounded memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::Source;
use crate::bulk::rows::{Fields, Input};
use crate::failure::Outcome;
use crate::run_args::RowFormat;

fn fields() -> Fields {
    Fields { text: "text".into(), pair: None, only: Vec::new(), none: false, as_columns: false }
}

/// Reads a file as a run does, and returns its rows.
fn read(path: &Path, format: RowFormat, skipped: u64) -> Outcome<Vec<String>> {
    let input = Input { path: Some(path.into()), format };
    let mut source = Source::open(&input, &fields(), skipped)?;
    let mut rows = Vec::new();
    while let Some(cells) = source.next()? {
        assert!(cells.size() < 1 << 20);
        rows.push(serde_json::Value::Object(cells.json()).to_string());
        // Damage can make rows of nothing.
        if rows.len() > 1000 {
            break;
        }
    }
    Ok(rows)
}

fn fixtures() -> Vec<(PathBuf, RowFormat)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/columns");
    ["rows.parquet", "gzip.parquet", "lz4.parquet", "zstd.parquet", "rows.feather", "stream.arrows", "view.arrow"]
        .map(|name| (folder.join(name), if name.ends_with("parquet") { RowFormat::Parquet } else { RowFormat::Arrow }))
        .into()
}

#[test]
fn rows_from_any_place() {
    for (path, format) in fixtures() {
        let all = read(&path, format, 0).ok().unwrap();
        assert_eq!(all.len(), 14);
        for skipped in 0..=15 {
            let rows = read(&path, format, skipped).ok().unwrap();
            assert_eq!(rows, all[(skipped as usize).min(14)..], "{}, {skipped}", path.display());
        }
    }
}

#[test]
fn damaged_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let mut refused = 0;
    for (path, format) in fixtures() {
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= [0xff, 0x01, 0x80][at % 3];
            fs::write(&copy, &damaged).unwrap();
            refused += usize::from(read(&copy, format, 0).is_err());
        }
        for length in (0..bytes.len()).step_by(29) {
            fs::write(&copy, &bytes[..length]).unwrap();
            // A stream may end after any message.
            assert!(
                read(&copy, format, 0).is_err() || path.extension().is_some_and(|name| name == "arrows"),
                "{length}"
            );
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn large_pages_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.parquet");
    let texts: StringArray = [Some("a".repeat(3 << 20))].into_iter().collect();
    let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as _)]).unwrap();
    for codec in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(Default::default())] {
        let properties = WriterProperties::builder().set_compression(codec).build();
        let mut writer =
            ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let message = read(&path, RowFormat::Parquet, 0).err().unwrap().message();
        assert!(message.contains("large.parquet: column \"text\": a page has more than 2 MiB"), "{message}");
    }
}
