//! The supported architectures: Hugging Face's names of their tensors, and how llama.cpp's converter changed the values.

use crate::base::error::{Error, Result};
use crate::formats::quoted;
use crate::formats::tensor::RowOrder;
use crate::spec::Heads;

use super::metadata::Metadata;

/// A value of `general.architecture`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    /// Llama, Mistral, Mixtral, SmolLM and others with the same arithmetic.
    Llama,
    Qwen2,
    Qwen2Moe,
    Qwen3,
    Qwen3Moe,
    Gemma2,
    Gemma3,
    Phi3,
    Gpt2,
    GptNeoX,
    T5,
    Bert,
    NomicBert,
}

use Architecture::{Bert, Gemma2, Gemma3, Gpt2, GptNeoX, Llama, NomicBert, Phi3, Qwen2, Qwen2Moe, Qwen3, Qwen3Moe, T5};

const ALL: [Architecture; 13] =
    [Llama, Qwen2, Qwen2Moe, Qwen3, Qwen3Moe, Gemma2, Gemma3, Phi3, Gpt2, GptNeoX, T5, Bert, NomicBert];

type Table = &'static [(&'static str, &'static str)];

const LLAMA: Table = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Mixtral's experts, all in one tensor.
const MIXTRAL: Table = &[
    ("ffn_gate_inp", "block_sparse_moe.gate"),
    ("ffn_gate_exps", "block_sparse_moe.experts.w1"),
    ("ffn_up_exps", "block_sparse_moe.experts.w3"),
    ("ffn_down_exps", "block_sparse_moe.experts.w2"),
];

/// The experts of Qwen, all in one tensor, and the one for all tokens.
const QWEN_MOE: Table = &[
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_exps", "mlp.experts.gate_proj"),
    ("ffn_up_exps", "mlp.experts.up_proj"),
    ("ffn_down_exps", "mlp.experts.down_proj"),
    ("ffn_gate_inp_shexp", "mlp.shared_expert_gate"),
    ("ffn_gate_shexp", "mlp.shared_expert.gate_proj"),
    ("ffn_up_shexp", "mlp.shared_expert.up_proj"),
    ("ffn_down_shexp", "mlp.shared_expert.down_proj"),
];

/// Where Gemma differs from [`LLAMA`].
const GEMMA: Table = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// Where Phi-3 differs from [`LLAMA`]: its fused layers are one tensor in both formats.
const PHI3: Table = &[("attn_qkv", "self_attn.qkv_proj"), ("ffn_up", "mlp.gate_up_proj")];

const GPT2: Table = &[
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];

const GPT_NEOX: Table = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "attention.query_key_value"),
    ("attn_output", "attention.dense"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_up", "mlp.dense_h_to_4h"),
    ("ffn_down", "mlp.dense_4h_to_h"),
];

const BERT: Table = &[
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

const NOMIC_BERT: Table = &[
    ("attn_qkv", "attn.Wqkv"),
    ("attn_output", "attn.out_proj"),
    ("attn_output_norm", "norm1"),
    ("ffn_gate", "mlp.fc12"),
    ("ffn_up", "mlp.fc11"),
    ("ffn_down", "mlp.fc2"),
    ("layer_output_norm", "norm2"),
];

/// The rest of the name after `layer.`; `{}` is the index of the feed-forward sublayer: 1 in the encoder, 2 in the decoder.
const T5_BLOCK: Table = &[
    ("attn_norm", "0.layer_norm"),
    ("attn_q", "0.SelfAttention.q"),
    ("attn_k", "0.SelfAttention.k"),
    ("attn_v", "0.SelfAttention.v"),
    ("attn_o", "0.SelfAttention.o"),
    ("attn_rel_b", "0.SelfAttention.relative_attention_bias"),
    ("cross_attn_norm", "1.layer_norm"),
    ("cross_attn_q", "1.EncDecAttention.q"),
    ("cross_attn_k", "1.EncDecAttention.k"),
    ("cross_attn_v", "1.EncDecAttention.v"),
    ("cross_attn_o", "1.EncDecAttention.o"),
    ("ffn_norm", "{}.layer_norm"),
    ("ffn_gate", "{}.DenseReluDense.wi_0"),
    ("ffn_up", "{}.DenseReluDense.wi_1"),
    ("ffn_down", "{}.DenseReluDense.wo"),
];

fn look_up(tables: &[Table], name: &str) -> Option<&'static str> {
    tables.iter().copied().flatten().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

impl Architecture {
    /// The architecture that a file names. Fails with Unsupported for other architectures, and for files that are not a whole
    /// language model.
    pub fn find(metadata: &Metadata) -> Result<Self> {
        let unsupported = |what: String| Error::unsupported(format!("{}: {what}", metadata.path().display()));
        let name = metadata.text("general.architecture")?;
        if let Some(kind) = metadata.text_opt("general.type")?
            && kind != "model"
        {
            return Err(unsupported(format!("the file is not a model; its general.type is {}", quoted(kind))));
        }
        let Some(found) = ALL.into_iter().find(|architecture| architecture.name() == name) else {
            let all = ALL.map(Self::name).join(", ");
            return Err(unsupported(format!(
                "the architecture {} is not supported; supported are {all}",
                quoted(name)
            )));
        };
        let experts = metadata.usize_opt(&format!("{name}.expert_count"))?.unwrap_or(0);
        if experts > 0 && !matches!(found, Llama | Qwen2Moe | Qwen3Moe) {
            return Err(unsupported(format!("mixtures of experts are not supported for the architecture {name}")));
        }
        Ok(found)
    }

    /// The name in GGUF.
    pub fn name(self) -> &'static str {
        match self {
            Llama => "llama",
            Qwen2 => "qwen2",
            Qwen2Moe => "qwen2moe",
            Qwen3 => "qwen3",
            Qwen3Moe => "qwen3moe",
            Gemma2 => "gemma2",
            Gemma3 => "gemma3",
            Phi3 => "phi3",
            Gpt2 => "gpt2",
            GptNeoX => "gptneox",
            T5 => "t5",
            Bert => "bert",
            NomicBert => "nomic-bert",
        }
    }

    /// Whether it only encodes: it generates nothing.
    pub fn is_encoder(self) -> bool {
        matches!(self, Bert | NomicBert)
    }

    pub fn is_gemma(self) -> bool {
        matches!(self, Gemma2 | Gemma3)
    }

    /// Hugging Face's name of a tensor; None if it has no such tensor. `gated` says whether the feed-forward is gated, which in T5
    /// changes the name of the up projection.
    pub fn rename(self, name: &str, gated: bool) -> Option<String> {
        let (stem, kind) = name.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "weight" | "bias"))?;
        let whole = match (self, stem) {
            (Gpt2, "token_embd") => "transformer.wte",
            (Gpt2, "position_embd") => "transformer.wpe",
            (Gpt2, "output_norm") => "transformer.ln_f",
            (GptNeoX, "token_embd") => "gpt_neox.embed_in",
            (GptNeoX, "output_norm") => "gpt_neox.final_layer_norm",
            (GptNeoX, "output") => "embed_out",
            (T5, "token_embd") => "shared",
            (T5, "enc.output_norm") => "encoder.final_layer_norm",
            (T5, "dec.output_norm") => "decoder.final_layer_norm",
            (T5, "output_norm") => return None,
            (Bert | NomicBert, "token_embd") => "embeddings.word_embeddings",
            (Bert | NomicBert, "token_types") => "embeddings.token_type_embeddings",
            (Bert, "position_embd") => "embeddings.position_embeddings",
            (Bert, "token_embd_norm") => "embeddings.LayerNorm",
            (NomicBert, "token_embd_norm") => "emb_ln",
            (_, "token_embd") => "model.embed_tokens",
            (_, "output_norm") => "model.norm",
            (_, "output") => "lm_head",
            _ => "",
        };
        if !whole.is_empty() {
            return Some(format!("{whole}.{kind}"));
        }
        let (stack, stem) = match self {
            T5 => stem.split_once('.')?,
            _ => ("", stem),
        };
        let (layer, leaf) = stem.strip_prefix("blk.")?.split_once('.')?;
        // Another spelling of the same number would give two tensors one name.
        layer.parse::<u32>().ok().filter(|number| number.to_string() == layer)?;
        let tables: &[Table] = match self {
            Llama => &[LLAMA, MIXTRAL],
            Qwen2 | Qwen3 => &[LLAMA],
            Qwen2Moe | Qwen3Moe => &[LLAMA, QWEN_MOE],
            Gemma2 | Gemma3 => &[GEMMA, LLAMA],
            Phi3 => &[PHI3, LLAMA],
            Gpt2 => &[GPT2],
            GptNeoX => &[GPT_NEOX],
            T5 => &[T5_BLOCK],
            Bert => &[BERT],
            NomicBert => &[NOMIC_BERT],
        };
        let leaf = look_up(tables, leaf)?;
        Some(match self {
            Gpt2 => format!("transformer.h.{layer}.{leaf}.{kind}"),
            GptNeoX => format!("gpt_neox.layers.{layer}.{leaf}.{kind}"),
            Bert => format!("encoder.layer.{layer}.{leaf}.{kind}"),
            NomicBert => format!("encoder.layers.{layer}.{leaf}.{kind}"),
            T5 => {
                let (stack, place) = match stack {
                    "enc" => ("encoder", "1"),
                    "dec" => ("decoder", "2"),
                    _ => return None,
                };
                let leaf = leaf.replace("{}", place);
                let leaf = if gated { leaf } else { leaf.replace("wi_1", "wi") };
                format!("{stack}.block.{layer}.layer.{leaf}.{kind}")
            }
            _ => format!("model.layers.{layer}.{leaf}.{kind}"),
        })
    }

    /// How the converter reordered the rows of a tensor (by its Hugging Face name), and the number of rows that it must then have.
    pub fn order(self, name: &str, heads: Heads) -> (RowOrder, Option<usize>) {
        let Heads { count, kv, dim } = heads;
        match self {
            Llama if name.contains(".self_attn.q_proj.") => {
                (RowOrder::HalvesInterleaved { head_dim: dim }, Some(count * dim))
            }
            Llama if name.contains(".self_attn.k_proj.") => {
                (RowOrder::HalvesInterleaved { head_dim: dim }, Some(kv * dim))
            }
            GptNeoX if name.contains(".query_key_value.") => {
                (RowOrder::PartsApart { heads: count, head_dim: dim }, Some(3 * count * dim))
            }
            _ => (RowOrder::Stored, None),
        }
    }

    /// What to add to a tensor (by its Hugging Face name) to get the original values: llama.cpp's converter adds 1 to Gemma's
    /// norms, which Gemma's code adds itself.
    pub fn shift(self, name: &str) -> f32 {
        if self.is_gemma() && name.ends_with("norm.weight") { -1.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_get_hugging_faces_names() {
        for (architecture, theirs, ours) in [
            (Llama, "token_embd.weight", "model.embed_tokens.weight"),
            (Llama, "blk.29.attn_q.bias", "model.layers.29.self_attn.q_proj.bias"),
            (Llama, "blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
            (Qwen3, "blk.1.attn_k_norm.weight", "model.layers.1.self_attn.k_norm.weight"),
            (Llama, "blk.1.ffn_gate_exps.weight", "model.layers.1.block_sparse_moe.experts.w1.weight"),
            (Qwen2Moe, "blk.1.ffn_gate_inp_shexp.weight", "model.layers.1.mlp.shared_expert_gate.weight"),
            (Gemma3, "blk.1.ffn_norm.weight", "model.layers.1.pre_feedforward_layernorm.weight"),
            (Gemma2, "blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight"),
            (Bert, "token_embd_norm.bias", "embeddings.LayerNorm.bias"),
            (Bert, "blk.5.attn_output_norm.weight", "encoder.layer.5.attention.output.LayerNorm.weight"),
            (NomicBert, "blk.5.ffn_gate.weight", "encoder.layers.5.mlp.fc12.weight"),
            (Phi3, "blk.7.ffn_up.weight", "model.layers.7.mlp.gate_up_proj.weight"),
            (Gpt2, "position_embd.weight", "transformer.wpe.weight"),
            (Gpt2, "output.weight", "lm_head.weight"),
            (Gpt2, "blk.3.ffn_up.bias", "transformer.h.3.mlp.c_fc.bias"),
            (GptNeoX, "blk.3.attn_qkv.bias", "gpt_neox.layers.3.attention.query_key_value.bias"),
            (T5, "enc.blk.0.attn_rel_b.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
            (T5, "dec.blk.5.ffn_down.weight", "decoder.block.5.layer.2.DenseReluDense.wo.weight"),
            (T5, "dec.blk.5.cross_attn_o.weight", "decoder.block.5.layer.1.EncDecAttention.o.weight"),
            (T5, "enc.output_norm.weight", "encoder.final_layer_norm.weight"),
        ] {
            assert_eq!(architecture.rename(theirs, true).as_deref(), Some(ours), "{architecture:?} {theirs}");
        }
        let wi = "encoder.block.2.layer.1.DenseReluDense.wi.weight";
        assert_eq!(T5.rename("enc.blk.2.ffn_up.weight", false).unwrap(), wi);
        for other in ["rope_freqs.weight", "blk.01.attn_q.weight", "blk.+1.attn_q.weight", "blk.1.attn_q", "x.y", ""] {
            assert_eq!(Llama.rename(other, true), None, "{other}");
        }
        assert_eq!(T5.rename("blk.1.attn_q.weight", true), None);
        assert_eq!(T5.rename("mid.blk.1.attn_q.weight", true), None);
    }

    #[test]
    fn only_what_the_converter_changed_is_changed_back() {
        let heads = Heads { count: 4, kv: 2, dim: 8 };
        let interleaved = RowOrder::HalvesInterleaved { head_dim: 8 };
        assert_eq!(Llama.order("model.layers.0.self_attn.q_proj.weight", heads), (interleaved, Some(32)));
        assert_eq!(Llama.order("model.layers.0.self_attn.k_proj.bias", heads), (interleaved, Some(16)));
        assert_eq!(Llama.order("model.layers.0.self_attn.v_proj.weight", heads), (RowOrder::Stored, None));
        assert_eq!(Qwen2.order("model.layers.0.self_attn.q_proj.weight", heads), (RowOrder::Stored, None));
        assert_eq!(Gemma3.shift("model.layers.0.self_attn.q_norm.weight"), -1.0);
        assert_eq!(Gemma2.shift("model.norm.weight"), -1.0);
        assert_eq!(Gemma2.shift("model.layers.0.mlp.up_proj.weight"), 0.0);
        assert_eq!(Llama.shift("model.norm.weight"), 0.0);
    }
}
