//! A step of decoding allocates nothing: a text that is many tokens longer costs no allocation more.
//!
//! The allocator counts for the whole process, worker threads too, so this is the only test here.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kinglet::{Device, GenerateOptions, Model, Precision};
use support::{fixtures, load};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's allocator; counting changes no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of a batch of two texts of `tokens` new tokens each.
fn allocations(model: &Model, options: &GenerateOptions, tokens: usize) -> usize {
    let options = GenerateOptions { max_new_tokens: Some(tokens), ..options.clone() };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let result = model.generate_ids(&[5, 9, 7, 11, 6], &[3, 2], &options, None).unwrap();
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    let lengths: Vec<usize> = result.outputs.iter().map(|outputs| outputs[0].tokens.len()).collect();
    assert_eq!(lengths, [tokens; 2]);
    after - before
}

#[test]
fn longer_texts_allocate_no_more() {
    let greedy =
        GenerateOptions { num_beams: Some(1), do_sample: Some(false), ignore_eos: true, ..GenerateOptions::default() };
    let logprobs = GenerateOptions { logprobs: true, ..greedy.clone() };
    let sampling = GenerateOptions {
        do_sample: Some(true),
        temperature: Some(0.9),
        top_k: Some(40),
        top_p: Some(0.95),
        min_p: Some(0.01),
        typical_p: Some(0.98),
        repetition_penalty: Some(1.1),
        seed: Some(7),
        ..greedy.clone()
    };
    let penalties = GenerateOptions {
        presence_penalty: Some(0.1),
        frequency_penalty: Some(0.1),
        no_repeat_ngram_size: Some(3),
        ..greedy.clone()
    };
    let beams = |count| GenerateOptions { num_beams: Some(count), ..greedy.clone() };
    let (two, four) = (beams(2), beams(4));
    let kinds = [
        ("greedy", &greedy),
        ("log-probabilities", &logprobs),
        ("sampling", &sampling),
        ("penalties", &penalties),
        ("two beams", &two),
        ("four beams", &four),
    ];
    for fixture in ["gpt2", "llama", "gemma2", "mistral", "t5-gated", "bart"] {
        // Without its tokenizer, because turning tokens to text at the end allocates for each of them.
        let (path, copy) = (fixtures().join("generation").join(fixture), tempfile::tempdir().unwrap());
        for file in ["config.json", "generation_config.json", "model.safetensors"] {
            std::fs::copy(path.join(file), copy.path().join(file)).unwrap();
        }
        for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8] {
            for threads in [1, 2] {
                let model = load(copy.path(), Device::Cpu, precision, threads);
                for (kind, options) in kinds {
                    // The longest first: scratch memory and pages of the cache are there from then on. Which thread takes which
                    // scratch memory is chance, so that a call may still grow some: the least of three counts.
                    let at = format!("{fixture} in {}, {threads} threads, {kind}", precision.name());
                    let steps = [56, 16].map(|tokens| (0..3).map(|_| allocations(&model, options, tokens)).min());
                    let [long, short] = steps.map(Option::unwrap_or_default);
                    // The lists of an answer grow a few times in all, beams are made as often as they first split off, and where two
                    // threads choose tokens at once a second workspace is made; an allocation a step would be 40.
                    assert!(long <= short + 24, "{at}: {short} allocations for 16 tokens and {long} for 56");
                }
            }
        }
    }
}
