"""Batch sizes: a calibration that is kept, bounds, and what makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import kinglet
from kinglet import Model, errors


@pytest.mark.parametrize(("name", "input_tokens", "output_tokens"), [("bert", 12, 0), ("generation/gpt2", 8, 6)])
def test_suggestions(
    load: Callable[[str], Model], tmp_path: Path, name: str, input_tokens: int, output_tokens: int
) -> None:
    model, file = load(name), tmp_path / "calibration.json"
    found = model.suggest_batch_size(
        input_tokens, output_tokens=output_tokens, calibration_file=file, calibration_ms=100
    )
    assert isinstance(found, kinglet.BatchSuggestion)
    assert found.batch_size >= 1 and found.batch_ms > 0 and found.bytes > 0 and found.within_bound is True
    assert "measured on this machine" in found.explanation
    assert found.tokens_per_second / found.texts_per_second == pytest.approx(output_tokens or input_tokens)

    # The file answers from now on.
    def kept(**options: object) -> kinglet.BatchSuggestion:
        return model.suggest_batch_size(
            input_tokens,
            output_tokens=output_tokens,
            calibration_file=str(file),
            skip_calibration=True,
            **options,  # type: ignore[arg-type]
        )

    assert kept() == found
    quick = kept(goal="latency", latency_ms=found.batch_ms + 1)
    assert quick.within_bound and quick.batch_ms <= found.batch_ms + 1
    none = kept(goal="latency", latency_ms=1e-6)
    assert (none.within_bound, none.batch_size) == (False, 1)
    small = kept(goal="memory", memory_bytes=found.bytes)
    assert small.within_bound and small.bytes <= found.bytes


def test_what_makes_no_sense(bert: Model, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("my notes")
    for tokens, options, says in [
        (0, {}, "input_tokens: 0"),
        ("many", {}, "input_tokens: 'many' is no number"),
        (12, {"input_spread": -1}, "input_spread: -1"),
        (12, {"output_tokens": -1}, "output_tokens: -1"),
        (12, {"beams": 0}, "beams: 0"),
        (12, {"goal": "speed"}, "goal: 'speed' is unknown; it is one of throughput, latency, memory"),
        (12, {"goal": "latency"}, "options.latency_ms: 0"),
        (12, {"goal": "latency", "latency_ms": -1}, "options.latency_ms: -1"),
        (12, {"latency_ms": 5}, "options.latency_ms: is set"),
        (12, {"goal": "memory", "memory_bytes": 0}, "memory_bytes: 0"),
        (12, {"calibration_ms": 0}, "calibration_ms: 0"),
        (12, {"calibration_ms": 2**32}, "calibration_ms: 4294967296"),
    ]:
        with pytest.raises(errors.InvalidArgument) as refused:
            bert.suggest_batch_size(tokens, **options)  # type: ignore[arg-type]
        assert says in str(refused.value)
    with pytest.raises(errors.Unsupported, match="generates no text"):
        bert.suggest_batch_size(12, output_tokens=4)
    with pytest.raises(errors.InvalidFile, match="notes"):
        bert.suggest_batch_size(12, calibration_file=notes)
    with pytest.raises(TypeError, match="'bound'"):
        bert.suggest_batch_size(12, bound=4)  # type: ignore[call-arg]
    cancellation = kinglet.Cancellation()
    cancellation.cancel()
    with pytest.raises(errors.Cancelled):
        bert.suggest_batch_size(12, cancellation=cancellation)
