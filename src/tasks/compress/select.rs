//! Which units are kept: those of the highest scores whose text fits the budget.

use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::base::memory::grow;
use crate::engine::Engine;
use crate::text::encoding::Span;

use super::units::Unit;
use super::words::is_punctuation;

/// The most attempts to come closer to the budget. Each tokenises the text that is kept.
const ATTEMPTS: usize = 12;
/// A text this near to the budget, as its part, is near enough.
const NEAR: usize = 256;

/// What is kept of a document.
#[derive(Debug, Default)]
pub struct Selection {
    pub text: String,
    pub kept: Vec<Span>,
    pub tokens: usize,
}

/// Chooses units whose text has at most `budget` tokens.
///
/// # Errors
/// Units that must be kept have more; there are units and none has as few.
pub fn select(
    engine: &Engine,
    document: &str,
    units: &[Unit],
    budget: usize,
    name: &str,
    call: Call<'_>,
) -> Result<Selection> {
    if units.is_empty() {
        return Ok(Selection::default());
    }
    let mut order = Vec::new();
    grow(&mut order, units.len(), "the units");
    order.extend(0..units.len() as u32);
    let score = |i: u32| units[i as usize].score;
    order.sort_unstable_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
    let attempt = |room: usize| -> Result<Selection> {
        let (text, kept) = join(document, units, &choose(units, &order, room));
        let tokens = engine.tokenizer.count(&text, call)?;
        Ok(Selection { text, kept, tokens })
    };
    // The sum of the units' own tokens differs a little from the tokens of their text: a room that gives a text that fits is sought.
    let mut best: Option<Selection> = None;
    let (mut room, mut too_much) = (budget, usize::MAX);
    for round in 0..ATTEMPTS {
        let found = attempt(room)?;
        let next = if found.tokens <= budget {
            let rest = budget - found.tokens;
            if best.as_ref().is_none_or(|best| found.tokens > best.tokens) {
                best = Some(found);
            }
            if rest <= budget / NEAR {
                break;
            }
            (room + rest).min(too_much - 1)
        } else {
            too_much = room;
            // In larger steps if the first ones did not do.
            let excess = (found.tokens - budget) << (round / 2);
            room.saturating_sub(excess)
        };
        if next == room {
            break;
        }
        room = next;
    }
    let best = match best {
        Some(best) => best,
        None => attempt(0)?,
    };
    if best.tokens > budget {
        return Err(Error::invalid_argument(format!(
            "{name}: {budget} tokens cannot hold what is kept in any case (force_digits, force_tokens, force_capitalized), which \
             has {}",
            best.tokens
        )));
    }
    if best.kept.is_empty() {
        let least = units.iter().map(|unit| unit.tokens).min().unwrap_or(0);
        return Err(Error::invalid_argument(format!(
            "{name}: {budget} tokens hold no unit of the text, the shortest of which has about {least}; allow more, or choose a \
             smaller unit"
        )));
    }
    Ok(best)
}

/// Marks the forced units, and others in order as long as they fit; one that does not is passed over.
fn choose(units: &[Unit], order: &[u32], room: usize) -> Vec<bool> {
    let mut kept: Vec<bool> = units.iter().map(|unit| unit.forced).collect();
    let forced: usize = units.iter().filter(|unit| unit.forced).map(|unit| usize::from(unit.tokens)).sum();
    let mut room = room.saturating_sub(forced);
    for &i in order {
        let (unit, kept) = (&units[i as usize], &mut kept[i as usize]);
        let tokens = usize::from(unit.tokens);
        if room == 0 {
            break;
        }
        if !*kept && tokens <= room {
            (*kept, room) = (true, room - tokens);
        }
    }
    kept
}

/// The text of the kept units, and the stretches of the document that it is made of. Neighbours keep what is between them. Others are
/// joined by a line break where a line begins with the second or a paragraph ends between them, else by a space; by nothing where the
/// document has no space between them or the second is punctuation that follows without one.
fn join(document: &str, units: &[Unit], kept: &[bool]) -> (String, Vec<Span>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut last = None;
    for (i, unit) in units.iter().enumerate().filter(|&(i, _)| kept[i]) {
        let end = unit.end as usize;
        match spans.last_mut() {
            Some(span) if last == i.checked_sub(1) => span.end = end,
            _ => spans.push(Span { start: unit.start as usize, end }),
        }
        last = Some(i);
    }
    let mut text = String::new();
    for (i, span) in spans.iter().enumerate() {
        if i > 0 {
            text.push_str(between(document, spans[i - 1].end, span));
        }
        text.push_str(&document[span.start..span.end]);
    }
    (text, spans)
}

/// What joins a stretch to the one that ends at `before`.
fn between(document: &str, before: usize, next: &Span) -> &'static str {
    let gone = &document[before..next.start];
    let first = document[next.start..next.end].split(char::is_whitespace).next().unwrap_or_default();
    if gone[gone.trim_end().len()..].contains('\n') || ends_paragraph(gone) {
        "\n"
    } else if !gone.contains(char::is_whitespace)
        || !gone.ends_with(char::is_whitespace)
            && first.chars().next().is_some_and(|c| is_punctuation(c.encode_utf8(&mut [0; 4])))
    {
        ""
    } else {
        " "
    }
}

/// Whether a text has an empty line.
fn ends_paragraph(text: &str) -> bool {
    let mut lines = text.split('\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_some() && line.trim().is_empty() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::compress::words::words;

    fn units(document: &str) -> Vec<Unit> {
        let unit = |(i, range): (usize, std::ops::Range<usize>)| Unit {
            start: range.start as u32,
            end: range.end as u32,
            score: -(i as f32),
            tokens: 1,
            forced: false,
        };
        words(document).into_iter().enumerate().map(unit).collect()
    }

    #[test]
    fn units_are_joined_as_in_the_document() {
        let joined = |document: &str, dropped: &[&str]| {
            let units = units(document);
            let text = |unit: &Unit| &document[unit.start as usize..unit.end as usize];
            let kept: Vec<bool> = units.iter().map(|unit| !dropped.contains(&text(unit))).collect();
            let (text, spans) = join(document, &units, &kept);
            assert!(spans.windows(2).all(|w| w[0].end <= w[1].start));
            text
        };
        assert_eq!(joined("The  small bird, it sings.", &["small"]), "The bird, it sings.");
        assert_eq!(joined("The  small bird, it sings.", &["bird", "it"]), "The  small, sings.");
        assert_eq!(joined(" A\r\n \r\nB\nC d\ne", &["C"]), "A\r\n \r\nB d\ne");
        assert_eq!(joined("One two.\n\nThree four.", &["two", ".", "Three"]), "One\nfour");
        assert_eq!(joined("- one\n- two\n- three", &["two"]), "- one\n-\n- three");
        assert_eq!(joined("one\ntwo\nthree four", &["two", "three"]), "one four");
        assert_eq!(joined("one\ntwo\n three", &["two"]), "one\nthree");
        assert_eq!(joined("你好世界", &["好"]), "你世界");
        assert_eq!(joined("a (b) c", &["b"]), "a () c");
        assert_eq!(joined("a b", &["a", "b"]), "");
    }

    #[test]
    fn what_does_not_fit_is_passed_over() {
        let mut units = units("a b c d");
        (units[0].tokens, units[1].tokens, units[3].forced) = (1, 5, true);
        assert_eq!(choose(&units, &[0, 1, 2, 3], 3), [true, false, true, true]);
        assert_eq!(choose(&units, &[0, 1, 2, 3], 0), [false, false, false, true]);
    }
}
