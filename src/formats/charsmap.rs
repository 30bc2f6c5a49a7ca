//! SentencePiece's table of character replacements: a trie as a double array, and the replacement texts. The crate that uses the
//! table follows its indices unchecked, so they are checked here for every possible input.

/// The maximum size of a table, in bytes. Those of the largest published vocabularies have about 300 kB.
const MAX_BYTES: usize = 4 << 20;

/// Why a table is invalid; None if every lookup stays in bounds.
pub fn fault(bytes: &[u8]) -> Option<&'static str> {
    if bytes.len() > MAX_BYTES {
        return Some("it is too large");
    }
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
        return Some("it is too short");
    };
    let size = u32::from_le_bytes(*size) as usize;
    let (Some(trie), Some(texts)) = (rest.get(..size / 4 * 4), rest.get(size / 4 * 4..)) else {
        return Some("it is too short");
    };
    let Ok(texts) = str::from_utf8(texts) else {
        return Some("its texts are not UTF-8");
    };
    let units: Vec<usize> = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit) as usize).collect();
    let Some(root) = units.first() else {
        return Some("it is empty");
    };
    // A node is identified by the offset of its children. Each is visited once, so that cycles end.
    let mut seen = vec![false; units.len()];
    let mut left = vec![offset(*root)];
    while let Some(node) = left.pop() {
        match seen.get_mut(node) {
            None => return Some("an index leaves it"),
            Some(seen) if *seen => continue,
            Some(seen) => *seen = true,
        }
        // A lookup reads a child's unit before it knows whether the child exists.
        if node | 255 >= units.len() {
            return Some("an index leaves it");
        }
        for byte in 1..=255 {
            let unit = units[node ^ byte];
            if unit & (1 << 31 | 255) != byte {
                continue;
            }
            let child = node ^ byte ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let Some(leaf) = units.get(child) else { return Some("an index leaves it") };
                if !texts.is_char_boundary(leaf & ((1 << 31) - 1)) {
                    return Some("a replacement begins beyond its texts or within a character");
                }
            }
            left.push(child);
        }
    }
    None
}

/// The distance from a unit to its children.
fn offset(unit: usize) -> usize {
    unit >> 10 << ((unit >> 9 & 1) * 8)
}

/// A table as `tokenizer.json` writes it: RFC 4648, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
pub(in crate::formats) mod tests {
    use super::*;

    /// A table that replaces "a" by "b": the root's children begin at 256, those of "a" at 512.
    pub fn table(leaf: u32) -> Vec<u8> {
        let mut units = vec![0u32; 768];
        units[0] = 256 << 10;
        units[256 ^ 97] = ((512 ^ 256 ^ 97) << 10) | 1 << 8 | 97;
        units[512] = 1 << 31 | leaf;
        let mut bytes = (4 * units.len() as u32).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend("b\0é\0".as_bytes());
        bytes
    }

    fn normalizer(bytes: &[u8]) -> tokenizers::normalizers::Precompiled {
        tokenizers::normalizers::Precompiled::from(bytes).unwrap()
    }

    #[test]
    fn a_sound_table_is_accepted_and_works() {
        assert_eq!(fault(&table(0)), None);
        assert_eq!(normalizer(&table(0)).normalize_string("xaa"), "xbb");
        assert_eq!(normalizer(&table(2)).normalize_string("a"), "é");
    }

    #[test]
    fn tables_that_lead_astray_are_refused() {
        assert_eq!(fault(&[]), Some("it is too short"));
        assert_eq!(fault(&[0; 4]), Some("it is empty"));
        assert_eq!(fault(&[255; 64]), Some("it is too short"));
        assert_eq!(fault(&vec![0; MAX_BYTES + 1]), Some("it is too large"));
        assert_eq!(fault(&table(3)), Some("a replacement begins beyond its texts or within a character"));
        assert_eq!(fault(&table(6)), Some("a replacement begins beyond its texts or within a character"));
        let mut cut = table(0);
        cut.truncate(cut.len() - 2);
        assert_eq!(fault(&cut), Some("its texts are not UTF-8"));
        for wild in [u32::MAX, 600 << 10, 767 << 10, 1 << 9 | 4 << 10] {
            let mut bytes = table(0);
            bytes[4..8].copy_from_slice(&wild.to_le_bytes());
            // Some lead to a unit that has no children, which is valid.
            if fault(&bytes).is_none() {
                let all: String = ('\u{1}'..'\u{250}').collect();
                normalizer(&bytes).normalize_string(&all);
            }
        }
        let mut bytes = table(0);
        bytes[4..8].copy_from_slice(&(800u32 << 10).to_le_bytes());
        assert_eq!(fault(&bytes), Some("an index leaves it"));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}
