"""`pytest_gilprobe.gil.watch`: looks at another process's GIL, its end and its refusals."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.gil import watch as room
from pytest_gilprobe.gil.watch import Watcher, WatchError
from pytest_gilprobe.model import GilMethod

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROOT = Path(room.__file__).resolve().parents[2]
CHILD = """
import sys
sys.path.insert(0, {root!r})
from pytest_gilprobe.gil.locate import locate
import time
print(locate().address, flush=True)
{work}
"""
HOLDS = "while True: pass"
RELEASES = "time.sleep(60)"
ENOUGH = 60
"""Looks after which a test stops: with a mean pause of 0.5 ms, 30 ms of watching."""


class Child:
    """A process that does one thing for ever, and where its GIL lies."""

    def __init__(self, work: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(root=str(ROOT), work=work)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.answer = self.process.stdout.readline().strip()

    @property
    def address(self) -> int:
        if self.answer == "None":
            pytest.skip("this Python has no GIL to watch")
        return int(self.answer)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    """Start the process that the test's parameter describes."""
    child = Child(getattr(request, "param", HOLDS))
    yield child
    child.end()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe: its read end is what a watcher waits for."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@needs_linux
@pytest.mark.parametrize(("child", "expected"), [(HOLDS, True), (RELEASES, False)], indirect=["child"])
def test_sees_a_held_gil_as_held_and_a_released_one_as_free(
    child: Child,
    expected: bool,  # noqa: FBT001 - a parameter
    pipe: tuple[int, int],
) -> None:
    """A Python loop holds its GIL at every look but the first few, a sleep at none of them."""
    with Watcher(child.process.pid, child.address, seed=1) as watcher:
        while len(watcher.trace().at_ns) < ENOUGH:
            assert watcher.wait(pipe[0], 0.02) is False
    trace = watcher.trace()
    settled = trace.held[ENOUGH // 2 :]
    assert set(settled) == {expected}
    assert trace.method is GilMethod.MEMORY
    assert list(trace.at_ns) == sorted(trace.at_ns)
    assert min(trace.late_ns) >= 0
    assert len(set(trace.holder)) == len(set(trace.switches)) == 1
    assert list(trace.queue_ns) == sorted(trace.queue_ns)
    assert len(trace.queue_ns) == len(trace.at_ns)


@needs_linux
def test_returns_when_the_descriptor_can_be_read(child: Child, pipe: tuple[int, int]) -> None:
    """An answer that is there already ends the watching at once, whatever time is left."""
    os.write(pipe[1], b"done")
    with Watcher(child.process.pid, child.address) as watcher:
        assert watcher.wait(pipe[0], 3600) is True


@needs_linux
def test_a_process_that_ends_stops_the_looks_and_not_the_waiting(child: Child, pipe: tuple[int, int]) -> None:
    """A worker that dies is no exception here: the descriptor tells, or the time is up."""
    with Watcher(child.process.pid, child.address) as watcher:
        child.end()
        assert watcher.wait(pipe[0], 0.01) is False
        assert watcher.trace().at_ns == ()
        os.write(pipe[1], b"end")
        assert watcher.wait(pipe[0], 3600) is True


@needs_linux
def test_thins_out_evenly(child: Child, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit every second look is dropped and the mean pause doubles: the looks left span the whole batch."""
    means_ns = []
    fixed = random.Random(1)

    def expovariate(_self: random.Random, rate: float) -> float:
        means_ns.append(round(1 / rate))
        return fixed.random() / rate

    monkeypatch.setattr(random.Random, "expovariate", expovariate)
    with Watcher(child.process.pid, child.address, mean_interval_s=1e-5, max_samples=8) as watcher:
        while len(set(means_ns)) < 4:
            watcher.wait(pipe[0], 0.001)
        trace = watcher.trace()
    assert 4 <= len(trace.at_ns) < 8
    assert sorted(set(means_ns))[:3] == [10_000, 20_000, 40_000]


@needs_linux
def test_restores_where_its_thread_may_run(child: Child, pipe: tuple[int, int]) -> None:
    """Stepping aside ends with the wait."""
    before = os.sched_getaffinity(0)
    with Watcher(child.process.pid, child.address) as watcher:
        watcher.wait(pipe[0], 0.01)
    assert os.sched_getaffinity(0) == before


@needs_linux
def test_waits_on_a_descriptor_beyond_select(
    child: Child,
    pipe: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process with more than a thousand open files is watched all the same."""
    monkeypatch.setattr(room, "_SELECTABLE", 0)
    with Watcher(child.process.pid, child.address, seed=1) as watcher:
        assert watcher.wait(pipe[0], 0.02) is False
        assert len(watcher.trace().at_ns) > 0
        os.write(pipe[1], b"done")
        assert watcher.wait(pipe[0], 3600) is True


@needs_linux
def test_a_process_that_is_gone_is_refused() -> None:
    """No traceback of the system's, but a plain reason."""
    gone = Child(RELEASES)
    gone.end()
    reason = r"cannot read the memory of process \d+: it is gone"
    with pytest.raises(WatchError, match=reason), Watcher(gone.process.pid, 4096):
        pass


@needs_linux
def test_an_address_without_a_gil_is_refused(child: Child) -> None:
    """An address that is not mapped, or holds something else, is not watched."""
    with pytest.raises(WatchError, match=r"process \d+"), Watcher(child.process.pid, 4096):
        pass


@needs_linux
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "no right to trace it"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_denied_is_a_plain_reason(monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str) -> None:
    """What a hardened container answers is passed on in words."""

    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(WatchError, match=reason), Watcher(1, 4096):
        pass


@pytest.mark.parametrize(("mean_interval_s", "max_samples"), [(0, 10), (-1, 10), (float("nan"), 10), (0.001, 1)])
def test_impossible_settings_are_refused(mean_interval_s: float, max_samples: int) -> None:
    """A pause must be above 0, and half of the looks at least one."""
    with pytest.raises(ValueError, match="interval above 0 and 2 looks"):
        Watcher(1, 4096, mean_interval_s=mean_interval_s, max_samples=max_samples)


def test_no_look_gives_an_empty_trace() -> None:
    """A trace can be asked for before anything was seen."""
    trace = Watcher(1, 4096).trace()
    assert trace.at_ns == trace.held == trace.runnable == ()
