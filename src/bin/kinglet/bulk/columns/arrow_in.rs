//! Reading Arrow's IPC formats, the file and the stream, message by message. What a message asks for is checked before it is decoded.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_footer_length, read_record_batch};
use arrow_ipc::{Block, Message, MessageHeader, root_as_footer, root_as_message};
use arrow_schema::{Schema, SchemaRef};

use crate::bulk::rows::Input;

const MAGIC: &[u8] = b"ARROW1";
/// Feather before it was Arrow's file format.
const OLD_FEATHER: &[u8] = b"FEA1";
/// The longest metadata of a message, and the longest footer.
const MAX_METADATA: usize = 64 << 20;
/// The largest record batch or dictionary, in bytes, decompressed.
const MAX_BATCH: u64 = 2 << 30;

pub struct ArrowInput {
    messages: Messages,
    schema: SchemaRef,
    columns: Vec<usize>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// Rows to be left out.
    skipped: u64,
}

enum Messages {
    File { file: File, length: u64, blocks: std::vec::IntoIter<Block> },
    Stream(Box<dyn Read + Send>),
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl ArrowInput {
    pub fn open(input: &Input) -> Result<Self, String> {
        let mut start = Vec::new();
        let source: Box<dyn Read + Send> = match &input.path {
            None => Box::new(io::stdin()),
            Some(path) => {
                let mut file = File::open(path).map_err(text)?;
                Read::by_ref(&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(text)?;
                if start == MAGIC {
                    return Self::of_file(file);
                }
                if start.starts_with(OLD_FEATHER) {
                    return Err("is in the first format of Feather, which is not read; write it as Arrow".into());
                }
                Box::new(io::Cursor::new(start).chain(io::BufReader::with_capacity(1 << 20, file)))
            }
        };
        let mut messages = Messages::Stream(source);
        let Some((metadata, _)) = messages.next()? else { return Err("is empty".into()) };
        let message = message(&metadata)?;
        let schema = message.header_as_schema().ok_or("does not begin with a schema")?;
        Self::new(messages, schema)
    }

    fn of_file(mut file: File) -> Result<Self, String> {
        let length = file.metadata().map_err(text)?.len();
        let mut end = [0; 10];
        let too_short = "ends before its footer";
        file.seek(SeekFrom::End(-10)).and_then(|_| file.read_exact(&mut end)).map_err(|_| too_short)?;
        let size = read_footer_length(end).map_err(text)?;
        if size > MAX_METADATA || size as u64 > length {
            return Err(format!("its footer has {size} bytes"));
        }
        let mut footer = vec![0; size];
        file.seek(SeekFrom::End(-10 - size as i64))
            .and_then(|_| file.read_exact(&mut footer))
            .map_err(|_| too_short)?;
        let footer = root_as_footer(&footer).map_err(text)?;
        let schema = footer.schema().ok_or("its footer has no schema")?;
        let blocks = |blocks: Option<flatbuffers::Vector<'_, Block>>| -> Vec<Block> {
            blocks.into_iter().flatten().copied().collect()
        };
        let all = [blocks(footer.dictionaries()), blocks(footer.recordBatches())].concat();
        Self::new(Messages::File { file, length, blocks: all.into_iter() }, schema)
    }

    fn new(messages: Messages, schema: arrow_ipc::Schema<'_>) -> Result<Self, String> {
        if !schema.endianness().equals_to_target_endianness() {
            return Err("was written on a machine of the other byte order".into());
        }
        let schema = Arc::new(try_fb_to_schema(schema).map_err(text)?);
        let columns = (0..schema.fields().len()).collect();
        Ok(Self { messages, schema, columns, dictionaries: HashMap::new(), skipped: 0 })
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Reads these columns only, and leaves out rows at the beginning.
    pub fn select(&mut self, columns: &[usize], skipped: u64) {
        self.columns = columns.to_vec();
        self.skipped = skipped;
    }

    pub fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        loop {
            let Some((metadata, length)) = self.messages.next()? else { return Ok(None) };
            let message = message(&metadata)?;
            let (version, kind) = (message.version(), message.header_type());
            let rows = message.header_as_record_batch().map_or(0, |batch| batch.length().max(0) as u64);
            if kind == MessageHeader::RecordBatch && self.skipped >= rows {
                self.skipped -= rows;
                self.messages.skip(length)?;
                continue;
            }
            let body = self.messages.body(length)?;
            if let Some(batch) = message.header_as_record_batch() {
                check(&batch, &body)?;
                let batch = read_record_batch(
                    &body,
                    batch,
                    self.schema.clone(),
                    &self.dictionaries,
                    Some(&self.columns),
                    &version,
                );
                let batch = batch.map_err(text)?;
                let skipped = std::mem::take(&mut self.skipped) as usize;
                let left = batch.num_rows().checked_sub(skipped).ok_or("a record batch has fewer rows than it says")?;
                return Ok(Some(batch.slice(skipped, left)));
            }
            let dictionary = message.header_as_dictionary_batch();
            let dictionary = dictionary.ok_or_else(|| format!("has a message of kind {kind:?}"))?;
            check(&dictionary.data().ok_or("has a dictionary without values")?, &body)?;
            read_dictionary(&body, dictionary, &self.schema, &mut self.dictionaries, &version).map_err(text)?;
        }
    }
}

fn message(metadata: &[u8]) -> Result<Message<'_>, String> {
    root_as_message(metadata).map_err(|error| format!("is no Arrow data: {error}"))
}

/// Refuses what would be too large, decompressed.
fn check(batch: &arrow_ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), String> {
    if batch.compression().is_none() {
        return Ok(());
    }
    let mut all = 0u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).ok().and_then(|start| body.get(start..));
        // The length comes first; -1 is that of what is not compressed.
        let length = start.and_then(|bytes| bytes.first_chunk()).map_or(0, |&length| i64::from_le_bytes(length));
        all = all.saturating_add(u64::try_from(length).unwrap_or(0));
    }
    if all > MAX_BATCH { Err(too_large(all)) } else { Ok(()) }
}

fn too_large(bytes: u64) -> String {
    format!("a record batch has {bytes} bytes, and a batch is read as a whole: at most {MAX_BATCH}; write smaller ones")
}

impl Messages {
    /// The metadata of the next message and the length of what follows; None at the end.
    fn next(&mut self) -> Result<Option<(Vec<u8>, u64)>, String> {
        match self {
            Self::File { file, length, blocks } => {
                let Some(block) = blocks.next() else { return Ok(None) };
                let part = |value: i64| u64::try_from(value).ok().filter(|value| value <= length);
                let place = part(block.offset()).zip(part(block.metaDataLength().into())).zip(part(block.bodyLength()));
                let ((offset, size), body) = place
                    .filter(|((offset, size), body)| offset + size + body <= *length)
                    .ok_or("a block lies outside")?;
                if size as usize > MAX_METADATA {
                    return Err(format!("a message has {size} bytes of metadata"));
                }
                let mut metadata = vec![0; size as usize];
                file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut metadata)).map_err(text)?;
                // The length comes first, after a mark that older files do not have.
                let start = if metadata.starts_with(&[0xff; 4]) { 8 } else { 4 };
                let metadata = metadata.get(start..).ok_or("a message has no metadata")?.to_vec();
                Ok(Some((metadata, body)))
            }
            Self::Stream(source) => {
                let mut word = [0; 4];
                // A stream ends with the file, or with a length of 0.
                if source.read(&mut word[..1]).map_err(text)? == 0 {
                    return Ok(None);
                }
                let cut = |_| "ends within a message";
                source.read_exact(&mut word[1..]).map_err(cut)?;
                if word == [0xff; 4] {
                    source.read_exact(&mut word).map_err(cut)?;
                }
                let size = u32::from_le_bytes(word) as usize;
                if size == 0 {
                    return Ok(None);
                }
                if size > MAX_METADATA {
                    return Err("is no Arrow data".into());
                }
                let mut metadata = vec![0; size];
                source.read_exact(&mut metadata).map_err(cut)?;
                let body = message(&metadata)?.bodyLength();
                let body = u64::try_from(body).map_err(|_| "a message has less than no bytes")?;
                Ok(Some((metadata, body)))
            }
        }
    }

    fn skip(&mut self, length: u64) -> Result<(), String> {
        match self {
            // The next block has its place.
            Self::File { .. } => Ok(()),
            Self::Stream(source) => match io::copy(&mut source.take(length), &mut io::sink()).map_err(text)? {
                count if count == length => Ok(()),
                _ => Err("ends within a message".into()),
            },
        }
    }

    fn body(&mut self, length: u64) -> Result<Buffer, String> {
        if length > MAX_BATCH {
            return Err(too_large(length));
        }
        let source: &mut dyn Read = match self {
            Self::File { file, .. } => file,
            Self::Stream(source) => source,
        };
        // Grows with what is there, and not with what is said to be.
        let mut body = MutableBuffer::new(0);
        while (body.len() as u64) < length {
            let start = body.len();
            let end = (length as usize).min((2 * start).max(1 << 20));
            body.resize(end, 0);
            source.read_exact(&mut body[start..]).map_err(|_| "ends within a message")?;
        }
        Ok(body.into())
    }
}
