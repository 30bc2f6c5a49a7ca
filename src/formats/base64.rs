//! Base64 of RFC 4648 with padding, for the tables in a `tokenizer.json`.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn encode(bytes: &[u8]) -> String {
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

/// None for a text that is not base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (chunks, []) = text.as_bytes().as_chunks::<4>() else { return None };
    for (i, chunk) in chunks.iter().enumerate() {
        let letters = chunk.iter().take_while(|&&letter| letter != b'=').count();
        let padded = chunk[letters..].iter().all(|&letter| letter == b'=');
        if !padded || letters < 2 || letters < 4 && i + 1 < chunks.len() {
            return None;
        }
        let mut bits = 0u32;
        for &letter in &chunk[..letters] {
            bits = bits << 6 | LETTERS.iter().position(|&known| known == letter)? as u32;
        }
        bits <<= 6 * (4 - letters);
        out.extend_from_slice(&bits.to_be_bytes()[1..letters]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_rfc() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).unwrap(), plain.as_bytes());
        }
        assert_eq!(encode(&[0xfb, 0xff, 0xbf]), "+/+/");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
        for wrong in ["Z", "Zg=", "Z===", "Zg==Zg==", "Zm9v!A==", "Zm=v", "Zm9vé"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
