//! `fork` while other threads compute: the child uses, frees and loads models, and never waits for a thread that it does not have.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kinglet::{GenerateOptions, LoadOptions, Model, Precision};

use crate::support;

const FORKS: usize = 2000;
/// A child that has not ended by then hangs; it needs milliseconds.
const WATCHDOG: Duration = Duration::from_secs(60);

const TEXTS: [&str; 3] = ["a small bird", "the quickest of its woods", "it sings in the rain"];

fn load(fixture: &str) -> Model {
    let options = LoadOptions { threads: 3, precision: Some(Precision::Int8), ..LoadOptions::default() };
    Model::load(support::fixtures().join(fixture), options).unwrap()
}

fn vectors(model: &Model) -> Vec<u32> {
    let embeddings = model.embed(&TEXTS, &Default::default()).unwrap();
    embeddings.values.iter().map(|x| x.to_bits()).collect()
}

fn texts(model: &Model) -> Vec<String> {
    let options = GenerateOptions { max_new_tokens: Some(4), ..GenerateOptions::default() };
    let generations = model.generate(&TEXTS, &options, None).unwrap();
    generations.outputs.iter().map(|outputs| outputs[0].text.clone()).collect()
}

/// Runs `work` in a child process and returns its exit code.
fn in_child(work: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child runs only `work`, and leaves without running anything that the parent has registered.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(if good { 0 } else { 1 }) };
    }
    let start = Instant::now();
    let mut status = 0;
    // SAFETY: `child` is a child of this process that has not been waited for.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if start.elapsed() > WATCHDOG {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        thread::sleep(Duration::from_micros(200));
    }
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

/// Frees a model in a child, whose parent goes on using it.
fn free(model: &Model) {
    // SAFETY: the child leaves without dropping it again.
    let copy = unsafe { std::ptr::read(model) };
    drop(copy);
}

#[test]
fn children_of_a_busy_process_use_free_and_load_models() {
    let (encoder, decoder) = (ManuallyDrop::new(load("bert")), ManuallyDrop::new(load("generation/llama")));
    let (expected_vectors, expected_texts) = (vectors(&encoder), texts(&decoder));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        for i in 0..4 {
            let (encoder, decoder, stop) = (&encoder, &decoder, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if i % 2 == 0 { drop(vectors(encoder)) } else { drop(texts(decoder)) }
                }
            });
        }
        // A thread that begins or ends holds locks of Rust's library, which a child never sees released.
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    thread::spawn(|| ()).join().unwrap();
                }
            });
        }
        for i in 0..FORKS {
            let code = in_child(|| match i % 4 {
                0 => vectors(&encoder) == expected_vectors,
                1 => texts(&decoder) == expected_texts,
                2 => {
                    free(&encoder);
                    free(&decoder);
                    true
                }
                _ => vectors(&load("bert")) == expected_vectors,
            });
            assert_eq!(code, 0, "child {i}");
        }
    });
}
