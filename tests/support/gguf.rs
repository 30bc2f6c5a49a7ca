//! Reading and writing GGUF files, to change those of the fixtures.

use std::path::Path;

/// A GGUF file. The values of fields are as in the file, their type first.
#[derive(Clone, Default)]
pub struct File {
    pub fields: Vec<(String, Vec<u8>)>,
    /// Name, dimensions in GGUF's order, type, contents.
    pub tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn text(&mut self) -> String {
        let length = self.u64() as usize;
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn skip_value(&mut self, kind: u32) {
        match kind {
            8 => drop(self.text()),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip_value(kind));
            }
            0 | 1 | 7 => drop(self.take(1)),
            2 | 3 => drop(self.take(2)),
            4..=6 => drop(self.take(4)),
            _ => drop(self.take(8)),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl File {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut reader = Reader(&bytes);
        assert_eq!(reader.take(4), b"GGUF");
        reader.u32();
        let (tensors, fields) = (reader.u64(), reader.u64());
        let mut file = Self::default();
        for _ in 0..fields {
            let (key, before) = (reader.text(), reader.0);
            let kind = reader.u32();
            reader.skip_value(kind);
            file.fields.push((key, before[..before.len() - reader.0.len()].to_vec()));
        }
        let mut offsets = Vec::new();
        for _ in 0..tensors {
            let name = reader.text();
            let count = reader.u32();
            let dimensions = (0..count).map(|_| reader.u64()).collect();
            file.tensors.push((name, dimensions, reader.u32(), Vec::new()));
            offsets.push(reader.u64() as usize);
        }
        let data = &bytes[(bytes.len() - reader.0.len()).next_multiple_of(32)..];
        for (i, tensor) in file.tensors.iter_mut().enumerate() {
            let end = offsets.iter().copied().filter(|&end| end > offsets[i]).min().unwrap_or(data.len());
            tensor.3 = data[offsets[i]..end].to_vec();
        }
        file
    }

    pub fn write(&self, path: &Path) {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.fields.len() as u64).to_le_bytes());
        for (key, value) in &self.fields {
            out.extend(text(key));
            out.extend(value);
        }
        let mut offset = 0;
        for (name, dimensions, kind, bytes) in &self.tensors {
            out.extend(text(name));
            out.extend((dimensions.len() as u32).to_le_bytes());
            out.extend(dimensions.iter().flat_map(|n| n.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(32);
        }
        for (.., bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(bytes);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        std::fs::write(path, out).unwrap();
    }

    pub fn without(&mut self, key: &str) {
        self.fields.retain(|(other, _)| other != key);
    }

    fn set(&mut self, key: &str, value: Vec<u8>) {
        self.without(key);
        self.fields.push((key.into(), value));
    }

    pub fn set_u16(&mut self, key: &str, value: u16) {
        self.set(key, [&2u32.to_le_bytes()[..], &value.to_le_bytes()].concat());
    }

    pub fn set_i32(&mut self, key: &str, value: i32) {
        self.set(key, [&5u32.to_le_bytes()[..], &value.to_le_bytes()].concat());
    }

    pub fn set_text(&mut self, key: &str, value: &str) {
        self.set(key, [8u32.to_le_bytes().to_vec(), text(value)].concat());
    }

    pub fn set_flag(&mut self, key: &str, value: bool) {
        self.set(key, [&7u32.to_le_bytes()[..], &[u8::from(value)]].concat());
    }

    pub fn set_texts(&mut self, key: &str, values: &[&str]) {
        let head = [9u32.to_le_bytes(), 8u32.to_le_bytes()].concat();
        let all = values.iter().flat_map(|value| text(value)).collect();
        self.set(key, [head, (values.len() as u64).to_le_bytes().to_vec(), all].concat());
    }

    pub fn set_numbers(&mut self, key: &str, values: &[i32]) {
        let head = [9u32.to_le_bytes(), 5u32.to_le_bytes()].concat();
        let all = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.set(key, [head, (values.len() as u64).to_le_bytes().to_vec(), all].concat());
    }

    /// Writes the file in parts, as `llama-gguf-split` does: all fields in the first, the tensors in order. Returns the first part.
    pub fn split(&self, folder: &Path, count: usize) -> std::path::PathBuf {
        let path = |number: usize| folder.join(format!("model-{:05}-of-{count:05}.gguf", number + 1));
        let each = self.tensors.len().div_ceil(count);
        for number in 0..count {
            let mut part = Self::default();
            if number == 0 {
                part.fields.clone_from(&self.fields);
            }
            part.set_u16("split.no", number as u16);
            part.set_u16("split.count", count as u16);
            part.set_i32("split.tensors.count", self.tensors.len() as i32);
            part.tensors = self.tensors.iter().skip(number * each).take(each).cloned().collect();
            part.write(&path(number));
        }
        path(0)
    }
}
