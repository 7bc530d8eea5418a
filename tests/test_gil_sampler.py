"""`pytest_gilprobe.observe.gil_sampler`: samples of another process's GIL, its end and its refusals."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.observe import gil_sampler as room
from pytest_gilprobe.observe import pauses
from pytest_gilprobe.observe.gil_sampler import GilSampler, SamplingError

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROOT = Path(room.__file__).resolve().parents[2]
CHILD = """
import sys
sys.path.insert(0, {root!r})
from pytest_gilprobe.observe.gil_address import locate
import time
print(locate().address, flush=True)
{work}
"""
HOLDS = "while True: pass"
RELEASES = "time.sleep(60)"
MEAN_S = 0.0005
ENOUGH = 60
"""Samples after which a test stops: with a mean pause of 0.5 ms, 30 ms of sampling."""


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
            pytest.skip("this Python has no GIL to sample")
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
    """Open a pipe: its read end is what a sampler waits for."""
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
    """A Python loop holds its GIL at every sample but the first few, a sleep at none of them."""
    with GilSampler(child.process.pid, child.address, seed=1, mean_interval_s=MEAN_S) as sampler:
        while len(sampler.samples().at_ns) < ENOUGH:
            assert sampler.sample_until(pipe[0], 0.02) is False
    samples = sampler.samples()
    settled = samples.held[ENOUGH // 2 :]
    assert set(settled) == {expected}
    assert samples.method is GilMethod.MEMORY
    assert list(samples.at_ns) == sorted(samples.at_ns)
    assert min(samples.late_ns) >= 0
    assert len(set(samples.holder)) == len(set(samples.switches)) == 1
    assert list(samples.queue_ns) == sorted(samples.queue_ns)
    assert len(samples.queue_ns) == len(samples.at_ns)


@needs_linux
def test_returns_when_the_descriptor_can_be_read(child: Child, pipe: tuple[int, int]) -> None:
    """An answer that is there already ends the sampling at once, whatever time is left."""
    os.write(pipe[1], b"done")
    with GilSampler(child.process.pid, child.address, mean_interval_s=MEAN_S) as sampler:
        assert sampler.sample_until(pipe[0], 3600) is True


@needs_linux
def test_a_process_that_ends_stops_the_sampling_and_not_the_waiting(child: Child, pipe: tuple[int, int]) -> None:
    """A worker that dies raises nothing here: the descriptor can be read, or the time is up."""
    with GilSampler(child.process.pid, child.address, mean_interval_s=MEAN_S) as sampler:
        child.end()
        assert sampler.sample_until(pipe[0], 0.01) is False
        assert sampler.samples().at_ns == ()
        os.write(pipe[1], b"end")
        assert sampler.sample_until(pipe[0], 3600) is True


@needs_linux
def test_thins_out_evenly(child: Child, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit every second sample is dropped and the mean pause doubles: those left span the whole batch."""
    means_ns = []
    fixed = random.Random(1)

    def expovariate(_self: random.Random, rate: float) -> float:
        means_ns.append(round(1 / rate))
        return fixed.random() / rate

    monkeypatch.setattr(random.Random, "expovariate", expovariate)
    with GilSampler(child.process.pid, child.address, mean_interval_s=1e-5, max_samples=8) as sampler:
        while len(set(means_ns)) < 4:
            sampler.sample_until(pipe[0], 0.001)
        samples = sampler.samples()
    assert 4 <= len(samples.at_ns) < 8
    assert sorted(set(means_ns))[:3] == [10_000, 20_000, 40_000]


@needs_linux
def test_restores_where_its_thread_may_run(child: Child, pipe: tuple[int, int]) -> None:
    """The sampling thread's affinity is restored after the wait."""
    before = os.sched_getaffinity(0)
    with GilSampler(child.process.pid, child.address, mean_interval_s=MEAN_S) as sampler:
        sampler.sample_until(pipe[0], 0.01)
    assert os.sched_getaffinity(0) == before


@needs_linux
def test_waits_on_a_descriptor_beyond_select(
    child: Child,
    pipe: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process with more than a thousand open files is sampled all the same."""
    monkeypatch.setattr(pauses, "_SELECTABLE", 0)
    with GilSampler(child.process.pid, child.address, seed=1, mean_interval_s=MEAN_S) as sampler:
        assert sampler.sample_until(pipe[0], 0.02) is False
        assert len(sampler.samples().at_ns) > 0
        os.write(pipe[1], b"done")
        assert sampler.sample_until(pipe[0], 3600) is True


@needs_linux
def test_a_process_that_is_gone_is_refused() -> None:
    """The reason is in plain words."""
    gone = Child(RELEASES)
    gone.end()
    reason = r"cannot read the memory of process \d+: it is gone"
    with pytest.raises(SamplingError, match=reason), GilSampler(gone.process.pid, 4096, mean_interval_s=MEAN_S):
        pass


@needs_linux
def test_an_address_without_a_gil_is_refused(child: Child) -> None:
    """An address that is not mapped, or holds something else, is refused."""
    with (
        pytest.raises(SamplingError, match=r"process \d+"),
        GilSampler(child.process.pid, 4096, mean_interval_s=MEAN_S),
    ):
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
    """What a hardened container refuses is reported in words."""

    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SamplingError, match=reason), GilSampler(1, 4096, mean_interval_s=MEAN_S):
        pass


@pytest.mark.parametrize(("mean_interval_s", "max_samples"), [(0, 10), (-1, 10), (float("nan"), 10), (0.001, 1)])
def test_impossible_settings_are_refused(mean_interval_s: float, max_samples: int) -> None:
    """A pause must be above 0, and half of the samples at least one."""
    with pytest.raises(ValueError, match="interval above 0 and 2 samples"):
        GilSampler(1, 4096, mean_interval_s=mean_interval_s, max_samples=max_samples)


def test_no_sample_gives_empty_columns() -> None:
    """Samples can be asked for before any was taken."""
    samples = GilSampler(1, 4096, mean_interval_s=MEAN_S).samples()
    assert samples.at_ns == samples.held == samples.runnable == ()
