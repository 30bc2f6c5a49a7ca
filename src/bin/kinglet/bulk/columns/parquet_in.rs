//! Reading Parquet, row group by row group, in bounded memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::page::{self, Wrong};

/// Rows that are decoded together have about this many bytes, if those of a row group are alike.
const STEP: u64 = 4 << 20;
const MAX_STEP: u64 = 1024;
/// The largest page, in bytes, decompressed.
const MAX_PAGE: u64 = if cfg!(test) { 2 << 20 } else { 512 << 20 };
/// The longest page header.
const MAX_HEADER: usize = 1 << 20;
/// The most that deflate makes of a byte.
const MAX_DEFLATE: u64 = 1032;

pub struct ParquetInput {
    file: File,
    metadata: ArrowReaderMetadata,
    columns: ProjectionMask,
    /// The next row group.
    group: usize,
    /// Rows to be left out.
    skipped: u64,
    reader: Option<ParquetRecordBatchReader>,
}

impl ParquetInput {
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| error.to_string())?;
        Ok(Self { file, metadata, columns: ProjectionMask::all(), group: 0, skipped: 0, reader: None })
    }

    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Reads these columns only, and leaves out rows at the beginning.
    pub fn select(&mut self, columns: &[usize], skipped: u64) -> Result<(), String> {
        use Compression::*;
        self.columns = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        self.skipped = skipped;
        for group in self.metadata.metadata().row_groups() {
            let columns = group.columns().iter().enumerate().filter(|(leaf, _)| self.columns.leaf_included(*leaf));
            for (_, column) in columns {
                let codec = column.compression();
                if !matches!(codec, UNCOMPRESSED | SNAPPY | GZIP(_) | ZSTD(_) | LZ4_RAW) {
                    let (name, codec) = (column.column_path().string(), codec.to_string());
                    let codec = codec.split('(').next().unwrap_or_default();
                    return Err(format!(
                        "column {name:?} is compressed by {codec}; snappy, gzip, zstd and LZ4_RAW are read"
                    ));
                }
            }
        }
        Ok(())
    }

    pub fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next().transpose().map_err(|error| error.to_string())? {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.reader = None,
                }
            }
            let metadata = self.metadata.metadata().clone();
            let Some(group) = metadata.row_groups().get(self.group) else { return Ok(None) };
            self.group += 1;
            let rows = u64::try_from(group.num_rows()).map_err(|_| "a row group has less than no rows")?;
            if self.skipped >= rows {
                self.skipped -= rows;
                continue;
            }
            let bytes = self.check(group)?;
            let step = (STEP / (bytes / rows).max(1)).clamp(1, MAX_STEP);
            let file = self.file.try_clone().map_err(|error| error.to_string())?;
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![self.group - 1])
                .with_projection(self.columns.clone())
                .with_batch_size(step as usize)
                .with_offset(std::mem::take(&mut self.skipped) as usize)
                .build();
            self.reader = Some(reader.map_err(|error| error.to_string())?);
        }
    }

    /// Refuses what would take unbounded memory, and returns the bytes of the columns.
    fn check(&mut self, group: &RowGroupMetaData) -> Result<u64, String> {
        let mut bytes = 0;
        for (leaf, column) in group.columns().iter().enumerate() {
            if self.columns.leaf_included(leaf) {
                let found = check_pages(&mut self.file, column);
                bytes += found.map_err(|what| format!("column {:?}: {what}", column.column_path().string()))?;
            }
        }
        Ok(bytes)
    }
}

/// Checks the pages of a column, and returns how many bytes they have, decompressed.
fn check_pages(file: &mut File, column: &ColumnChunkMetaData) -> Result<u64, String> {
    let (mut at, length) = column.byte_range();
    let end = at.checked_add(length).ok_or("is beyond the end of the file")?;
    let mut all = 0u64;
    while at < end {
        let sizes = page_at(file, at, end)?;
        let start = at + sizes.header;
        if sizes.compressed > end - start {
            return Err("a page is longer than its column".into());
        }
        let gzip = matches!(column.compression(), Compression::GZIP(_)) && sizes.compressed > MAX_PAGE / MAX_DEFLATE;
        if sizes.uncompressed > MAX_PAGE || (gzip && !inflates(file, start, sizes.compressed)?) {
            return Err(format!("a page has more than {} MiB", MAX_PAGE >> 20));
        }
        all = all.saturating_add(sizes.uncompressed);
        at = start + sizes.compressed;
    }
    Ok(all)
}

fn page_at(file: &mut File, at: u64, end: u64) -> Result<page::PageSizes, String> {
    let mut bytes = Vec::new();
    for most in [256, 8 << 10, MAX_HEADER] {
        let wanted = most.min(usize::try_from(end - at).unwrap_or(most));
        bytes.clear();
        file.seek(SeekFrom::Start(at))
            .and_then(|_| Read::by_ref(file).take(wanted as u64).read_to_end(&mut bytes))
            .map_err(|error| error.to_string())?;
        match page::sizes(&bytes) {
            Ok(sizes) => return Ok(sizes),
            Err(Wrong::Short) if bytes.len() == most => {}
            Err(Wrong::Short) => return Err("ends within a page header".into()),
            Err(Wrong::NoHeader) => break,
        }
    }
    Err(format!("no page header at byte {at}"))
}

/// Whether what is compressed by gzip is not too long. Other codecs are given the length that they may write.
fn inflates(file: &mut File, start: u64, length: u64) -> Result<bool, String> {
    file.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
    let source = flate2::read::MultiGzDecoder::new(file.take(length));
    let count =
        std::io::copy(&mut source.take(MAX_PAGE + 1), &mut std::io::sink()).map_err(|error| error.to_string())?;
    Ok(count <= MAX_PAGE)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn what_inflates_too_far() {
        for (size, fits) in [(1 << 20, true), (MAX_PAGE, true), (MAX_PAGE + 1, false), (20 << 20, false)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"before").unwrap();
            let mut encoder = GzEncoder::new(&file, Compression::default());
            encoder.write_all(&vec![0; size as usize]).unwrap();
            encoder.finish().unwrap();
            let length = file.metadata().unwrap().len() - 6;
            assert_eq!(inflates(&mut file, 6, length), Ok(fits), "{size}");
        }
    }
}
