from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from kinglet_training import ablation, preprocess, train, vocabulary
from kinglet_training.distill import initialise
from kinglet_training.examples import Collator, Examples, encode, flat, lines
from kinglet_training.recipe import Distillation, RecipeError, read


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_the_loss_falls_and_the_files_are_kinglets(kind: str, recipe, tmp_path: Path) -> None:
    summary = train.run(recipe(kind, steps=200, evaluate_every=100), tmp_path, tmp_path / "out", progress=False)
    with (tmp_path / "out" / "curves.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]
    assert losses[-1] < 0.7 * losses[0], losses
    assert summary["steps"] == 200 and summary["validation_loss"] < losses[0]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "training.json", "curves.svg"} <= names
    loaded = (AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM).from_pretrained(tmp_path / "out")
    tokenizer = vocabulary.load(tmp_path / "out")
    ids = tokenizer("rewrite: fix", return_tensors="pt").input_ids
    assert ids[0, -1] == tokenizer.eos_token_id or kind == "gpt2"
    assert loaded.generate(ids, max_new_tokens=5).shape[0] == 1


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_gradients_do_not_depend_on_how_a_batch_is_split(kind: str, recipe, tmp_path: Path) -> None:
    for name, batch, accumulate in (("whole", 16, 1), ("parts", 4, 4)):
        settings = {"steps": 3, "batch_size": batch, "accumulate": accumulate, "evaluate_every": 3, "group_by_length": False, "warmup_steps": 0}
        train.run(recipe(kind, **settings), tmp_path, tmp_path / name, progress=False)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name, tensor in whole.items():
        # Adam divides by the gradient's size: tiny differences of tiny gradients count.
        assert torch.allclose(tensor, parts[name], atol=2e-4), name


def test_a_resumed_run_has_the_weights_of_one_that_was_not_interrupted(recipe, tmp_path: Path) -> None:
    train.run(recipe(), tmp_path, tmp_path / "whole", progress=False)
    # The second run stops after half of the same schedule, as one that was killed.
    from transformers import TrainerCallback

    from kinglet_training import train as module

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):  # noqa: ANN001, ANN003, ANN202
            control.should_training_stop = state.global_step >= 20
            return control

    original = module.callbacks
    module.callbacks = lambda training, folder: [*original(training, folder), Stop()]
    try:
        first = train.run(recipe(), tmp_path, tmp_path / "half", progress=False)
    finally:
        module.callbacks = original
    assert first["steps"] == 20
    train.run(recipe(), tmp_path, tmp_path / "half", resume=True, progress=False)
    whole, half = weights(tmp_path / "whole"), weights(tmp_path / "half")
    assert all(torch.equal(tensor, half[name]) for name, tensor in whole.items())


def test_early_stopping_stops(recipe, tmp_path: Path) -> None:
    # A learning rate that makes it worse from the first evaluation on.
    summary = train.run(recipe(steps=400, learning_rate=3.0, evaluate_every=5, patience=2, warmup_steps=0), tmp_path, tmp_path / "out", progress=False)
    assert summary["steps"] < 200


def test_a_student_begins_as_its_teacher_and_learns_from_it(recipe, tmp_path: Path) -> None:
    train.run(recipe("gpt2"), tmp_path, tmp_path / "teacher", progress=False)
    settings = Distillation(teacher=str(tmp_path / "teacher"), temperature=2.0, alpha=1.0)
    small = recipe("gpt2", settings, steps=20)
    small.model.config["n_layer"] = 1
    summary = train.run(small, tmp_path, tmp_path / "student", progress=False)
    teacher = AutoModelForCausalLM.from_pretrained(tmp_path / "teacher")
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert summary["parameters"] < teacher.num_parameters()
    fresh = AutoModelForCausalLM.from_config(student.config)
    # Embeddings, the norm, the head's tied rows, and all tensors of one layer.
    assert initialise(fresh, teacher) >= 15
    assert torch.equal(fresh.transformer.wte.weight, teacher.transformer.wte.weight)
    assert torch.equal(fresh.transformer.h[0].mlp.c_fc.weight, teacher.transformer.h[0].mlp.c_fc.weight)

    def divergence(model) -> float:  # noqa: ANN001
        ids = torch.arange(2, 66).reshape(4, 16)
        with torch.no_grad():
            a, b = teacher(ids).logits.log_softmax(-1), model(ids).logits.log_softmax(-1)
        return float((a.exp() * (a - b)).sum(-1).mean())

    assert divergence(student) < divergence(AutoModelForCausalLM.from_config(student.config))


def test_shards_hold_what_the_lines_hold(recipe, tmp_path: Path) -> None:
    wanted = recipe()
    train.run(wanted, tmp_path, tmp_path / "out", progress=False)
    folder = Path(wanted.data.folder)
    figures = preprocess.run(folder, tmp_path / "out", wanted.data, workers=2)
    tokenizer = vocabulary.load(tmp_path / "out")
    for part in ("train", "validation"):
        pairs = list(lines(folder / f"{part}.jsonl", ("input", "expected")))
        tokens, ends = flat(encode(tokenizer, pairs, wanted.data, True))
        found = Examples.read(folder / "shards", part, True)
        assert (found.tokens == tokens).all() and (found.ends == ends).all() and len(found) == len(pairs)
    assert figures["lines"] > 500
    # Training from shards is training from lines.
    again = train.run(wanted, tmp_path, tmp_path / "again", progress=False)
    assert again["examples"] == len(Examples.read(folder / "shards", "train", True))
    first, second = weights(tmp_path / "out"), weights(tmp_path / "again")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_batches_are_padded_to_their_longest() -> None:
    examples = Examples.of([([5, 6, 7], [8, 1]), ([5], [9, 9, 9, 9, 9, 9, 9, 9, 1])], True)
    batch = Collator(0)([examples[0], examples[1]])
    assert batch["input_ids"].shape == (2, 8) and batch["labels"].shape == (2, 16)
    assert batch["attention_mask"].sum(1).tolist() == [3, 1]
    assert (batch["labels"][0] == -100).sum() == 14
    assert Collator(0, (32, 24))([examples[0]])["labels"].shape == (1, 24)
    decoder = Examples.of([([5, 6, 7], [8, 1])], False)[0]
    assert decoder["input_ids"].tolist() == [5, 6, 7, 8, 1] and decoder["labels"].tolist() == [-100, -100, -100, 8, 1]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("data: {folder: a}\nmodel: {type: t5}\nmore: 1", "more: is unknown"),
        ("data: {folder: a, colour: red}\nmodel: {type: t5}", "data.colour: is unknown"),
        ("data: {folder: a}\nmodel: {}", "either start or type"),
        ("data: {folder: a}\nmodel: {type: t5}\ntraining: {steps: many}", "training.steps: 'many' is not a number"),
        ("data: {folder: a}\nmodel: {type: t5}\ntraining: {precision: int8}", "training.precision"),
        ("model: {type: t5}", "data: is missing"),
        ("data: [", "recipe.yaml"),
    ],
)
def test_mistakes_in_recipes_are_named(text: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=part.replace(".", r"\.")):
        read(path)


def test_the_committed_recipes_are_read() -> None:
    recipes = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
    assert len(recipes) >= 5
    for path in recipes:
        assert read(path).training.steps > 0


def test_mistakes_in_data_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"input": "a", "expected": "b"}) + "\n{}\n")
    with pytest.raises(RecipeError, match="line 2: field 'input' is missing"):
        list(lines(path, ("input", "expected")))


def test_the_ablation_measures_each_change(recipe, tmp_path: Path) -> None:
    import dataclasses

    import yaml

    path = tmp_path / "small.yaml"
    content = dataclasses.asdict(recipe(steps=6))
    content.pop("distillation")
    path.write_text(yaml.safe_dump(content))
    rows = ablation.run(path, 6, ["the recipe", "accumulated in four parts"])
    text = ablation.table(rows)
    assert len(rows) == 2 and "accumulated in four parts" in text and rows[1]["recipe"]["training"]["batch_size"] == 4
