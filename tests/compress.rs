//! Compression of documents: what is kept is what the methods' own papers say, computed here from the results of other calls.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use kinglet::{
    Aggregation, Cancellation, ClassifyOptions, CompressMethod, CompressOptions, CompressUnit, Compression, Device,
    EmbedOptions, EncodeOptions, LoadOptions, Model, Precision, Status,
};
use safetensors::{SafeTensors, tensor::TensorView};
use support::{copy_of, fixtures, load, refs};

/// A document of so many sentences, the same each time.
fn document(sentences: usize) -> String {
    let words = "bird the sings small river answer of wood quick and rain runs to sea while stone it Lima Otto 42 7th";
    let words: Vec<&str> = words.split(' ').collect();
    let mut state = 11u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut text = String::new();
    for sentence in 0..sentences {
        text.push_str(if sentence % 7 == 6 { "\n\nThe" } else { " A" });
        for _ in 0..2 + next(5) {
            text.push_str(if next(8) == 0 { ", " } else { " " });
            text.push_str(words[next(words.len())]);
        }
        text.push(['.', '!', '?'][next(3)]);
    }
    text
}

fn ratio(ratio: f64) -> CompressOptions {
    CompressOptions { ratio: Some(ratio), ..CompressOptions::default() }
}

fn budget(tokens: usize) -> CompressOptions {
    CompressOptions { max_tokens: Some(tokens), ..CompressOptions::default() }
}

/// The tokens of a text as a user counts them.
fn tokens(model: &Model, text: &str) -> usize {
    let options = EncodeOptions { add_special_tokens: false, max_length: Some(usize::MAX), ..EncodeOptions::default() };
    model.tokenize(&[text], None, &options, None).unwrap().tokens()
}

/// Checks what holds for every result, and returns the kept pieces.
fn pieces<'a>(model: &Model, document: &'a str, result: &Compression, budget: usize) -> Vec<&'a str> {
    assert_eq!(result.tokens_before, tokens(model, document));
    assert_eq!(result.tokens_after, tokens(model, &result.text));
    assert!(result.tokens_after <= budget, "{} tokens of {budget}", result.tokens_after);
    assert!(result.kept.windows(2).all(|w| w[0].end < w[1].start), "{:?}", result.kept);
    let pieces: Vec<&str> = result.kept.iter().map(|span| &document[span.start..span.end]).collect();
    let mut rest = result.text.as_str();
    for piece in &pieces {
        rest = rest.strip_prefix([' ', '\n']).filter(|rest| rest.starts_with(piece)).unwrap_or(rest);
        rest = rest.strip_prefix(piece).unwrap_or_else(|| panic!("{piece:?} is not next in {rest:?}"));
    }
    assert_eq!(rest, "");
    pieces
}

/// The token classifier with the first two of its labels, which get these names.
fn two_labels(names: [&str; 2]) -> tempfile::TempDir {
    let folder = copy_of(&fixtures().join("bert-token-classifier"), |_| false);
    let config = folder.path().join("config.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    value["id2label"] = serde_json::json!({ "0": names[0], "1": names[1] });
    value["label2id"] = serde_json::json!({ names[0]: 0, names[1]: 1 });
    std::fs::write(&config, value.to_string()).unwrap();
    let weights = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let cut = tensors.tensors().into_iter().map(|(name, view)| {
        let mut shape = view.shape().to_vec();
        let mut data = view.data();
        if name.starts_with("classifier.") {
            data = &data[..data.len() / shape[0] * 2];
            shape[0] = 2;
        }
        let data = data.to_vec();
        (name, view.dtype(), shape, data)
    });
    let cut: Vec<_> = cut.collect();
    let views =
        cut.iter().map(|(name, kind, shape, data)| (name, TensorView::new(*kind, shape.clone(), data).unwrap()));
    std::fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
    folder
}

fn open(path: &Path) -> Model {
    load(path, Device::Cpu, Precision::F32, 2)
}

fn decoder() -> Model {
    open(&fixtures().join("generation/gpt2"))
}

fn embedder() -> Model {
    open(&fixtures().join("bert"))
}

/// A unit with its score and tokens.
struct Scored<'a> {
    text: &'a str,
    score: f64,
    tokens: usize,
}

/// Whether the kept units are those of the highest scores for some sum of tokens, where one that does not fit is passed over.
fn is_best(units: &[Scored], kept: &[bool], budget: usize) -> bool {
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by(|&a, &b| units[b].score.total_cmp(&units[a].score).then(a.cmp(&b)));
    (0..=2 * budget).any(|room| {
        let (mut room, mut chosen) = (room, vec![false; units.len()]);
        for &i in order.iter().filter(|&&i| units[i].tokens > 0) {
            if units[i].tokens <= room {
                (room, chosen[i]) = (room - units[i].tokens, true);
            }
        }
        chosen == kept
    })
}

/// Which units are in the kept spans, by the places of the units in the document.
fn kept(document: &str, units: &[Scored], result: &Compression) -> Vec<bool> {
    let place = |unit: &Scored| unit.text.as_ptr() as usize - document.as_ptr() as usize;
    let inside = |at: usize| result.kept.iter().any(|span| (span.start..span.end).contains(&at));
    units.iter().map(|unit| inside(place(unit))).collect()
}

/// The tokens of a text without special tokens, with their places.
fn spans(model: &Model, text: &str) -> Vec<std::ops::Range<usize>> {
    let options = EncodeOptions {
        add_special_tokens: false,
        max_length: Some(usize::MAX),
        offsets: true,
        ..EncodeOptions::default()
    };
    let encoding = model.tokenize(&[text], None, &options, None).unwrap();
    encoding.offsets().unwrap().iter().map(|span| span.start..span.end).collect()
}

/// The mean of the values of the tokens that a unit of the text overlaps.
fn scored<'a>(
    document: &'a str,
    units: &[&'a str],
    spans: &[std::ops::Range<usize>],
    values: &[Option<f64>],
) -> Vec<Scored<'a>> {
    assert_eq!(spans.len(), values.len());
    let of = |&text: &&'a str| {
        let start = text.as_ptr() as usize - document.as_ptr() as usize;
        let inside = (0..spans.len()).filter(|&t| spans[t].start < start + text.len() && spans[t].end > start);
        let values: Vec<f64> = inside.clone().filter_map(|t| values[t]).collect();
        let score = if values.is_empty() { f64::INFINITY } else { values.iter().sum::<f64>() / values.len() as f64 };
        Scored { text, score, tokens: inside.count() }
    };
    units.iter().map(of).collect()
}

// One place in memory, because units are found by their addresses.
static WORDS: &str = "the small bird sings of rain while it runs to the sea and the quick stone answers";

#[test]
fn a_token_classifier_keeps_the_words_of_highest_probability() {
    let folder = two_labels(["LABEL_0", "LABEL_1"]);
    let model = open(folder.path());
    let options = ClassifyOptions::default();
    let classes = model.classify_tokens(&[WORDS], Aggregation::None, &options).unwrap();
    assert_eq!(classes.labels, 2);
    let spans = spans(&model, WORDS);
    // The first and the last token are special.
    let values: Vec<_> = classes.scores.chunks(2).map(|row| Some(f64::from(row[1]))).collect();
    let units: Vec<&str> = WORDS.split(' ').collect();
    let units = scored(WORDS, &units, &spans, &values[1..values.len() - 1]);
    for tokens in [3, 5, 8, 13] {
        let result = model.compress(WORDS, &budget(tokens)).unwrap();
        assert_eq!((result.method, result.windows), (CompressMethod::TokenClassifier, 1));
        pieces(&model, WORDS, &result, tokens);
        assert!(is_best(&units, &kept(WORDS, &units, &result), tokens), "{tokens}: {result:?}");
    }
    // The label is known by its name, too, and the option overrules it.
    let named = open(two_labels(["Keep", "drop"]).path());
    let other = open(two_labels(["remove", "rest"]).path());
    let first = CompressOptions { keep_label: Some("LABEL_0".into()), ..budget(8) };
    let text = |model: &Model, options: &CompressOptions| model.compress(WORDS, options).unwrap().text;
    assert_eq!(text(&named, &budget(8)), text(&model, &first));
    assert_eq!(text(&other, &budget(8)), text(&model, &budget(8)));
    assert_ne!(text(&model, &first), text(&model, &budget(8)));
}

#[test]
fn a_decoder_drops_what_it_expects() {
    let model = decoder();
    let spans = spans(&model, WORDS);
    let encoding = model.tokenize(&[WORDS], None, &EncodeOptions::default(), None).unwrap();
    assert_eq!(encoding.tokens(), spans.len(), "no special tokens");
    let ids = encoding.ids();
    let logits = model.logits(ids, None, false, None).unwrap();
    let mut values = vec![None];
    for (row, &next) in logits.values.chunks(logits.vocabulary).zip(&ids[1..]) {
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        values.push(Some(sum.ln() - f64::from(row[next as usize])));
    }
    let words: Vec<&str> = WORDS.split(' ').collect();
    let parts: Vec<&str> = spans.iter().map(|span| WORDS[span.clone()].trim_start()).collect();
    for (unit, texts) in [(CompressUnit::Word, &words), (CompressUnit::Token, &parts)] {
        let units = scored(WORDS, texts, &spans, &values);
        // Nothing precedes the first token.
        assert_eq!(units[0].score.is_infinite(), unit == CompressUnit::Token);
        for tokens in [4, 9, 16] {
            let options = CompressOptions { unit: Some(unit), ..budget(tokens) };
            let result = model.compress(WORDS, &options).unwrap();
            assert_eq!((result.method, result.windows), (CompressMethod::SelfInformation, 1));
            pieces(&model, WORDS, &result, tokens);
            assert!(is_best(&units, &kept(WORDS, &units, &result), tokens), "{tokens} {unit:?}: {result:?}");
        }
    }
}

#[test]
fn sentences_are_chosen_by_relevance_and_novelty() {
    let model = embedder();
    let text = document(12).trim().to_string();
    // As the document was made.
    let sentences: Vec<&str> = text.split_inclusive(['.', '!', '?']).map(str::trim).collect();
    let options = EmbedOptions { normalize: Some(true), ..EmbedOptions::default() };
    let embeddings = model.embed(&sentences, &options).unwrap();
    let rows: Vec<Vec<f64>> =
        (0..sentences.len()).map(|i| embeddings.row(i).iter().map(|&x| x.into()).collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let counts: Vec<usize> = sentences.iter().map(|text| tokens(&model, text)).collect();
    let mean: Vec<f64> =
        (0..rows[0].len()).map(|k| rows.iter().zip(&counts).map(|(row, &n)| row[k] * n as f64).sum()).collect();
    let length = dot(&mean, &mean).sqrt();
    let mean: Vec<f64> = mean.iter().map(|x| x / length).collect();
    let query = model.embed(&["a quick river"], &options).unwrap();
    let query: Vec<f64> = query.row(0).iter().map(|&x| x.into()).collect();
    for (target, asked, lambda) in [(&mean, None, None), (&query, Some("a quick river"), Some(0.25f32))] {
        let weight = f64::from(lambda.unwrap_or(0.7));
        let (mut chosen, mut units): (Vec<usize>, Vec<Option<f64>>) = (Vec::new(), vec![None; rows.len()]);
        while chosen.len() < rows.len() {
            let value = |i: usize| {
                let likeness = chosen.iter().map(|&c| dot(&rows[i], &rows[c])).fold(0.0, f64::max);
                weight * dot(&rows[i], target) - (1.0 - weight) * likeness
            };
            let open = (0..rows.len()).filter(|i| !chosen.contains(i));
            let best = open.max_by(|&a, &b| value(a).total_cmp(&value(b))).unwrap();
            units[best] = Some(value(best));
            chosen.push(best);
        }
        let units: Vec<Scored> = (0..rows.len())
            .map(|i| Scored { text: sentences[i], score: units[i].unwrap(), tokens: counts[i] })
            .collect();
        for ratio in [1.5, 3.0] {
            let options = CompressOptions { query: asked.map(str::to_string), relevance: lambda, ..self::ratio(ratio) };
            let result = model.compress(&text, &options).unwrap();
            assert_eq!((result.method, result.windows), (CompressMethod::SentenceEmbeddings, sentences.len()));
            let most = (tokens(&model, &text) as f64 / ratio) as usize;
            pieces(&model, &text, &result, most);
            assert!(is_best(&units, &kept(&text, &units, &result), most), "{ratio}: {result:?}");
        }
    }
}

#[test]
fn long_documents_are_shortened_by_any_ratio() {
    let text = document(400);
    let folder = two_labels(["drop", "keep"]);
    for model in [open(folder.path()), decoder(), embedder()] {
        let all = tokens(&model, &text);
        for by in [2.0, 4.0, 8.0, 16.0, 32.0] {
            let result = model.compress(&text, &ratio(by)).unwrap();
            let most = (all as f64 / by) as usize;
            let kept = pieces(&model, &text, &result, most);
            assert!(result.ratio() >= by && result.ratio() < by * 1.1, "{by}: {}", result.ratio());
            assert!(result.windows > 10, "{}", result.windows);
            // The embedder reads 64 tokens, and some sentences have more.
            if result.method == CompressMethod::SelfInformation {
                assert!(kept.iter().all(|piece| piece.ends_with(['.', '!', '?'])), "{kept:?}");
            }
            assert_eq!(model.compress(&text, &ratio(by)).unwrap(), result, "the same again");
        }
        let counters = model.counters();
        assert!(counters.stage(kinglet::Stage::Call).calls >= 10);
    }
}

#[test]
fn a_text_that_fits_one_window_does_not_depend_on_its_size() {
    let folder = two_labels(["drop", "keep"]);
    for model in [open(folder.path()), decoder()] {
        let words = CompressOptions { unit: Some(CompressUnit::Word), ..budget(8) };
        let whole = model.compress(WORDS, &words).unwrap();
        assert_eq!(whole.windows, 1);
        let size = tokens(&model, WORDS) + 2;
        let exact = CompressOptions { window: Some(size), ..words.clone() };
        assert_eq!(model.compress(WORDS, &exact).unwrap(), whole);
        let two = CompressOptions { window: Some(size - 4), overlap: Some(4), ..words };
        let two = model.compress(WORDS, &two).unwrap();
        assert_eq!(two.windows, 2);
        // Nothing to drop: the text as it is, and the model does not run.
        let same = model.compress(WORDS, &budget(1000)).unwrap();
        assert_eq!((same.text.as_str(), same.windows, same.ratio()), (WORDS, 0, 1.0));
        assert_eq!((same.kept[0].start, same.kept[0].end), (0, WORDS.len()));
        for nothing in ["", " \n "] {
            let result = model.compress(nothing, &ratio(2.0)).unwrap();
            assert!(result.tokens_after == 0 && result.windows == 0, "{result:?}");
        }
    }
}

#[test]
fn windows_that_share_half_of_themselves_cover_every_word() {
    // Every word is scored once, whatever the windows are.
    let text = document(60);
    let folder = two_labels(["drop", "keep"]);
    for model in [open(folder.path()), decoder()] {
        let all = tokens(&model, &text);
        let mut counts = Vec::new();
        for (window, overlap) in [(20, 0), (20, 9), (64, 0), (64, 31), (33, 5)] {
            let options = CompressOptions {
                window: Some(window),
                overlap: Some(overlap),
                unit: Some(CompressUnit::Word),
                ..budget(all - 1)
            };
            let result = model.compress(&text, &options).unwrap();
            let kept = pieces(&model, &text, &result, all - 1);
            // Nearly all is kept: no word was lost between windows.
            assert!(kept.len() <= 4, "{window}, {overlap}: {kept:?}");
            counts.push(result.windows);
        }
        assert!(counts[0] > counts[2] && counts[1] > counts[0] && counts[3] > counts[2], "{counts:?}");
    }
}

#[test]
fn what_is_forced_is_kept() {
    let text = document(80);
    let folder = two_labels(["drop", "keep"]);
    let count = |text: &str, found: &dyn Fn(&str) -> bool| {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| found(word)).count()
    };
    let digits = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let names = |word: &str| matches!(word, "Lima" | "Otto");
    for model in [open(folder.path()), decoder()] {
        let word = CompressOptions { unit: Some(CompressUnit::Word), ..ratio(3.0) };
        let forced = |options: &CompressOptions| {
            let result = model.compress(&text, options).unwrap();
            pieces(&model, &text, &result, tokens(&model, &text) / 3);
            result.text
        };
        let plain = forced(&word);
        assert!(count(&plain, &digits) < count(&text, &digits));
        let kept = forced(&CompressOptions { force_digits: true, ..word.clone() });
        assert_eq!(count(&kept, &digits), count(&text, &digits));
        let kept = forced(&CompressOptions { force_capitalized: true, ..word.clone() });
        assert_eq!(count(&kept, &names), count(&text, &names));
        let stones = |word: &str| word == "stone";
        let kept = forced(&CompressOptions { force_tokens: vec!["stone".into(), "!".into()], ..word.clone() });
        assert_eq!(count(&kept, &stones), count(&text, &stones));
        assert_eq!(kept.matches('!').count(), text.matches('!').count());
    }
    let model = embedder();
    let options = CompressOptions { force_tokens: vec!["Lima".into()], ..ratio(1.2) };
    let result = model.compress(&text, &options).unwrap();
    assert_eq!(result.text.matches("Lima").count(), text.matches("Lima").count());
    let options = CompressOptions { force_tokens: vec!["Lima".into()], ..budget(30) };
    let error = model.compress(&text, &options).unwrap_err();
    assert!(error.message().starts_with("max_tokens: 30 tokens cannot hold what is kept in any case"), "{error}");
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let (encoder, decoder) = (embedder(), decoder());
    let classifier = open(&fixtures().join("bert-token-classifier"));
    let refused = |model: &Model, options: CompressOptions| {
        let error = model.compress(&document(20), &options).unwrap_err();
        (error.status(), error.message().to_string())
    };
    let method = |method| CompressOptions { method: Some(method), ..ratio(2.0) };
    let (status, message) = refused(&encoder, method(CompressMethod::TokenClassifier));
    assert!(
        status == Status::Unsupported && message.contains("no head for compressing by a token classifier"),
        "{message}"
    );
    let (status, message) = refused(&encoder, method(CompressMethod::SelfInformation));
    assert!(status == Status::Unsupported && message.contains("needs a decoder"), "{message}");
    let (status, message) = refused(&classifier, ratio(2.0));
    assert!(status == Status::Unsupported && message.contains("has 5 (`O`, `B-PER`"), "{message}");
    let (_, message) = refused(&classifier, CompressOptions { keep_label: Some("X".into()), ..ratio(2.0) });
    assert!(message.starts_with("keep_label: `X` is not a label of the model"), "{message}");
    let labelled = CompressOptions { keep_label: Some("O".into()), ..ratio(2.0) };
    assert!(classifier.compress(&document(20), &labelled).is_ok());

    let wrong = [
        (CompressOptions::default(), "ratio: give a ratio, or max_tokens"),
        (CompressOptions { max_tokens: Some(5), ..ratio(2.0) }, "ratio, max_tokens: give one"),
        (budget(0), "max_tokens: is 0"),
        (ratio(1.0), "ratio: 1 is not a number above 1"),
        (ratio(-3.0), "ratio: -3 is not"),
        (ratio(f64::NAN), "ratio: NaN is not"),
        (ratio(f64::INFINITY), "ratio: inf is not"),
        (budget(1), "max_tokens: 1 tokens hold no unit of the text, the shortest of which"),
        (CompressOptions { window: Some(4096), ..ratio(2.0) }, "window: 4096 tokens are more than the "),
        (CompressOptions { window: Some(3), ..ratio(2.0) }, "window: 3 tokens leave no room"),
        (CompressOptions { force_tokens: vec![" ".into()], ..ratio(2.0) }, "force_tokens[0]: "),
        (CompressOptions { keep_label: Some("O".into()), ..ratio(2.0) }, "keep_label: the method"),
    ];
    for (options, expected) in wrong {
        for model in [&encoder, &decoder] {
            let (status, message) = refused(model, options.clone());
            assert!(status == Status::InvalidArgument && message.starts_with(expected), "{expected}: {message}");
        }
    }
    let only = [
        (&decoder, CompressOptions { query: Some("a".into()), ..ratio(2.0) }, "query: the method self_information"),
        (&decoder, CompressOptions { relevance: Some(0.5), ..ratio(2.0) }, "relevance: the method"),
        (
            &decoder,
            CompressOptions { window: Some(40), overlap: Some(21), ..ratio(2.0) },
            "overlap: 21 tokens are more",
        ),
        (&encoder, CompressOptions { overlap: Some(1), ..ratio(2.0) }, "overlap: the method sentence_embeddings"),
        (&encoder, CompressOptions { unit: Some(CompressUnit::Word), ..ratio(2.0) }, "unit: the method"),
        (&encoder, CompressOptions { relevance: Some(1.5), ..ratio(2.0) }, "relevance: 1.5 is not above 0"),
        (&encoder, CompressOptions { relevance: Some(0.0), ..ratio(2.0) }, "relevance: 0 is not above 0"),
    ];
    for (model, options, expected) in only {
        let (status, message) = refused(model, options);
        assert!(status == Status::InvalidArgument && message.starts_with(expected), "{expected}: {message}");
    }
    let options = LoadOptions { max_text_bytes: Some(100), ..LoadOptions::default() };
    let short = Model::load(fixtures().join("bert"), options).unwrap();
    let (_, message) = refused(&short, ratio(2.0));
    assert!(message.contains("max_text_bytes"), "{message}");
}

#[test]
fn a_call_ends_when_it_is_cancelled_or_late() {
    let text = document(3000);
    let folder = two_labels(["drop", "keep"]);
    for model in [open(folder.path()), decoder(), embedder()] {
        let cancellation = Cancellation::new();
        let options = CompressOptions { cancellation: Some(cancellation.clone()), ..ratio(4.0) };
        let status = std::thread::scope(|scope| {
            let call = scope.spawn(|| model.compress(&text, &options).map_err(|error| error.status()));
            std::thread::sleep(Duration::from_millis(20));
            cancellation.cancel();
            call.join().unwrap()
        });
        assert_eq!(status.unwrap_err(), Status::Cancelled);
        let deadline = Some(Instant::now() + Duration::from_millis(20));
        let late = model.compress(&text, &CompressOptions { deadline, ..ratio(4.0) });
        assert_eq!(late.unwrap_err().status(), Status::DeadlineExceeded);
        assert!(model.compress(WORDS, &ratio(1.2)).is_ok() || model.embedding_size() > 0);
    }
}

#[test]
fn text_of_any_kind_is_cut_between_characters() {
    let folder = two_labels(["drop", "keep"]);
    let texts = support::texts(40);
    let long = "x".repeat(50_000);
    let odd =
        ["中文字".repeat(300), "a\u{301}e\u{301} ".repeat(300), long, "🐦".repeat(400), "\u{0}\u{200b} ".repeat(50)];
    for model in [open(folder.path()), decoder()] {
        for text in refs(&texts).into_iter().chain(refs(&odd)) {
            for unit in [None, Some(CompressUnit::Token), Some(CompressUnit::Sentence)] {
                let options = CompressOptions { unit, ..ratio(3.0) };
                match model.compress(text, &options) {
                    Ok(result) => {
                        let most = (result.tokens_before / 3).max(1);
                        pieces(&model, text, &result, most);
                    }
                    Err(error) => assert!(error.message().contains("hold no unit"), "{error} of {text:.40}"),
                }
            }
        }
    }
}
