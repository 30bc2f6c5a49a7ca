//! Splits a template into tokens, with the whitespace settings of transformers: `trim_blocks` (the newline after a block tag
//! is removed), `lstrip_blocks` (the whitespace before a block tag at the start of a line is removed), and the signs `-` and
//! `+`, which override both.

use std::sync::Arc;

use crate::error::{Result, fail};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Text(Arc<str>),
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name(Arc<str>),
    Str(Arc<str>),
    Int(i64),
    Float(f64),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longer signs come first, so that the first match is the longest.
const SIGNS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

/// Produces tokens, each with its line.
pub(crate) struct Lexer<'s> {
    source: &'s str,
    at: usize,
    /// The current line. After an error, the line of the error.
    pub line: u32,
    tokens: Vec<(Token, u32)>,
}

impl<'s> Lexer<'s> {
    /// `source` comes from [`normalized`].
    pub fn new(source: &'s str) -> Self {
        Self { source, at: 0, line: 1, tokens: Vec::new() }
    }

    pub fn run(&mut self) -> Result<Vec<(Token, u32)>> {
        let mut line_starts = true;
        loop {
            let rest = &self.source[self.at..];
            let Some((length, kind)) = next_tag(rest) else {
                self.text(rest, rest.len());
                break;
            };
            let tag_length = 2;
            let sign = rest[length + tag_length..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let text = &rest[..length];
            let kept = match sign {
                Some('-') => text.trim_end_matches(is_space),
                None if kind != '{' => without_indentation(text, line_starts),
                _ => text,
            };
            self.text(kept, length);
            self.advance(tag_length + usize::from(sign.is_some()));
            match kind {
                '#' => self.comment()?,
                '%' if self.raw_begins() => self.raw()?,
                '%' => self.tag(Token::BlockBegin)?,
                _ => self.tag(Token::PrintBegin)?,
            }
            line_starts = self.source[..self.at].ends_with('\n');
        }
        self.push(Token::End);
        Ok(std::mem::take(&mut self.tokens))
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.matches('\n').count() as u32;
        self.at += bytes;
    }

    /// Skips `length` bytes and adds the part of them that is `kept` as a text token.
    fn text(&mut self, kept: &str, length: usize) {
        if !kept.is_empty() {
            self.push(Token::Text(kept.into()));
        }
        self.advance(length);
    }

    /// If the tag ends here, with `close` and an optional sign: skips the end and the whitespace that it removes.
    fn end_of_tag(&mut self, close: &str) -> bool {
        let rest = self.rest();
        let (sign, after) = match rest.strip_prefix(['-', '+']) {
            Some(after) => (rest.as_bytes()[0], after),
            None => (b' ', rest),
        };
        let Some(after) = after.strip_prefix(close) else {
            return false;
        };
        let taken = match sign {
            b'-' => after.len() - after.trim_start_matches(is_space).len(),
            b'+' if close == "}}" => return false,
            b'+' => 0,
            _ => usize::from(close != "}}" && after.starts_with('\n')),
        };
        self.advance(rest.len() - after.len() + taken);
        true
    }

    fn comment(&mut self) -> Result<()> {
        loop {
            if self.end_of_tag("#}") {
                return Ok(());
            }
            // The next position at which the comment may end.
            let from = self.rest().chars().next().map_or(0, char::len_utf8);
            match self.rest()[from..].find(['-', '+', '#']) {
                Some(next) => self.advance(from + next),
                None => return fail("the comment has no `#}`"),
            }
        }
    }

    /// If `raw %}` comes next: skips it.
    fn raw_begins(&mut self) -> bool {
        let rest = self.rest();
        if let Some(after) = rest.trim_start_matches(is_space).strip_prefix("raw") {
            let after = after.trim_start_matches(is_space);
            let minus = after.starts_with('-');
            if let Some(body) = after.strip_prefix('-').unwrap_or(after).strip_prefix("%}") {
                let body = if minus { body.trim_start_matches(is_space) } else { body };
                self.advance(rest.len() - body.len());
                return true;
            }
        }
        false
    }

    fn raw(&mut self) -> Result<()> {
        let body = self.rest();
        let mut from = 0;
        while let Some(begin) = body[from..].find("{%").map(|found| from + found) {
            let inside = &body[begin + 2..];
            let sign = inside.chars().next().filter(|c| matches!(c, '-' | '+'));
            let name = inside[usize::from(sign.is_some())..].trim_start_matches(is_space);
            if let Some(after) = name.strip_prefix("endraw") {
                let text = &body[..begin];
                let kept = match sign {
                    Some('-') => text.trim_end_matches(is_space),
                    None => without_indentation(text, false),
                    _ => text,
                };
                let after = after.trim_start_matches(is_space);
                self.text(kept, body.len() - after.len());
                if self.end_of_tag("%}") {
                    return Ok(());
                }
                return fail("expected `%}` after `endraw`");
            }
            from = begin + 2;
        }
        fail("`raw` has no `endraw`")
    }

    /// The tokens inside `{% … %}` or `{{ … }}`.
    fn tag(&mut self, begin: Token) -> Result<()> {
        let (close, end) = match begin {
            Token::BlockBegin => ("%}", Token::BlockEnd),
            _ => ("}}", Token::PrintEnd),
        };
        self.push(begin);
        let mut open = Vec::new();
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(is_space).len();
            self.advance(blank);
            let line = self.line;
            // Inside brackets `}}` is two closing braces.
            if open.is_empty() && self.end_of_tag(close) {
                self.tokens.push((end, line));
                return Ok(());
            }
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return fail(format!("the tag has no `{close}`"));
            };
            if first.is_ascii_digit() {
                self.number()?;
            } else if first == '_' || first.is_alphanumeric() {
                let end = rest.find(|c: char| !(c == '_' || c.is_alphanumeric())).unwrap_or(rest.len());
                self.push(Token::Name(rest[..end].into()));
                self.advance(end);
            } else if matches!(first, '\'' | '"') {
                self.string(first)?;
            } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                match *sign {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    ")" | "]" | "}" if open.pop() != Some(sign) => return fail(format!("unmatched `{sign}`")),
                    _ => {}
                }
                self.push(Token::Sign(sign));
                self.advance(sign.len());
            } else {
                return fail(format!("unexpected character {first:?} in a tag"));
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let word = |text: &str| text.find(|c: char| !(c == '_' || c.is_ascii_alphanumeric())).unwrap_or(text.len());
        for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)] {
            if let Some(after) = rest.strip_prefix(prefix) {
                let digits = &after[..word(after)];
                let Ok(number) = i64::from_str_radix(&digits.replace('_', ""), radix) else {
                    return fail("invalid number");
                };
                self.push(Token::Int(number));
                self.advance(2 + digits.len());
                return Ok(());
            }
        }
        let digits = |from: usize| {
            let text = &rest[from..];
            let length = text.find(|c: char| !(c == '_' || c.is_ascii_digit())).unwrap_or(text.len());
            // A run of digits starts with a digit.
            if text.starts_with(|c: char| c.is_ascii_digit()) { from + length } else { from }
        };
        let whole = digits(0);
        let mut end = whole;
        // After a dot (`list.0.1`) a number is an index, which has no fraction.
        let fraction_may_follow = !matches!(self.tokens.last(), Some((Token::Sign("."), _)));
        if fraction_may_follow && rest[end..].starts_with('.') && digits(end + 1) > end + 1 {
            end = digits(end + 1);
        }
        if fraction_may_follow && rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            if digits(end + 1 + sign) > end + 1 + sign {
                end = digits(end + 1 + sign);
            }
        }
        let text = rest[..end].replace('_', "");
        let token = if end == whole { text.parse().ok().map(Token::Int) } else { text.parse().ok().map(Token::Float) };
        match token {
            Some(token) => self.push(token),
            None => return fail("an integer is too large for 64 bits"),
        }
        self.advance(end);
        Ok(())
    }

    /// A string literal with Python's escapes. Unknown escapes are kept as they are written.
    fn string(&mut self, quote: char) -> Result<()> {
        let line = self.line;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.tokens.push((Token::Str(text.into()), line));
                self.advance(at + 1);
                return Ok(());
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let Some((at, escape)) = chars.next() else { break };
            let mut code = |from: usize, digits: usize, radix: u32| {
                let found = self.rest()[from..].chars().take(digits).take_while(|c| c.is_digit(radix)).count();
                let value = u32::from_str_radix(&self.rest()[from..from + found], radix).ok()?;
                for _ in 0..(from + found).saturating_sub(at + 1) {
                    chars.next();
                }
                (radix == 8 || found == digits).then(|| char::from_u32(value)).flatten()
            };
            let escaped = match escape {
                '\n' => continue,
                '\\' | '\'' | '"' => Some(escape),
                'a' => Some('\x07'),
                'b' => Some('\x08'),
                'f' => Some('\x0c'),
                'n' => Some('\n'),
                'r' => Some('\r'),
                't' => Some('\t'),
                'v' => Some('\x0b'),
                'x' => code(at + 1, 2, 16),
                'u' => code(at + 1, 4, 16),
                'U' => code(at + 1, 8, 16),
                '0'..='7' => code(at, 3, 8),
                _ => {
                    text.extend(['\\', escape]);
                    continue;
                }
            };
            match escaped {
                Some(c) => text.push(c),
                None => return fail("invalid escape in a string"),
            }
        }
        fail("the string has no closing quote")
    }
}

/// The source as Jinja reads it: every line end is `\n`, and one at the end of the source is removed.
pub(crate) fn normalized(source: &str) -> String {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// The position of the next tag, and the second character of its delimiter.
fn next_tag(text: &str) -> Option<(usize, char)> {
    let bytes = text.as_bytes();
    let begins = |at: &usize| bytes[*at] == b'{' && matches!(bytes[at + 1], b'{' | b'%' | b'#');
    (0..bytes.len().saturating_sub(1)).find(begins).map(|at| (at, char::from(bytes[at + 1])))
}

/// The text without the whitespace between the start of the line and the tag that follows. `line_starts`: whether the text is
/// at the start of a line.
fn without_indentation(text: &str, line_starts: bool) -> &str {
    let line = text.rfind('\n').map_or(0, |at| at + 1);
    if (line > 0 || line_starts) && text[line..].chars().all(is_space) { &text[..line] } else { text }
}

/// Whether Python treats a character as whitespace.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}
