"""Trains or fine-tunes a model by a recipe.

    python -m kinglet_training.train recipes/llvm_ir.yaml --output out/llvm-ir

The folder gets the model and its tokenizer as Kinglet loads them, curves.csv, curves.svg and training.json. `--resume` goes on from the last
checkpoint: the weights at the end are those of a run that was not interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel, set_seed

from kinglet_training import data, vocabulary
from kinglet_training.examples import Examples, collator, encode, lines
from kinglet_training.recipe import Recipe, RecipeError, read
from kinglet_training.trainer import Curves, TokenTrainer, arguments, callbacks

ENCODER_DECODERS = {"t5", "mt5", "bart", "mbart", "marian", "pegasus"}


def prepare(recipe: Recipe, base: Path) -> Path:
    """The folder of the data, which is generated where it is missing. Relative paths begin at the recipe's folder."""
    folder = base / recipe.data.folder
    if not (folder / "train.jsonl").exists():
        if recipe.data.generator is None:
            raise RecipeError(f"{folder / 'train.jsonl'}: does not exist, and data.generator does not say how to make it")
        if recipe.data.generator not in data.GENERATORS:
            raise RecipeError(f"data.generator: {recipe.data.generator!r} is not one of {', '.join(data.GENERATORS)}")
        print(f"writing {folder}", file=sys.stderr)
        data.write(recipe.data.generator, recipe.data.count, folder, recipe.data.seed)
    return folder


def is_encoder_decoder(recipe: Recipe, base: Path) -> bool:
    """What the model is, before it exists."""
    if recipe.model.type is not None:
        return recipe.model.type in ENCODER_DECODERS
    return bool(AutoConfig.from_pretrained(str(base / str(recipe.model.start))).is_encoder_decoder)


def tokenizer_of(recipe: Recipe, base: Path, folder: Path, encoder_decoder: bool) -> Any:
    """The tokenizer: a new one, or that of the checkpoint, or of the teacher."""
    if recipe.model.vocabulary is not None:
        fields = (recipe.data.input_field, recipe.data.expected_field)
        texts = (text for pair in lines(folder / "train.jsonl", fields) for text in pair)
        longest = recipe.data.max_input_tokens + (0 if encoder_decoder else recipe.data.max_output_tokens)
        return vocabulary.train(texts, recipe.model.vocabulary, encoder_decoder, longest)
    source = recipe.model.start or (recipe.distillation.teacher if recipe.distillation else None)
    if source is None:
        raise RecipeError("model.vocabulary: is missing: a new model without a teacher needs a vocabulary")
    return vocabulary.load(base / source)


def model_of(recipe: Recipe, base: Path, tokenizer: Any, encoder_decoder: bool) -> PreTrainedModel:
    """A new model with random weights, or the checkpoint's."""
    kind = AutoModelForSeq2SeqLM if encoder_decoder else AutoModelForCausalLM
    if recipe.model.start is not None:
        return kind.from_pretrained(str(base / recipe.model.start), dtype=torch.float32)
    end = tokenizer.eos_token_id
    special = {"vocab_size": len(tokenizer), "eos_token_id": end, "pad_token_id": tokenizer.pad_token_id}
    special |= {"decoder_start_token_id": tokenizer.pad_token_id} if encoder_decoder else {"bos_token_id": end}
    config = AutoConfig.for_model(recipe.model.type, **{**special, **recipe.model.config})
    return kind.from_config(config)


def examples_of(recipe: Recipe, folder: Path, tokenizer: Any, encoder_decoder: bool) -> tuple[Examples, Examples]:
    """Examples to train on and to validate with: from shards if there are some, else tokenised now."""
    if (folder / "shards" / "manifest.json").exists():
        return tuple(Examples.read(folder / "shards", part, encoder_decoder) for part in ("train", "validation"))  # type: ignore[return-value]
    fields = (recipe.data.input_field, recipe.data.expected_field)

    def part(name: str) -> Examples:
        pairs = list(lines(folder / f"{name}.jsonl", fields))
        return Examples.of(encode(tokenizer, pairs, recipe.data, encoder_decoder), encoder_decoder)

    return part("train"), part("validation")


def save(model: PreTrainedModel, tokenizer: Any, recipe: Recipe, output: Path) -> None:
    """The files that Kinglet loads. Texts of the tokenizer end as the model learnt it."""
    model.generation_config.max_new_tokens = recipe.data.max_output_tokens
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)


def run(recipe: Recipe, base: Path, output: Path, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Follows a recipe and returns what is in training.json."""
    from kinglet_training.distill import DistillationTrainer, teacher_of

    set_seed(recipe.training.seed)
    folder = prepare(recipe, base)
    encoder_decoder = is_encoder_decoder(recipe, base)
    tokenizer = tokenizer_of(recipe, base, folder, encoder_decoder)
    train, validation = examples_of(recipe, folder, tokenizer, encoder_decoder)
    model = model_of(recipe, base, tokenizer, encoder_decoder)
    output.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {
        "model": model,
        "args": arguments(recipe.training, output, progress),
        "train_dataset": train,
        "eval_dataset": validation,
        "data_collator": collator(tokenizer, recipe.data, encoder_decoder, recipe.training.dynamic_padding),
        "callbacks": callbacks(recipe.training, output),
        "label_smoothing": recipe.training.label_smoothing,
    }
    if recipe.distillation is None:
        trainer = TokenTrainer(**common)
    else:
        trainer = DistillationTrainer(**common, teacher=teacher_of(recipe, base, model, encoder_decoder), settings=recipe.distillation)
    begun = time.monotonic()
    done = trainer.train(resume_from_checkpoint=resume or None)
    losses = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, Curves):
            callback.draw()
    save(model, tokenizer, recipe, output)
    summary = {
        "steps": done.global_step,
        "seconds": round(time.monotonic() - begun, 1),
        "validation_loss": min(losses) if losses else None,
        "parameters": model.num_parameters(),
        "examples": len(train),
        # Of the process: on Linux in KiB.
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads" + (", CUDA" if torch.cuda.is_available() else ""),
        "torch": torch.__version__,
        "recipe": dataclasses.asdict(recipe),
    }
    (output / "training.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description="Train or fine-tune a model by a recipe.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder of the model")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args()
    try:
        summary = run(read(given.recipe), given.recipe.resolve().parent, given.output, given.resume, not given.quiet)
    except RecipeError as error:
        sys.exit(str(error))
    shown = {key: summary[key] for key in ("steps", "seconds", "validation_loss", "parameters", "peak_memory_mib")}
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
