"""Interrupts, forks, pickles, CPU affinity, memory: each in a process of its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap

import pytest

from kinglet import Model

from .conftest import FIXTURES


def ran(program: str) -> str:
    """The output of a program that must succeed."""
    head = f"import os, sys, time, signal, threading\nfrom kinglet import Model, errors\nFIXTURES = {str(FIXTURES)!r}\n"
    # A shell's background jobs ignore SIGINT, and their children inherit that.
    head += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    found = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert found.returncode == 0, found.stderr + found.stdout
    return found.stdout


INTERRUPTED = """
    model = Model.load(FIXTURES + "/bert")
    {handler}
    def interrupt():
        global sent
        time.sleep(0.3)
        sent = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)
    # Far more work than can be done in the time that the test allows.
    texts = ["a small bird sings near the river " * 20] * 50_000
    def calling(frame):
        return frame is not None and (frame.f_code.co_name == "check" or calling(frame.f_back))
    for _ in range(3):
        threading.Thread(target=interrupt).start()
        try:
            model.embed(texts)
        except {expected}:
            # No thread is inside the library any more.
            print("after", time.perf_counter() - sent, any(map(calling, sys._current_frames().values())))
    print(model.embed("bird").shape)
    """


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("", "KeyboardInterrupt"),
        ("def own(*_): raise ZeroDivisionError\n    signal.signal(signal.SIGINT, own)", "ZeroDivisionError"),
        ("import socket; a, b = socket.socketpair(); b.setblocking(False); signal.set_wakeup_fd(b.fileno())", "KeyboardInterrupt"),
    ],
)
def test_interrupts_end_a_call(handler: str, expected: str) -> None:
    lines = ran(INTERRUPTED.format(handler=handler, expected=expected)).splitlines()
    assert len(lines) == 4 and all(line.startswith("after ") and line.endswith(" False") for line in lines[:3]) and lines[3] == "(32,)"


def test_interrupt_of_a_stream() -> None:
    out = ran(
        """
        model = Model.load(FIXTURES + "/generation/gpt2")
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                for piece in model.stream("The river", max_new_tokens=100, ignore_eos=True, do_sample=False):
                    pass
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert out == "interrupted\n"


def test_interrupt_of_a_call_whose_callback_called() -> None:
    out = ran(
        """
        model, bert = Model.load(FIXTURES + "/generation/gpt2"), Model.load(FIXTURES + "/bert")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        ended = 0
        try:
            while True:
                model.generate(["The river"] * 50, max_new_tokens=100, ignore_eos=True, do_sample=False, on_piece=lambda _: bert.embed("a"))
                ended += 1
        except KeyboardInterrupt:
            print(signal.set_wakeup_fd(-1))
        """
    )
    assert out == "-1\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_fork() -> None:
    """The child uses its parent's model and loads others, also when its parent was in calls, streamed and awaited."""
    out = ran(
        """
        import asyncio, warnings
        warnings.simplefilter("ignore")
        model, writer = Model.load(FIXTURES + "/bert"), Model.load(FIXTURES + "/generation/gpt2")
        texts = ["a small bird", "river"] * 20
        expected = model.embed(texts).tobytes()
        asyncio.run(model.aembed(texts))
        busy = [threading.Thread(target=lambda: [model.embed(texts) for _ in range(200)]) for _ in range(3)]
        for thread in busy:
            thread.start()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                def late(*_):
                    os.write(2, b"the child hangs")
                    os._exit(3)
                signal.signal(signal.SIGALRM, late)
                signal.alarm(60)
                good = model.embed(texts).tobytes() == expected
                good &= Model.load(FIXTURES + "/bert").embed(texts).tobytes() == expected
                good &= asyncio.run(model.aembed(texts)).tobytes() == expected
                good &= "".join(writer.stream("a", max_new_tokens=5)) == writer.generate("a", max_new_tokens=5).text
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
                try:
                    model.embed(texts * 20_000)
                    good = False
                except KeyboardInterrupt:
                    pass
                os._exit(0 if good else 4)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))
        for thread in busy:
            thread.join()
        """
    )
    assert out.split() == ["0"] * 5


def test_pickle(bert: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES)
    kept = pickle.dumps(Model.load("bert", precision="int8", threads=1))
    monkeypatch.chdir("/")
    again = pickle.loads(kept)
    assert again.precision == "int8" and again.threads == 1 and again.family == "bert"
    assert (again.embed("bird") == Model.load(bert.path, precision="int8").embed("bird")).all()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_multiprocessing(method: str) -> None:
    out = ran(
        f"""
        import multiprocessing, warnings
        warnings.simplefilter("ignore")
        if __name__ == "__main__":
            model = Model.load(FIXTURES + "/bert")
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                rows = pool.map(model.embed, ["bird", "a"])
            print(all((row == model.embed(text)).all() for row, text in zip(rows, ["bird", "a"])))
        """
    )
    assert out == "True\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no CPU affinity here")
def test_threads_follow_the_affinity() -> None:
    program = """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(Model.load(FIXTURES + "/bert").threads)
        """
    assert ran(program) == "1\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_is_flat() -> None:
    """Calls leave nothing behind: KINGLET_TEST_CALLS of each kind, 100000 by hand."""
    calls = int(os.environ.get("KINGLET_TEST_CALLS", "4000"))
    out = ran(
        f"""
        import gc
        def resident():
            gc.collect()
            return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
        def load(count):
            for _ in range(count):
                Model.load(FIXTURES + "/bert", threads=1).close()
        load(20)
        before = resident()
        load({calls} // 400)
        print(resident() - before)
        bert, tagger = Model.load(FIXTURES + "/bert", threads=1), Model.load(FIXTURES + "/bert-token-classifier", threads=1)
        gpt2 = Model.load(FIXTURES + "/generation/gpt2", threads=1)
        def work(count):
            for _ in range(count):
                bert.embed(["a", "bird"])
                bert.embed("a", pooling="cls")
                bert.tokenize(["a"], offsets=True)
            for _ in range(count // 40):
                tagger.classify_tokens(["John went to Paris"])
                gpt2.generate("a", max_new_tokens=1)
                list(gpt2.stream("a", max_new_tokens=1))
                try:
                    bert.embed("a", prompt_name="none")
                except ValueError:
                    pass
        work({calls} // 4)
        before = resident()
        work({calls})
        print(resident() - before)
        """
    )
    loads, others = (int(line) for line in out.split())
    assert loads < 1500 and others < 1500, f"{loads} and {others} KiB more after {calls} calls"


@pytest.mark.parametrize("home", ["kinglet._load", "kinglet._library", "kinglet.model", "json", "threading", "numpy", "sys"])
def test_a_model_that_lives_to_the_end(home: str) -> None:
    """Python clears modules in an order of its own: the library and its callbacks are there until the last model is freed."""
    out = ran(
        f"""
        import importlib, json
        importlib.import_module({home!r}).held = Model.load(FIXTURES + "/bert")
        importlib.import_module({home!r}).other = Model.load(FIXTURES + "/generation/gpt2").prefix("The river")
        print("loaded")
        """
    )
    assert out == "loaded\n"


def test_ending_beside_requests() -> None:
    """A program that ends while requests run, and the child of a fork, whose awaited calls run on threads."""
    ran(
        """
        import asyncio
        model = Model.load(FIXTURES + "/bert")
        async def begin():
            calls = [asyncio.ensure_future(model.aembed(["a small bird sings"] * 20_000)) for _ in range(8)]
            await asyncio.sleep(0.05)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        asyncio.run(begin())
        """
    )
    said = ran(
        """
        import asyncio
        model = Model.load(FIXTURES + "/bert")
        alone = asyncio.run(model.aembed("bird"))
        child = os.fork()
        if child == 0:
            same = (asyncio.run(model.aembed("bird")) == alone).all()
            os._exit(0 if same else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert said.strip() == "0"
