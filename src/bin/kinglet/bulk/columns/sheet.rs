//! Writing Parquet and Arrow so that a run can go on after an interruption, with the same bytes.
//!
//! An Arrow file is a row of messages, which are appended as lines are; its footer is made from them at the end. Parquet's row groups are
//! larger than what may be lost: the rows of one wait in a file of their own, as Arrow, until they are enough. Each row group is then
//! appended as a whole Parquet file. At the end a footer with the places of all row groups follows; those of the parts stay unused
//! between them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{Block, FooterBuilder, MetadataVersion, root_as_message};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use flatbuffers::FlatBufferBuilder;
use kinglet::Model;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::{Columns, Kind, fields, results, values, without_dictionary};
use crate::bulk::manifest::Output;
use crate::bulk::rows::{Own, Place};
use crate::bulk::tasks::Results;
use crate::failure::{Failure, Outcome};
use crate::run_args::RowFormat;

/// A row group ends when the rows that wait for it have this many bytes, as Arrow.
const GROUP_BYTES: u64 = 64 << 20;
/// The beginning of an Arrow file. Messages begin at multiples of 64 bytes.
const ARROW_START: [u8; 64] = {
    let mut start = [0; 64];
    let magic = b"ARROW1";
    let mut i = 0;
    while i < magic.len() {
        start[i] = magic[i];
        i += 1;
    }
    start
};
/// The end of Arrow's messages.
const ARROW_END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A row of the output.
pub struct Accepted {
    pub own: Own,
    /// The index of its results, and its place in them.
    pub result: usize,
    pub place: usize,
    pub text: String,
}

/// The columns of the rows themselves.
#[derive(Clone)]
pub enum OwnColumns {
    /// Of inputs in Parquet or Arrow.
    Cells(Columns),
    /// Of inputs in JSON Lines or CSV.
    Fields(Vec<(String, Kind)>),
}

pub struct Sheet {
    own: OwnColumns,
    /// Those of the task.
    added: Columns,
    schema: SchemaRef,
    encoder: Encoder,
    /// Rows of a row group of Parquet.
    group: usize,
}

enum Encoder {
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the output: {error}"))
}

impl Sheet {
    /// Begins the output, or goes on with it. Results such as `sample` tell the columns of the task.
    pub fn new(
        (format, group): (RowFormat, usize),
        own: OwnColumns,
        (sample, model): (&Results, &Model),
        output: &mut Output,
    ) -> Outcome<Self> {
        let added = results::columns(sample, model).map_err(failed)?;
        let columns = match &own {
            OwnColumns::Cells(columns) => columns.iter().map(without_dictionary).collect(),
            OwnColumns::Fields(kinds) => fields::columns(kinds),
        };
        let all: Vec<FieldRef> = columns.into_iter().chain(added.iter().cloned()).collect();
        let schema = Arc::new(Schema::new(all));
        let encoder = match format {
            RowFormat::Parquet => {
                let mut writer = parquet_writer(&schema)?;
                if output.manifest.waiting_bytes > 0 {
                    replay(output.waiting()?, output.manifest.waiting_bytes, &mut writer)?;
                }
                Encoder::Parquet(writer)
            }
            _ => {
                let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
                let start = std::mem::take(writer.get_mut());
                if output.manifest.output_bytes() == 0 {
                    output.append(&[&ARROW_START[..], &start].concat(), &[])?;
                }
                Encoder::Arrow(Box::new(writer))
            }
        };
        Ok(Self { own, added, schema, encoder, group })
    }

    pub fn kinds(&self) -> Option<&[(String, Kind)]> {
        match &self.own {
            OwnColumns::Fields(kinds) => Some(kinds),
            OwnColumns::Cells(_) => None,
        }
    }

    /// Appends rows; `end` is where the next row of the input begins.
    pub fn write(
        &mut self,
        rows: &[Accepted],
        (results, model): (&[Results], &Model),
        rejected: &[u8],
        end: Place,
        output: &mut Output,
    ) -> Outcome<()> {
        if rows.is_empty() {
            output.append(&[], rejected)?;
            output.manifest.place = end;
            return Ok(());
        }
        let mut columns = self.own_arrays(rows).map_err(failed)?;
        columns.extend(results::arrays(results, rows, &self.added, model));
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(failed)?;
        match &mut self.encoder {
            Encoder::Arrow(writer) => {
                writer.write(&batch).map_err(failed)?;
                output.append(&std::mem::take(writer.get_mut()), rejected)?;
                output.manifest.place = end;
            }
            Encoder::Parquet(writer) => {
                writer.write(&batch).map_err(failed)?;
                // Each batch is a stream of its own, with the schema.
                let mut waiting = StreamWriter::try_new(Vec::new(), &self.schema).map_err(failed)?;
                waiting.write(&batch).map_err(failed)?;
                let waiting = waiting.into_inner().map_err(failed)?;
                let bytes = output.manifest.waiting_bytes + waiting.len() as u64;
                if writer.in_progress_rows() < self.group && bytes < GROUP_BYTES {
                    output.append(&[], rejected)?;
                    output.append_waiting(&waiting)?;
                    output.manifest.place = end;
                } else {
                    let next = parquet_writer(&self.schema)?;
                    let group = std::mem::replace(writer, next).into_inner().map_err(failed)?;
                    output.append(&[], rejected)?;
                    output.manifest.place = end;
                    output.append_group(&group)?;
                }
            }
        }
        Ok(())
    }

    fn own_arrays(&self, rows: &[Accepted]) -> Result<Vec<ArrayRef>, String> {
        match &self.own {
            OwnColumns::Fields(kinds) => {
                let rows: Vec<_> = rows.iter().filter_map(|row| row.own.fields()).collect();
                Ok(fields::arrays(kinds, &rows))
            }
            OwnColumns::Cells(columns) => {
                let mut tables = Vec::new();
                let mut places = Vec::with_capacity(rows.len());
                for cells in rows.iter().filter_map(|row| row.own.cells()) {
                    // Rows of a table follow each other.
                    if tables.last().is_none_or(|last| !Arc::ptr_eq(last, &cells.table)) {
                        tables.push(cells.table.clone());
                    }
                    places.push((tables.len() - 1, cells.row));
                }
                let column = |field: &FieldRef| {
                    let of = |table: &Arc<super::Table>| {
                        let column = table.batch.column_by_name(field.name());
                        values(column.ok_or_else(|| format!("no column {:?}", field.name()))?)
                    };
                    let parts = tables.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                    let parts: Vec<&dyn Array> = parts.iter().map(|part| &**part).collect();
                    let column = arrow_select::interleave::interleave(&parts, &places);
                    column.map_err(|error| format!("column {:?}: {error}", field.name()))
                };
                columns.iter().map(column).collect()
            }
        }
    }

    /// Writes what comes after the last row.
    pub fn finish(self, output: &mut Output) -> Outcome<()> {
        let footer = match self.encoder {
            Encoder::Arrow(_) => arrow_footer(&self.schema, output.reader()?, output.manifest.output_bytes())?,
            Encoder::Parquet(writer) => {
                // An output without rows is a Parquet file without row groups.
                if writer.in_progress_rows() > 0 || output.manifest.groups.is_empty() {
                    output.append_group(&writer.into_inner().map_err(failed)?)?;
                }
                parquet_footer(output.reader()?, &output.manifest.groups)?
            }
        };
        output.append(&footer, &[])
    }
}

fn parquet_writer(schema: &SchemaRef) -> Outcome<Box<ArrowWriter<Vec<u8>>>> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("kinglet ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    // Vectors have no equal numbers, and do not become shorter.
    for path in [&["embedding", "list", "item"][..], &["embedding", "list", "item", "list", "item"]] {
        let path = ColumnPath::from(path.iter().map(|&part| part.to_string()).collect::<Vec<_>>());
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    Ok(Box::new(ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.build())).map_err(failed)?))
}

/// Writes the rows that wait once more.
fn replay(mut waiting: File, bytes: u64, writer: &mut ArrowWriter<Vec<u8>>) -> Outcome<()> {
    while waiting.stream_position().map_err(failed)? < bytes {
        let stream = StreamReader::try_new(&mut waiting, None).map_err(failed)?;
        for batch in stream {
            writer.write(&batch.map_err(failed)?).map_err(failed)?;
        }
    }
    Ok(())
}

fn read(file: &mut File, offset: u64, length: u64) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(failed)?];
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

fn arrow_footer(schema: &Schema, mut file: File, end: u64) -> Outcome<Vec<u8>> {
    let (mut at, mut blocks) = (ARROW_START.len() as u64, Vec::new());
    while at < end {
        let head = read(&mut file, at, 8)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let metadata = read(&mut file, at + 8, length.into())?;
        let body = root_as_message(&metadata).map_err(failed)?.bodyLength();
        blocks.push(Block::new(at as i64, length as i32 + 8, body));
        at += 8 + u64::from(length) + body as u64;
    }
    let mut builder = FlatBufferBuilder::new();
    // The first message is the schema.
    let batches = builder.create_vector(blocks.get(1..).unwrap_or_default());
    let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, schema);
    let mut footer = FooterBuilder::new(&mut builder);
    footer.add_version(MetadataVersion::V5);
    footer.add_schema(schema);
    footer.add_recordBatches(batches);
    let root = footer.finish();
    builder.finish(root, None);
    let footer = builder.finished_data();
    Ok([&ARROW_END[..], footer, &(footer.len() as i32).to_le_bytes(), b"ARROW1"].concat())
}

/// The footer of a file whose parts, of these lengths, are Parquet files themselves.
fn parquet_footer(mut file: File, parts: &[u64]) -> Outcome<Vec<u8>> {
    let (mut start, mut groups, mut last) = (0, Vec::new(), None);
    for &length in parts {
        let tail = read(&mut file, start + length - 8, 4)?;
        let size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        let metadata = read(&mut file, start + length - 8 - size, size)?;
        let metadata = ParquetMetaDataReader::decode_metadata(&metadata).map_err(failed)?;
        for group in metadata.row_groups() {
            groups.push(moved(group, start as i64, groups.len()).map_err(failed)?);
        }
        last = Some(metadata);
        start += length;
    }
    let last = last.ok_or_else(|| failed("has no part"))?;
    let all = last.file_metadata();
    let all = FileMetaData::new(
        all.version(),
        groups.iter().map(RowGroupMetaData::num_rows).sum(),
        all.created_by().map(Into::into),
        all.key_value_metadata().cloned(),
        all.schema_descr_ptr(),
        all.column_orders().cloned(),
    );
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &ParquetMetaData::new(all, groups)).finish().map_err(failed)?;
    Ok(footer)
}

/// A row group whose file begins `start` bytes into another.
fn moved(group: &RowGroupMetaData, start: i64, ordinal: usize) -> parquet::errors::Result<RowGroupMetaData> {
    let columns = group.columns().iter().map(|column| {
        let dictionary = column.dictionary_page_offset().map(|offset| offset + start);
        let data = column.data_page_offset() + start;
        column.clone().into_builder().set_data_page_offset(data).set_dictionary_page_offset(dictionary).build()
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let mut moved = group.clone().into_builder().set_column_metadata(columns).set_ordinal(ordinal as i32);
    if let Some(offset) = group.file_offset() {
        moved = moved.set_file_offset(offset + start);
    }
    moved.build()
}
