"""engine.py ENGINE HOME THREADS REPEAT WORKLOAD: runs a workload (JSON) on one engine and prints its figures as one line of JSON.

Inputs are random token ids from a fixed seed; exactly `output_tokens` new tokens are generated; one call is not counted.
"""

import json
import os
import random
import resource
import statistics
import sys
import time
from pathlib import Path


def padded(ids):
    import numpy as np
    inputs = np.zeros((len(ids), max(map(len, ids))), np.int64)
    mask = np.zeros_like(inputs)
    for row, text in enumerate(ids):
        inputs[row, : len(text)], mask[row, : len(text)] = text, 1
    return {"input_ids": inputs, "attention_mask": mask}


def ctranslate2(home, model, ids, new, beams, threads):
    import ctranslate2
    options = {"device": "cpu", "compute_type": "int8_float32", "intra_threads": threads}
    path, texts = str(home / "ctranslate2" / model), [[f"t{i}" for i in text] for text in ids]
    if not new:
        encoder = ctranslate2.Encoder(path, **options)
        return lambda: encoder.forward_batch(texts)
    if model.startswith("flan-t5"):
        translator = ctranslate2.Translator(path, **options)
        texts = [[*text[:-1], "</s>"] for text in texts]
        return lambda: translator.translate_batch(texts, beam_size=beams, max_decoding_length=new, min_decoding_length=new)
    generator = ctranslate2.Generator(path, **options)
    return lambda: generator.generate_batch(texts, beam_size=beams, max_length=new, min_length=new, include_prompt_in_result=False)


def onnxruntime(home, model, ids, new, beams, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(home / "onnx" / model / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    inputs = padded(ids)
    return lambda: session.run(None, inputs)


def openvino_encoder(file, home, model, ids, threads):
    import openvino
    properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(home / "onnx" / model / file), "CPU", properties).create_infer_request()
    inputs = padded(ids)
    return lambda: request.infer(inputs)


def openvino_generation(bits, home, model, ids, new, beams, threads):
    path = str(home / f"openvino-int{bits}" / model)
    properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if model.startswith("flan-t5"):
        import torch
        from optimum.intel import OVModelForSeq2SeqLM
        network = OVModelForSeq2SeqLM.from_pretrained(path, device="CPU", ov_config={name: str(value) for name, value in properties.items()})
        inputs = {name: torch.from_numpy(values) for name, values in padded(ids).items()}
        return lambda: network.generate(**inputs, max_new_tokens=new, min_new_tokens=new, num_beams=beams, do_sample=False)
    import openvino
    import openvino_genai
    # The other attention backend keeps the prompt's keys and values for the next call.
    pipeline = openvino_genai.LLMPipeline(path, "CPU", ATTENTION_BACKEND="SDPA", **properties)
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = new
    config.ignore_eos, config.do_sample, config.num_beams = True, False, beams
    inputs = openvino.Tensor(padded(ids)["input_ids"])
    return lambda: pipeline.generate(inputs, config)


def llama_cpp(kind, home, model, ids, new, beams, threads):
    """By the library's own functions, because the Python class copies the logits of every token."""
    import llama_cpp as llama
    silent = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(silent, None)
    llama.llama_backend_init()
    weights = llama.llama_model_load_from_file(str(home / "gguf" / model / f"{kind}.gguf").encode(), llama.llama_model_default_params())
    options = llama.llama_context_default_params()
    options.n_ctx, options.n_batch = len(ids) * (max(map(len, ids)) + new + 256), sum(map(len, ids))
    options.n_seq_max, options.n_threads, options.n_threads_batch = len(ids), threads, threads
    context, sampler = llama.llama_init_from_model(weights, options), llama.llama_sampler_init_greedy()
    batch = llama.llama_batch_init(max(sum(map(len, ids)), len(ids)), 0, 1)

    def step(entries):
        """Takes (token, position, sequence, whether a token follows), and returns the tokens that follow."""
        batch.n_tokens = len(entries)
        for i, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        if llama.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        return [llama.llama_sampler_sample(sampler, context, i) for i, entry in enumerate(entries) if entry[3]]

    def call():
        # The objects that C code keeps pointers to live as long as this function.
        assert weights and context and silent
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        last = step([(token, at, row, at + 1 == len(text)) for row, text in enumerate(ids) for at, token in enumerate(text)])
        for made in range(1, new):
            last = step([(token, len(ids[row]) + made - 1, row, True) for row, token in enumerate(last)])

    return call


def prepared(engine, home, model, ids, new, beams, threads):
    """A function that runs the workload once."""
    arguments = (home, model, ids, new, beams, threads)
    name, _, kind = engine.partition(" ")
    if name == "CTranslate2":
        return ctranslate2(*arguments)
    if name == "ONNXRuntime":
        return onnxruntime(*arguments)
    if name == "llama.cpp":
        return llama_cpp(kind.lower(), *arguments)
    if new:
        return openvino_generation(kind.removeprefix("INT"), *arguments)
    return openvino_encoder({"INT8": "int8.xml", "": "f32.onnx"}[kind], home, model, ids, threads)


def main():
    engine, home, threads, repeat, workload = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), json.loads(sys.argv[5])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    draw = random.Random(1)
    lengths = [draw.randint(*workload["input_tokens"]) for _ in range(workload["batch"])]
    ids = [[draw.randrange(200, 30000) for _ in range(length)] for length in lengths]
    new = workload.get("output_tokens", 0)
    call = prepared(engine, home, workload["model"], ids, new, workload.get("beams", 1), threads)
    call()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"p50_ms": 1e3 * statistics.median(times), "peak_rss_mb": peak}))


if __name__ == "__main__":
    main()
