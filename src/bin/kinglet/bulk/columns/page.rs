//! The sizes that Parquet's page headers tell. They are read before a page is, because the reader allocates what a header asks for.
//! A header is a structure in Thrift's compact protocol.

/// Structures within structures.
const MAX_DEPTH: usize = 16;

#[derive(Debug, PartialEq)]
pub struct PageSizes {
    pub header: u64,
    pub compressed: u64,
    pub uncompressed: u64,
}

#[derive(Debug, PartialEq)]
pub enum Wrong {
    /// The bytes end before the header does.
    Short,
    NoHeader,
}

/// The sizes of the page whose header these bytes begin with.
pub fn sizes(bytes: &[u8]) -> Result<PageSizes, Wrong> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut sizes = [None; 2];
    let mut id = 0i64;
    while let Some(kind) = cursor.field(&mut id)? {
        match (kind, id) {
            (INT32, 2 | 3) => sizes[id as usize - 2] = Some(cursor.number()?),
            _ => cursor.skip(kind, 0)?,
        }
    }
    let size = |i: usize| sizes[i].and_then(|size| u64::try_from(size).ok()).ok_or(Wrong::NoHeader);
    Ok(PageSizes { header: cursor.at as u64, compressed: size(1)?, uncompressed: size(0)? })
}

const INT32: u8 = 5;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, Wrong> {
        let byte = *self.bytes.get(self.at).ok_or(Wrong::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn advance(&mut self, count: u64) -> Result<(), Wrong> {
        let left = self.bytes.len() - self.at;
        self.at += usize::try_from(count).ok().filter(|&count| count <= left).ok_or(Wrong::Short)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Wrong> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Wrong::NoHeader)
    }

    fn number(&mut self) -> Result<i64, Wrong> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The kind of the next field, whose id replaces that of the last one; None at the end of the structure.
    fn field(&mut self, id: &mut i64) -> Result<Option<u8>, Wrong> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *id = match byte >> 4 {
            0 => self.number()?,
            step => id.wrapping_add(step.into()),
        };
        Ok(Some(byte & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Wrong> {
        if depth > MAX_DEPTH {
            return Err(Wrong::NoHeader);
        }
        match kind {
            // Booleans are in the kind.
            1 | 2 => Ok(()),
            3 => self.advance(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.advance(8),
            8 => {
                let length = self.varint()?;
                self.advance(length)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.varint()? } else { (byte >> 4).into() };
                for _ in 0..count {
                    match byte & 0x0f {
                        1 | 2 => self.advance(1)?,
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
                Ok(())
            }
            12 => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            // Maps, which a page header does not have, and what is no kind.
            _ => Err(Wrong::NoHeader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_header() {
        // type 0, uncompressed 1000, compressed 300, and a data page header with statistics of three bytes.
        let header = [
            0x15, 0x00, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 0x14, 0x1c, 0x18, 3, 1, 2, 3, 0x11, 0, 0x19,
            0x25, 2, 4, 0, 0,
        ];
        let all = PageSizes { header: header.len() as u64, compressed: 300, uncompressed: 1000 };
        assert_eq!(sizes(&[&header[..], &[9; 5]].concat()), Ok(all));
        for end in 0..header.len() {
            assert_eq!(sizes(&header[..end]), Err(Wrong::Short), "{end}");
        }
    }

    #[test]
    fn of_no_header() {
        // Negative, missing, a map, a number without an end, structures without an end.
        let endless = [&[0x2c][..], &[0x1c; 40]].concat();
        for bytes in [
            &[0x25, 0x01, 0x15, 0x02, 0][..],
            &[0x25, 0x02, 0],
            &[0x0b, 0x02],
            &[&[0x25][..], &[0xff; 11]].concat(),
            &endless,
        ] {
            assert_eq!(sizes(bytes), Err(Wrong::NoHeader), "{bytes:?}");
        }
    }
}
