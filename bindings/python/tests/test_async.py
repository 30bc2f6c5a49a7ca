"""Calls that are awaited."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kinglet import Cancellation, Model, errors

#: Far more work than the tests wait for.
MUCH = ["a small bird sings near the river " * 20] * 50_000


def test_awaited_calls(bert: Model, gpt2: Model, load: Callable[[str], Model], talker: Model) -> None:
    async def all_of_them() -> None:
        classifier, scorer = load("bert-classifier"), load("roberta-cross-encoder")
        rows, one, written, classes, scores = await asyncio.gather(
            bert.aembed(["bird", "a"], normalize=False),
            bert.aembed("bird"),
            gpt2.agenerate("The river", max_new_tokens=8, do_sample=False),
            classifier.aclassify(["a"], function="none"),
            scorer.ascore("a", ["bird"]),
        )
        assert (rows == bert.embed(["bird", "a"], normalize=False)).all() and (one == bert.embed("bird")).all()
        assert written.text == gpt2.generate("The river", max_new_tokens=8, do_sample=False).text
        assert (classes.scores == classifier.classify(["a"], function="none").scores).all()
        assert (scores == scorer.score("a", ["bird"])).all()
        pieces = [piece async for piece in gpt2.astream("The river", max_new_tokens=8, do_sample=False)]
        assert "".join(pieces) == written.text
        with talker.chat() as chat, talker.chat() as other:
            streamed = [piece async for piece in chat.astream("a", max_new_tokens=5, do_sample=False)]
            assert "".join(streamed) == (await other.asend("a", max_new_tokens=5, do_sample=False)).text

    asyncio.run(all_of_them())


def test_errors(bert: Model, gpt2: Model) -> None:
    async def failing() -> None:
        with pytest.raises(errors.InvalidArgument, match="prompt_name"):
            await bert.aembed("a", prompt_name="none")
        with pytest.raises(errors.InvalidArgument, match="num_beams"):
            async for _ in gpt2.astream("a", num_beams=2):
                pass

    asyncio.run(failing())


def test_cancelling_a_task_ends_the_call(bert: Model) -> None:
    async def cancelled() -> float:
        task = asyncio.create_task(bert.aembed(MUCH))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancellation = Cancellation()
        other = asyncio.create_task(bert.aembed(MUCH, cancellation=cancellation))
        await asyncio.sleep(0.1)
        cancellation.cancel()
        with pytest.raises(errors.Cancelled):
            await other
        return started

    # The loop ends when its threads have.
    started = asyncio.run(cancelled())
    assert time.monotonic() - started < 20


def test_awaited_calls_are_requests(load: Callable[..., Model], gpt2: Model) -> None:
    async def many() -> None:
        tagger = load("bert-token-classifier")
        assert await tagger.aclassify_tokens(["a bird"]) == tagger.classify_tokens(["a bird"])
        before = threading.active_count()
        writes = [gpt2.agenerate("The river", max_new_tokens=8, do_sample=False) for _ in range(100)]
        running = asyncio.gather(*writes)
        await asyncio.sleep(0.01)
        assert threading.active_count() == before
        alone = gpt2.generate("The river", max_new_tokens=8, do_sample=False).text
        assert {generation.text for generation in await running} == {alone}

        pieces: list[str] = []
        options: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
        written = await gpt2.agenerate("The river", on_piece=lambda piece: pieces.append(piece.text), **options)
        assert "".join(pieces) == written.text

        def fail(_: Any) -> None:
            raise LookupError("of the callback")

        with pytest.raises(LookupError, match="of the callback"):
            await gpt2.agenerate("The river", on_piece=fail, **options)

    asyncio.run(many())


def test_leaving_a_stream(gpt2: Model) -> None:
    async def left() -> str:
        stream = gpt2.astream("The river", max_new_tokens=100, ignore_eos=True, do_sample=False)
        async for piece in stream:
            return piece
        return ""

    assert asyncio.run(left())
