//! The C ABI with arbitrary texts, sizes, numbers and options: every call returns a status, and an error exactly if it is not OK.
#![no_main]

use std::ptr::{null, null_mut};
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use kinglet::ffi::*;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    texts: Vec<Vec<u8>>,
    pairs: Option<Vec<Vec<u8>>>,
    struct_size: u8,
    numbers: [u32; 4],
    max_length: usize,
    ids: Vec<u32>,
    lengths: Vec<usize>,
}

struct Model(*mut kinglet_model);

// SAFETY: models may be used from any thread.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/bert-classifier");
    let path = kinglet_str { data: path.as_ptr().cast(), size: path.len() };
    let mut model = null_mut();
    // SAFETY: valid arguments.
    assert_eq!(unsafe { kinglet_model_load(path, null(), &mut model, null_mut()) }, KINGLET_STATUS_OK);
    Model(model)
});

/// Runs a call and checks the contract; true if it succeeded.
fn call(f: impl FnOnce(*mut *mut kinglet_error) -> kinglet_status) -> bool {
    let mut error = null_mut();
    let status = f(&mut error);
    assert_eq!(status == KINGLET_STATUS_OK, error.is_null());
    assert!(status != KINGLET_STATUS_PANIC && status != KINGLET_STATUS_INTERNAL, "status {status}");
    // SAFETY: NULL, or an error that the call has just created.
    unsafe { kinglet_error_free(error) };
    status == KINGLET_STATUS_OK
}

fn strings(texts: &[Vec<u8>]) -> Vec<kinglet_str> {
    texts.iter().map(|text| kinglet_str { data: text.as_ptr().cast(), size: text.len() }).collect()
}

fuzz_target!(|data: &[u8]| {
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else { return };
    let model = MODEL.0;
    let texts = strings(&input.texts);
    // There must be as many pairs as texts: C has one count for both.
    let pairs = input.pairs.as_ref().filter(|pairs| pairs.len() >= texts.len()).map(|pairs| strings(pairs));
    let pairs = pairs.as_ref().map_or(null(), |pairs| pairs.as_ptr());
    let [a, b, c, d] = input.numbers;
    // SAFETY: arrays have the sizes given; structs are as large as any size stated here (at most 255 bytes).
    unsafe {
        let mut space = [0usize; 32];
        let options = space.as_mut_ptr().cast::<kinglet_tokenize_options>();
        (*options).struct_size = usize::from(input.struct_size);
        ((*options).add_special_tokens, (*options).offsets, (*options).max_length) = (a % 4, b % 3, input.max_length);
        let mut encoding = null_mut();
        if call(|e| kinglet_model_tokenize(model, texts.as_ptr(), pairs, texts.len(), options, &mut encoding, e)) {
            let (mut ids, mut mask) = (vec![0; 256], vec![0; 256]);
            let (ids, mask) = (ids.as_mut_ptr(), mask.as_mut_ptr());
            call(|e| kinglet_encoding_pad(encoding, c as usize, d, ids, mask, 256, e));
            kinglet_encoding_free(encoding);
        }
        let options = space.as_mut_ptr().cast::<kinglet_classify_options>();
        space.fill(0);
        ((*options).function, (*options).aggregation, (*options).max_length) = (a % 6, b % 4, input.max_length);
        let mut scores = null_mut();
        if call(|e| kinglet_model_classify(model, texts.as_ptr(), pairs, texts.len(), options, &mut scores, e)) {
            kinglet_classifications_free(scores);
        }
        let (ids, lengths) = (&input.ids, &input.lengths);
        let mut states = null_mut();
        let run = |e| {
            let (l, n) = (lengths.as_ptr(), lengths.len());
            kinglet_model_hidden_states(model, ids.as_ptr(), null(), ids.len(), l, n, null(), &mut states, e)
        };
        if call(run) {
            kinglet_hidden_states_free(states);
        }
        let mut text = null_mut();
        space.fill(0);
        let options = space.as_mut_ptr().cast::<kinglet_detokenize_options>();
        (*options).struct_size = usize::from(input.struct_size);
        (*options).skip_special_tokens = c % 4;
        if call(|e| kinglet_model_detokenize(model, ids.as_ptr(), ids.len(), options, &mut text, e)) {
            kinglet_text_free(text);
        }
    }
});
