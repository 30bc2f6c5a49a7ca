//! Values of command-line options: names, sizes, token ids, ranges.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use kinglet::ScoreFunction;

/// A sequence of token ids; a separate type, because clap reads a `Vec` as an option that may be repeated.
#[derive(Clone)]
pub struct Ids(pub Vec<u32>);

/// A value that is one of a few names.
pub fn choice<T, const N: usize>(choices: [(&'static str, T); N]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let names = PossibleValuesParser::new(choices.map(|(name, _)| name));
    names.try_map(move |given| {
        let found = choices.iter().find(|(name, _)| *name == given);
        found.map(|&(_, value)| value).ok_or("not one of the possible values")
    })
}

pub fn score_function() -> impl TypedValueParser<Value = ScoreFunction> {
    choice([
        ("none", ScoreFunction::None),
        ("sigmoid", ScoreFunction::Sigmoid),
        ("softmax", ScoreFunction::Softmax),
        ("tanh", ScoreFunction::Tanh),
    ])
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number, at least 1".into())
}

pub fn resamples(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (0..=100_000).contains(n)).ok_or_else(|| "expected a whole number up to 100000".into())
}

pub fn callers(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| "expected a whole number from 1 to 1024".into())
}

/// A duration of 1 ms to 49 days.
pub fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u32>().ok().filter(|&number| number > 0);
    let number = number.ok_or("expected a whole number of milliseconds, at least 1")?;
    Ok(Duration::from_millis(number.into()))
}

/// A number above 0: calls per second, or seconds.
pub fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| *x > 0.0 && x.is_finite());
    number.ok_or_else(|| "expected a number above 0".into())
}

/// Requests of a day.
pub fn day(text: &str) -> Result<f64, String> {
    rate(text).ok().filter(|x| *x <= 1e12).ok_or_else(|| "expected a number above 0 and at most 1e12".into())
}

/// The rate at the peak over the mean.
pub fn peak(text: &str) -> Result<f64, String> {
    rate(text).ok().filter(|x| (1.0..=20.0).contains(x)).ok_or_else(|| "expected a number from 1 to 20".into())
}

pub fn size(text: &str) -> Result<u64, String> {
    let shift = match text.to_ascii_uppercase().bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    bytes.ok_or_else(|| "expected a whole number of bytes, optionally with K, M or G (1024, 1024², 1024³)".into())
}

/// Ids separated by commas or spaces, or a JSON list of them.
pub fn ids(text: &str) -> Result<Ids, String> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let parts = inner.split([',', ' ', '\t']).filter(|part| !part.is_empty());
    let ids = parts.map(|part| part.parse().map_err(|_| format!("{part:?} is not a token id; expected 101,2023,102")));
    ids.collect::<Result<_, _>>().map(Ids)
}

/// IDS=BIAS, as `101,2023=-2.5`.
pub fn bias(text: &str) -> Result<(Vec<u32>, f32), String> {
    let (left, right) = text.rsplit_once('=').ok_or("expected ID,ID…=X")?;
    let bias = right.trim().parse().map_err(|_| format!("{right:?} is not a number"))?;
    Ok((ids(left)?.0, bias))
}

/// START,FACTOR, as `20,1.1`.
pub fn decay(text: &str) -> Result<(usize, f32), String> {
    let pair = text
        .split_once(',')
        .and_then(|(start, factor)| Some((start.trim().parse().ok()?, factor.trim().parse().ok()?)));
    pair.ok_or_else(|| "expected a number of tokens and a factor: START,FACTOR".into())
}

pub fn span(text: &str) -> Result<(usize, usize), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if 0 < low && low <= high => Ok((low, high)),
        _ => Err("expected a number of tokens, or a range LOW-HIGH".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("12"), Ok(12));
        assert_eq!(size("3k"), Ok(3 << 10));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for bad in ["", "M", "-1", "1.5G", "12 M", "99999999999G", "é"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_and_ids() {
        assert_eq!(span("128"), Ok((128, 128)));
        assert_eq!(span("8-256"), Ok((8, 256)));
        for bad in ["", "0", "9-8", "8-", "-8", "a-b"] {
            assert!(span(bad).is_err(), "{bad}");
        }
        for good in ["1,2,3", "[1,2,3]", " 1 2\t3 ", "[1, 2, 3]"] {
            assert_eq!(ids(good).map(|ids| ids.0), Ok(vec![1, 2, 3]));
        }
        assert_eq!(ids("").map(|ids| ids.0), Ok(vec![]));
        assert!(ids("1,x").is_err() && ids("-1").is_err());
        assert_eq!(bias("5,6=-2.5"), Ok((vec![5, 6], -2.5)));
        assert!(bias("5,6").is_err() && bias("a=1").is_err() && bias("5=x").is_err());
        assert_eq!(decay("20, 1.1"), Ok((20, 1.1)));
        assert!(callers("1024") == Ok(1024) && callers("0").is_err() && callers("1025").is_err());
        assert!(rate("0.5") == Ok(0.5) && rate("0").is_err() && rate("inf").is_err() && rate("x").is_err());
        assert!(decay("20").is_err() && decay("x,1").is_err());
    }
}
