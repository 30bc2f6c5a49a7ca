"""Recipes: one YAML file says what is trained, on what, and how."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


class RecipeError(ValueError):
    """A recipe that cannot be followed; the message names the file and the key."""


@dataclass
class Data:
    """JSON lines with an input and the expected output. `generator` and `count` write the files first where they are missing."""

    folder: str
    generator: str | None = None
    count: int = 60_000
    seed: int = 1
    input_field: str = "input"
    expected_field: str = "expected"
    max_input_tokens: int = 128
    max_output_tokens: int = 128


@dataclass
class Model:
    """`start` is a checkpoint to go on from; without it `type` and `config` (transformers' names) describe a new model."""

    start: str | None = None
    type: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    # Entries of a new byte-level BPE vocabulary; without it the tokenizer is that of `start`, or of the teacher.
    vocabulary: int | None = None


@dataclass
class Training:
    """transformers' TrainingArguments, in short. The batch of an optimiser step is `batch_size * accumulate`."""

    steps: int = 1000
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    # f32, bf16, or fp16 with loss scaling (GPUs).
    precision: str = "f32"
    gradient_checkpointing: bool = False
    # Texts of similar lengths in a batch; else each batch is padded to its longest text all the same.
    group_by_length: bool = True
    # Padding to the longest text of a batch; else to the longest allowed.
    dynamic_padding: bool = True
    workers: int = 0
    evaluate_every: int = 200
    # Ends the training after this many evaluations without a lower validation loss; 0 never.
    patience: int = 5
    seed: int = 1


@dataclass
class Distillation:
    """loss = alpha * temperature² * KL(teacher || student) + (1 - alpha) * cross-entropy, both per token."""

    teacher: str = ""
    temperature: float = 2.0
    alpha: float = 0.5
    # Copy the teacher's tensors, of layers at equal distances, where the shapes are equal.
    initialise: bool = True


@dataclass
class Recipe:
    """What `train` and `distill` follow."""

    data: Data
    model: Model
    training: Training = field(default_factory=Training)
    distillation: Distillation | None = None


def _filled(kind: type[T], values: Any, where: str) -> T:
    if not isinstance(values, dict):
        raise RecipeError(f"{where}: a mapping is needed")
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise RecipeError(f"{where}.{key}: is unknown; the keys are {', '.join(known)}")
    for name, f in known.items():
        wanted = f.default if f.default is not dataclasses.MISSING else None
        given = values.get(name)
        numeric = isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
        if given is not None and numeric and (isinstance(given, bool) or not isinstance(given, (int, float))):
            raise RecipeError(f"{where}.{name}: {given!r} is not a number")
        if given is not None and isinstance(wanted, bool) and not isinstance(given, bool):
            raise RecipeError(f"{where}.{name}: {given!r} is not true or false")
    try:
        return kind(**values)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from None


def read(path: Path) -> Recipe:
    """Reads a recipe. Unknown keys and values of another type are errors."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a mapping is needed")
    parts = {"data": Data, "model": Model, "training": Training, "distillation": Distillation}
    for key in content:
        if key not in parts:
            raise RecipeError(f"{path}: {key}: is unknown; the keys are {', '.join(parts)}")
    for key in ("data", "model"):
        if key not in content:
            raise RecipeError(f"{path}: {key}: is missing")
    recipe = Recipe(**{key: _filled(parts[key], values or {}, f"{path}: {key}") for key, values in content.items()})
    if (recipe.model.start is None) == (recipe.model.type is None):
        raise RecipeError(f"{path}: model: either start or type is needed")
    if recipe.training.precision not in ("f32", "bf16", "fp16"):
        raise RecipeError(f"{path}: training.precision: {recipe.training.precision!r} is not one of f32, bf16, fp16")
    return recipe
