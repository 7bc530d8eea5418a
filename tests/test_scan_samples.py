"""Samples of the GIL, assigned to the tests in whose calls they fell."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.scan.journal import Window
from pytest_gilprobe.scan.messages import from_text, to_text
from pytest_gilprobe.scan.samples import PendingSamples, SampleCounts, ScannedCall, count


def _samples(moments: list[int], held: list[bool] | None = None, holder: int = 7) -> GilSamples:
    size = len(moments)
    return GilSamples(
        method=GilMethod.MEMORY,
        at_ns=tuple(moments),
        held=tuple(held if held is not None else [True] * size),
        late_ns=(60_000,) * size,
        holder=(holder,) * size,
        switches=(1,) * size,
        runnable=(True,) * size,
        same_core=(False,) * size,
    )


def _window(start: int, end: int, nodeid: str = "a.py::test") -> Window:
    return Window(
        nodeid=nodeid, fixtures=("db",), start_ns=start, end_ns=end, cpu_ns=3, process_cpu_ns=4, run_queue_ns=None
    )


def test_a_call_gets_the_samples_in_its_window_and_no_other() -> None:
    """Samples before, between and after calls belong to none of them."""
    pending = PendingSamples()
    pending.add(_samples([5, 10, 15, 20]))
    pending.add(_samples([25, 30, 35]))
    assert pending.take(_window(10, 20)).counts.samples == 3
    assert pending.take(_window(21, 24)).counts.samples == 0
    assert pending.take(_window(26, 35)).counts.samples == 2
    assert len(pending) == 0


def test_samples_in_a_call_that_goes_on_wait_for_its_end() -> None:
    """What came after the last finished call is kept when more samples come."""
    pending = PendingSamples()
    pending.add(_samples([5, 15]))
    pending.take(_window(0, 10))
    pending.add(_samples([25]))
    assert pending.take(_window(12, 30)).counts.samples == 2


@given(moments=st.lists(st.integers(0, 10_000), unique=True, min_size=2).map(sorted))
def test_thinning_halves_the_samples_and_keeps_them_in_order(moments: list[int]) -> None:
    """Every second sample is left, the first among them."""
    pending = PendingSamples()
    pending.add(_samples(moments))
    pending.thin()
    assert len(pending) == (len(moments) + 1) // 2
    assert pending.take(_window(0, 10_000)).counts.samples == len(pending) + (len(moments) + 1) // 2


def test_the_held_share_of_a_long_call_is_estimated_with_an_interval() -> None:
    """A call with enough samples has a held share of its own; one with few has none."""
    rng = random.Random(1)
    moments = sorted(rng.sample(range(10**8), 400))
    pending = PendingSamples()
    pending.add(_samples(moments, [rng.random() < 0.25 for _ in moments]))
    found = pending.take(_window(0, 10**8)).held
    assert found is not None
    assert found.low < 0.25 < found.high
    pending.add(_samples([10**8 + 5]))
    assert pending.take(_window(10**8 + 1, 10**8 + 9)).held is None


@pytest.mark.parametrize(("shown", "low", "high"), [(True, 0.0, 0.05), (False, 0.0, 0.6)])
def test_a_gil_held_in_the_queue_is_no_gil_held(*, shown: bool, low: float, high: float) -> None:
    """A call that queued with the GIL for half of its time held it only then; without its clock there are bounds."""
    ms = 1_000_000
    moments = [number * ms // 4 for number in range(401)]  # 100 ms: 5 ms without the GIL, 5 ms in the queue with it
    queue_ns = tuple(moment // (10 * ms) * 5 * ms for moment in moments)
    seen = _samples(moments, [moment % (10 * ms) >= 5 * ms for moment in moments])
    pending = PendingSamples()
    pending.add(replace(seen, queue_ns=queue_ns) if shown else seen)
    found = pending.take(replace(_window(0, 100 * ms), run_queue_ns=50 * ms)).held
    assert found is not None
    assert found.low == pytest.approx(low, abs=0.02)
    assert (found.high <= high) is shown
    assert found.high >= found.value


def test_a_second_holder_is_noticed() -> None:
    """A call in which another thread was seen holding the GIL was not alone."""
    pending = PendingSamples()
    pending.add(_samples([1, 2], holder=7))
    pending.add(_samples([3], holder=8))
    assert not pending.take(_window(0, 3)).alone
    pending.add(_samples([5], holder=8))
    assert pending.take(_window(4, 6)).alone


def test_a_late_sample_on_the_own_core_that_found_a_sleeper_is_blind() -> None:
    """Only a sample that was late, near, and found the thread asleep says nothing."""
    samples = GilSamples(
        method=GilMethod.MEMORY,
        at_ns=tuple(range(12)),
        held=(False,) * 12,
        late_ns=(60_000,) * 9 + (900_000,) * 3,
        runnable=(False,) * 10 + (True, False),
        same_core=(False,) * 9 + (True, True, False),
    )
    assert count(samples) == SampleCounts(samples=12, held=0, blind=1, running=1, running_held=0)


COUNTS = st.builds(
    SampleCounts, **dict.fromkeys(("samples", "held", "blind", "running", "running_held"), st.integers(0, 99))
)


@given(first=COUNTS, second=COUNTS, third=COUNTS)
def test_counts_add_up_in_any_order(first: SampleCounts, second: SampleCounts, third: SampleCounts) -> None:
    """Sums of sums are sums."""
    assert first + (second + third) == (third + first) + second
    assert first + SampleCounts() == first


@pytest.mark.parametrize("held", [None, Estimate(value=0.5, low=0.25, high=0.75)])
def test_a_call_survives_its_line(held: Estimate | None) -> None:
    """Notes are read back as they were written, hostile names included."""
    call = ScannedCall(
        nodeid='a.py::test[\udcff"\n<b>]',
        fixtures=("a", "b"),
        wall_ns=1,
        cpu_ns=2,
        process_cpu_ns=3,
        run_queue_ns=None,
        counts=SampleCounts(samples=4, held=1),
        held=held,
        alone=True,
    )
    line = to_text(call)
    assert "\n" not in line
    assert line.isascii()
    assert from_text(ScannedCall, line) == call


@pytest.mark.parametrize(("reported", "counted"), [(None, None), (5, 5), (900, 17)])
def test_a_call_queues_no_longer_than_it_is_off_its_cpu(reported: int | None, counted: int | None) -> None:
    """What was queued between the reading of the run queue and the call is none of the call's."""
    found = PendingSamples().take(replace(_window(10, 30), run_queue_ns=reported))  # of 20 ns, 3 on a CPU
    assert found.run_queue_ns == counted
