//! Vocabularies of SentencePiece: `spiece.model`, `sentencepiece.bpe.model`, `source.spm`, `tokenizer.model`. The file is one protobuf
//! message; only the fields that change how text is split are read.

use std::collections::HashSet;
use std::path::Path;

use super::charsmap;
use super::quoted;
use crate::base::error::{Error, Result};

/// The maximum number of pieces. The largest published vocabularies have about 260,000.
pub const MAX_PIECES: usize = 1 << 21;

/// How a vocabulary splits text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Unigram,
    Bpe,
    Word,
    Char,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

#[derive(Clone, Debug)]
pub struct Piece {
    /// Not empty, and unlike that of every other piece.
    pub text: String,
    /// Finite.
    pub score: f32,
    pub kind: Kind,
}

/// A vocabulary; the index of a piece is its id.
#[derive(Debug)]
pub struct Vocabulary {
    pub pieces: Vec<Piece>,
    pub algorithm: Algorithm,
    /// Whether characters without a piece become the pieces of their bytes.
    pub byte_fallback: bool,
    /// Whether a text gets a space before its first word, and spaces at both ends and repeated ones are removed.
    pub adds_prefix: bool,
    pub removes_spaces: bool,
    /// Whether the space belongs to the end of a word, not to its beginning.
    pub space_is_suffix: bool,
    /// The table of replacements, checked; empty if there is none.
    pub charsmap: Vec<u8>,
}

impl Vocabulary {
    /// Reads the contents of the file at `path`, which errors name.
    ///
    /// # Errors
    /// `InvalidFile`: the file is not such a message, has no pieces or too many, a piece is empty or appears twice, a score is not finite,
    /// or the table of replacements leads out of itself.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let invalid = |what: String| Error::invalid_file(path, format!("not a SentencePiece model: {what}"));
        let mut found = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            byte_fallback: false,
            adds_prefix: true,
            removes_spaces: true,
            space_is_suffix: false,
            charsmap: Vec::new(),
        };
        found.read(bytes).map_err(|fault| invalid(fault.into()))?;
        if found.pieces.is_empty() {
            return Err(invalid("it has no pieces".into()));
        }
        let mut seen = HashSet::with_capacity(found.pieces.len());
        for (id, piece) in found.pieces.iter().enumerate() {
            if piece.text.is_empty() {
                return Err(invalid(format!("piece {id} is empty")));
            }
            if !piece.score.is_finite() {
                return Err(invalid(format!("the score of piece {id}, {}, is not finite", quoted(&piece.text))));
            }
            if !seen.insert(piece.text.as_str()) {
                return Err(invalid(format!("piece {id}, {}, appears twice", quoted(&piece.text))));
            }
        }
        match charsmap::fault(&found.charsmap) {
            Some(fault) if !found.charsmap.is_empty() => {
                Err(invalid(format!("precompiled_charsmap is not a table of replacements: {fault}")))
            }
            _ => Ok(found),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Parsed<()> {
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(_)) if self.pieces.len() == MAX_PIECES => return Err("it has too many pieces"),
                (1, Value::Bytes(piece)) => self.pieces.push(Piece::read(piece)?),
                (2, Value::Bytes(trainer)) => self.read_trainer(trainer)?,
                (3, Value::Bytes(normalizer)) => self.read_normalizer(normalizer)?,
                (1..=3, _) => return Err("a field has another type"),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_trainer(&mut self, bytes: &[u8]) -> Parsed<()> {
        for field in Fields(bytes) {
            match field? {
                (3, Value::Number(1)) => self.algorithm = Algorithm::Unigram,
                (3, Value::Number(2)) => self.algorithm = Algorithm::Bpe,
                (3, Value::Number(3)) => self.algorithm = Algorithm::Word,
                (3, Value::Number(4)) => self.algorithm = Algorithm::Char,
                (3, _) => return Err("model_type is unknown"),
                (24, Value::Number(flag)) => self.space_is_suffix = flag != 0,
                (35, Value::Number(flag)) => self.byte_fallback = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, bytes: &[u8]) -> Parsed<()> {
        for field in Fields(bytes) {
            match field? {
                (2, Value::Bytes(table)) => self.charsmap = table.to_vec(),
                (3, Value::Number(flag)) => self.adds_prefix = flag != 0,
                (4, Value::Number(flag)) => self.removes_spaces = flag != 0,
                (5, Value::Number(0)) => return Err("escape_whitespaces is false, which is not supported"),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    fn read(bytes: &[u8]) -> Parsed<Self> {
        let mut piece = Self { text: String::new(), score: 0.0, kind: Kind::Normal };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(text)) => {
                    piece.text = str::from_utf8(text).map_err(|_| "a piece is not UTF-8")?.to_owned();
                }
                (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
                (3, Value::Number(kind)) => {
                    piece.kind = match kind {
                        1 => Kind::Normal,
                        2 => Kind::Unknown,
                        3 => Kind::Control,
                        4 => Kind::UserDefined,
                        5 => Kind::Unused,
                        6 => Kind::Byte,
                        _ => return Err("the type of a piece is unknown"),
                    };
                }
                (1..=3, _) => return Err("a field of a piece has another type"),
                _ => {}
            }
        }
        Ok(piece)
    }
}

/// What is wrong with a message.
type Parsed<T> = std::result::Result<T, &'static str>;

enum Value<'a> {
    Number(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Fixed64,
}

/// The fields of a protobuf message: number and value. Ends after the first fault.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Parsed<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Parsed<(u64, Value<'a>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| ENDS)?)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            _ => return Err("a field has a type that protobuf does not have"),
        };
        Ok((key >> 3, value))
    }

    fn take(&mut self, length: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ENDS)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of variable length, seven bits per byte.
    fn number(&mut self) -> Parsed<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err("a number has more than 64 bits")
    }
}

const ENDS: &str = "it ends within a field";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::mutation::mutation;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Result<Vocabulary> {
        Vocabulary::parse(Path::new("spiece.model"), bytes)
    }

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vocabulary").join(name)).unwrap()
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let mut piece = vec![10, text.len() as u8];
        piece.extend(text.as_bytes());
        piece.push(21);
        piece.extend(score.to_le_bytes());
        piece.extend([24, kind]);
        [vec![10, piece.len() as u8], piece].concat()
    }

    #[test]
    fn files_of_the_trainer_are_read() {
        let unigram = parse(&fixture("t5.model")).unwrap();
        assert_eq!(unigram.algorithm, Algorithm::Unigram);
        assert_eq!(unigram.pieces[2].kind, Kind::Unknown);
        assert!(unigram.adds_prefix && unigram.removes_spaces && !unigram.byte_fallback);
        assert!(!unigram.charsmap.is_empty());
        let bpe = parse(&fixture("llama.model")).unwrap();
        assert_eq!(bpe.algorithm, Algorithm::Bpe);
        assert!(bpe.byte_fallback && !bpe.removes_spaces);
        assert_eq!((bpe.pieces[3].kind, bpe.pieces[3].text.as_str()), (Kind::Byte, "<0x00>"));
    }

    #[test]
    fn faults_are_named() {
        let sound = [piece("<unk>", 0.0, 2), piece("a", -1.0, 1)].concat();
        assert_eq!(parse(&sound).unwrap().pieces.len(), 2);
        for (bytes, what) in [
            (vec![], "it has no pieces"),
            (sound[..sound.len() - 1].to_vec(), "it ends within a field"),
            ([sound.clone(), piece("a", 0.0, 1)].concat(), "appears twice"),
            ([sound.clone(), piece("", 0.0, 1)].concat(), "piece 2 is empty"),
            ([sound.clone(), piece("b", f32::NAN, 1)].concat(), "not finite"),
            ([sound.clone(), piece("b", 0.0, 9)].concat(), "the type of a piece"),
            ([sound.clone(), vec![18, 2, 24, 7]].concat(), "model_type"),
            ([sound.clone(), vec![26, 4, 18, 2, 0, 0]].concat(), "precompiled_charsmap"),
            ([sound.clone(), vec![26, 2, 40, 0]].concat(), "escape_whitespaces"),
            ([sound.clone(), vec![8, 1]].concat(), "another type"),
            ([sound.clone(), vec![255; 11]].concat(), "more than 64 bits"),
            ([sound.clone(), vec![10, 255, 255, 255, 255, 255, 255, 255, 255, 127]].concat(), "ends within a field"),
            ([sound.clone(), vec![11]].concat(), "does not have"),
        ] {
            let error = parse(&bytes).unwrap_err();
            assert!(error.message().starts_with("spiece.model: not a SentencePiece model: "), "{error}");
            assert!(error.message().contains(what), "{error}, not {what}");
        }
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(change in mutation()) {
            let mut bytes = fixture("t5.model");
            change.apply(&mut bytes);
            let _ = parse(&bytes);
        }
    }
}
