use std::fs;
use std::path::PathBuf;

use half::f16;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::base::error::Status;
use crate::formats::safetensors::DType;

mod hostile;
mod split;

/// A builder of GGUF files.
#[derive(Clone, Default)]
struct File {
    fields: Vec<(String, Vec<u8>)>,
    /// Name, dimensions in GGUF's order, type, contents.
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn list(kind: u32, count: usize, values: Vec<u8>) -> Vec<u8> {
    [&9u32.to_le_bytes()[..], &kind.to_le_bytes(), &(count as u64).to_le_bytes(), &values].concat()
}

impl File {
    fn field(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.fields.retain(|(other, _)| other != key);
        self.fields.push((key.into(), [&kind.to_le_bytes(), value].concat()));
        self
    }

    fn number(self, key: &str, value: u32) -> Self {
        self.field(key, 4, &value.to_le_bytes())
    }

    fn single(self, key: &str, value: f32) -> Self {
        self.field(key, 6, &value.to_le_bytes())
    }

    fn flag(self, key: &str, value: bool) -> Self {
        self.field(key, 7, &[u8::from(value)])
    }

    fn text(self, key: &str, value: &str) -> Self {
        self.field(key, 8, &text(value))
    }

    fn raw(mut self, key: &str, value: Vec<u8>) -> Self {
        self.fields.retain(|(other, _)| other != key);
        self.fields.push((key.into(), value));
        self
    }

    fn texts(self, key: &str, values: &[&str]) -> Self {
        self.raw(key, list(8, values.len(), values.iter().flat_map(|value| text(value)).collect()))
    }

    fn kinds(self, values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw("tokenizer.ggml.token_type", list(5, values.len(), bytes))
    }

    fn scores(self, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw("tokenizer.ggml.scores", list(6, values.len(), bytes))
    }

    fn without(mut self, key: &str) -> Self {
        self.fields.retain(|(other, _)| other != key);
        self.tensors.retain(|(other, ..)| other != key);
        self
    }

    /// An F32 tensor of this row-major shape; its elements count up from 0.
    fn tensor(mut self, name: &str, shape: &[u64]) -> Self {
        let count = shape.iter().product::<u64>();
        let bytes = (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect();
        self.tensors.push((name.into(), shape.iter().rev().copied().collect(), 0, bytes));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.with_offsets(|_, offset| offset)
    }

    /// The file, with the offset of each tensor changed by a function.
    fn with_offsets(&self, change: impl Fn(usize, u64) -> u64) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.fields.len() as u64).to_le_bytes());
        for (key, value) in &self.fields {
            out.extend(text(key));
            out.extend(value);
        }
        let mut offset = 0;
        for (i, (name, dimensions, kind, bytes)) in self.tensors.iter().enumerate() {
            out.extend(text(name));
            out.extend((dimensions.len() as u32).to_le_bytes());
            out.extend(dimensions.iter().flat_map(|n| n.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(change(i, offset).to_le_bytes());
            offset += (bytes.len() as u64).next_multiple_of(32);
        }
        for (.., bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(bytes);
        }
        out
    }
}

/// The fields of a decoder such as Llama, with a vocabulary of seven byte-level tokens.
fn decoder(name: &str) -> File {
    let key = |leaf: &str| format!("{name}.{leaf}");
    File::default()
        .text("general.architecture", name)
        .number(&key("block_count"), 1)
        .number(&key("context_length"), 64)
        .number(&key("embedding_length"), 8)
        .number(&key("feed_forward_length"), 12)
        .number(&key("attention.head_count"), 2)
        .number(&key("attention.head_count_kv"), 1)
        .single(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", &["<s>", "a", "b", "ab", "Ġ", "c", "<think>"])
        .kinds(&[3, 1, 1, 1, 1, 1, 4])
        .texts("tokenizer.ggml.merges", &["a b"])
        .number("tokenizer.ggml.eos_token_id", 0)
        .tensor("token_embd.weight", &[7, 8])
        .tensor("output_norm.weight", &[8])
        .tensor("blk.0.attn_q.weight", &[8, 8])
        .tensor("blk.0.attn_q.bias", &[8])
        .tensor("blk.0.attn_k.weight", &[4, 8])
        .tensor("blk.0.ffn_up.weight", &[12, 8])
}

fn write(bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn open(file: &File) -> Result<Gguf> {
    Gguf::open(&write(&file.bytes()).1)
}

fn open_bytes(bytes: &[u8]) -> Result<Gguf> {
    Gguf::open(&write(bytes).1)
}

/// Checks that a file is refused, with an error that names it.
fn assert_refused(result: Result<Gguf>, status: Status, what: &str) {
    let error = result.err().unwrap_or_else(|| panic!("accepted, though {what}"));
    let message = error.message();
    assert!(message.contains("model.gguf: ") && message.contains(what), "expected {what:?} in {message:?}");
    assert!(message.chars().count() < 1000, "{message}");
    assert_eq!(error.status(), status, "{message}");
}

fn assert_says(result: Result<Gguf>, what: &str) {
    assert_refused(result, Status::InvalidFile, what);
}

fn assert_unsupported(result: Result<Gguf>, what: &str) {
    assert_refused(result, Status::Unsupported, what);
}

/// Ids and tokens of a text.
fn encode(model: &Gguf, text: &str) -> Vec<u32> {
    let tokenizer = tokenizers::Tokenizer::from_bytes(&model.tokenizer).unwrap();
    tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

fn decode(model: &Gguf, ids: &[u32]) -> String {
    tokenizers::Tokenizer::from_bytes(&model.tokenizer).unwrap().decode(ids, false).unwrap()
}

#[test]
fn a_llama_gets_the_contents_of_its_original_directory() {
    let model = open(&decoder("llama").text("tokenizer.chat_template", "{{ x }}")).unwrap();
    let expected = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "attention_bias": true, "mlp_bias": false, "vocab_size": 7, "tie_word_embeddings": true,
        "kinglet_linear_weights": true, "eos_token_id": 0,
    });
    assert_eq!(model.config, expected);
    assert_eq!(model.generation_config, json!({"eos_token_id": 0}));
    let expected = json!({"eos_token": "<s>", "add_bos_token": false, "add_eos_token": false,
        "clean_up_tokenization_spaces": false, "chat_template": "{{ x }}"});
    assert_eq!(model.tokenizer_config, expected);
    let named = decoder("llama").text("tokenizer.chat_template", "d").text("tokenizer.chat_template.tool_use", "t");
    let expected = json!([{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]);
    assert_eq!(open(&named).unwrap().tokenizer_config["chat_template"], expected);
    let expected = [
        "model.embed_tokens.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_proj.weight",
        "model.norm.weight",
    ];
    assert_eq!(model.weights.names().collect::<Vec<_>>(), expected);
    assert_eq!(model.weights.require("model.layers.0.mlp.up_proj.weight", &[12, 8]).unwrap().dtype, DType::F32);
}

/// Undoes llama.cpp's conversion, `weights.reshape(heads, 2, head_dim / 2, …).swapaxes(1, 2)`.
#[test]
fn rows_that_the_converter_reordered_are_read_in_hugging_faces_order() {
    let model = open(&decoder("llama")).unwrap();
    let view = model.weights.get("model.layers.0.self_attn.q_proj.weight").unwrap();
    let order = [0, 2, 1, 3, 4, 6, 5, 7];
    let (mut row, mut half) = ([0.0; 8], [f16::ZERO; 8]);
    for (i, stored) in order.into_iter().enumerate() {
        view.read_row_f32(i, &mut row).unwrap();
        assert_eq!(row, std::array::from_fn(|j| (8 * stored + j) as f32), "row {i}");
        view.read_row_f16(i, &mut half).unwrap();
        assert_eq!(half.map(f32::from), row);
    }
    let all = view.to_vec_f32().unwrap();
    assert_eq!(all[8..16], [16.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0, 23.0]);
    let mut within = [0.0; 10];
    view.read_f32(13, &mut within).unwrap();
    assert_eq!(within, all[13..23]);
    let bias = model.weights.get("model.layers.0.self_attn.q_proj.bias").unwrap().to_vec_f32().unwrap();
    assert_eq!(bias, order.map(|i| i as f32));
    // Other tensors are not reordered.
    let view = open(&decoder("qwen2")).unwrap();
    let view = view.weights.get("model.layers.0.self_attn.q_proj.bias").unwrap().to_vec_f32().unwrap();
    assert_eq!(view, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
}

#[test]
fn gpt_neox_gets_the_parts_of_each_head_together() {
    let file = decoder("gptneox")
        .without("gptneox.attention.head_count_kv")
        .single("gptneox.attention.layer_norm_epsilon", 1e-5)
        .number("gptneox.rope.dimension_count", 2)
        .tensor("blk.0.attn_qkv.bias", &[24]);
    let model = open(&file).unwrap();
    assert_eq!(model.config["rotary_pct"], 0.5);
    let view = model.weights.get("gpt_neox.layers.0.attention.query_key_value.bias").unwrap();
    let expected = [0, 8, 16, 4, 12, 20].map(|first| first as f32);
    let firsts: Vec<f32> = view.to_vec_f32().unwrap().into_iter().step_by(4).collect();
    assert_eq!(firsts, expected);
    assert_says(
        open(&file.without("blk.0.attn_qkv.bias").tensor("blk.0.attn_qkv.bias", &[16])),
        "its heads need 24 rows",
    );
}

#[test]
fn gemmas_norms_have_the_converters_one_subtracted() {
    let file = decoder("gemma3").number("gemma3.attention.sliding_window", 16).number("gemma3.block_count", 7);
    let model = open(&file).unwrap();
    let view = model.weights.get("model.norm.weight").unwrap();
    assert_eq!(view.to_vec_f32().unwrap(), [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut half = [f16::ZERO; 2];
    view.read_f16(3, &mut half).unwrap();
    assert_eq!(half.map(f32::from), [2.0, 3.0]);
    assert_eq!(model.weights.get("model.embed_tokens.weight").unwrap().to_vec_f32().unwrap()[..2], [0.0, 1.0]);
    let types = model.config["layer_types"].as_array().unwrap();
    let full: Vec<usize> = (0..7).filter(|&i| types[i] == "full_attention").collect();
    assert_eq!((types.len(), full), (7, vec![5]));
    assert_eq!(model.config["query_pre_attn_scalar"], 4);
    assert_eq!((&model.config["rope_theta"], &model.config["rope_local_base_freq"]), (&json!(1e6), &json!(1e4)));
    let listed = list(7, 7, vec![1, 0, 1, 1, 1, 1, 1]);
    let model = open(&file.clone().raw("gemma3.attention.sliding_window_pattern", listed)).unwrap();
    assert_eq!(model.config["layer_types"][1], "full_attention");
    let listed = list(7, 2, vec![1, 0]);
    assert_says(
        open(&file.clone().raw("gemma3.attention.sliding_window_pattern", listed)),
        "has 2 values for 7 layers",
    );
    let endless = file.number("gemma3.block_count", 1 << 31);
    assert_says(open(&endless), "is 2147483648; the maximum is 100000");
}

#[test]
fn rotary_scaling_is_found_in_fields_and_tensors() {
    let scaling = |file: File| open(&file).unwrap().config["rope_scaling"].clone();
    let linear = json!({"rope_type": "linear", "factor": 8.0});
    let with =
        |kind: &str| decoder("llama").text("llama.rope.scaling.type", kind).single("llama.rope.scaling.factor", 8.0);
    assert_eq!(scaling(with("linear")), linear);
    assert_eq!(scaling(with("none")), json!(null));
    assert_eq!(scaling(decoder("llama").single("llama.rope.scale_linear", 8.0)), linear);
    let yarn = with("yarn").number("llama.rope.scaling.original_context_length", 32);
    let expected = json!({"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32});
    assert_eq!(scaling(yarn), expected);
    assert_unsupported(open(&with("new")), "the rotary scaling `new`");
    let divided = decoder("llama").tensor("rope_freqs.weight", &[2]);
    assert_says(open(&divided), "not above 0");
    let mut divided = divided;
    divided.tensors.last_mut().unwrap().3 = [1f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat();
    let model = open(&divided).unwrap();
    assert_eq!(model.config["rope_scaling"]["long_factor"], json!([1.0, 2.5]));
    assert!(model.weights.get("rope_freqs.weight").is_none());
    assert_says(open(&decoder("llama").tensor("rope_freqs.weight", &[3])), "but [2] is needed");
}

#[test]
fn byte_level_tokenizers_encode_and_decode() {
    let file = decoder("llama").number("tokenizer.ggml.bos_token_id", 5);
    let model = open(&file).unwrap();
    assert_eq!(encode(&model, "ab a<think>b<s>"), [3, 4, 1, 6, 2, 0]);
    assert_eq!(decode(&model, &[3, 4, 1, 6]), "ab a<think>");
    let model = open(&file.clone().flag("tokenizer.ggml.add_bos_token", true)).unwrap();
    assert_eq!(encode(&model, "ab"), [5, 3]);
    // Llama 3's tokenizer adds it by default.
    let model = open(&file.clone().text("tokenizer.ggml.pre", "llama-bpe")).unwrap();
    assert_eq!(encode(&model, "ab"), [5, 3]);
    assert_eq!(model.tokenizer_config["add_bos_token"], true);
    let both = file.clone().flag("tokenizer.ggml.add_bos_token", true).flag("tokenizer.ggml.add_eos_token", true);
    assert_eq!(encode(&open(&both).unwrap(), "ab"), [5, 3, 0]);
    for pre in ["default", "gpt-2", "smollm", "qwen2", "tekken", "gpt-4o", "dbrx"] {
        let model = open(&file.clone().text("tokenizer.ggml.pre", pre)).unwrap();
        assert_eq!(encode(&model, "ab a").last_chunk(), Some(&[3, 4, 1]), "{pre}");
    }
    assert_unsupported(open(&file.clone().text("tokenizer.ggml.pre", "x\ny")), r"the pre-tokenizer `x\ny`");
    assert_unsupported(open(&file.text("tokenizer.ggml.model", "rwkv")), "the tokenizer `rwkv`");
}

/// A digit is a word by itself, so the spaces before it are a separate word.
#[test]
fn smollm_splits_digits() {
    let tokens = ["<s>", "Ġ", "ĠĠ", "5", "55", "6", "7"];
    let file = decoder("llama").texts("tokenizer.ggml.tokens", &tokens).kinds(&[3, 1, 1, 1, 1, 1, 1]);
    let file = file.texts("tokenizer.ggml.merges", &["Ġ Ġ", "5 5"]);
    assert_eq!(encode(&open(&file).unwrap(), "  55"), [1, 1, 4]);
    assert_eq!(encode(&open(&file.text("tokenizer.ggml.pre", "smollm")).unwrap(), "  55"), [2, 3, 3]);
}

fn sentencepiece() -> File {
    let tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "b", "▁a", "ab", "▁ab", "<x>"];
    decoder("llama")
        .text("tokenizer.ggml.model", "llama")
        .without("tokenizer.ggml.merges")
        .without("tokenizer.ggml.eos_token_id")
        .texts("tokenizer.ggml.tokens", &tokens)
        .kinds(&[2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 4])
        .scores(&[0.0, 0.0, 0.0, 0.0, -9.0, -8.0, -7.0, -2.0, -1.0, -3.0, 0.0])
        .without("token_embd.weight")
        .tensor("token_embd.weight", &[11, 8])
}

#[test]
fn sentencepiece_tokenizers_merge_by_score() {
    let model = open(&sentencepiece()).unwrap();
    // "ab" has the best score, and "▁" + "ab" is a token too.
    assert_eq!(encode(&model, "ab"), [1, 9]);
    assert_eq!(encode(&model, "aba"), [1, 9, 5]);
    assert_eq!(encode(&model, "b\na"), [1, 4, 6, 3, 5]);
    assert_eq!(encode(&model, "é"), [1, 4, 0]);
    assert_eq!(encode(&model, "a<x>b"), [1, 7, 10, 4, 6]);
    assert_eq!(decode(&model, &[9, 4, 6, 3]), "ab b\n");
    assert_eq!(model.generation_config, json!({"bos_token_id": 1, "eos_token_id": 2}));
    let roles = ["bos_token", "eos_token", "unk_token"].map(|role| model.tokenizer_config[role].as_str().unwrap());
    assert_eq!(roles, ["<s>", "</s>", "<unk>"]);
    let bare = sentencepiece().flag("tokenizer.ggml.add_space_prefix", false);
    let model = open(&bare.flag("tokenizer.ggml.add_bos_token", false)).unwrap();
    assert_eq!(encode(&model, "ab a"), [8, 7]);
    assert_eq!(decode(&model, &[7, 8]), " aab");
    assert_says(open(&sentencepiece().without("tokenizer.ggml.scores")), "`tokenizer.ggml.scores` is missing");
}

/// Phi-3's chat format needs it.
#[test]
fn phi_3s_special_tokens_strip_the_white_space_after_them() {
    let fields = sentencepiece().fields.into_iter().map(|(key, value)| (key.replace("llama.", "phi3."), value));
    let file = File { fields: fields.collect(), ..sentencepiece() }.text("general.architecture", "phi3");
    let model = open(&file).unwrap();
    assert_eq!(encode(&model, "a</s> \nb"), [1, 7, 2, 4, 6]);
    assert_eq!(encode(&model, "a<s> b"), [1, 7, 1, 4, 4, 6]);
    assert_eq!(encode(&open(&sentencepiece()).unwrap(), "a</s> b"), [1, 7, 2, 4, 4, 6]);
}

#[test]
fn vocabularies_that_would_make_endless_merges_are_refused() {
    let tokens: Vec<String> = (1..=200).map(|n| "a".repeat(n)).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let file = sentencepiece()
        .texts("tokenizer.ggml.tokens", &tokens)
        .scores(&[0.0; 200])
        .kinds(&[1; 200])
        .without("token_embd.weight")
        .tensor("token_embd.weight", &[200, 8]);
    assert_says(open(&file), "implausibly many merges");
}

#[test]
fn unigram_tokenizers_encode_and_get_their_sentinels() {
    let file = decoder("t5")
        .single("t5.attention.layer_norm_epsilon", 1e-6)
        .number("t5.attention.relative_buckets_count", 8)
        .without("t5.attention.head_count_kv")
        .text("tokenizer.ggml.model", "t5")
        .texts("tokenizer.ggml.tokens", &["<pad>", "</s>", "<unk>", "▁", "a", "▁ab", "[PAD6]"])
        .kinds(&[3, 3, 2, 1, 1, 1, 5])
        .scores(&[0.0, 0.0, 0.0, -2.0, -3.0, -1.0, -10000.0])
        .without("tokenizer.ggml.eos_token_id");
    let model = open(&file).unwrap();
    assert_eq!(encode(&model, "ab  a<extra_id_99>"), [5, 3, 4, 6, 1]);
    assert_eq!(model.config["feed_forward_proj"], "relu");
    let ids = json!({"eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0});
    assert_eq!(model.generation_config, ids);
    let model = open(&file.clone().tensor("dec.blk.0.ffn_gate.weight", &[12, 8])).unwrap();
    assert_eq!(model.config["feed_forward_proj"], "gated-gelu");
    let charsmap = list(0, 4, vec![255; 4]);
    assert_says(open(&file.raw("tokenizer.ggml.precompiled_charsmap", charsmap)), "is not a table of replacements");
}

#[test]
fn chat_models_end_at_every_token_that_ends_a_turn() {
    let tokens = ["<s>", "<|im_end|>", "<|eot_id|>", "<|end|>", "b", "c", "d"];
    let file = decoder("llama").texts("tokenizer.ggml.tokens", &tokens).texts("tokenizer.ggml.merges", &[]);
    // The file calls "<|end|>" an ordinary token, which llama.cpp does not believe.
    let file = file.kinds(&[3, 3, 3, 1, 1, 1, 1]).number("tokenizer.ggml.eot_token_id", 2);
    let model = open(&file).unwrap();
    assert_eq!(model.generation_config["eos_token_id"], json!([0, 2, 1, 3]));
    assert_eq!(model.config["eos_token_id"], 0);
    let tokenizer: Value = serde_json::from_str(&model.tokenizer).unwrap();
    let token = tokenizer["added_tokens"].as_array().unwrap().iter().find(|token| token["id"] == 3).unwrap();
    assert_eq!((token["content"].as_str(), token["special"].as_bool()), (Some("<|end|>"), Some(true)));
    let tokens = ["<s>", "<|return|>", "<|call|>", "<|end|>", "b", "c", "d"];
    let model = open(&file.texts("tokenizer.ggml.tokens", &tokens)).unwrap();
    assert_eq!(model.generation_config["eos_token_id"], json!([0, 2, 1]));
}

#[test]
fn pooling_is_that_of_the_file_and_vectors_are_normalised() {
    assert_eq!(open(&decoder("qwen3")).unwrap().pooling, None);
    let pooling = |number: u32| open(&decoder("qwen3").number("qwen3.pooling_type", number)).map(|model| model.pooling);
    for (number, flag) in
        [(1, "pooling_mode_mean_tokens"), (2, "pooling_mode_cls_token"), (3, "pooling_mode_lasttoken")]
    {
        let (modules, config) = pooling(number).unwrap().unwrap();
        assert_eq!(config, json!({flag: true}));
        let kinds: Vec<_> = modules.as_array().unwrap().iter().map(|module| module["type"].as_str().unwrap()).collect();
        assert!(kinds[1].ends_with(".Pooling") && kinds[2].ends_with(".Normalize"), "{kinds:?}");
    }
    for number in [0, 4] {
        let mode = &pooling(number).unwrap().unwrap().1["pooling_mode"];
        assert!(mode == "none" || mode == "rank", "{mode}");
    }
    assert_eq!(pooling(u32::MAX).unwrap(), None);
    assert_unsupported(open(&decoder("qwen3").number("qwen3.pooling_type", 9)), "`qwen3.pooling_type` is 9");
}

#[test]
fn keys_that_are_not_read_are_refused_or_told() {
    for key in
        ["attention.clamp_kqv", "logit_scale", "ssm.state_size", "attention.temperature_scale", "dense_2_feat_in"]
    {
        let file = decoder("llama").number(&format!("llama.{key}"), 7);
        assert_unsupported(open(&file), &format!("`llama.{key}`"));
        if !key.starts_with("dense") {
            assert!(open(&decoder("llama").number(&format!("llama.{key}"), 0)).is_ok(), "{key}");
        }
    }
    assert!(open(&decoder("llama").single("llama.logit_scale", 1.0)).is_ok());
    assert_unsupported(open(&decoder("llama").flag("tokenizer.ggml.add_sep_token", true)), "add_sep_token");
    let file =
        decoder("llama").number("llama.my_own_key", 1).text("general.author", "me").number("qwen2.block_count", 3);
    let model = open(&file).unwrap();
    assert_eq!(model.config["kinglet_unknown_keys"], json!(["llama.my_own_key", "qwen2.block_count"]));
    assert!(open(&decoder("llama")).unwrap().config.get("kinglet_unknown_keys").is_none());
    // Decoders that embed may see both ways.
    assert_eq!(open(&decoder("llama").flag("llama.attention.causal", false)).unwrap().config["is_causal"], false);
}

#[test]
fn the_authors_advice_for_sampling_is_in_the_generation_config() {
    let file = decoder("llama")
        .single("general.sampling.temp", 0.6)
        .number("general.sampling.top_k", 20)
        .single("general.sampling.penalty_repeat", 1.1)
        .number("general.sampling.mirostat", 2)
        .raw(
            "tokenizer.ggml.suppress_tokens",
            list(5, 2, [[3i32.to_le_bytes(), (-1i32).to_le_bytes()].concat()].concat()),
        );
    let generation = open(&file).unwrap().generation_config;
    let expected = json!({
        "eos_token_id": 0, "temperature": 0.6, "top_k": 20.0, "repetition_penalty": 1.1, "mirostat": 2.0, "suppress_tokens": [3]
    });
    assert_eq!(generation, expected);
}

#[test]
fn spaces_are_handled_as_the_file_says() {
    let bpe = decoder("llama");
    assert_eq!(encode(&open(&bpe).unwrap(), "ab"), [3]);
    let prefixed = open(&bpe.clone().flag("tokenizer.ggml.add_space_prefix", true)).unwrap();
    assert_eq!(encode(&prefixed, "ab"), [4, 3]);
    let qwen = bpe.text("tokenizer.ggml.pre", "qwen2").flag("tokenizer.ggml.add_space_prefix", true);
    assert_unsupported(open(&qwen), "`tokenizer.ggml.add_space_prefix`");
    let t5 = |extra: Option<bool>, prefix: Option<bool>| {
        let mut file = decoder("t5")
            .single("t5.attention.layer_norm_epsilon", 1e-6)
            .number("t5.attention.relative_buckets_count", 8)
            .without("t5.attention.head_count_kv")
            .text("tokenizer.ggml.model", "t5")
            .texts("tokenizer.ggml.tokens", &["<pad>", "</s>", "<unk>", "▁", "a", "▁ab", "b"])
            .kinds(&[3, 3, 2, 1, 1, 1, 1])
            .scores(&[0.0, 0.0, 0.0, -2.0, -3.0, -1.0, -3.0])
            .without("tokenizer.ggml.eos_token_id");
        if let Some(extra) = extra {
            file = file.flag("tokenizer.ggml.remove_extra_whitespaces", extra);
        }
        if let Some(prefix) = prefix {
            file = file.flag("tokenizer.ggml.add_space_prefix", prefix);
        }
        encode(&open(&file).unwrap(), "ab  a")
    };
    assert_eq!(t5(None, None), [5, 3, 4, 1]);
    assert_eq!(t5(Some(true), None), [5, 3, 4, 1]);
    assert_eq!(t5(Some(false), None), [5, 3, 3, 4, 1]);
    assert_eq!(t5(Some(true), Some(false)), [4, 6, 3, 4, 1]);
}

/// The files of tests/fixtures/generation-gguf with the unrounded weights of a model in tests/fixtures/generation.
#[test]
fn fixtures_hold_the_weights_of_their_models() {
    let fixtures = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
    let mut seen = 0;
    for file in fs::read_dir(fixtures.join("generation-gguf")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let reference: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let model = Gguf::open(&path.with_extension("gguf")).unwrap();
        let ids: Vec<u32> = serde_json::from_value(reference["ids"].clone()).unwrap();
        assert_eq!(encode(&model, reference["text"].as_str().unwrap()), ids, "{}", path.display());
        if reference["same"] != true {
            continue;
        }
        seen += 1;
        let source = fixtures.join("generation").join(reference["source"].as_str().unwrap());
        let source = Weights::open(&source).unwrap();
        for name in model.weights.names() {
            let found = model.weights.get(name).unwrap();
            // The experts of a layer are one tensor in a GGUF file.
            let (before, after) = name.split_once(".experts.").unwrap_or_default();
            let count = if before.is_empty() { 1 } else { found.shape[0] };
            let mut expected = Vec::new();
            for expert in 0..count {
                let name =
                    if before.is_empty() { name.to_string() } else { format!("{before}.experts.{expert}.{after}") };
                let part = source.get(&name).unwrap();
                assert_eq!(&found.shape[usize::from(!before.is_empty())..], part.shape, "{name}");
                expected.extend(part.to_vec_f32().unwrap());
            }
            assert!(found.to_vec_f32().unwrap() == expected, "{} of {}", name, path.display());
        }
    }
    assert!(seen >= 3, "{seen}");
}
