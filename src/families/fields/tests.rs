//! The lists of fields against transformers' configuration classes.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::*;
use crate::families;

fn classes() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config_fields.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn config(fields: Map<String, Value>) -> Config {
    Config::from_value(Path::new("config.json"), Value::Object(fields)).unwrap()
}

fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields.keys().cloned().collect(),
        list => list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string()).collect(),
    }
}

fn is_refused(name: &str) -> bool {
    REFUSED.iter().any(|(refused, _)| *refused == name)
}

fn is_irrelevant(family: &str, name: &str) -> bool {
    [IRRELEVANT, irrelevant_here(family), READ_ELSEWHERE, GENERATION].iter().any(|list| list.contains(&name))
}

#[test]
fn every_field_of_every_class_is_honoured_or_refused_or_irrelevant() {
    let classes = classes();
    let families = classes["families"].as_object().unwrap();
    let known: Vec<&str> = families::names().collect();
    assert_eq!(known.len(), families.len(), "run make_config_fields.py for a new family");
    let mut wrong = Vec::new();
    for family in known {
        for name in names(&families[family]).iter().chain(&names(&classes["common"])) {
            let lists = [is_honoured(family, name), is_refused(name), is_irrelevant(family, name)];
            // A field that other families do not honour, this one may; one that others refuse may not matter here.
            let overruled =
                is_refused(name) && (is_honoured(family, name) || irrelevant_here(family).contains(&name.as_str()));
            let count = lists.iter().filter(|&&is| is).count();
            if count != 1 && !(overruled && count == 2) && !name.starts_with('_') {
                wrong.push(format!("{family}: {name} is honoured, refused, irrelevant: {lists:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn aliases_are_those_of_the_classes() {
    let classes = classes();
    for family in families::names() {
        let expected = classes["aliases"].get(family).and_then(Value::as_object).cloned().unwrap_or_default();
        let ours: Map<String, Value> =
            aliases(family).iter().map(|(alias, name)| ((*alias).to_string(), json!(name))).collect();
        assert_eq!(ours, expected, "{family}");
    }
    let gpt2 = |fields: Value| {
        let mut base = base("gpt2");
        base.extend(fields.as_object().unwrap().clone());
        families::spec(&config(base)).unwrap().decoder.unwrap().layers
    };
    assert_eq!(gpt2(json!({"n_layer": 2, "num_hidden_layers": 3})), 3);
    assert_eq!(gpt2(json!({"n_layer": 2, "num_hidden_layers": null})), 2);
}

/// A small configuration of a family in which every honoured field is set, so that a change of it shows.
fn base(family: &str) -> Map<String, Value> {
    let classes = classes();
    let mut fields = classes["families"][family].as_object().unwrap().clone();
    for (name, value) in [
        ("hidden_size", json!(64)),
        ("word_embed_proj_dim", json!(64)),
        ("pooler_hidden_size", json!(64)),
        ("n_embd", json!(64)),
        ("d_model", json!(64)),
        ("dim", json!(64)),
        ("num_attention_heads", json!(8)),
        ("n_head", json!(8)),
        ("n_heads", json!(8)),
        ("encoder_attention_heads", json!(8)),
        ("decoder_attention_heads", json!(8)),
        ("num_key_value_heads", json!(4)),
        ("head_dim", json!(8)),
        ("num_hidden_layers", json!(4)),
        ("max_window_layers", json!(2)),
        ("sliding_window", json!(6)),
        ("use_sliding_window", json!(true)),
    ] {
        if fields.contains_key(name) {
            fields.insert(name.into(), value);
        }
    }
    if family == "gpt_neo" {
        fields.insert("num_heads".into(), json!(8));
        fields.insert("num_layers".into(), json!(4));
        fields.insert("attention_types".into(), json!([[["global", "local"], 2]]));
        fields.remove("attention_layers");
    }
    if family == "gptj" {
        fields.insert("rotary_dim".into(), json!(8));
    }
    if family == "deberta-v2" {
        fields.insert("relative_attention".into(), json!(true));
        fields.insert("pos_att_type".into(), json!(["p2c", "c2p"]));
    }
    if family == "qwen3_moe" {
        // The class has the number under two names.
        fields.remove("num_experts");
    }
    fields.insert("model_type".into(), json!(family));
    fields.remove("layer_types");
    fields.remove("rope_parameters");
    fields
}

/// The fields of nomic_bert's published files.
fn published(more: Value) -> Value {
    let mut fields =
        json!({"n_embd": 64, "n_head": 4, "n_layer": 4, "n_positions": 4096, "activation_function": "swiglu"});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

/// The families with a head of masked language models.
const MASKED_FAMILIES: [&str; 10] = [
    "bert",
    "distilbert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "mpnet",
    "electra",
    "albert",
    "modernbert",
    "deberta-v2",
];

/// Another value of a field, and what else has to be set for it to count.
fn changed(family: &str, name: &str, value: &Value) -> (Value, Value) {
    let long =
        json!({"rope_type": "longrope", "short_factor": [1.0, 1.0, 1.0, 1.0], "long_factor": [2.0, 2.0, 2.0, 2.0]});
    let phi = family == "phi3";
    let scaled = if phi { long.clone() } else { json!({"rope_type": "linear", "factor": 4.0}) };
    let other = match (name, value) {
        ("rope_parameters", _) if ["gemma3_text", "modernbert"].contains(&family) => json!({"full_attention": scaled}),
        ("activation_function", _) if family == "nomic_bert" => json!("geglu"),
        ("activation_function", _) if ["opt", "m2m_100"].contains(&family) => json!("gelu"),
        ("hidden_act", _) if family == "gemma" => json!("silu"),
        ("n_embd", _) if family == "nomic_bert" => json!(128),
        ("ffn_div", _) => json!(2),
        ("mlp_fc1_bias" | "mlp_fc2_bias" | "qkv_proj_bias" | "moe_normalize_expert_weights", Value::Null) => {
            json!(true)
        }
        ("moe_every_n_layers" | "moe_top_k" | "num_experts", Value::Null) => json!(3),
        ("n_head" | "n_layer", _) if family == "nomic_bert" => json!(2),
        ("n_positions" | "max_trained_positions", _) if family == "nomic_bert" => json!(32),
        ("layer_norm_epsilon", _) if family == "nomic_bert" => json!(0.5),
        ("type_vocab_size", _) if family == "deberta-v2" => json!(2),
        ("max_relative_positions" | "position_buckets", _) => json!(40),
        ("norm_rel_ebd", _) => json!("layer_norm"),
        ("pos_att_type", _) => json!("c2p | none"),
        ("share_att_key", _) => json!(true),
        ("rotary_scaling_factor", _) => json!(2.0),
        ("global_attn_every_n_layers", _) => json!(2),
        ("attention_types", _) => json!([[["local", "global"], 2]]),
        ("attn_config", _) => json!({"softmax_scale": 0.5}),
        ("pack_qkv", _) => json!(false),
        ("rotary_dim", _) => json!(4),
        ("mlp_only_layers", _) => json!([1]),
        ("intermediate_size", Value::Null) => json!(48),
        ("no_rope_layers", _) => json!([1, 0, 1, 1]),
        ("no_rope_layer_interval", _) => json!(3),
        ("use_bidirectional_attention", Value::Null) => json!(true),
        ("rope_parameters" | "rope_scaling", _) => scaled,
        ("rope_theta" | "rotary_emb_base" | "rope_local_base_freq" | "global_rope_theta" | "local_rope_theta", _) => {
            json!(777.0)
        }
        ("rotary_pct" | "partial_rotary_factor", _) => json!(0.75),
        ("layer_types", _) => json!(["full_attention", "sliding_attention", "full_attention", "sliding_attention"]),
        ("sliding_window_pattern", _) => json!(3),
        ("original_max_position_embeddings", _) => json!(16),
        ("feed_forward_proj", _) => json!("gated-silu"),
        ("is_causal" | "scale_attn_weights", _) => json!(false),
        ("num_decoder_layers", _) => json!(3),
        ("head_dim", Value::Null) => json!(16),
        ("n_inner", _) => json!(48),
        ("attn_logit_softcapping" | "final_logit_softcapping", _) => json!(7.5),
        (_, Value::Bool(yes)) => json!(!yes),
        (_, Value::String(_)) => json!("relu"),
        (name, Value::Number(number)) if name.contains("head") => json!(number.as_u64().unwrap() / 2),
        (_, Value::Number(number)) if number.is_u64() => json!(number.as_u64().unwrap() * 2),
        (_, Value::Number(number)) => json!(number.as_f64().unwrap() * 2.0),
        (_, other) => panic!("{family}: {name}: {other}"),
    };
    let beside = match name {
        "original_max_position_embeddings" if phi => json!({"rope_scaling": long, "max_position_embeddings": 64}),
        "original_max_position_embeddings" => {
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}})
        }
        "hidden_size" if family == "opt" => json!({"word_embed_proj_dim": null}),
        "hidden_size" if family == "deberta-v2" => json!({"pooler_hidden_size": null}),
        "pooler_hidden_act" => json!({"architectures": ["DebertaV2ForSequenceClassification"]}),
        "classifier_activation" | "classifier_bias" | "decoder_bias" | "legacy" => {
            json!({"architectures": ["XForMaskedLM"]})
        }
        "tie_word_embeddings" if MASKED_FAMILIES.contains(&family) => {
            json!({"architectures": ["XForMaskedLM"]})
        }
        // As published.
        "max_trained_positions" if family == "nomic_bert" => published(json!({"rotary_scaling_factor": 2.0})),
        "activation_function" | "layer_norm_epsilon" | "rotary_emb_base" | "rotary_scaling_factor"
            if family == "nomic_bert" =>
        {
            published(json!({}))
        }
        "ffn_div" | "moe_every_n_layers" | "moe_normalize_expert_weights" | "moe_top_k" | "num_experts"
            if family == "nomic_bert" =>
        {
            published(json!({"activation_function": "gelu", "num_experts": 4, "moe_every_n_layers": 2, "moe_top_k": 2}))
        }
        name if family == "nomic_bert" && name.starts_with("n_") => published(json!({})),
        "tie_word_embeddings" if family == "t5" => json!({"scale_decoder_outputs": null}),
        _ => json!({}),
    };
    (other, beside)
}

#[test]
fn honoured_fields_change_the_specification() {
    for family in families::names() {
        for name in honoured(family).concat() {
            if (family, name) == ("gpt_neo", "num_layers") {
                // It must agree with `attention_types`.
                continue;
            }
            let mut fields = base(family);
            let (other, beside) = changed(family, name, fields.get(name).unwrap_or(&Value::Null));
            fields.extend(beside.as_object().unwrap().clone());
            let spec = |fields: &Map<String, Value>| format!("{:?}", families::spec(&config(fields.clone())).unwrap());
            let before = spec(&fields);
            fields.insert(name.into(), other.clone());
            assert!(spec(&fields) != before, "{family}: {name} {other} changes nothing");
        }
    }
}

#[test]
fn fields_that_are_not_honoured_are_refused_by_name() {
    for family in families::names() {
        for &(name, neutral) in REFUSED {
            let ours = is_honoured(family, name) || irrelevant_here(family).contains(&name);
            for value in [
                json!(true),
                json!(false),
                json!(3),
                json!("relative_key"),
                json!([1]),
                json!({}),
                json!([]),
                json!(null),
            ] {
                let mut fields = base(family);
                fields.insert(name.into(), value.clone());
                let outcome = check(&config(fields), family);
                if ours || value.is_null() || neutral.is(&value) {
                    assert!(outcome.is_ok(), "{family}: {name} {value}");
                    continue;
                }
                let error = outcome.unwrap_err();
                let message = error.message();
                assert_eq!(error.status(), crate::base::error::Status::Unsupported);
                assert!(message.contains(&format!("`{name}`")) && message.contains(family), "{message}");
            }
        }
    }
    let mut fields = base("llama");
    fields.insert("mup_base_width".into(), json!(256));
    assert!(check(&config(fields.clone()), "llama").unwrap_err().message().contains("`mup_base_width`"));
    fields.insert("mup_base_width".into(), Value::Null);
    assert!(check(&config(fields.clone()), "llama").is_ok());
    fields.insert("quantization_config".into(), json!({"quant_method": "bitsandbytes", "load_in_4bit": true}));
    assert!(check(&config(fields), "llama").unwrap_err().message().contains("by bitsandbytes, 4 bits"));
}

#[test]
fn fields_of_the_rotary_positions_are_known() {
    // In rope.rs.
    let read = [
        "rope_type",
        "type",
        "rope_theta",
        "partial_rotary_factor",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
        "short_factor",
        "long_factor",
        "attention_factor",
        "mrope_section",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
    ];
    for name in names(&classes()["rope"]) {
        assert!(read.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn a_field_of_the_owner_s_is_no_error_and_is_told() {
    let mut fields = base("qwen3");
    fields.insert("favourite_colour".into(), json!("blue"));
    fields.insert("an_unset_one".into(), Value::Null);
    fields.insert("torch_dtype".into(), json!("bfloat16"));
    fields.insert("num_beams".into(), json!(4));
    let config = config(fields);
    assert!(families::spec(&config).is_ok());
    assert_eq!(unknown_fields(&config), ["favourite_colour"]);
    for family in families::names() {
        assert_eq!(unknown_fields(&self::config(base(family))), Vec::<String>::new(), "{family}");
    }
}

#[test]
fn no_fixture_has_an_unknown_field() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut seen = 0;
    for folder in [fixtures.clone(), fixtures.join("generation")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let Ok(config) = Config::open(&entry.unwrap().path().join("config.json")) else { continue };
            assert_eq!(unknown_fields(&config), Vec::<String>::new(), "{}", config.path().display());
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}

/// What the classes have where a file leaves a field out, where it is not what the structure implies.
#[test]
fn absent_fields_have_the_defaults_of_the_classes() {
    let spec = |family: &str, absent: &str, null: bool| {
        let mut fields = base(family);
        match null {
            true => fields.insert(absent.into(), Value::Null),
            false => fields.remove(absent),
        };
        families::spec(&config(fields)).unwrap()
    };
    let decoder = |family: &str, absent: &str, null: bool| spec(family, absent, null).decoder.unwrap();
    assert_eq!(decoder("mistral", "sliding_window", false).attention.windows, [4096; 4]);
    assert_eq!(decoder("mistral", "sliding_window", true).attention.windows, [0usize; 0]);
    assert_eq!(decoder("mixtral", "sliding_window", false).attention.windows, [0usize; 0]);
    let experts = |family: &str| decoder(family, "num_experts_per_tok", false).experts.unwrap();
    let mut fields = base("qwen2_moe");
    fields.extend(json!({"decoder_sparse_step": 2, "mlp_only_layers": [3]}).as_object().unwrap().clone());
    let layers = families::spec(&config(fields)).unwrap().decoder.unwrap().experts.unwrap().layers;
    assert_eq!(layers, [false, true, false, false]);
    assert_eq!((experts("mixtral").per_token, experts("qwen2_moe").per_token), (2, 4));
    assert_eq!((experts("qwen3_moe").per_token, experts("olmoe").per_token), (8, 8));
    assert_eq!(decoder("mistral", "num_key_value_heads", false).heads.kv, 8);
    assert_eq!(decoder("llama", "num_key_value_heads", false).heads.kv, 8);
    assert_eq!(decoder("qwen3", "head_dim", false).heads.dim, 128);
    assert_eq!(decoder("qwen2", "sliding_window", false).attention.windows, [0, 0, 4096, 4096]);
    assert_eq!(decoder("gemma2", "attn_logit_softcapping", false).attention.softcap, 50.0);
    assert_eq!(decoder("gemma2", "attn_logit_softcapping", true).attention.softcap, 0.0);
    assert_eq!(spec("gemma2", "final_logit_softcapping", false).language.unwrap().softcap, 30.0);
    assert_eq!(decoder("gemma3_text", "attn_logit_softcapping", false).attention.softcap, 0.0);
    let rotary = decoder("gemma3_text", "rope_theta", false).rotary.unwrap();
    assert_eq!((rotary.theta, rotary.local_theta), (1_000_000.0, Some(10_000.0)));
    assert_eq!(decoder("gpt_neox", "rotary_pct", false).rotary.unwrap().dim, 2);
    assert_eq!(decoder("phi3", "rms_norm_eps", false).norm.eps, 1e-5);
    assert!(spec("mt5", "feed_forward_proj", false).encoder.unwrap().gated);
    assert!(!spec("t5", "feed_forward_proj", false).encoder.unwrap().gated);
    // T5's states are scaled before a tied head, mT5's never.
    assert!(spec("t5", "scale_decoder_outputs", false).language.unwrap().scale < 1.0);
    assert_eq!(spec("mt5", "scale_decoder_outputs", false).language.unwrap().scale, 1.0);
}

#[test]
fn heads_on_decoders_are_refused_with_what_helps() {
    for (family, class, refused) in [
        ("qwen2", "Qwen2ForSequenceClassification", false),
        ("llama", "LlamaForTokenClassification", true),
        ("t5", "T5ForSequenceClassification", true),
        ("gpt2", "GPT2DoubleHeadsModel", true),
        ("bart", "BartForSequenceClassification", true),
        ("bart", "BartForConditionalGeneration", false),
        ("qwen3", "Qwen3Model", false),
        ("bert", "BertForSequenceClassification", false),
        ("bert", "BertForMaskedLM", false),
        ("distilbert", "DistilBertForTokenClassification", false),
        ("bert", "BertForQuestionAnswering", false),
        ("deberta-v2", "DebertaV2ForTokenClassification", false),
    ] {
        let mut fields = base(family);
        fields.insert("architectures".into(), json!([class]));
        let outcome = families::spec(&config(fields));
        assert_eq!(outcome.is_err(), refused, "{class}");
        if let Err(error) = outcome {
            assert!(error.message().contains(class) && error.message().contains("optimum-cli"), "{error}");
        }
    }
}

#[test]
fn every_family_is_in_the_page_of_models() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md")).unwrap();
    let missing: Vec<&str> = families::names().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/models.md has no {missing:?}");
}
