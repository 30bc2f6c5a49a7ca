//! Parquet and Arrow, in and out. The fixtures are pyarrow's, which reads the outputs too where it is there.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_ipc::reader::FileReader;
use arrow_schema::{DataType, Schema};
use arrow_select::concat::concat_batches;
use arrow_select::take::take;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

/// Rows of the fixtures whose text is null.
const NULLS: [u64; 2] = [3, 10];

fn fixture(name: &str) -> String {
    support::fixtures().join("columns").join(name).display().to_string()
}

fn table(path: &Path) -> RecordBatch {
    let (schema, batches): (_, Vec<RecordBatch>) = match path.extension().unwrap().to_str().unwrap() {
        "parquet" => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
            (reader.schema().clone(), reader.build().unwrap().map(Result::unwrap).collect())
        }
        _ => {
            let reader = FileReader::try_new(File::open(path).unwrap(), None).unwrap();
            (reader.schema(), reader.map(Result::unwrap).collect())
        }
    };
    concat_batches(&schema, &batches).unwrap()
}

fn kinds(schema: &Schema) -> Vec<(String, DataType)> {
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

/// A Python that has pyarrow.
fn python() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/python-venv/bin/python");
    let found = [built, "python3".into()].into_iter().find(|python| {
        Command::new(python)
            .args(["-c", "import pyarrow"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("skipped in part: no Python with pyarrow; `make test` makes one");
    }
    found
}

/// Runs a program with pyarrow, if that is there.
fn in_python(folder: &TempDir, program: &str) {
    if let Some(python) = python() {
        let output = Command::new(python).current_dir(folder.path()).args(["-c", program]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn columns_become_fields() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.jsonl");
    let all = rows(Path::new(&fixture("rows.jsonl")));
    let good: Vec<&Value> = all.iter().filter(|row| !row["text"].is_null()).collect();
    for name in ["rows.parquet", "rows.feather"] {
        let input = fixture(name);
        let more = ["--input", &input, "--output", "out.jsonl", "--overwrite", "--batch-size", "3"];
        succeeds(&folder, "tokenize", "bert", &more);
        let mut found = rows(&out);
        for row in &mut found {
            let row = row.as_object_mut().unwrap();
            assert!(row.remove("input_ids").is_some());
            row.remove("truncated");
        }
        assert_eq!(found.iter().collect::<Vec<_>>(), good, "{name}");
        let rejected = rows(&folder.path().join("out.jsonl.rejected.jsonl"));
        assert_eq!(rejected.len(), NULLS.len());
        for (found, line) in rejected.iter().zip(NULLS) {
            assert_eq!((&found["input"], &found["line"]), (&json!(input), &json!(line)));
            assert_eq!(found["reason"], "field \"text\" is null");
            let row: Value = serde_json::from_str(found["row"].as_str().unwrap()).unwrap();
            assert_eq!(row, all[line as usize - 1]);
        }
    }
    let parquet = fixture("rows.parquet");
    let csv = ["--input", &parquet, "--output", "out.csv", "--keep", "place", "--keep", "kind"];
    succeeds(&folder, "tokenize", "bert", &csv);
    let text = fs::read_to_string(folder.path().join("out.csv")).unwrap();
    assert!(text.starts_with("place,kind,input_ids,truncated\n\"{\"\"x\"\":0.0,\"\"y\"\":0}\",new,\"["), "{text}");
}

#[test]
fn strings_of_each_kind_and_codec() {
    let folder = tempfile::tempdir().unwrap();
    let all = rows(Path::new(&fixture("rows.jsonl")));
    let expected: Vec<(&Value, &Value)> =
        all.iter().filter(|row| !row["text"].is_null()).map(|row| (&row["id"], &row["text"])).collect();
    for name in ["zstd.parquet", "gzip.parquet", "lz4.parquet", "view.arrow", "stream.arrows", "-"] {
        let input = if name == "-" { name.into() } else { fixture(name) };
        let mut more = vec!["--input", &input, "--output", "out.jsonl", "--overwrite"];
        let mut run = command(folder.path(), "tokenize", "bert", &[]);
        if name == "-" {
            more.extend(["--input-format", "arrow"]);
            run.stdin(File::open(fixture("stream.arrows")).unwrap());
        }
        let output = run.args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found = rows(&folder.path().join("out.jsonl"));
        let found: Vec<(&Value, &Value)> = found.iter().map(|row| (&row["id"], &row["text"])).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn columns_keep_their_types() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<Value> = rows(Path::new(&fixture("rows.jsonl"))).iter().map(|row| row["text"].clone()).collect();
    let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
    let model = Model::load(support::fixtures().join("bert"), LoadOptions::default()).unwrap();
    let expected = model.embed(&texts, &EmbedOptions::default()).unwrap();
    for (from, to) in
        [("rows.parquet", "out.parquet"), ("rows.feather", "out.arrow"), ("rows.feather", "other.parquet")]
    {
        let input = fixture(from);
        let more = ["--input", &input, "--output", to, "--batch-size", "4", "--row-group-size", "8"];
        succeeds(&folder, "embed", "bert", &more);
        let whole = table(&match from {
            "rows.feather" => {
                let copy = folder.path().join("rows.arrow");
                fs::copy(&input, &copy).unwrap();
                copy
            }
            _ => input.clone().into(),
        });
        let found = table(&folder.path().join(to));
        let good: UInt32Array =
            (0..whole.num_rows() as u32).filter(|&row| !NULLS.contains(&(u64::from(row) + 1))).collect();
        for (place, field) in whole.schema().fields().iter().enumerate() {
            let mut column: ArrayRef = take(whole.column(place), &good, None).unwrap();
            if let Some(dictionary) = column.as_any_dictionary_opt() {
                column = take(dictionary.values(), dictionary.keys(), None).unwrap();
            }
            assert_eq!(found.column(place).data_type(), column.data_type(), "{to}, {}", field.name());
            assert_eq!(found.column(place), &column, "{to}, {}", field.name());
        }
        let vectors = found.column_by_name("embedding").unwrap().as_fixed_size_list();
        assert_eq!(vectors.values().as_primitive::<Float32Type>().values(), &expected.values[..]);
        assert_eq!(vectors.value_length() as usize, expected.dimension);
        assert_eq!(found.column_by_name("truncated").unwrap().as_boolean().true_count(), 0);
    }
    let groups =
        ParquetRecordBatchReaderBuilder::try_new(File::open(folder.path().join("out.parquet")).unwrap()).unwrap();
    let groups: Vec<i64> = groups.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    // Batches of 3, 4, 3 and 2 rows, after the rejected ones.
    assert_eq!(groups, [10, 2]);
    in_python(
        &folder,
        &format!(
            "import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq\n\
             whole = pq.read_table({:?})\n\
             whole = whole.set_column(2, 'kind', whole['kind'].cast(pa.string())).filter(pc.is_valid(whole['text']))\n\
             one, two = pq.read_table('out.parquet'), pa.ipc.open_file('out.arrow').read_all()\n\
             for found in (one, two, pq.read_table('other.parquet')):\n    \
                 assert found.select(whole.column_names).equals(whole), found.schema\n    \
                 assert found.schema.field('embedding').type == pa.list_(pa.float32(), {}), found.schema\n    \
                 found.validate(full=True)\n\
             assert one.equals(two)\n\
             assert pq.ParquetFile('out.parquet').metadata.num_row_groups == 2\n",
            fixture("rows.parquet"),
            expected.dimension
        ),
    );
}

#[test]
fn each_task_has_its_columns() {
    let folder = folder_of(&texts(5));
    let list = |kind: DataType| DataType::new_list(kind, true);
    let vector = DataType::new_fixed_size_list(DataType::Float32, 32, true);
    let string = DataType::Utf8;
    let several = ["-n", "5", "--num-beams", "2", "--num-return-sequences", "2"];
    for (task, model, more, expected) in [
        ("embed", "bert", &["--pooling", "none"][..], vec![("embedding", list(vector))]),
        (
            "generate",
            "generation/llama",
            &["-n", "5"],
            vec![("generated_text", string.clone()), ("finish_reason", string.clone())],
        ),
        (
            "generate",
            "generation/llama",
            &several,
            vec![("generated_text", list(string.clone())), ("finish_reason", list(string.clone()))],
        ),
        ("tokenize", "bert", &[], vec![("input_ids", list(DataType::Int32))]),
        ("classify", "distilbert-classifier", &[], vec![("label", string.clone()), ("score", DataType::Float32)]),
        ("classify", "bert-token-classifier", &[], vec![]),
        (
            "compress",
            "generation/llama",
            &["--max-tokens", "20", "--unit", "word"],
            vec![
                ("compressed_text", string),
                ("tokens_before", DataType::UInt64),
                ("tokens_after", DataType::UInt64),
                ("ratio", DataType::Float64),
            ],
        ),
    ] {
        for name in ["out.parquet", "out.arrow"] {
            let files = ["--input", "in.jsonl", "--output", name, "--overwrite", "--keep", "id"];
            succeeds(&folder, task, model, &[&files[..], more].concat());
            let found = table(&folder.path().join(name));
            assert_eq!(found.num_rows(), 5, "{task}");
            let found = kinds(found.schema_ref());
            assert_eq!(found[0], ("id".into(), DataType::Int64));
            for ((name, kind), (expected, wanted)) in found[1..].iter().zip(&expected) {
                assert_eq!((name.as_str(), kind), (*expected, wanted), "{task}");
            }
        }
        // The same values as in JSON.
        let files = ["--input", "in.jsonl", "--output", "out.jsonl", "--overwrite", "--keep", "id"];
        succeeds(&folder, task, model, &[&files[..], more].concat());
        in_python(
            &folder,
            "import json, numpy as np, pyarrow.parquet as pq, pyarrow as pa\n\
             def plain(value):\n    \
                 if isinstance(value, dict): return {name: plain(value) for name, value in value.items()}\n    \
                 if isinstance(value, list): return [plain(value) for value in value]\n    \
                 return float(np.float32(value)) if isinstance(value, float) else value\n\
             rows = [json.loads(line) for line in open('out.jsonl')]\n\
             for table in (pq.read_table('out.parquet'), pa.ipc.open_file('out.arrow').read_all()):\n    \
                 found = table.to_pylist()\n    \
                 for row in found:\n        \
                     if not row.get('truncated', True): del row['truncated']\n    \
                 assert [plain(row) for row in found] == [plain(row) for row in rows], (found[0], rows[0])\n",
        );
    }
}

#[test]
fn columns_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        json!({"id": 1, "text": "a bird", "weight": 1, "tags": ["x"], "flag": null}),
        json!({"id": 2, "text": "the rain", "weight": 2.5, "tags": "y", "flag": true, "late": null}),
        json!({"id": 3.5, "text": "later"}),
        json!({"id": 4, "text": "later", "other": 1}),
        json!({"text": "the last", "weight": 7, "flag": false, "late": "z", "tags": {"a": 1}}),
    ];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    fs::write(folder.path().join("in.jsonl"), lines.join("\n")).unwrap();
    for name in ["out.parquet", "out.arrow"] {
        succeeds(&folder, "tokenize", "bert", &["--input", "in.jsonl", "--output", name, "--batch-size", "2"]);
        let found = table(&folder.path().join(name));
        let names: Vec<(String, DataType)> = kinds(found.schema_ref());
        let expected = [
            ("id", DataType::Int64),
            ("text", DataType::Utf8),
            ("weight", DataType::Float64),
            ("tags", DataType::Utf8),
            ("flag", DataType::Boolean),
            ("late", DataType::Utf8),
        ];
        for ((name, kind), (expected, wanted)) in names.iter().zip(&expected) {
            assert_eq!((name.as_str(), kind), (*expected, wanted));
        }
        let tags: StringArray = [Some("[\"x\"]"), Some("\"y\""), Some("{\"a\":1}")].into_iter().collect();
        assert_eq!(found.column(3), &(Arc::new(tags) as ArrayRef));
        let ids: Vec<Option<i64>> = found.column(0).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(ids, [Some(1), Some(2), None]);
        let rejected = rows(&folder.path().join(format!("{name}.rejected.jsonl")));
        let reasons: Vec<&str> = rejected.iter().map(|row| row["reason"].as_str().unwrap()).collect();
        assert!(reasons[0].contains("\"id\" does not fit its column, which has 64-bit integers"), "{reasons:?}");
        assert!(reasons[1].contains("\"other\" is no column of the output"), "{reasons:?}");
        assert_eq!(reasons.len(), 2);
    }
    // No row that can be read.
    fs::write(folder.path().join("in.jsonl"), "no json\n").unwrap();
    for name in ["out.parquet", "out.arrow"] {
        let more = ["--input", "in.jsonl", "--output", name, "--overwrite", "--keep", "id"];
        succeeds(&folder, "tokenize", "bert", &more);
        let found = table(&folder.path().join(name));
        assert_eq!((found.num_rows(), found.schema().field(0).name().as_str()), (0, "id"));
    }
}

/// Ends a run again and again, by a kill or by a signal, until it has finished.
fn interrupted(folder: &TempDir, more: &[&str], output: &str) {
    let path = |ending: &str| folder.path().join(format!("{output}{ending}"));
    let size = || [".partial", ".partial.rows"].map(|ending| fs::metadata(path(ending)).map_or(0, |found| found.len()));
    let (start, mut ends, mut waited) = (Instant::now(), 0, HashSet::new());
    loop {
        assert!(start.elapsed() < WATCHDOG);
        let before = size();
        let mut child = command(folder.path(), "embed", "bert", more).stderr(Stdio::null()).spawn().unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            let now = size();
            if ends < 4 && (now[0] > before[0] + 20_000 || now[1] > before[1] + 20_000) {
                match ends % 2 {
                    0 => child.kill().unwrap(),
                    // SAFETY: the process is our child, which has not been waited for.
                    _ => assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0),
                }
                child.wait().unwrap();
                break None;
            }
        };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        ends += 1;
        if let Ok(manifest) = fs::read_to_string(path(".manifest.json")) {
            let manifest: Value = serde_json::from_str(&manifest).unwrap();
            waited.insert(manifest["waiting_bytes"].as_u64().unwrap() > 0);
        }
    }
    assert_eq!(ends, 4);
    assert_eq!(waited.contains(&true), output.ends_with(".parquet"), "{waited:?}");
}

#[test]
fn an_interruption_changes_no_byte() {
    let folder = folder_of(&texts(6000));
    // The input is Parquet, too, with row groups that end within batches.
    let more = ["--row-group-size", "700", "--batch-size", "16", "--keep", "id", "--keep", "text"];
    succeeds(&folder, "embed", "bert", &[&["--input", "in.jsonl", "--output", "in.parquet"][..], &more].concat());
    for (input, whole, output) in [("in.jsonl", "in.parquet", "a.parquet"), ("in.parquet", "b.arrow", "c.arrow")] {
        let more = ["--row-group-size", "700", "--batch-size", "16", "--keep", "id", "--keep", "text"];
        let to = |name: &'static str| [&["--input", input, "--output", name][..], &more].concat();
        if whole == "b.arrow" {
            succeeds(&folder, "embed", "bert", &to(whole));
        }
        interrupted(&folder, &to(output), output);
        let [whole, output] = [whole, output].map(|name| fs::read(folder.path().join(name)).unwrap());
        assert!(output == whole, "{} and {} bytes", output.len(), whole.len());
    }
    assert_eq!(names(&folder), ["a.parquet", "b.arrow", "c.arrow", "in.jsonl", "in.parquet"]);
    let found = table(&folder.path().join("a.parquet"));
    assert_eq!(found, table(&folder.path().join("c.arrow")));
    assert_eq!(found.num_rows(), 6000);
    in_python(
        &folder,
        "import pyarrow as pa, pyarrow.parquet as pq\n\
         found = pq.read_table('a.parquet')\n\
         assert found.equals(pa.ipc.open_file('c.arrow').read_all())\n\
         assert found['id'].to_pylist() == list(range(6000))\n",
    );
}

#[test]
fn what_columns_do_not_fit_is_refused_by_name() {
    let folder = folder_of(&texts(3));
    let path = |name: &str| folder.path().join(name);
    for name in ["rows.parquet", "zstd.parquet", "gzip.parquet", "brotli.parquet", "stream.arrows", "view.arrow"] {
        fs::copy(fixture(name), path(name)).unwrap();
    }
    let whole = fs::read(path("rows.parquet")).unwrap();
    fs::write(path("short.parquet"), &whole[..whole.len() - 100]).unwrap();
    fs::write(path("no.arrow"), "this is no Arrow data at all").unwrap();
    let view = fs::read(path("view.arrow")).unwrap();
    fs::write(path("cut.arrow"), &view[..view.len() / 2]).unwrap();
    fs::write(path("old.feather"), "FEA1 and more").unwrap();
    let stream = fs::read(path("stream.arrows")).unwrap();
    fs::write(path("cut.arrows"), &stream[..stream.len() - 200]).unwrap();
    let to = |input: &'static str, output: &'static str| vec!["--input", input, "--output", output];
    for (status, args, reason) in [
        (1, to("short.parquet", "o.jsonl"), "short.parquet: "),
        (1, to("no.arrow", "o.jsonl"), "no.arrow: is no Arrow data"),
        (1, to("cut.arrow", "o.jsonl"), "cut.arrow: "),
        (1, to("old.feather", "o.jsonl"), "old.feather: is in the first format of Feather"),
        (1, to("cut.arrows", "o.jsonl"), "cut.arrows: ends within a message"),
        (1, to("brotli.parquet", "o.jsonl"), "brotli.parquet: column \"id\" is compressed by BROTLI;"),
        (
            1,
            [to("rows.parquet", "o.jsonl"), vec!["--text-field", "body"]].concat(),
            "rows.parquet: no column \"body\"; there are: id, text",
        ),
        (
            1,
            [to("rows.parquet", "o.jsonl"), vec!["--text-field", "id"]].concat(),
            "column \"id\" has no strings, but Int64",
        ),
        (1, [to("rows.parquet", "o.jsonl"), vec!["--keep", "body"]].concat(), "--keep body: there is no such column"),
        (
            1,
            [to("-", "o.jsonl"), vec!["--input-format", "parquet"]].concat(),
            "standard input: Parquet is read from its end",
        ),
        (2, to("in.jsonl", "o.arrows"), "the name must end in .jsonl, .csv, .parquet or .arrow"),
        (
            2,
            vec!["--input", "rows.parquet", "gzip.parquet", "--output", "o.parquet"],
            "gzip.parquet: lacks the column \"kind\", which is in rows.parquet",
        ),
        (
            2,
            vec!["--input", "view.arrow", "zstd.parquet", "--output", "o.parquet"],
            "column \"text\" has type LargeUtf8, and Utf8View in view.arrow",
        ),
        (
            2,
            vec!["--input", "rows.parquet", "in.jsonl", "--output", "o.parquet"],
            "in.jsonl has no columns, and rows.parquet has",
        ),
    ] {
        let message = fails(&folder, status, "embed", "bert", &args);
        assert!(message.contains(reason), "{reason}: {message}");
        assert!(!path("o.parquet").exists() && !path("o.jsonl").exists(), "{reason}");
        let _ = fs::remove_file(path("o.jsonl.manifest.json"));
        let _ = fs::remove_file(path("o.jsonl.partial"));
    }
    // A column that the task would write, too.
    succeeds(&folder, "embed", "bert", &["--input", "rows.parquet", "--output", "first.parquet"]);
    let message = fails(&folder, 2, "embed", "bert", &["--input", "first.parquet", "--output", "o.jsonl"]);
    assert!(message.contains("the task writes a column \"embedding\" of its own"), "{message}");
}
