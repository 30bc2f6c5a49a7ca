//! Many callers of one model: every result has the bits that it has alone, whatever shares its passes; errors, cancellations and
//! deadlines reach only their own call; a full queue refuses.

mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kinglet::{
    Aggregation, Cancellation, ClassifyOptions, Device, EmbedOptions, Error, GenerateOptions, LoadOptions, Model,
    Output, Pooling, Precision, Priority, Result, SchedulerOptions, Stage, Status,
};
use support::{bits, fixtures, load, minilm, refs, texts};

const PRIORITIES: [Priority; 3] = [Priority::Interactive, Priority::Normal, Priority::Bulk];

fn load_with(fixture: &str, precision: Precision, threads: usize, scheduler: SchedulerOptions) -> Model {
    let options = LoadOptions { precision: Some(precision), threads, scheduler, ..LoadOptions::default() };
    Model::load(fixtures().join(fixture), options).unwrap()
}

/// Runs `work(thread, round)` on threads that begin together.
fn together(threads: usize, rounds: usize, work: impl Fn(usize, usize) + Sync) {
    let begin = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (work, begin) = (&work, &begin);
            scope.spawn(move || {
                begin.wait();
                (0..rounds).for_each(|round| work(thread, round));
            });
        }
    });
}

fn rows(model: &Model, texts: &[&str], options: &EmbedOptions) -> Result<Vec<Vec<u32>>> {
    let result = model.embed(texts, options)?;
    let rows = result.starts.windows(2).map(|w| &result.values[w[0] * result.dimension..w[1] * result.dimension]);
    Ok(rows.map(bits).collect())
}

/// An output, its floats as bits.
type Exact = (String, Vec<u32>, Vec<u32>, u32);

fn exact(outputs: &[Output]) -> Vec<Exact> {
    outputs.iter().map(|o| (o.text.clone(), o.tokens.clone(), bits(&o.logprobs), o.score.to_bits())).collect()
}

fn generate(model: &Model, texts: &[&str], options: &GenerateOptions) -> Result<Vec<Vec<Exact>>> {
    Ok(model.generate(texts, options, None)?.outputs.iter().map(|outputs| exact(outputs)).collect())
}

/// In so many configurations, with so many repetitions in the large batch.
fn embeds_equal(path: &std::path::Path, configurations: usize, repetitions: usize) {
    let texts = texts(64);
    let texts = refs(&texts);
    for (precision, threads, pooling) in [
        (Precision::Int8, 2, Pooling::Mean),
        (Precision::F32, 3, Pooling::None),
        (Precision::F16, 1, Pooling::Cls),
        (Precision::Int8, 3, Pooling::Mean),
    ]
    .into_iter()
    .take(configurations)
    {
        let options = EmbedOptions { pooling: Some(pooling), ..EmbedOptions::default() };
        let model = load(path, Device::Cpu, precision, threads);
        let expected = rows(&model, &texts, &options).unwrap();
        let bulk: Vec<&str> = (0..repetitions).flat_map(|_| texts.iter().copied()).collect();
        together(12, 4, |thread, round| {
            let priority = PRIORITIES[(thread + round) % 3];
            let options = EmbedOptions { priority, ..options.clone() };
            if thread == 0 {
                let found = rows(&model, &bulk, &options).unwrap();
                assert!(
                    found.iter().zip(expected.iter().cycle()).all(|(a, b)| a == b),
                    "the large batch, {priority:?}"
                );
                return;
            }
            let first = (7 * thread + 13 * round) % 60;
            let some = first..(first + [1, 1, 1, 4][thread % 4]);
            let found = rows(&model, &texts[some.clone()], &options).unwrap();
            assert!(found == expected[some.clone()], "texts {some:?} of thread {thread}, {priority:?}");
        });
    }
}

#[test]
fn texts_of_many_callers_have_the_bits_that_they_have_alone() {
    for fixture in ["bert", "mpnet"] {
        embeds_equal(&fixtures().join(fixture), 4, 10);
    }
}

#[test]
fn texts_of_the_real_minilm() {
    if let Some(path) = minilm() {
        embeds_equal(&path, 1, 2);
    }
}

#[test]
fn scores_and_entities_of_many_callers() {
    let texts: Vec<String> = texts(64).into_iter().filter(|text| !text.is_empty()).collect();
    let texts = refs(&texts);
    let classifier = load(&fixtures().join("bert-classifier"), Device::Cpu, Precision::Int8, 2);
    let tagger = load(&fixtures().join("bert-token-classifier"), Device::Cpu, Precision::F32, 2);
    let options = ClassifyOptions::default();
    let scores = |text: &str| bits(&classifier.classify(&[text], None, &options).unwrap().scores);
    let tags = |text: &str| bits(&tagger.classify_tokens(&[text], Aggregation::Simple, &options).unwrap().scores);
    let expected: Vec<_> = texts.iter().map(|text| (scores(text), tags(text))).collect();
    together(16, 20, |thread, round| {
        let i = (5 * thread + 3 * round) % texts.len();
        assert!(scores(texts[i]) == expected[i].0 && tags(texts[i]) == expected[i].1, "text {i}");
    });
    let totals = classifier.counters().stage(Stage::SharedPass);
    assert!(totals.calls > 0 && totals.items >= totals.calls, "{totals:?}");
}

fn kinds() -> Vec<GenerateOptions> {
    let base = GenerateOptions { max_new_tokens: Some(10), logprobs: true, ..GenerateOptions::default() };
    vec![
        GenerateOptions { num_beams: Some(1), do_sample: Some(false), logprobs: false, ..base.clone() },
        GenerateOptions { num_beams: Some(3), num_return_sequences: Some(2), logprobs: false, ..base.clone() },
        GenerateOptions { do_sample: Some(true), num_return_sequences: Some(2), seed: Some(7), ..base.clone() },
        GenerateOptions {
            num_beams: Some(1),
            do_sample: Some(false),
            prompt_lookup_num_tokens: Some(4),
            repetition_penalty: Some(1.2),
            ..base
        },
    ]
}

fn prompts() -> Vec<String> {
    texts(200).into_iter().filter(|text| (1..60).contains(&text.len())).take(12).collect()
}

#[test]
fn generations_of_many_callers_have_the_bits_that_they_have_alone() {
    let texts = prompts();
    let texts = refs(&texts);
    let kinds = kinds();
    let small = SchedulerOptions { max_tokens: 16, max_sequences: 7, ..SchedulerOptions::default() };
    for (fixture, precision, threads, scheduler) in [
        ("llama", Precision::Int8, 2, SchedulerOptions::default()),
        ("gpt2", Precision::F32, 3, small),
        ("gemma2", Precision::F16, 1, small),
        ("t5-gated", Precision::Int8, 2, small),
        ("bart", Precision::Bf16, 2, SchedulerOptions::default()),
        ("phi3-longrope", Precision::F32, 2, small),
        ("llama-dynamic", Precision::F32, 2, small),
    ] {
        let name = format!("generation/{fixture}");
        if !fixtures().join(&name).exists() {
            eprintln!("skipped: {fixture}, because there is no such fixture");
            continue;
        }
        let alone = load_with(&name, precision, 1, SchedulerOptions::default());
        let expected: Vec<Vec<_>> = kinds
            .iter()
            .map(|options| {
                texts.iter().map(|text| generate(&alone, &[text], options).unwrap().swap_remove(0)).collect()
            })
            .collect();
        let model = load_with(&name, precision, threads, scheduler);
        together(12, 6, |thread, round| {
            let kind = (thread + round) % kinds.len();
            let options = GenerateOptions { priority: PRIORITIES[thread % 3], ..kinds[kind].clone() };
            let first = (5 * thread + 3 * round) % texts.len();
            let some = first..(first + 1 + thread % 3).min(texts.len());
            let found = generate(&model, &texts[some.clone()], &options).unwrap();
            assert!(found == expected[kind][some.clone()], "{fixture}: texts {some:?} of kind {kind}");
        });
        let steps = model.counters().stage(Stage::SharedPass);
        assert!(steps.items > steps.calls, "{fixture}: nothing was merged: {steps:?}");
    }
}

#[test]
fn streams_prefixes_and_logits_of_many_callers() {
    let texts = prompts();
    let model = load_with("generation/llama", Precision::Int8, 2, SchedulerOptions::default());
    let options =
        GenerateOptions { num_beams: Some(1), do_sample: Some(false), max_new_tokens: Some(12), ..Default::default() };
    let run = |text: &str| {
        let prefix = model.prefix(text, true, None).unwrap();
        let logits = bits(&model.logits(&[5, 9, 7, 6], None, false, None).unwrap().values);
        let mut streamed = String::new();
        let caller = std::thread::current().id();
        let mut listen = |piece: kinglet::Piece| {
            assert_eq!(std::thread::current().id(), caller, "a callback on another thread");
            streamed.push_str(piece.text);
            true
        };
        let options = GenerateOptions { prefix: Some(prefix), ..options.clone() };
        let result = model.generate(&[text], &options, Some(&mut listen)).unwrap();
        assert_eq!(streamed, result.outputs[0][0].text);
        (exact(&result.outputs[0]), logits)
    };
    let expected: Vec<_> = texts.iter().map(|text| run(text)).collect();
    together(10, 5, |thread, round| {
        let i = (3 * thread + round) % texts.len();
        assert!(run(&texts[i]) == expected[i], "text {i}");
    });
}

/// A number from a fixed seed (SplitMix64).
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn sixty_four_callers_with_cancellations_and_deadlines() {
    let texts = prompts();
    let texts = refs(&texts);
    let kinds = kinds();
    let scheduler = SchedulerOptions { max_tokens: 64, queue_length: 40, ..SchedulerOptions::default() };
    let model = load_with("generation/llama", Precision::Int8, 2, scheduler);
    let embed = EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() };
    let vectors = rows(&model, &texts, &embed).unwrap();
    let expected: Vec<Vec<_>> = kinds
        .iter()
        .map(|options| texts.iter().map(|text| generate(&model, &[text], options).unwrap().swap_remove(0)).collect())
        .collect();
    let counts = [const { AtomicUsize::new(0) }; 4];
    let count = |status: Option<Status>| {
        let place = match status {
            None => 0,
            Some(Status::Cancelled) => 1,
            Some(Status::DeadlineExceeded) => 2,
            Some(Status::Busy) => 3,
            Some(_) => return false,
        };
        counts[place].fetch_add(1, Ordering::Relaxed);
        true
    };
    let counted = |error: Option<&Error>| assert!(count(error.map(Error::status)), "{error:?}");
    together(64, 8, |thread, round| {
        let chance = random((thread * 1000 + round) as u64);
        let (i, kind) = ((chance >> 8) as usize % texts.len(), (chance >> 16) as usize % kinds.len());
        let cancellation = Cancellation::new();
        let deadline = (chance.is_multiple_of(5)).then(|| Instant::now() + Duration::from_micros(chance >> 24 & 0xfff));
        let priority = PRIORITIES[(chance >> 40) as usize % 3];
        let stop = cancellation.clone();
        std::thread::scope(|scope| {
            if chance.is_multiple_of(7) {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_micros(chance >> 44 & 0xfff));
                    stop.cancel();
                });
            }
            if chance.is_multiple_of(3) {
                let options =
                    EmbedOptions { cancellation: Some(cancellation.clone()), deadline, priority, ..embed.clone() };
                let found = rows(&model, &texts[i..], &options);
                counted(found.as_ref().err());
                assert!(found.is_err() || found.unwrap() == vectors[i..], "text {i}");
            } else {
                let options = GenerateOptions {
                    cancellation: Some(cancellation.clone()),
                    deadline,
                    priority,
                    ..kinds[kind].clone()
                };
                let found = generate(&model, &texts[i..=i], &options);
                counted(found.as_ref().err());
                assert!(found.is_err() || found.unwrap()[0] == expected[kind][i], "text {i} of kind {kind}");
            }
        });
    });
    let counts: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert_eq!(counts.iter().sum::<usize>(), 64 * 8);
    assert!(counts[0] > 0, "{counts:?}");
    let counters = model.counters();
    assert_eq!(counters.stage(Stage::Busy).calls as usize, counts[3]);
    assert_eq!(counters.stage(Stage::DeadlineMissed).calls as usize, counts[2]);
    // Nothing is left behind.
    assert!(generate(&model, &texts[..1], &kinds[0]).unwrap()[0] == expected[0][0]);
}

#[test]
fn an_error_of_one_call_does_not_reach_the_others() {
    let texts = prompts();
    let texts = refs(&texts);
    let options =
        GenerateOptions { num_beams: Some(1), do_sample: Some(false), max_new_tokens: Some(16), ..Default::default() };
    let model = load_with("generation/llama", Precision::Int8, 2, SchedulerOptions::default());
    let expected: Vec<_> = texts.iter().map(|text| generate(&model, &[text], &options).unwrap()).collect();
    let vocabulary = model.vocabulary_size() as u32;
    let states = bits(&model.hidden_states(&[1, 2, 3], &[3], None, None).unwrap().values);
    together(12, 12, |thread, round| match thread % 4 {
        0 => {
            let error = model.generate_ids(&[1, vocabulary, 2], &[3], &options, None).unwrap_err();
            assert_eq!(error.status(), Status::InvalidArgument, "{error}");
            assert!(error.message().contains("ids"), "{error}");
        }
        1 => {
            let error = model.hidden_states(&[vocabulary + 7], &[1], None, None).unwrap_err();
            assert_eq!(error.status(), Status::InvalidArgument, "{error}");
        }
        2 => {
            let found = bits(&model.hidden_states(&[1, 2, 3], &[3], None, None).unwrap().values);
            assert!(found == states);
        }
        _ => {
            let i = (thread + 5 * round) % texts.len();
            assert!(generate(&model, &texts[i..=i], &options).unwrap() == expected[i], "text {i}");
        }
    });
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let texts = texts(64);
    let texts = refs(&texts);
    let scheduler = SchedulerOptions { queue_length: 1, queue_bytes: 10_000, ..SchedulerOptions::default() };
    let model = load_with("bert", Precision::F32, 2, scheduler);
    let options = EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() };
    let expected = rows(&model, &texts, &options).unwrap();
    let refused = AtomicUsize::new(0);
    together(24, 20, |_, _| match rows(&model, &texts, &options) {
        Ok(found) => assert!(found == expected),
        Err(error) => {
            assert_eq!(error.status(), Status::Busy, "{error}");
            assert!(error.message().contains("queue"), "{error}");
            refused.fetch_add(1, Ordering::Relaxed);
        }
    });
    let busy = model.counters().stage(Stage::Busy).calls;
    assert_eq!(busy as usize, refused.load(Ordering::Relaxed));
    assert!(rows(&model, &texts, &options).unwrap() == expected);
    let huge = "word ".repeat(4000);
    rows(&model, &[&huge], &options).unwrap();
}

#[test]
fn a_deadline_ends_a_call_with_its_own_status() {
    let model = load_with("generation/llama", Precision::F32, 2, SchedulerOptions::default());
    let embed = EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() };
    let past = Some(Instant::now());
    let error = model.embed(&["late"], &EmbedOptions { deadline: past, ..embed.clone() }).unwrap_err();
    assert_eq!(error.status(), Status::DeadlineExceeded, "{error}");
    let long = GenerateOptions {
        num_beams: Some(1),
        do_sample: Some(false),
        max_new_tokens: Some(40),
        ignore_eos: true,
        ..Default::default()
    };
    let error = model.generate(&["late"], &GenerateOptions { deadline: past, ..long.clone() }, None).unwrap_err();
    assert_eq!(error.status(), Status::DeadlineExceeded, "{error}");
    // In the middle: the listener waits until the deadline has passed.
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut pieces = 0;
    let mut listen = |_: kinglet::Piece| {
        pieces += 1;
        if pieces == 3 {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        }
        true
    };
    let options = GenerateOptions { deadline: Some(deadline), ..long.clone() };
    let error = model.generate(&["late"], &options, Some(&mut listen)).unwrap_err();
    assert_eq!(error.status(), Status::DeadlineExceeded, "{error}");
    assert_eq!(pieces, 3);
    let in_time = Some(Instant::now() + Duration::from_secs(3600));
    model.generate(&["late"], &GenerateOptions { deadline: in_time, ..long }, None).unwrap();
    assert_eq!(model.counters().stage(Stage::DeadlineMissed).calls, 3);
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let name = |scheduler| {
        let options = LoadOptions { scheduler, ..LoadOptions::default() };
        Model::load(fixtures().join("bert"), options).err().unwrap().message().to_string()
    };
    let none = SchedulerOptions::default();
    assert!(name(SchedulerOptions { max_tokens: 1 << 20, ..none }).starts_with("scheduler.max_tokens: "));
    assert!(name(SchedulerOptions { max_sequences: 1 << 20, ..none }).starts_with("scheduler.max_sequences: "));
    assert!(name(SchedulerOptions { max_wait: Duration::from_secs(2), ..none }).starts_with("scheduler.max_wait: "));
}

#[test]
fn texts_wait_for_company_if_told_to() {
    let max_wait = Duration::from_millis(20);
    let model = load_with("bert", Precision::F32, 1, SchedulerOptions { max_wait, ..SchedulerOptions::default() });
    let options = EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() };
    let texts = texts(8);
    let texts = refs(&texts);
    let expected = rows(&model, &texts, &options).unwrap();
    let begun = Instant::now();
    rows(&model, &texts[..1], &options).unwrap();
    assert!(begun.elapsed() >= max_wait, "a lone text did not wait");
    together(8, 5, |thread, _| {
        assert!(rows(&model, &texts[thread..=thread], &options).unwrap()[0] == expected[thread])
    });
}

#[test]
fn counters_tell_priorities_apart() {
    let model = load_with("generation/gpt2", Precision::F32, 1, SchedulerOptions::default());
    let mut options =
        GenerateOptions { num_beams: Some(1), do_sample: Some(false), max_new_tokens: Some(5), ..Default::default() };
    let mut found = BTreeMap::new();
    for priority in PRIORITIES {
        options = GenerateOptions { priority, ignore_eos: true, ..options };
        model.generate_ids(&[5, 9, 7], &[3], &options, None).unwrap();
        let counters = model.counters();
        let stages = [
            Stage::FirstTokenInteractive,
            Stage::FirstTokenNormal,
            Stage::FirstTokenBulk,
            Stage::OutputTokenInteractive,
            Stage::OutputTokenNormal,
            Stage::OutputTokenBulk,
        ];
        found.insert(priority.name(), stages.map(|stage| counters.stage(stage).tokens));
    }
    assert_eq!(found["interactive"], [1, 0, 0, 4, 0, 0]);
    assert_eq!(found["normal"], [1, 1, 0, 4, 4, 0]);
    assert_eq!(found["bulk"], [1, 1, 1, 4, 4, 4]);
    let counters = model.counters();
    assert_eq!(counters.stage(Stage::QueueWait).calls, 15);
    let passes = counters.stage(Stage::SharedPass);
    assert_eq!((passes.calls, passes.items, passes.tokens), (15, 15, 3 * 7));
}

#[test]
fn requests_run_in_the_background() {
    let scheduler = SchedulerOptions { requests: 3, ..SchedulerOptions::default() };
    let model = load_with("bert", Precision::Int8, 2, scheduler);
    let texts = texts(32);
    let options = EmbedOptions { pooling: Some(Pooling::Mean), ..EmbedOptions::default() };
    let expected = rows(&model, &refs(&texts), &options).unwrap();
    let submit = |i: usize, callback: Option<Box<dyn FnOnce() + Send>>| {
        let (text, options) = (texts[i].clone(), options.clone());
        let work = move |model: &Model, cancellation| {
            let options = EmbedOptions { cancellation: Some(cancellation), ..options };
            Ok((rows(model, &[&text], &options)?.swap_remove(0), std::thread::current().id()))
        };
        model.submit_with(PRIORITIES[i % 3], Cancellation::new(), callback, work).unwrap()
    };
    let called = std::sync::Arc::new(AtomicUsize::new(0));
    let requests: Vec<_> = (0..32)
        .map(|i| {
            let called = called.clone();
            submit(i, Some(Box::new(move || _ = called.fetch_add(1, Ordering::Relaxed))))
        })
        .collect();
    let mut threads = std::collections::HashSet::new();
    for (i, request) in requests.into_iter().enumerate() {
        let (found, thread) = request.join().unwrap();
        assert!(found == expected[i], "text {i}");
        threads.insert(thread);
    }
    // A callback comes after those that wait were woken.
    while called.load(Ordering::Relaxed) < 32 {
        std::thread::yield_now();
    }
    assert!(threads.len() <= 3 && !threads.contains(&std::thread::current().id()));
    // As a future, without a runtime.
    let thread = std::thread::current();
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(thread)).into();
    let mut request = submit(5, None);
    let result = loop {
        match std::pin::Pin::new(&mut request).poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(result) => break result,
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    assert!(result.unwrap().0 == expected[5]);
    assert_eq!(request.take().err().map(|error| error.status()), Some(Status::InvalidArgument));
    // A panic and a cancellation are results.
    let panics = model.submit(Priority::Normal, |_, _| -> Result<()> { panic!("on purpose") }).unwrap();
    assert_eq!(panics.join().unwrap_err().status(), Status::Panic);
    let stopped = Cancellation::new();
    stopped.cancel();
    let request = model.submit_with(Priority::Normal, stopped, None, |_, _| Ok(1)).unwrap();
    assert!(request.wait(Some(Duration::from_secs(3600))));
    assert_eq!(request.take().unwrap_err().status(), Status::Cancelled);
    // The model is freed with the last request.
    let request = submit(7, None);
    drop(model);
    assert!(request.join().unwrap().0 == expected[7]);
}
