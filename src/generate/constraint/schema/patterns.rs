//! Regular expressions of JSON schemas: matched, compared and rewritten.

use std::collections::{BTreeMap, HashMap};

use llguidance::derivre::{Regex, RegexAst, RegexBuilder};
use llguidance::regex_to_lark;
use regex_syntax::hir::{Class, Hir, HirKind};

/// The limit of work for one expression, in derivre's steps.
const FUEL: u64 = 20_000;

/// The maximum number of texts that a pattern is spelled out to.
const MAX_TEXTS: usize = 64;

/// The maximum number of look-aheads at the front of a pattern.
const MAX_LOOK_AHEADS: usize = 16;

/// The work allowed for matching texts.
const MATCH_FUEL: u64 = 200_000;

/// RFC 3339's `full-date` from year 1 on, with leap years.
pub const DATE: &str = "(?:(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})-(?:(?:0[13578]|1[02])-\
                        (?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|\
                        (?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)";

/// RFC 3339's `full-time` without leap seconds, which are only valid at some moments.
pub const TIME: &str =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";

/// A pattern whose negated classes exclude NUL too. A negated class that has all control characters lets an escaped quote and backslash
/// through in a JSON string, although it excludes them (`derivre`, `json_quote`); NUL leads it another way.
pub fn without_nul(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let (mut in_class, mut characters) = (false, pattern.chars().peekable());
    while let Some(c) = characters.next() {
        out.push(c);
        match c {
            '\\' => out.extend(characters.next()),
            '[' if !in_class => {
                in_class = true;
                if let Some(caret) = characters.next_if_eq(&'^') {
                    out.push(caret);
                    out.push_str("\\x00");
                }
                // A bracket that comes first does not close the class.
                out.extend(characters.next_if_eq(&']'));
            }
            ']' => in_class = false,
            _ => {}
        }
    }
    out
}

/// Why the compiler of grammars cannot use a pattern.
pub fn fault(pattern: &str) -> Option<String> {
    let fault = RegexBuilder::new().mk_regex_for_serach(&regex_to_lark(pattern, "dw")).err()?;
    let text = fault.to_string();
    // The parser shows the expression over several lines; the last says what is wrong.
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Some(line.trim().trim_start_matches("error: ").to_owned())
}

/// Whether no text matches both patterns: false if it is too much work to know.
pub fn disjoint(a: &str, b: &str) -> bool {
    let empty = || -> Option<bool> {
        let mut builder = RegexBuilder::new();
        let both = [a, b].map(|pattern| RegexAst::SearchRegex(regex_to_lark(pattern, "dw")));
        let both = builder.mk(&RegexAst::And(both.into())).ok()?;
        Some(builder.to_regex_limited(both, FUEL).ok()?.always_empty())
    };
    empty().unwrap_or(false)
}

/// A pattern that all texts match except these.
pub fn not_in(texts: &[&str]) -> String {
    excluding(texts, false)
}

/// A pattern for all texts except these, or except those that begin with one of these.
fn excluding(texts: &[&str], beginnings: bool) -> String {
    #[derive(Default)]
    struct Node {
        end: bool,
        next: BTreeMap<char, Node>,
    }
    fn pattern(node: &Node, beginnings: bool, out: &mut String) {
        let mut alternatives = Vec::new();
        if !node.end {
            alternatives.push(String::new());
        }
        let mut class = String::from("[^\\x00");
        node.next.keys().for_each(|c| class.push_str(&escaped(*c)));
        class.push_str("](?s:.*)");
        alternatives.push(class);
        for (c, next) in node.next.iter().filter(|(_, next)| !(beginnings && next.end)) {
            let mut alternative = escaped(*c);
            pattern(next, beginnings, &mut alternative);
            alternatives.push(alternative);
        }
        out.push_str("(?:");
        out.push_str(&alternatives.join("|"));
        out.push(')');
    }
    let mut root = Node::default();
    for text in texts {
        let node = text.chars().fold(&mut root, |node, c| node.next.entry(c).or_default());
        node.end = true;
    }
    let mut out = String::from("^");
    pattern(&root, beginnings, &mut out);
    out.push('$');
    out
}

/// A pattern for the texts that a pattern does not match, if it is anchored at the start and its language is a small set of texts, or of
/// beginnings.
pub fn complement(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?;
    let (inner, whole) = match inner.strip_suffix('$') {
        Some(inner) if (inner.len() - inner.trim_end_matches('\\').len()) % 2 == 0 => (inner, true),
        _ => (inner.strip_suffix(".*").unwrap_or(inner), false),
    };
    // An alternative outside of brackets would end the anchor's reach.
    if inner.contains('|') && !(inner.starts_with('(') && closes_at_end(inner)) {
        return None;
    }
    let texts = texts(&regex_syntax::parse(inner).ok()?)?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    if !whole && texts.contains(&"") {
        return None;
    }
    Some(excluding(&texts, !whole))
}

/// The look-aheads at the front of a pattern, which hold together with the rest of it.
pub struct LookAheads {
    /// Whether each is positive, and its pattern.
    pub all: Vec<(bool, String)>,
    pub rest: String,
}

impl LookAheads {
    /// None if there are none, or more than anybody writes, or if an alternative would end their reach.
    pub fn of(pattern: &str) -> Option<Self> {
        let (mut all, mut rest) = (Vec::new(), pattern.strip_prefix('^')?);
        while let Some(inner) = rest.strip_prefix("(?=").or_else(|| rest.strip_prefix("(?!")) {
            let end = closing(inner)?;
            let (positive, inside) = (rest.starts_with("(?="), &inner[..end]);
            let pattern = if inside.contains('|') { format!("^({inside})") } else { format!("^{inside}") };
            all.push((positive, pattern));
            rest = &inner[end + 1..];
            if all.len() > MAX_LOOK_AHEADS {
                return None;
            }
        }
        let alternatives = rest.contains('|') && !closes_at_end(rest.strip_suffix('$').unwrap_or(rest));
        (!all.is_empty() && !alternatives).then(|| Self { all, rest: format!("^{rest}") })
    }
}

/// Where the bracket closes that was opened before this text.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut in_class, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            '[' => in_class = true,
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Whether the bracket that opens a pattern closes at its end.
fn closes_at_end(pattern: &str) -> bool {
    let (mut depth, mut escaped) = (0, false);
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1 == pattern.len();
        }
    }
    false
}

/// All texts of an expression, if they are few.
fn texts(expression: &Hir) -> Option<Vec<String>> {
    Some(match expression.kind() {
        HirKind::Empty => vec![String::new()],
        HirKind::Literal(literal) => vec![str::from_utf8(&literal.0).ok()?.to_owned()],
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.iter().map(|range| range.start()..=range.end());
            let texts: Vec<String> = ranges.flatten().take(MAX_TEXTS + 1).map(String::from).collect();
            (texts.len() <= MAX_TEXTS).then_some(texts)?
        }
        HirKind::Capture(capture) => texts(&capture.sub)?,
        HirKind::Repetition(repetition) if repetition.max.is_some_and(|max| max <= 4) => {
            let (one, max) = (texts(&repetition.sub)?, repetition.max?);
            let (mut all, mut row) = (Vec::new(), vec![String::new()]);
            for count in 0..=max {
                if count >= repetition.min {
                    all.extend(row.iter().cloned());
                }
                row = product(&row, &one)?;
            }
            (all.len() <= MAX_TEXTS).then_some(all)?
        }
        HirKind::Concat(parts) => {
            let mut all = vec![String::new()];
            for part in parts {
                all = product(&all, &texts(part)?)?;
            }
            all
        }
        HirKind::Alternation(parts) => {
            let all: Vec<Vec<String>> = parts.iter().map(texts).collect::<Option<_>>()?;
            let all = all.concat();
            (all.len() <= MAX_TEXTS).then_some(all)?
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) | HirKind::Repetition(_) => return None,
    })
}

fn product(first: &[String], second: &[String]) -> Option<Vec<String>> {
    if first.len() * second.len() > MAX_TEXTS {
        return None;
    }
    Some(first.iter().flat_map(|a| second.iter().map(move |b| format!("{a}{b}"))).collect())
}

fn escaped(c: char) -> String {
    match c {
        c if c.is_ascii_alphanumeric() || !c.is_ascii() => c.to_string(),
        c => format!("\\x{:02x}", u32::from(c)),
    }
}

/// Compiled patterns, by their source.
#[derive(Default)]
pub struct Patterns(HashMap<String, Option<Regex>>);

impl Patterns {
    /// Whether a pattern matches somewhere in a text; None if the pattern cannot be used.
    pub fn is_match(&mut self, pattern: &str, text: &str) -> Option<bool> {
        if let Some(LookAheads { all, rest }) = LookAheads::of(pattern) {
            let mut holds = self.is_match(&rest, text)?;
            for (positive, pattern) in &all {
                holds &= self.is_match(pattern, text)? == *positive;
            }
            return Some(holds);
        }
        if !self.0.contains_key(pattern) {
            let compile = || {
                let mut builder = RegexBuilder::new();
                let expression = builder.mk_regex_for_serach(&regex_to_lark(pattern, "dw")).ok()?;
                builder.to_regex_limited(expression, MATCH_FUEL).ok()
            };
            self.0.insert(pattern.to_owned(), compile());
        }
        self.0.get_mut(pattern)?.as_mut().map(|regex| regex.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negated_classes_exclude_nul() {
        for (pattern, is) in [
            (r#"^[^"]+$"#, r#"^[^\x00"]+$"#),
            (r"[^a-z][b^][^\]\[]\[^", r"[^\x00a-z][b^][^\x00\]\[]\[^"),
            (r"[^]a][]^]", r"[^\x00]a][]^]"),
            (r"a.b\", r"a.b\"),
        ] {
            assert_eq!(without_nul(pattern), is);
        }
    }

    #[test]
    fn look_aheads_at_the_front_are_patterns_of_their_own() {
        let parts = |pattern: &str| LookAheads::of(pattern).map(|found| (found.all, found.rest));
        let one = |positive: bool, inside: &str, rest: &str| Some((vec![(positive, inside.into())], rest.into()));
        assert_eq!(parts("^(?!foo)bar$"), one(false, "^foo", "^bar$"));
        assert_eq!(parts("^(?=a|b)(c|d)$"), one(true, "^(a|b)", "^(c|d)$"));
        assert_eq!(parts(r"^(?![)]\))x"), one(false, r"^[)]\)", "^x"));
        assert_eq!(parts("^(?=.*a)(?!b)").unwrap().0.len(), 2);
        for none in ["^a(?=b)", "(?=a)b", "^(?!a)b|c", "^(?=a", "^(?<=a)b", "^abc"] {
            assert!(parts(none).is_none(), "{none}");
        }
        assert!(parts(&format!("^{}", "(?=a)".repeat(60_000))).is_none());
        let mut patterns = Patterns::default();
        for (text, is) in [("bob", true), ("admin", false), ("admins", true), ("B", false)] {
            assert_eq!(patterns.is_match("^(?!admin$)[a-z]+$", text), Some(is), "{text}");
        }
    }

    #[test]
    fn all_texts_but_some_are_a_pattern() {
        let excluded = ["", "a", "abc", "b\"\\", "ü"];
        let (pattern, mut patterns) = (not_in(&excluded), Patterns::default());
        for text in excluded {
            assert_eq!(patterns.is_match(&pattern, text), Some(false), "{text:?} {pattern}");
        }
        for text in ["ab", "abcd", "b", "b\"", "b\"\\x", "x\ny", "u"] {
            assert_eq!(patterns.is_match(&pattern, text), Some(true), "{text:?} {pattern}");
        }
        let complement = complement("^(?:ab|c[de])").unwrap();
        for (text, is) in
            [("ab", false), ("abx", false), ("cd", false), ("c", true), ("", true), ("xab", true), ("cf", true)]
        {
            assert_eq!(patterns.is_match(&complement, text), Some(is), "{text} {complement}");
        }
    }

    #[test]
    fn patterns_are_compared() {
        assert!(
            disjoint("^a", "^b") && disjoint("^[0-9]+$", "^[a-z]+$") && !disjoint("a", "b") && !disjoint("^a", "b$")
        );
        assert!(fault("^a(?=b)").is_some() && fault("(").is_some() && fault("^a|b$").is_none());
    }
}
