mod hostile;
mod refusals;
mod strings;
mod walks;

use std::collections::HashSet;
use std::path::Path;

use super::*;
use crate::base::error::Status;
use crate::text::byte_alphabet::byte_of;

/// Rows that the model has beyond the vocabulary.
const PADDING: usize = 7;

fn tokenizer(fixture: &str) -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    Tokenizer::from_file(folder.join("tokenizer.json")).unwrap()
}

pub(super) struct Fixture {
    pub tokenizer: Tokenizer,
    pub vocabulary: GrammarVocabulary,
    pub size: usize,
    end: u32,
    special: HashSet<u32>,
}

fn fixture(name: &str, end: &str) -> Fixture {
    let tokenizer = tokenizer(name);
    let size = tokenizer.get_vocab_size(true);
    let end = tokenizer.token_to_id(end).unwrap();
    let special = tokenizer.get_added_tokens_decoder().iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
    Fixture { vocabulary: GrammarVocabulary::new(&tokenizer, size, &[end]).unwrap(), tokenizer, size, end, special }
}

pub(super) fn fixtures() -> &'static [Fixture] {
    static FIXTURES: std::sync::OnceLock<Vec<Fixture>> = std::sync::OnceLock::new();
    FIXTURES.get_or_init(|| {
        vec![
            // Byte-level BPE, then SentencePiece with byte tokens, with and without a first space that is dropped.
            fixture("roberta", "</s>"),
            fixture("generation/llama", "<|end_of_text|>"),
            fixture("generation/mistral", "</s>"),
            fixture("generation/gemma2", "<eos>"),
        ]
    })
}

/// Tokens that may follow.
fn allowed(constraint: &mut Constraint, size: usize) -> Vec<u32> {
    let mut logits = vec![0.0; size + PADDING];
    constraint.mask(&mut logits).unwrap();
    assert!(logits[size..].iter().all(|x| *x == f32::NEG_INFINITY));
    (0..size as u32).filter(|&token| logits[token as usize] == 0.0).collect()
}

/// Feeds a text token by token, as the tokenizer spells it.
fn feed(constraint: &mut Constraint, fixture: &Fixture, text: &str) -> Result<()> {
    for &token in fixture.tokenizer.encode_fast(text, false).unwrap().get_ids() {
        constraint.accept(token)?;
    }
    Ok(())
}

fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

/// An answer of tokens drawn at random from those allowed; after `drawn` tokens those are taken that bring it to an end.
pub(super) fn walk(fixture: &Fixture, grammar: &Grammar, mut seed: u64, drawn: usize) -> String {
    let mut constraint =
        fixture.vocabulary.constraint(grammar, SchemaMode::Check, GrammarLimits::default(), None).unwrap();
    let mut tokens = Vec::new();
    for step in 0.. {
        assert!(step < drawn + 1000, "no end: {:?}", fixture.tokenizer.decode(&tokens[..drawn + 30], false));
        let choices = allowed(&mut constraint, fixture.size);
        let may_end = constraint.may_end();
        assert_eq!(choices.contains(&fixture.end), may_end);
        assert!(choices.iter().all(|token| *token == fixture.end || !fixture.special.contains(token)));
        let token = if step < drawn {
            choices[random(&mut seed) % choices.len()]
        } else if may_end {
            fixture.end
        } else if step > drawn + 40 && random(&mut seed).is_multiple_of(4) {
            // Inside a string a pattern may want a letter at its end that the ranks never take.
            choices[random(&mut seed) % choices.len()]
        } else {
            let rank = |token: u32| {
                let text = fixture.tokenizer.decode(&[token], false).unwrap();
                let first = text.chars().next().unwrap_or(' ');
                let rank = "\"}]),".find(first).unwrap_or(if first.is_ascii_alphanumeric() { 5 } else { 6 });
                let rank = if first.is_whitespace() { 7 } else { rank };
                (rank, text.len())
            };
            let best = choices.iter().map(|&token| rank(token)).min().unwrap();
            // At random among equals: a number may need a digit that is not zero.
            let best: Vec<u32> = choices.into_iter().filter(|&token| rank(token) == best).collect();
            best[random(&mut seed) % best.len()]
        };
        constraint.accept(token).unwrap();
        if token == fixture.end {
            assert!(constraint.is_finished() && allowed(&mut constraint, fixture.size) == [fixture.end]);
            break;
        }
        tokens.push(token);
        if constraint.is_finished() {
            assert!(constraint.may_end() && allowed(&mut constraint, fixture.size) == [fixture.end]);
            break;
        }
    }
    fixture.tokenizer.decode(&tokens, true).unwrap()
}

#[test]
fn the_first_space_that_a_decoder_drops_is_allowed() {
    // T5 begins nearly every answer with a token that has a space, and its decoder drops it.
    for (name, end) in [("generation/t5", "</s>"), ("generation/mistral", "</s>")] {
        let fixture = fixture(name, end);
        let pieces = fixture.tokenizer.get_vocab(false);
        let piece = |text: &str| pieces.keys().any(|piece| piece == text);
        // The order of a HashMap is random, so the least is taken; letters only, as the word is also an expression.
        let words = pieces.keys().filter_map(|piece| piece.strip_prefix('▁'));
        let word = words.filter(|word| word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase())).min().unwrap();
        assert!(piece(&format!("▁{word}")));
        let mut constraint = fixture
            .vocabulary
            .constraint(&Grammar::Regex(word.into()), SchemaMode::Check, GrammarLimits::default(), None)
            .unwrap();
        let token = fixture.tokenizer.token_to_id(&format!("▁{word}")).unwrap();
        assert!(allowed(&mut constraint, fixture.size).contains(&token), "{name} {word}");
        constraint.accept(token).unwrap();
        assert!(constraint.is_finished());
        assert_eq!(fixture.tokenizer.decode(&[token], true).unwrap(), word);

        // Later, a space is a space.
        let mut constraint = fixture
            .vocabulary
            .constraint(&Grammar::Regex(format!("{word}{word}")), SchemaMode::Check, GrammarLimits::default(), None)
            .unwrap();
        constraint.accept(token).unwrap();
        assert!(!allowed(&mut constraint, fixture.size).contains(&token));
    }
    // Gemma's decoder drops nothing.
    let fixture = fixture("generation/gemma2", "<eos>");
    let space = fixture.tokenizer.token_to_id("▁").unwrap();
    let mut constraint = fixture
        .vocabulary
        .constraint(&Grammar::Regex("a".into()), SchemaMode::Check, GrammarLimits::default(), None)
        .unwrap();
    assert!(!allowed(&mut constraint, fixture.size).contains(&space));
}

#[test]
fn a_text_is_followed_token_by_token() {
    let fixture = &fixtures()[0];
    let mut constraint = fixture
        .vocabulary
        .constraint(&Grammar::Regex("ab*".into()), SchemaMode::Check, GrammarLimits::default(), None)
        .unwrap();
    assert!(!constraint.may_end() && !constraint.is_finished());
    feed(&mut constraint, fixture, "a").unwrap();
    assert!(constraint.may_end() && !constraint.is_finished());
    let mut other = constraint.clone();
    feed(&mut constraint, fixture, "bb").unwrap();
    assert!(constraint.may_end() && !constraint.is_finished());
    // The clone has gone its own way.
    other.accept(fixture.end).unwrap();
    assert!(other.is_finished());
    // The end may be told again, and nothing else.
    other.accept(fixture.end).unwrap();
    assert!(other.accept(fixture.tokenizer.token_to_id("b").unwrap()).is_err());
    assert!(!constraint.is_finished());
    let error = feed(&mut constraint, fixture, "c").unwrap_err();
    assert!(error.status() == Status::InvalidArgument && error.message().contains("cannot be continued"), "{error}");
    // After that nothing goes.
    assert!(
        constraint.mask(&mut vec![0.0; fixture.size]).is_err() && !constraint.is_finished() && !constraint.may_end()
    );

    let mut short = fixture
        .vocabulary
        .constraint(&Grammar::Regex("a".into()), SchemaMode::Check, GrammarLimits::default(), None)
        .unwrap();
    assert!(short.mask(&mut vec![0.0; fixture.size - 1]).is_err());
    feed(&mut short, fixture, "a").unwrap();
    assert!(short.is_finished());
}

#[test]
fn json_ends_with_its_last_bracket_and_has_no_endless_blanks() {
    let fixture = &fixtures()[0];
    let schema = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}"#;
    let mut constraint = fixture
        .vocabulary
        .constraint(&Grammar::JsonSchema(schema.into()), SchemaMode::Check, GrammarLimits::default(), None)
        .unwrap();
    feed(&mut constraint, fixture, "{\n        \"a\" : 17").unwrap();
    assert!(feed(&mut constraint.clone(), fixture, &" ".repeat(32)).is_ok());
    assert!(feed(&mut constraint.clone(), fixture, &" ".repeat(33)).is_err());
    assert!(!constraint.may_end());
    feed(&mut constraint, fixture, "\n\n}").unwrap();
    assert!(constraint.is_finished());
}

#[test]
fn scores_of_allowed_tokens_stay() {
    let fixture = &fixtures()[0];
    let mut constraint = fixture
        .vocabulary
        .constraint(&Grammar::Regex("[ab]".into()), SchemaMode::Check, GrammarLimits::default(), None)
        .unwrap();
    let mut logits: Vec<f32> = (0..fixture.size).map(|i| i as f32).collect();
    constraint.mask(&mut logits).unwrap();
    let left: Vec<usize> = (0..fixture.size).filter(|&i| logits[i] == i as f32).collect();
    let ids = ["a", "b"].map(|token| fixture.tokenizer.token_to_id(token).unwrap() as usize);
    assert_eq!(left.iter().collect::<HashSet<_>>(), ids.iter().collect());
}

#[test]
fn tokens_with_the_same_bytes_are_all_allowed() {
    // `<0x61>` and `a` are the same text.
    let fixture = fixture("generation/mistral", "</s>");
    let mut constraint = fixture
        .vocabulary
        .constraint(&Grammar::Regex("a".into()), SchemaMode::Check, GrammarLimits::default(), None)
        .unwrap();
    let ids = ["a", "<0x61>"].map(|token| fixture.tokenizer.token_to_id(token).unwrap());
    let allowed = allowed(&mut constraint, fixture.size);
    assert!(ids.iter().all(|id| allowed.contains(id)), "{allowed:?}");
}

#[test]
fn what_a_vocabulary_cannot_say_is_an_error() {
    // T5 has no braces.
    let fixture = fixture("generation/t5", "</s>");
    let mut constraint = fixture
        .vocabulary
        .constraint(
            &Grammar::JsonSchema(r#"{"type": "object"}"#.into()),
            SchemaMode::Check,
            GrammarLimits::default(),
            None,
        )
        .unwrap();
    let space = fixture.tokenizer.token_to_id("▁");
    let error = match constraint.mask(&mut vec![0.0; fixture.size]) {
        Ok(()) => {
            constraint.accept(space.unwrap()).unwrap();
            constraint.mask(&mut vec![0.0; fixture.size]).unwrap_err()
        }
        Err(e) => e,
    };
    assert!(error.message().contains("no token of the vocabulary may follow"), "{error}");
}

#[test]
fn vocabularies_that_do_not_fit_are_refused() {
    let tokenizer = tokenizer("roberta");
    for (size, eos, status) in [
        (0, vec![0], Status::Unsupported),
        (MAX_VOCABULARY + 1, vec![0], Status::Unsupported),
        (401, vec![], Status::Unsupported),
        (401, vec![2, 401], Status::InvalidArgument),
    ] {
        assert_eq!(GrammarVocabulary::new(&tokenizer, size, &eos).err().unwrap().status(), status);
    }
    let error = GrammarVocabulary::new(&self::tokenizer("bert"), 401, &[2]).err().unwrap();
    assert!(error.status() == Status::Unsupported && error.message().contains("WordPiece"), "{error}");
    // The model may have fewer rows than the tokenizer has tokens, or more.
    for size in [300, 500] {
        let vocabulary = GrammarVocabulary::new(&tokenizer, size, &[2, 0]).unwrap();
        let mut constraint = vocabulary
            .constraint(&Grammar::Regex(".*".into()), SchemaMode::Check, GrammarLimits::default(), None)
            .unwrap();
        let allowed = allowed(&mut constraint, size);
        assert!(allowed.iter().all(|token| *token < 400) && allowed.contains(&2) && allowed.contains(&0));
    }
}

#[test]
fn the_alphabet_of_bytes_is_whole() {
    let bytes: HashSet<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_of).collect();
    assert_eq!(bytes.len(), 256);
    assert_eq!(
        (byte_of('Ġ'), byte_of('Ċ'), byte_of('a'), byte_of('é')),
        (Some(b' '), Some(b'\n'), Some(b'a'), Some(0xe9))
    );
    assert_eq!((byte_of(' '), byte_of('日'), byte_of('\u{144}')), (None, None, None));
}

#[test]
fn everything_goes_to_other_threads() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<GrammarVocabulary>();
    sync::<GrammarVocabulary>();
    send::<Constraint>();
}
