"""What each optimisation of the training is worth on this machine: time, memory and validation loss with it and without it.

    python -m kinglet_training.ablation recipes/rewrite.yaml --steps 200 --output results/ablation.md

Each run is a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from kinglet_training.recipe import RecipeError, read

# A name, and what changes in `training`.
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("the recipe", {}),
    ("without grouping by length", {"group_by_length": False}),
    ("padded to the longest allowed", {"dynamic_padding": False, "group_by_length": False}),
    ("bf16", {"precision": "bf16"}),
    ("gradient checkpointing", {"gradient_checkpointing": True}),
    ("accumulated in four parts", {"accumulate": 4}),
    ("one worker process for data", {"workers": 1}),
    ("constant learning rate from the start", {"warmup_steps": 0}),
]


def run(recipe_path: Path, steps: int, names: list[str] | None = None) -> list[dict[str, Any]]:
    """Trains once for each change and returns the figures."""
    base = read(recipe_path)
    rows = []
    for name, change in CHANGES:
        if names is not None and name not in names:
            continue
        training = dataclasses.replace(base.training, steps=steps, patience=0, evaluate_every=steps, **change)
        if change.get("accumulate"):
            training.batch_size = max(1, training.batch_size // change["accumulate"])
        recipe = {"data": dataclasses.asdict(base.data), "model": dataclasses.asdict(base.model), "training": dataclasses.asdict(training)}
        if base.distillation:
            recipe["distillation"] = dataclasses.asdict(base.distillation)
        with tempfile.TemporaryDirectory() as folder:
            # Beside the recipe, whose folder relative paths begin at.
            path = recipe_path.resolve().parent / f".ablation-{recipe_path.stem}.yaml"
            path.write_text(yaml.safe_dump(recipe))
            try:
                command = [sys.executable, "-m", "kinglet_training.train", str(path), "--output", folder, "--quiet"]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            finally:
                path.unlink()
            if done.returncode != 0:
                raise RecipeError(f"{name}: {done.stderr.strip()[-2000:]}")
            rows.append({"name": name, **json.loads((Path(folder) / "training.json").read_text())})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table; times are relative to the first row."""
    first = rows[0]["seconds"]
    head = "| training | s | relative | peak MiB | validation loss |\n|---|---:|---:|---:|---:|\n"
    lines = [
        f"| {row['name']} | {row['seconds']:.1f} | {row['seconds'] / first:.2f} | {row['peak_memory_mib']} | {row['validation_loss']:.4f} |"
        for row in rows
    ]
    return head + "\n".join(lines) + f"\n\n{rows[0]['steps']} steps, {rows[0]['machine']}, PyTorch {rows[0]['torch']}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure each optimisation of the training.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", type=Path, help="also write the table into this file")
    given = parser.parse_args()
    try:
        text = table(run(given.recipe, given.steps))
    except RecipeError as error:
        sys.exit(str(error))
    if given.output:
        given.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
