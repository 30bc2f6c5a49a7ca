"""Distillation: a small model learns a larger one's distribution over tokens (Hinton, Vinyals & Dean 2015), and may learn its texts
(sequence-level distillation, Kim & Rush 2016).

    python -m kinglet_training.train recipes/summarise-student.yaml --output out/student       # a recipe with `distillation`
    python -m kinglet_training.distill label --kinglet kinglet --teacher out/teacher --input data/advisories/train.jsonl --output …
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from kinglet_training.examples import lines
from kinglet_training.recipe import Distillation, Recipe, RecipeError
from kinglet_training.trainer import TokenTrainer, aligned


class DistillationTrainer(TokenTrainer):
    """alpha * T² * KL(teacher || student) + (1 - alpha) * cross-entropy, per token that counts. The validation loss is the cross-entropy."""

    def __init__(self, *positional: Any, teacher: PreTrainedModel, settings: Distillation, **options: Any) -> None:
        super().__init__(*positional, **options)
        self.teacher = teacher.to(self.args.device).eval().requires_grad_(False)
        self.settings = settings

    def token_losses(self, inputs: dict[str, Any], logits: torch.Tensor, labels: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """As in TokenTrainer."""
        own = super().token_losses(inputs, logits, labels, counted)
        if not self.model.training:
            return own
        with torch.no_grad():
            wanted, _ = aligned(self.teacher, self.teacher(**inputs).logits, inputs["labels"])
        heat, alpha = self.settings.temperature, self.settings.alpha
        student = functional.log_softmax(logits.float() / heat, dim=-1)
        teacher = functional.log_softmax(wanted[counted].float() / heat, dim=-1)
        divergence = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
        return alpha * heat**2 * divergence + (1 - alpha) * own


def teacher_of(recipe: Recipe, base: Path, student: PreTrainedModel, encoder_decoder: bool) -> PreTrainedModel:
    """The teacher; copies its tensors into the student where the recipe says so."""
    settings = recipe.distillation
    assert settings is not None
    kind = AutoModelForSeq2SeqLM if encoder_decoder else AutoModelForCausalLM
    teacher = kind.from_pretrained(str(base / settings.teacher), dtype=torch.float32)
    if teacher.config.vocab_size != student.config.vocab_size:
        sizes = f"{student.config.vocab_size} and {teacher.config.vocab_size}"
        raise RecipeError(f"distillation.teacher: the student and the teacher have different vocabularies ({sizes} entries)")
    if settings.initialise and recipe.model.start is None:
        copied = initialise(student, teacher)
        print(f"{copied} tensors begin as the teacher's", file=sys.stderr)
    return teacher


def initialise(student: PreTrainedModel, teacher: PreTrainedModel) -> int:
    """Copies tensors of the same shape; the student's layers come from teacher's layers at equal distances, the first and the last included.
    Returns how many were copied."""
    source, copied = teacher.state_dict(), 0
    deepest = {prefix: depth for prefix, depth in _depths(source).items()}
    own = _depths(student.state_dict())
    with torch.no_grad():
        for name, tensor in student.state_dict().items():
            found = source.get(_counterpart(name, own, deepest))
            if found is not None and found.shape == tensor.shape:
                tensor.copy_(found)
                copied += 1
    return copied


def _layer(name: str) -> tuple[str, int, str] | None:
    """A layer's tensor: what is before the first number in its name, the number, and the rest."""
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[:i]), int(part), ".".join(parts[i + 1 :])
    return None


def _depths(tensors: dict[str, Any]) -> dict[str, int]:
    depths: dict[str, int] = {}
    for name in tensors:
        if layer := _layer(name):
            depths[layer[0]] = max(depths.get(layer[0], 0), layer[1] + 1)
    return depths


def _counterpart(name: str, own: dict[str, int], deepest: dict[str, int]) -> str:
    layer = _layer(name)
    if layer is None or layer[0] not in deepest:
        return name
    prefix, number, rest = layer
    few, many = own[prefix], deepest[prefix]
    place = round(number * (many - 1) / (few - 1)) if few > 1 else 0
    return f"{prefix}.{place}.{rest}"


def label(kinglet: str, teacher: Path, source: Path, output: Path, options: list[str]) -> int:
    """Replaces the expected texts of a file by those that Kinglet generates with the teacher, in bulk. Returns their number."""
    inputs = [text for text, _ in lines(source, ("input", "expected"))]
    request = "".join(json.dumps({"input": text}) + "\n" for text in inputs)
    command = [kinglet, "generate", "--model", str(teacher), "--jsonl", "input", "--json", "--batch-size", "64", *options]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RecipeError(f"kinglet generate: {done.stderr.strip()}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(inputs):
        raise RecipeError(f"kinglet generate: {len(answers)} answers for {len(inputs)} inputs")
    with output.open("w", encoding="utf-8") as file:
        for text, answer in zip(inputs, answers, strict=True):
            file.write(json.dumps({"input": text, "expected": answer["outputs"][0]["text"]}, ensure_ascii=False) + "\n")
    return len(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sequence-level distillation: texts of the teacher instead of the references.")
    parser.add_argument("verb", choices=["label"])
    parser.add_argument("--kinglet", default="kinglet", help="the command line of Kinglet (default: %(default)s)")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given, options = parser.parse_known_args()
    try:
        print(label(given.kinglet, given.teacher, given.input, given.output, options))
    except RecipeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
