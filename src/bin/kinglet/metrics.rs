//! The measures of `kinglet evaluate`: how close answers come to the expected ones, and how long they took.

use std::collections::HashMap;

/// An answer and the expected answer.
pub type Pair<'a> = (&'a str, &'a str);

/// The share of answers equal to the expected ones, character by character; 0 if there are no pairs.
pub fn exact_match(pairs: &[Pair]) -> f64 {
    let same = pairs.iter().filter(|(answer, expected)| answer == expected).count();
    same as f64 / pairs.len().max(1) as f64
}

/// The longest n-grams of BLEU.
const ORDER: usize = 4;

/// Corpus BLEU from 0 to 100, as sacrebleu computes it by default: mteval-v13a tokens, n-grams up to four, exponential smoothing
/// (orders without a match count 1/2, 1/4, …). Papineni, Roukos, Ward & Zhu 2002; Chen & Cherry 2014.
pub fn bleu(pairs: &[Pair]) -> f64 {
    let (mut correct, mut total) = ([0usize; ORDER], [0usize; ORDER]);
    let (mut length, mut expected_length) = (0, 0);
    for (answer, expected) in pairs {
        let (answer, expected) = (tokens_13a(answer), tokens_13a(expected));
        let (answer, expected): (Vec<&str>, Vec<&str>) = (words(&answer).collect(), words(&expected).collect());
        length += answer.len();
        expected_length += expected.len();
        for n in 1..=ORDER {
            let mut left: HashMap<&[&str], usize> = HashMap::new();
            for gram in expected.windows(n) {
                *left.entry(gram).or_default() += 1;
            }
            for gram in answer.windows(n) {
                total[n - 1] += 1;
                // Each n-gram of the expected text is matched at most once.
                if let Some(count) = left.get_mut(gram).filter(|count| **count > 0) {
                    *count -= 1;
                    correct[n - 1] += 1;
                }
            }
        }
    }
    // If all answers are shorter than an order, its precision is undefined and the score is 0.
    if correct[0] == 0 || total.contains(&0) {
        return 0.0;
    }
    let mut unmatched = 1.0;
    let logarithms = correct.iter().zip(&total).map(|(&correct, &total)| {
        let correct = if correct == 0 {
            unmatched *= 2.0;
            1.0 / unmatched
        } else {
            correct as f64
        };
        (100.0 * correct / total as f64).ln()
    });
    let mean = logarithms.sum::<f64>() / ORDER as f64;
    let brevity = if length < expected_length { 1.0 - expected_length as f64 / length as f64 } else { 0.0 };
    (mean + brevity).exp()
}

/// The mean ROUGE-L F-measure, as rouge_score computes it by default: words of a-z and digits, no stemming, longest common
/// subsequence; 0 if there are no pairs. Lin 2004.
pub fn rouge_l(pairs: &[Pair]) -> f64 {
    let scores = pairs.iter().map(|(answer, expected)| {
        let (answer, expected) = (answer.to_lowercase(), expected.to_lowercase());
        let (answer, expected) = (alphanumeric(&answer), alphanumeric(&expected));
        let common = common_subsequence(&answer, &expected) as f64;
        // The harmonic mean of precision and recall; 0 if nothing is in common.
        2.0 * common / (answer.len() + expected.len()).max(1) as f64
    });
    scores.sum::<f64>() / pairs.len().max(1) as f64
}

/// Statistics of durations in milliseconds. All are NaN if there are no durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyStatistics {
    pub mean: f64,
    pub median: f64,
    /// The population standard deviation: the sum of squares is divided by n.
    pub standard_deviation: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub min: f64,
    pub max: f64,
}

impl LatencyStatistics {
    /// Sorts the durations.
    pub fn of(milliseconds: &mut [f64]) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        let times = &*milliseconds;
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / count;
        Self {
            mean,
            median: percentile(times, 0.5),
            standard_deviation: variance.sqrt(),
            p90: percentile(times, 0.9),
            p95: percentile(times, 0.95),
            p99: percentile(times, 0.99),
            min: percentile(times, 0.0),
            max: percentile(times, 1.0),
        }
    }
}

/// Linear interpolation between the two nearest sorted values (numpy's `linear`).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * share;
    let below = (place as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    low + (high - low) * (place - below as f64)
}

/// Whitespace as Python defines it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The text with spaces between its tokens, by the rules of mteval-v13a for western languages.
fn tokens_13a(text: &str) -> String {
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

fn alphanumeric(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

/// The length of the longest common subsequence, with one row of the table in memory.
fn common_subsequence(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (i, other) in b.iter().enumerate() {
            let above = row[i + 1];
            row[i + 1] = if word == other { diagonal + 1 } else { above.max(row[i]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 1e-9
    }

    /// Pairs with their BLEU by sacrebleu 2.6.0, mean ROUGE-L by rouge_score 0.1.2, and share of exact matches.
    #[test]
    fn scores_are_those_of_sacrebleu_and_rouge_score() {
        let rewritten = "w0 w7 w1 w8 w2 w9 w3 w10 w4 w11 w5 w12 w6 ".repeat(5);
        let long = rewritten.split(' ').take(60).collect::<Vec<_>>().join(" ");
        let repeated = "w0 w5 w10 w4 w9 w3 w8 w2 w7 w1 w6 ".repeat(5);
        let repeated = repeated.split(' ').take(50).collect::<Vec<_>>().join(" ");
        let sets: [(f64, f64, f64, &[Pair]); 9] = [
            (
                37.554791450996696,
                0.8055555555555556,
                0.0,
                &[
                    ("the cat sat on the mat", "the cat is on the mat"),
                    ("a quick brown fox jumps over the lazy dog", "the quick brown fox jumped over the lazy dog"),
                ],
            ),
            (
                86.67891144191118,
                0.9497549019607843,
                0.0,
                &[
                    (
                        "Hello, world! It's 3.5% (about $1,000.25) -- see pp. 10-12; e.g. \"this\".",
                        "Hello world! It's 3.5 % (about $1,000.25), see pp. 10-12, e.g. \"that\".",
                    ),
                    (
                        "a.b,c..d 5. .5 x-1 1-x [y] {z} ~ ^ _ `q` <tag/> @home #1 a/b c:d;e=f+g*h",
                        "a.b , c..d 5. .5 x-1 1 - x [y] {z} ~ ^ _ `q` <tag/> @home #1 a/b c:d;e=f+g*i",
                    ),
                ],
            ),
            (
                100.00000000000004,
                0.7012987012987013,
                0.0,
                &[
                    ("&quot;Tom &amp; Jerry&quot; &lt;3 <skipped>", "\"Tom & Jerry\" <3"),
                    ("&amp;lt; is less", "&lt; is less"),
                ],
            ),
            (
                10.861415764695439,
                0.6888888888888888,
                0.0,
                &[
                    ("Größe und Füße, naïve café — 日本語 テスト。", "Größe und Füsse, naive café – 日本語 テスト。"),
                    ("Привет, мир! Ёлка 12,5 кг", "Привет мир! Елка 12,5 кг"),
                    ("İstanbul ΟΔΟΣ\u{a0}K", "istanbul οδος k"),
                ],
            ),
            (
                86.94417438899828,
                0.25,
                0.5,
                &[
                    ("", "something here"),
                    ("something here", ""),
                    ("", ""),
                    ("one two three four five", "one two three four five"),
                ],
            ),
            (
                65.11815195146424,
                0.7571428571428571,
                0.0,
                &[
                    (
                        "first line\nsecond hyphen-\nated line\n\nthird  \t line  ",
                        "first line\nsecond hyphenated line\nthird line\n",
                    ),
                    (
                        "define i32 @f(i32 %x) {\n  %y = add nsw i32 %x, 1\n  ret i32 %y\n}",
                        "define i32 @f(i32 %a) {\n  %b = add nsw i32 %a, 1\n  ret i32 %b\n}",
                    ),
                ],
            ),
            (0.0, 0.7777777777777777, 1.0 / 3.0, &[("yes", "yes"), ("no way", "no"), ("a b c", "a b d")]),
            (0.0, 0.0, 0.0, &[("x y z", "a b c")]),
            (
                5.318145743895022,
                0.3727272727272727,
                0.0,
                &[(&long, &repeated), ("the the the the the the the", "the cat is on the mat the end")],
            ),
        ];
        for (i, (wanted_bleu, wanted_rouge, wanted_exact, pairs)) in sets.into_iter().enumerate() {
            assert!(near(bleu(pairs), wanted_bleu), "set {i}: BLEU {} and not {wanted_bleu}", bleu(pairs));
            assert!(near(rouge_l(pairs), wanted_rouge), "set {i}: ROUGE-L {} and not {wanted_rouge}", rouge_l(pairs));
            assert!(near(exact_match(pairs), wanted_exact), "set {i}: {}", exact_match(pairs));
        }
        assert_eq!((bleu(&[]), rouge_l(&[]), exact_match(&[])), (0.0, 0.0, 0.0));
    }

    #[test]
    fn tokens_are_those_of_13a() {
        let tokens = |text: &str| words(&tokens_13a(text)).collect::<Vec<_>>().join(" ");
        assert_eq!(tokens("It's 3.5%, i.e. $1,000 (or 1-2)."), "It's 3.5 % , i . e . $ 1,000 ( or 1 - 2 ) .");
        assert_eq!(tokens("...a.,5 x-1-y"), ". . . a . ,5 x-1 - y");
        assert_eq!(tokens(" hy-\nphen\nnext \n"), "hyphen next");
    }

    /// Against numpy 2.4: mean, median, std, percentile, min and max.
    #[test]
    fn latencies_are_those_of_numpy() {
        let close = |found: LatencyStatistics, wanted: [f64; 8]| {
            let LatencyStatistics { mean, median, standard_deviation, p90, p95, p99, min, max } = found;
            let found = [mean, median, standard_deviation, p90, p95, p99, min, max];
            assert!(found.iter().zip(wanted).all(|(a, b)| near(*a, b)), "{found:?} {wanted:?}");
        };
        let times = [5.5, 1.25, 9.75, 3.0, 100.125, 2.0, 7.5, 4.25, 6.0, 8.875, 0.5];
        close(
            LatencyStatistics::of(&mut times.to_vec()),
            [13.522727272727273, 5.5, 27.539579894105167, 9.75, 54.9375, 91.08750000000003, 0.5, 100.125],
        );
        close(
            LatencyStatistics::of(&mut times[..10].to_vec()),
            [14.825, 5.75, 28.55899595574046, 18.787499999999966, 59.456249999999905, 91.99125000000001, 1.25, 100.125],
        );
        close(LatencyStatistics::of(&mut [5.5]), [5.5, 5.5, 0.0, 5.5, 5.5, 5.5, 5.5, 5.5]);
        close(LatencyStatistics::of(&mut [5.5, 1.25]), [3.375, 3.375, 2.125, 5.075, 5.2875, 5.4575, 1.25, 5.5]);
        assert!(LatencyStatistics::of(&mut []).mean.is_nan() && LatencyStatistics::of(&mut []).p99.is_nan());
    }
}
