use proptest::prelude::*;

use super::*;
use crate::formats::mutation::mutation;

#[test]
fn unsupported_features_are_named() {
    assert_unsupported(
        open(&decoder("mamba")),
        "`mamba` is not supported; supported are llama, qwen2, qwen2moe, qwen3,",
    );
    assert_unsupported(open(&decoder("qwen3").number("qwen3.expert_count", 8)), "mixtures of experts");
    assert_unsupported(open(&decoder("llama").text("general.type", "adapter")), "`adapter`");
    let mut file = decoder("llama");
    file.tensors[0].2 = 16;
    assert_unsupported(open(&file), "tensor `token_embd.weight` has type IQ2_XXS; supported are F32, F16,");
    file.tensors[0].2 = 77;
    assert_unsupported(open(&file), "the unknown type 77");
    let mut bytes = decoder("llama").bytes();
    bytes[4] = 9;
    assert_unsupported(open_bytes(&bytes), "version 9");
    bytes[4..8].copy_from_slice(&[0, 0, 0, 3]);
    assert_unsupported(open_bytes(&bytes), "big-endian");
    bytes[4..8].copy_from_slice(&[1, 0, 0, 0]);
    assert_says(open_bytes(&bytes), "version 1 of GGUF");
    bytes[4] = 2;
    open_bytes(&bytes).unwrap();
}

#[test]
fn files_that_violate_the_format_are_refused() {
    assert_says(open_bytes(b"GG"), "too short");
    assert_says(open_bytes(b"version https://git-lfs"), "git lfs pull");
    assert_says(open_bytes(b"tjgg\x01\0\0\0"), "older ggml");
    assert_says(open_bytes(b"{\"a\":1}   "), "not a GGUF file");
    let head = |tensors: u64, fields: u64, rest: &[u8]| {
        open_bytes(&[b"GGUF\x03\0\0\0", &tensors.to_le_bytes()[..], &fields.to_le_bytes(), rest].concat())
    };
    assert_says(head(0, u64::MAX, &[]), "fields; the maximum is 65536");
    assert_says(head(u64::MAX, 0, &[]), "tensors; the maximum is 100000");
    assert_says(head(0, 1, &[]), "truncated or damaged");
    assert_says(head(0, 1, &[255; 8]), "a key has 18446744073709551615 bytes");
    let field = |kind: u32, value: &[u8]| head(0, 1, &[&text("k"), &kind.to_le_bytes()[..], value].concat());
    assert_says(field(13, &[]), "field `k` has the unknown type 13");
    assert_says(field(8, &u64::MAX.to_le_bytes()), "the text of field `k` has");
    assert_says(field(8, &[2, 0, 0, 0, 0, 0, 0, 0, 255, 255]), "the text of field `k` is not UTF-8");
    let array = |kind: u32, count: u64, value: &[u8]| {
        field(9, &[&kind.to_le_bytes()[..], &count.to_le_bytes(), value].concat())
    };
    assert_says(array(9, 1, &[]), "a list of lists");
    assert_says(array(5, u64::MAX, &[]), "has 18446744073709551615 values");
    assert_says(array(0, u64::MAX, &[]), "truncated or damaged");
    assert_says(array(8, u64::MAX, &text("a")), "truncated or damaged");
    assert_says(array(8, 1, &[1, 0, 0, 0, 0, 0, 0, 0, 255]), "text 0 of field `k` is not UTF-8");
    assert_says(array(99, 1, &[]), "the unknown type 99");
    let doubled = [text("k"), vec![0, 0, 0, 0, 1], text("k"), vec![0, 0, 0, 0, 1]].concat();
    assert_says(head(0, 2, &doubled), "field `k` appears twice");
    assert_says(head(0, 0, &[]), "`general.architecture` is missing");
}

#[test]
fn tensors_must_be_within_the_file_and_not_overlap() {
    let file = decoder("llama");
    assert_says(open_bytes(&file.with_offsets(|i, at| if i == 2 { 0 } else { at })), "overlaps tensor");
    assert_says(open_bytes(&file.with_offsets(|i, at| if i == 5 { at + 32 } else { at })), "the file is truncated");
    assert_says(
        open_bytes(&file.with_offsets(|i, at| if i == 5 { u64::MAX - 31 } else { at })),
        "the file is truncated",
    );
    assert_says(open_bytes(&file.with_offsets(|i, at| at + u64::from(i == 1))), "not a multiple of 32");
    let bytes = file.bytes();
    assert_says(open_bytes(&bytes[..bytes.len() - 1]), "the file is truncated");
    for alignment in [0, 3, u32::MAX] {
        assert_says(open(&file.clone().number("general.alignment", alignment)), "not a power of two");
    }
    assert_says(open(&file.clone().text("general.alignment", "x")), "must be a whole number; it is the text `x`");
    assert_says(open(&file.clone().tensor("output_norm.weight", &[8])), "`output_norm.weight` appears twice");
    assert_says(open(&file.clone().tensor("model.norm.weight", &[8])), "`model.norm.weight` appears under two names");
    let with = |dimensions: &[u64], kind: u32| {
        let mut file = file.clone();
        file.tensors.push(("x".into(), dimensions.to_vec(), kind, vec![]));
        open(&file)
    };
    assert_says(with(&[1; 5], 0), "5 dimensions");
    assert_says(with(&[33, 2], 8), "not whole blocks of 32");
    assert_says(with(&[1 << 40, 1 << 40], 0), "is too large");
    assert_says(with(&[u64::MAX, 0], 0), "is too large");
    assert_says(with(&[1 << 62], 0), "is too large");
    assert!(with(&[0, 5], 0).is_ok());
    assert!(with(&[], 0).is_err());
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let file = || decoder("llama");
    assert_says(open(&file().without("llama.block_count")), "`llama.block_count` is missing");
    assert_says(open(&file().number("llama.block_count", 0)), "must not be 0");
    assert_says(open(&file().number("llama.attention.head_count", 0)), "must not be 0");
    assert_says(open(&file().number("llama.attention.head_count", 9)), "invalid attention");
    assert_says(open(&file().number("llama.attention.head_count", 8)), "must be even");
    assert_says(open(&file().number("llama.attention.head_count", 4)), "its heads need 2 rows");
    assert_says(open(&file().number("llama.attention.key_length", u32::MAX)), "from 0 to 2147483648");
    assert_says(open(&file().number("llama.rope.dimension_count", 2)), "is 2, but heads have 4");
    assert_says(open(&file().single("llama.rope.freq_base", f32::NAN)), "within the range of f32; it is NaN");
    assert_says(open(&file().without("token_embd.weight")), "there is no tensor `token_embd.weight`");
    assert_says(
        open(&file().without("token_embd.weight").tensor("token_embd.weight", &[6, 8])),
        "7 tokens, but embeddings for 6",
    );
    assert_says(open(&file().number("tokenizer.ggml.eos_token_id", 7)), "is 7, but there are only 7 tokens");
    assert_says(open(&file().kinds(&[1, 2])), "has 2 values for 7 tokens");
    assert_says(open(&file().texts("tokenizer.ggml.tokens", &[])), "is empty");
    assert_says(open(&file().texts("tokenizer.ggml.tokens", &["a", "a"])), "has `a` twice, with the ids 0 and 1");
    assert_says(
        open(&file().texts("tokenizer.ggml.merges", &["a b", "ab c"])),
        "merge 1 is `ab c`, but `abc` is not a token",
    );
    assert_says(open(&file().texts("tokenizer.ggml.merges", &["ab"])), "not two tokens");
    assert_says(open(&file().flag("tokenizer.ggml.add_bos_token", true)), "the file names no such token");
    assert_says(open(&sentencepiece().scores(&[f32::INFINITY; 11])), "not finite");
    // A list with the same number for every layer counts as that number; and -1 means no token.
    let listed = |n: u32| list(4, 2, [1, n].iter().flat_map(|n: &u32| n.to_le_bytes()).collect());
    assert!(open(&file().raw("llama.attention.head_count_kv", listed(1))).is_ok());
    assert_says(open(&file().raw("llama.attention.head_count_kv", listed(2))), "it is a list of 2 numbers");
    let none =
        file().number("tokenizer.ggml.eos_token_id", u32::MAX).field("tokenizer.ggml.bos_token_id", 5, &[255; 4]);
    assert_eq!(open(&none).unwrap().generation_config, json!({}));
}

/// Opens a mutated file and reads everything; every error must name the file.
fn read_all(bytes: &[u8]) -> Result<()> {
    let model = open_bytes(bytes)?;
    // A tokenizer may be refused, but must not panic.
    if let Ok(tokenizer) = tokenizers::Tokenizer::from_bytes(&model.tokenizer) {
        let _may_lack_tokens = tokenizer.encode("ab a<s>\n é", true);
    }
    for name in model.weights.names() {
        let view = model.weights.get(name).expect("a name that was listed");
        let mut half = vec![f16::ZERO; view.elements()];
        for error in [view.to_vec_f32().err(), view.read_f16(0, &mut half).err()].into_iter().flatten() {
            assert!(error.message().contains("model.gguf"), "{error}");
        }
        view.release();
    }
    Ok(())
}

/// A file with every field that Kinglet reads.
fn sample(tokenizer: usize) -> File {
    let charsmap = crate::formats::charsmap::tests::table(0);
    let charsmap = list(0, charsmap.len(), charsmap);
    let file = match tokenizer {
        0 => decoder("llama"),
        1 => sentencepiece(),
        _ => decoder("gemma3")
            .number("gemma3.attention.sliding_window", 4)
            .text("tokenizer.ggml.model", "t5")
            .scores(&[0.0; 7])
            .raw("tokenizer.ggml.precompiled_charsmap", charsmap),
    };
    let mut file = file.number("general.alignment", 32).tensor("rope_freqs.weight", &[2]);
    file.tensors.last_mut().unwrap().3 = [1f32.to_le_bytes(), 8f32.to_le_bytes()].concat();
    file.tensors.push(("blk.0.attn_v.weight".into(), vec![32, 2], 8, vec![7; 68]));
    file.tensors.push(("blk.0.ffn_down.weight".into(), vec![256, 1], 14, vec![9; 210]));
    // Another field order per sample, so that mutations near the front hit other fields.
    file.fields.rotate_left(tokenizer * 3);
    file
}

#[test]
fn the_samples_to_be_mutated_are_valid() {
    for tokenizer in 0..3 {
        read_all(&sample(tokenizer).bytes()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_never_panics_and_errors_name_it(
        tokenizer in 0..3usize,
        at in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let mut bytes = sample(tokenizer).bytes();
        // Mutations favour the front, so the start of the damaged range varies.
        let cut = at.index(bytes.len());
        let mut tail = bytes.split_off(cut);
        mutations.iter().for_each(|mutation| mutation.apply(&mut tail));
        bytes.extend(tail);
        if let Err(error) = read_all(&bytes) {
            prop_assert!(error.message().contains("model.gguf"), "{error}");
            prop_assert!(error.message().chars().count() < 1000, "{error}");
        }
    }
}
