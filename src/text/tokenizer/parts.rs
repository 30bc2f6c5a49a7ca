//! Tokenising a long text part by part, cut where [`super::cuts`] finds places.

use tokenizers::Encoding;

use super::cuts::Cuts;
use super::windows;
use crate::base::error::{Error, Result};

/// The longest part in bytes that is tokenised at once, where there is no place to cut it and windows cannot be joined: it takes up to half
/// a second and 500 MB.
const MAX_PART: usize = 4 << 20;

/// The least size of windows.
const WINDOW: usize = 4 << 10;

/// How a part is tokenised.
pub struct Steps<'a> {
    /// Tokenises a part at once, with offsets.
    pub tokenize: &'a dyn Fn(&str) -> Result<Encoding>,
    /// Called while a place to cut is searched; its error ends that.
    pub poll: &'a dyn Fn() -> Result<()>,
}

/// Tokenises a text part by part: the same tokens, words and offsets as the whole. Ends early when there are more than `room` tokens,
/// which are then the first ones, or the last ones `from_the_end`.
pub fn encode(
    steps: &Steps<'_>,
    cuts: &Cuts,
    text: &str,
    size: usize,
    room: Option<usize>,
    from_the_end: bool,
) -> Result<Encoding> {
    let mut encoded = Vec::new();
    each(steps, cuts, text, size, (room, from_the_end), &mut |part| encoded.push(part))?;
    if from_the_end {
        encoded.reverse();
    }
    let (mut ids, mut offsets, mut words) = (Vec::new(), Vec::new(), Vec::<Option<u32>>::new());
    for part in encoded {
        // The part's first word is one more than the last one, or the same where nothing splits words at all.
        let last = words.iter().rev().find_map(|word| *word);
        let first = part.words.iter().find_map(|word| *word).unwrap_or(0);
        let next = last.map_or(0, |last| last + u32::from(part.word_before != Some(first)));
        words.extend(part.words.iter().map(|word| word.map(|word| word - first + next)));
        offsets.extend(part.offsets.iter().map(|&(start, end)| (part.offset + start, part.offset + end)));
        ids.extend_from_slice(&part.ids);
    }
    let count = ids.len();
    let tokens = vec![String::new(); count];
    Ok(Encoding::new(
        ids,
        vec![0; count],
        tokens,
        words,
        offsets,
        vec![0; count],
        vec![1; count],
        Vec::new(),
        Default::default(),
    ))
}

/// Refuses a text that is too long to be tokenised at once.
pub fn check_length(text: &str) -> Result<()> {
    match text.len() {
        0..=MAX_PART => Ok(()),
        length => Err(Error::invalid_argument(format!(
            "texts: a text has {length} bytes without a place where it can be cut for its tokenizer; the maximum is {MAX_PART}"
        ))),
    }
}

/// Tokenises a text part by part, and hands each one over.
pub fn each(
    steps: &Steps<'_>,
    cuts: &Cuts,
    text: &str,
    size: usize,
    (room, from_the_end): (Option<usize>, bool),
    found: &mut dyn FnMut(Encoded),
) -> Result<()> {
    let mut count = 0;
    let room_is_full = |count: usize| room.is_some_and(|room| count > room);
    for part in cuts.parts(text, size, from_the_end, steps.poll) {
        let part = part?;
        let text = &text[part.before..part.end];
        if cuts.joins() && text.len() > 4 * size.max(WINDOW) {
            // From the end too, what comes first decides how the rest is merged.
            let room = (room.filter(|_| !from_the_end), part.start - part.before);
            if let Some(tokens) = windows::encode(text, size.max(WINDOW), room, steps.tokenize)? {
                let windows::Tokens { ids, offsets, words } = tokens;
                let first = offsets.partition_point(|offsets| part.before + offsets.0 < part.start);
                count += ids.len() - first;
                found(Encoded {
                    offset: part.before,
                    ids: ids[first..].into(),
                    offsets: offsets[first..].into(),
                    words: words[first..].into(),
                    word_before: first.checked_sub(1).and_then(|before| words[before]),
                });
                if room_is_full(count) {
                    break;
                }
                continue;
            }
        }
        check_length(text)?;
        let tokens = (steps.tokenize)(text)?;
        let first = tokens.get_offsets().partition_point(|offsets| part.before + offsets.0 < part.start);
        count += tokens.len() - first;
        found(Encoded {
            offset: part.before,
            ids: tokens.get_ids()[first..].into(),
            offsets: tokens.get_offsets()[first..].into(),
            words: tokens.get_word_ids()[first..].into(),
            word_before: first.checked_sub(1).and_then(|before| tokens.get_word_ids()[before]),
        });
        if room_is_full(count) {
            break;
        }
    }
    Ok(())
}

/// The tokens of a part.
pub struct Encoded {
    /// Added to the offsets.
    offset: usize,
    pub ids: Box<[u32]>,
    offsets: Box<[(usize, usize)]>,
    words: Box<[Option<u32>]>,
    /// The word of the token before.
    word_before: Option<u32>,
}
