//! A decoding step does not allocate: generating many more tokens needs no more allocations.
//!
//! The allocator counts for the whole process, including worker threads, so this is the only test here.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kinglet::{Device, GenerateOptions, Model, Precision};
use support::{fixtures, load};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator; counting does not touch its memory.
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

/// The number of allocations of a batch of two texts with `tokens` new tokens each.
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
fn longer_texts_need_no_more_allocations() {
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
        // Without the tokenizer, because detokenising at the end allocates per token.
        let (path, copy) = (fixtures().join("generation").join(fixture), tempfile::tempdir().unwrap());
        for file in ["config.json", "generation_config.json", "model.safetensors"] {
            std::fs::copy(path.join(file), copy.path().join(file)).unwrap();
        }
        for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8, Precision::Int4] {
            for threads in [1, 2] {
                let model = load(copy.path(), Device::Cpu, precision, threads);
                for (kind, options) in kinds {
                    // The longest text first, so that scratch memory and pages of the KV cache exist from then on. Which thread
                    // uses which scratch memory varies, so a call may still grow some: take the minimum of three counts.
                    let at = format!("{fixture} in {}, {threads} threads, {kind}", precision.name());
                    let steps = [56, 16].map(|tokens| (0..3).map(|_| allocations(&model, options, tokens)).min());
                    let [long, short] = steps.map(Option::unwrap_or_default);
                    // The lists of a result grow a few times in total, each beam is allocated when it first splits off, and two
                    // threads that sample at once need a second workspace. One allocation per step would be 40.
                    assert!(long <= short + 24, "{at}: {short} allocations for 16 tokens and {long} for 56");
                }
            }
        }
    }
}
