"""models.py HOME MINILM [MODEL…]: makes the models of the workloads in HOME, in each engine's format; what is there already stays.

All but MiniLM, which is the published one, have a published shape and random weights, on which speed does not depend. An engine that cannot
convert a model is named and goes without it.
"""

import ctypes
import shutil
import sys
import traceback
from pathlib import Path

import torch
from transformers import (
    BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, T5Config,
    T5ForConditionalGeneration,
)


def t5(width, inner, heads, layers):
    return T5ForConditionalGeneration(T5Config(
        vocab_size=32128, d_model=width, d_ff=inner, num_heads=heads, num_layers=layers, d_kv=64, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0))


def llama():
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=8192, rope_theta=1e5, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2))


def qwen():
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        max_position_embeddings=32768, rope_theta=1e6, rms_norm_eps=1e-6, tie_word_embeddings=True, bos_token_id=151643,
        eos_token_id=151645)).to(torch.bfloat16)


# Of each model how it is made, and special tokens for CTranslate2, whose inputs are strings: any other token is t<ID>.
MODELS = {
    "minilm": (None, {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}),
    "bert-base": (lambda: BertModel(BertConfig()), {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}),
    "flan-t5-small": (lambda: t5(512, 1024, 6, 8), {"<pad>": 0, "</s>": 1, "<unk>": 2}),
    "flan-t5-base": (lambda: t5(768, 2048, 12, 12), {"<pad>": 0, "</s>": 1, "<unk>": 2}),
    "gpt2": (lambda: GPT2LMHeadModel(GPT2Config()), {"<|endoftext|>": 50256}),
    "smollm2-135m": (llama, {"<unk>": 0, "<s>": 1, "</s>": 2}),
    "qwen2.5-0.5b": (qwen, {"<|endoftext|>": 151643, "<|im_end|>": 151645}),
}
ENCODERS, ENCODER_DECODERS, GGUF = ("minilm", "bert-base"), ("flan-t5-small", "flan-t5-base"), ("smollm2-135m", "qwen2.5-0.5b")


class Tokens:
    """Stands in for the tokenizer that CTranslate2's converter asks for."""

    def __init__(self, size, special):
        names = {i: name for name, i in special.items()}
        self.vocabulary = {names.get(i, f"t{i}"): i for i in range(size)}
        first = lambda *names: next((name for name in names if name in special), None)
        self.unk_token, self.pad_token = first("<unk>", "[UNK]", "<|endoftext|>"), first("<pad>", "[PAD]")
        self.bos_token, self.eos_token = first("<s>", "<|endoftext|>"), first("</s>", "<|im_end|>", "<|endoftext|>")
        self.additional_special_tokens, self.init_kwargs, self.chat_template = [], {}, None

    def get_vocab(self):
        return self.vocabulary

    def convert_ids_to_tokens(self, i):
        return next(name for name, at in self.vocabulary.items() if at == i)


def ctranslate2(name, source, target):
    from ctranslate2.converters.transformers import TransformersConverter
    from transformers import AutoConfig
    size, special = AutoConfig.from_pretrained(source).vocab_size, MODELS[name][1]
    # The converter adds what T5's tokenizer lacks of the vocabulary.
    size = 32100 if name in ENCODER_DECODERS else size
    BertConfig.position_embedding_type = "absolute"  # of older versions of transformers
    TransformersConverter.load_tokenizer = lambda *_, **__: Tokens(size, special)
    TransformersConverter(str(source)).convert(str(target), quantization="int8")


def onnx(name, source, target):
    """For ONNX Runtime with its dynamic quantisation, and for OpenVINO with NNCF's."""
    import nncf
    import numpy as np
    import openvino
    from onnxruntime.quantization import QuantType, quantize_dynamic

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = BertModel.from_pretrained(source, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask):
            # As it is added to the scores: transformers' own making of masks cannot be traced.
            mask = (1 - attention_mask[:, None, None, :].float()) * -1e9
            return self.model(input_ids=input_ids, attention_mask=mask).last_hidden_state

    target.mkdir()
    inputs, free = ["input_ids", "attention_mask"], {0: "batch", 1: "tokens"}
    example = torch.ones(2, 8, dtype=torch.long)
    torch.onnx.export(Hidden(), (example, example), str(target / "f32.onnx"), input_names=inputs, output_names=["hidden"],
                      dynamic_axes=dict.fromkeys([*inputs, "hidden"], free), dynamo=False)
    quantize_dynamic(str(target / "f32.onnx"), str(target / "int8.onnx"), weight_type=QuantType.QInt8, per_channel=True)
    random = np.random.default_rng(0)
    texts = [random.integers(200, 30000, (1, random.integers(8, 128))) for _ in range(64)]
    data = nncf.Dataset([{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in texts])
    model = nncf.quantize(openvino.Core().read_model(str(target / "f32.onnx")), data, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(model, str(target / "int8.xml"))


def openvino_generation(name, source, target, bits):
    from optimum.intel import OVModelForCausalLM, OVModelForSeq2SeqLM, OVWeightQuantizationConfig
    kind = OVModelForSeq2SeqLM if name in ENCODER_DECODERS else OVModelForCausalLM
    how = OVWeightQuantizationConfig(bits=8) if bits == 8 else OVWeightQuantizationConfig(bits=4, sym=False, group_size=64, ratio=1.0)
    kind.from_pretrained(source, export=True, compile=False, device="CPU", quantization_config=how).save_pretrained(target)


def gguf_f16(name, source, target):
    import json

    import gguf
    from safetensors.torch import load_file
    config = json.loads((source / "config.json").read_text())
    rope = config.get("rope_parameters") or config
    writer = gguf.GGUFWriter(str(target), config["model_type"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    # A tokenizer must be there; nothing is tokenised. Bytes, and names for the rest.
    from tokenizers.pre_tokenizers import ByteLevel
    tokens = sorted(ByteLevel.alphabet()) + ["tt"] + [f"t{i}" for i in range(257, config["vocab_size"])]
    kinds = [gguf.TokenType.NORMAL] * len(tokens)
    for key in ("bos_token_id", "eos_token_id"):
        tokens[config[key]], kinds[config[key]] = f"<|{key}|>", gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["t t"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    architecture = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[config["model_type"]]
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for key, tensor in load_file(source / "model.safetensors").items():
        if key != "lm_head.weight":  # tied
            values = tensor.float() if tensor.dim() == 1 else tensor.half()
            writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_files(name, source, target):
    import llama_cpp
    target.mkdir()
    whole = target / "f16.gguf"
    gguf_f16(name, source, whole)
    types = {"q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M}
    for kind, number in types.items():
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype = number
        if llama_cpp.llama_model_quantize(str(whole).encode(), str(target / f"{kind}.gguf").encode(), ctypes.byref(options)):
            raise RuntimeError(f"llama.cpp does not write {kind}")
    whole.unlink()


def make(what, target, build):
    """Runs `build` on a path that becomes `target` when it is complete."""
    if target.exists():
        return
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        build(part)
        part.rename(target)
        print("made", what, flush=True)
    except Exception:  # noqa: BLE001: whatever an engine's converter raises
        traceback.print_exc()
        print(f"*** {what} could not be made", file=sys.stderr, flush=True)


def main():
    home, minilm, wanted = Path(sys.argv[1]), Path(sys.argv[2]).resolve(), sys.argv[3:] or list(MODELS)
    for name in wanted:
        torch.manual_seed(0)
        source = home / "models" / name
        if name == "minilm":
            make(name, source, lambda part: shutil.copytree(minilm, part))
        else:
            make(name, source, lambda part: MODELS[name][0]().eval().save_pretrained(part))
        if name != "qwen2.5-0.5b":
            make(f"{name} for CTranslate2", home / "ctranslate2" / name, lambda part: ctranslate2(name, source, part))
        if name in ENCODERS:
            make(f"{name} as ONNX", home / "onnx" / name, lambda part: onnx(name, source, part))
            continue
        for bits in (8, 4):
            make(f"{name} for OpenVINO, INT{bits}", home / f"openvino-int{bits}" / name, lambda part: openvino_generation(name, source, part, bits))
        if name in GGUF:
            make(f"{name} as GGUF", home / "gguf" / name, lambda part: gguf_files(name, source, part))


if __name__ == "__main__":
    main()
