"""Frames of another process: `frame_search`, `frame_reader` and the stacks of `gil_sampler`."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.observe import frame_search as room
from pytest_gilprobe.observe.frame_layout import LayoutError
from pytest_gilprobe.observe.frame_reader import DEEPEST, FrameReader
from pytest_gilprobe.observe.frame_search import locate_frames
from pytest_gilprobe.observe.gil_sampler import GilSampler

ROOT = Path(room.__file__).resolve().parents[2]
HAS_GIL = (
    sys.platform == "linux" and sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)
needs_gil = pytest.mark.skipif(not HAS_GIL, reason="needs Linux and a CPython with its GIL enabled")
CAN_HAVE_GIL = HAS_GIL or (sys.platform == "linux" and sys.version_info[:2] == (3, 13))
needs_gil_in_child = pytest.mark.skipif(not CAN_HAVE_GIL, reason="needs Linux and a CPython whose GIL can be read")
HEAD = f"""
import pickle, sys
sys.path.insert(0, {str(ROOT)!r})
from pytest_gilprobe.observe.gil_address import locate
from pytest_gilprobe.observe.frame_search import locate_frames
print(pickle.dumps((locate().address, locate_frames().layout)).hex(), flush=True)
"""
ENOUGH = 40
MOST = 1000
"""Stacks after which no more are awaited, though they are all alike."""


@pytest.fixture
def pipe() -> Iterator[int]:
    """Open a pipe that never has anything to read."""
    read, write = os.pipe()
    yield read
    os.close(read)
    os.close(write)


def _stacks_of(path: Path, work: str, pipe: int, different: int = 1) -> GilSamples:
    """Run a program, and sample its GIL with stacks until there are enough, and enough different ones."""
    path.write_text(HEAD + textwrap.dedent(work), encoding="utf-8")
    switched_on = os.environ | {"PYTHON_GIL": "1"}  # of a free-threaded build
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True, env=switched_on)
    try:
        assert process.stdout is not None
        address, layout = pickle.loads(bytes.fromhex(process.stdout.readline()))  # noqa: S301 - its own
        assert layout is not None
        with GilSampler(process.pid, address, mean_interval_s=0.0005, frames=layout, seed=1) as sampler:
            while (read := [at for at in sampler.samples().stack if at >= 0])[ENOUGH:] == [] or (
                len(set(read)) < different and len(read) < MOST
            ):
                sampler.sample_until(pipe, 0.02)
                assert process.poll() is None
            return sampler.samples()
    finally:
        process.kill()
        process.communicate()


@needs_gil
def test_this_python_has_the_layout_that_is_searched_for() -> None:
    """The search ends with a layout by which this very thread's frames were read right."""
    found = locate_frames()
    assert found.reason is None
    assert found.layout is not None


@needs_gil
def test_a_python_that_keeps_something_elsewhere_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """An offset that is found nowhere, or a layout that reads other frames than there are, is no layout."""
    layout = locate_frames().layout
    assert layout is not None
    monkeypatch.setattr(room, "search", lambda: replace(layout, frame_previous=layout.frame_code))
    assert "reading them gives others" in str(locate_frames().reason)

    def nowhere() -> None:
        msg = "the caller of a frame: no place"
        raise LayoutError(msg)

    monkeypatch.setattr(room, "search", nowhere)
    assert locate_frames().layout is None
    assert "elsewhere than expected" in str(locate_frames().reason)


@needs_gil_in_child
def test_names_function_line_and_expression(tmp_path: Path, pipe: int) -> None:
    """A recursion, a generator, a lambda and a method with a name that is not ASCII are read as the source has them."""
    samples = _stacks_of(
        tmp_path / "busy.py",
        """
        class Größe:
            def zähle_\u0144(self, n):
                return sum(map(len, self.teile(n)))
            def teile(self, n):
                for i in range(n):
                    yield (lambda k: sorted(range(k)))(i + 3000)
        def down(n):
            return down(n - 1) if n else Größe().zähle_\u0144(5)
        while True:
            down(6)
        """,
        pipe,
    )
    stacks = [samples.stacks[at] for at in samples.stack if at >= 0]
    whole = [stack for stack in stacks if stack and stack[-1].function == "<module>"]
    assert len(whole) > ENOUGH / 2
    deepest = max(whole, key=len)
    names = [frame.function for frame in deepest]
    assert names[-9:] == ["Größe.zähle_\u0144", *["down"] * 7, "<module>"]
    assert "Größe.teile" in names
    assert all(frame.own for frame in deepest)
    leaves = {frame.code for stack in whole for frame in stack[:1]}
    assert "sorted(range(k))" in leaves


@needs_gil_in_child
def test_names_what_decorators_c_functions_and_coroutines_call(tmp_path: Path, pipe: int) -> None:
    """Python code below a C function, a wrapper, a closure, a coroutine and one that it awaits is in its place."""
    samples = _stacks_of(
        tmp_path / "layers.py",
        """
        import functools, itertools
        def logged(function):
            @functools.wraps(function)
            def wrapper(*given):
                return function(*given)
            return wrapper
        def heavy(n):
            return sum([k for k in range(500)]) and n
        @functools.lru_cache(maxsize=1)
        def cached(n):
            return sorted(range(n), key=heavy)
        @logged
        def decorated(n):
            def nested(k):
                return cached(k)
            return nested(n)
        async def leaf(n):
            return decorated(n)
        async def chain(n):
            return await leaf(n)
        def drive(coroutine):
            try:
                coroutine.send(None)
            except StopIteration:
                pass
        for n in itertools.cycle(range(3000, 3007)):
            drive(chain(n))
        """,
        pipe,
    )
    stacks = [samples.stacks[at] for at in samples.stack if at >= 0]
    deepest = [frame for frame in max(stacks, key=len) if not frame.function.endswith("<listcomp>")]
    assert [frame.function for frame in deepest] == [
        "heavy",
        "cached",
        "decorated.<locals>.nested",
        "decorated",
        "logged.<locals>.wrapper",
        "leaf",
        "chain",
        "drive",
        "<module>",
    ]
    assert deepest[1].code == "sorted(range(n), key=heavy)"


@needs_gil_in_child
def test_a_freed_code_object_never_lends_its_name_to_the_next_one(tmp_path: Path, pipe: int) -> None:
    """Functions made at run time, at the same addresses, each time with another name, loop for a fifth of a ms."""
    samples = _stacks_of(
        tmp_path / "made.py",
        """
        import itertools, time
        for number in itertools.count(10_000):
            space = {"clock": time.perf_counter}
            loop = f"end = clock() + 0.000_2\\n while clock() < end: seen = {number}\\n return seen"
            exec(f"def made_{number}():\\n {loop}", space)
            current = space.pop(f"made_{number}")
            current()
        """,
        pipe,
        different=ENOUGH,
    )
    seen = [samples.stacks[at] for at in samples.stack if at >= 0]
    names = [frame.function for stack in seen for frame in stack if frame.function.startswith("made_")]
    numbers = [int(name.removeprefix("made_")) for name in names]
    assert len(set(numbers)) > 1
    assert numbers == sorted(numbers)  # one that waits for a CPU is seen several times, and never again


@needs_gil_in_child
def test_a_freed_code_object_far_out_in_the_stack_lends_no_name_either(tmp_path: Path, pipe: int) -> None:
    """Functions of files with ordinary names, below seven others: the innermost and the outermost belong together."""
    samples = _stacks_of(
        tmp_path / "made.py",
        """
        import itertools, time
        def down(depth, leaf):
            return down(depth - 1, leaf) if depth else leaf()
        for number in itertools.count(10_000):
            space = {"down": down, "clock": time.perf_counter}
            loop = f"end = clock() + 0.000_3\\n while clock() < end: seen = {number}\\n return seen\\n"
            source = f"def leaf_{number}():\\n {loop}"
            source += f"def made_{number}():\\n return down(7, leaf_{number})"
            exec(compile(source, f"/made/m{number}.py", "exec"), space)
            current = space.pop(f"made_{number}")
            current()
        """,
        pipe,
        different=ENOUGH,
    )
    names = [[frame.function for frame in samples.stacks[at]] for at in samples.stack if at >= 0]
    pairs = [
        [name.partition("_")[2] for name in stack if name.startswith(kind)]
        for stack in names
        for kind in ("leaf_", "made_")
    ]
    both = [(inner, outer) for inner, outer in zip(pairs[::2], pairs[1::2], strict=True) if inner and outer]
    assert len(both) > ENOUGH / 2
    assert [one for one in both if one[0] != one[1]] == []


@needs_gil
def test_memory_at_random_gives_no_frame_and_no_error() -> None:
    """Whatever a thread state seems to be, and wherever a layout points, reading ends, with few frames or none."""
    layout = locate_frames().layout
    assert layout is not None
    luck = random.Random(3)
    offsets = [one.name for one in fields(layout) if not one.name.endswith("type") and one.name != "thread_hop"]
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        for _ in range(1500):
            changed = {name: luck.randrange(0, 512, 4) for name in luck.sample(offsets, luck.randrange(3))}
            reader = FrameReader(memory, replace(layout, **changed), lambda _: False)
            near = luck.choice([id(luck), id(layout), id(reader), 0, 1 << 12, (1 << 64) - 8])
            assert len(reader.stack((near + luck.randrange(0, 4096, 8)) % (1 << 64))) <= DEEPEST
    finally:
        os.close(memory)
