"""transformers' Trainer, with a loss per token: the same gradients whatever the batch is split into."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from kinglet_training.examples import IGNORED
from kinglet_training.recipe import Training


class TokenTrainer(Trainer):
    """Sums the cross-entropy over the tokens of a batch and divides by the tokens of the whole optimiser step.

    A mean per small batch would weigh tokens of short batches more when gradients are accumulated; the loss of T5 in transformers does so.
    """

    def __init__(self, *positional: Any, label_smoothing: float = 0.0, **options: Any) -> None:
        super().__init__(*positional, **options)
        self.smoothing = label_smoothing
        # The number of tokens comes with each call, and no further division by the number of small batches is made.
        self.model_accepts_loss_kwargs = True

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The loss of a small batch, as its share of the optimiser step's."""
        outputs = model(**inputs)
        logits, labels = aligned(self.model, outputs.logits, inputs["labels"])
        counted = labels != IGNORED
        count = num_items_in_batch if num_items_in_batch is not None and model.training else counted.sum()
        loss = self.token_losses(inputs, logits[counted], labels[counted], counted).sum() / count
        return (loss, outputs) if return_outputs else loss

    def token_losses(self, inputs: dict[str, Any], logits: torch.Tensor, labels: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """The loss of each token that counts."""
        smoothing = self.smoothing if self.model.training else 0.0
        return functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)


def aligned(model: PreTrainedModel, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits beside the labels that they predict: a decoder predicts the next token, an encoder-decoder's input is shifted already."""
    if model.config.is_encoder_decoder:
        return logits, labels
    return logits[:, :-1], labels[:, 1:]


class Curves(TrainerCallback):
    """Writes curves.csv while it runs, and curves.svg."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.begun, self.rows = folder, time.monotonic(), []
        self.keys = ["step", "epoch", "seconds", "loss", "eval_loss", "learning_rate", "grad_norm"]

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """A row for each log of the trainer."""
        logs = logs or {}
        if "loss" in logs or "eval_loss" in logs:
            seconds = round(time.monotonic() - self.begun, 1)
            self.rows.append({"step": state.global_step, "epoch": round(state.epoch or 0, 3), "seconds": seconds, **logs})
            self.write()

    def write(self) -> None:
        """Both files."""
        with (self.folder / "curves.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, self.keys, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)

    def draw(self) -> None:
        """The losses over the steps."""
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(7, 4))
        for key, name in (("loss", "training"), ("eval_loss", "validation")):
            points = [(row["step"], row[key]) for row in self.rows if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name)
        axes.set(xlabel="step", ylabel="loss per token", yscale="log")
        axes.legend()
        axes.grid(alpha=0.3)
        figure.savefig(self.folder / "curves.svg")
        pyplot.close(figure)


def arguments(training: Training, folder: Path, progress: bool) -> TrainingArguments:
    """A recipe's training, in transformers' names."""
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=training.steps,
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulate,
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        bf16=training.precision == "bf16",
        fp16=training.precision == "fp16",
        activation_checkpointing=training.gradient_checkpointing,
        train_sampling_strategy="group_by_length" if training.group_by_length else "random",
        dataloader_num_workers=training.workers,
        eval_strategy="steps",
        eval_steps=training.evaluate_every,
        save_strategy="steps",
        save_steps=training.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=max(1, min(20, training.evaluate_every // 2)),
        disable_tqdm=not progress,
        report_to=[],
        seed=training.seed,
        data_seed=training.seed,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
    )


def callbacks(training: Training, folder: Path) -> list[TrainerCallback]:
    """Curves, and the end of a training that no longer helps."""
    found: list[TrainerCallback] = [Curves(folder)]
    if training.patience > 0:
        found.append(EarlyStoppingCallback(early_stopping_patience=training.patience))
    return found
