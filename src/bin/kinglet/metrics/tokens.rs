//! Splitting texts into what the measures count.

/// Whitespace as Python defines it.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The text with spaces between its tokens, by the rules of mteval-v13a for western languages.
pub fn tokens_13a(text: &str) -> String {
    let text = text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut spaced = String::from(" ");
    for c in text.chars() {
        match c {
            '{'..='~' | '['..='`' | '!'..='&' | '('..='+' | ':'..='@' | '/' => spaced.extend([' ', c, ' ']),
            c => spaced.push(c),
        }
    }
    spaced.push(' ');
    let point = |c: char| matches!(c, '.' | ',');
    // A point or comma within a number stays; it is a token of its own if the character before or after it is not a digit.
    let spaced = each_two(&spaced, |a, b| !a.is_ascii_digit() && point(b), |a, b| [a, ' ', b, ' ']);
    let spaced = each_two(&spaced, |a, b| point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    each_two(&spaced, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' '])
}

/// Rewrites pairs of neighbours from left to right, without overlap.
fn each_two(text: &str, found: impl Fn(char, char) -> bool, rewrite: impl Fn(char, char) -> [char; 4]) -> String {
    let mut rewritten = String::with_capacity(text.len() + text.len() / 4);
    let mut chars = text.chars().peekable();
    while let Some(a) = chars.next() {
        match chars.next_if(|&b| found(a, b)) {
            Some(b) => rewritten.extend(rewrite(a, b)),
            None => rewritten.push(a),
        }
    }
    rewritten
}

/// Words of a-z and digits, as rouge_score takes them from a text in lower case.
pub fn alphanumeric(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_13a() {
        let tokens = |text: &str| words(&tokens_13a(text)).collect::<Vec<_>>().join(" ");
        assert_eq!(tokens("It's 3.5%, i.e. $1,000 (or 1-2)."), "It's 3.5 % , i . e . $ 1,000 ( or 1 - 2 ) .");
        assert_eq!(tokens("...a.,5 x-1-y"), ". . . a . ,5 x-1 - y");
        assert_eq!(tokens(" hy-\nphen\nnext \n"), "hyphen next");
    }
}
