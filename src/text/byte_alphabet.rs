//! GPT-2's alphabet, in which byte-level vocabularies spell bytes.

/// The byte of a character: printable Latin-1 characters are themselves, and the other bytes in order are the characters from U+0100 on.
pub fn byte_of(c: char) -> Option<u8> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(c) {
        code if code < 0x100 => printable(code).then_some(code as u8),
        code => (0..0x100).filter(|byte| !printable(*byte)).nth(code as usize - 0x100).map(|byte| byte as u8),
    }
}
