"""Looks, given to the tests in whose calls they fell."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model import Estimate, GilMethod, GilTrace
from pytest_gilprobe.scan.journal import Window
from pytest_gilprobe.scan.tally import Counts, Looks, ScannedCall, count


def _trace(moments: list[int], held: list[bool] | None = None, holder: int = 7) -> GilTrace:
    size = len(moments)
    return GilTrace(
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


def test_a_call_gets_the_looks_in_its_window_and_no_other() -> None:
    """Looks before, between and after calls belong to none of them."""
    looks = Looks()
    looks.add(_trace([5, 10, 15, 20]))
    looks.add(_trace([25, 30, 35]))
    assert looks.call(_window(10, 20)).counts.looks == 3
    assert looks.call(_window(21, 24)).counts.looks == 0
    assert looks.call(_window(26, 35)).counts.looks == 2
    assert len(looks) == 0


def test_looks_into_a_call_that_goes_on_wait_for_its_end() -> None:
    """What came after the last finished call is kept when more looks come."""
    looks = Looks()
    looks.add(_trace([5, 15]))
    looks.call(_window(0, 10))
    looks.add(_trace([25]))
    assert looks.call(_window(12, 30)).counts.looks == 2


@given(moments=st.lists(st.integers(0, 10_000), unique=True, min_size=2).map(sorted))
def test_thinning_halves_the_looks_and_keeps_them_in_order(moments: list[int]) -> None:
    """Thinned looks are every second one, the first among them."""
    looks = Looks()
    looks.add(_trace(moments))
    looks.thin()
    assert len(looks) == (len(moments) + 1) // 2
    assert looks.call(_window(0, 10_000)).counts.looks == len(looks) + (len(moments) + 1) // 2


def test_the_share_of_a_long_call_is_estimated_with_an_interval() -> None:
    """A call with enough looks has a held share of its own; one with few has none."""
    rng = random.Random(1)
    moments = sorted(rng.sample(range(10**8), 400))
    looks = Looks()
    looks.add(_trace(moments, [rng.random() < 0.25 for _ in moments]))
    found = looks.call(_window(0, 10**8)).held
    assert found is not None
    assert found.low < 0.25 < found.high
    looks.add(_trace([10**8 + 5]))
    assert looks.call(_window(10**8 + 1, 10**8 + 9)).held is None


@pytest.mark.parametrize(("shown", "low", "high"), [(True, 0.0, 0.05), (False, 0.0, 0.6)])
def test_a_gil_held_in_the_queue_is_no_gil_held(*, shown: bool, low: float, high: float) -> None:
    """A call that queued with the GIL for half of its time held it only then; without its clock there are bounds."""
    ms = 1_000_000
    moments = [number * ms // 4 for number in range(401)]  # 100 ms: 5 ms without the GIL, 5 ms in the queue with it
    queue_ns = tuple(moment // (10 * ms) * 5 * ms for moment in moments)
    seen = _trace(moments, [moment % (10 * ms) >= 5 * ms for moment in moments])
    looks = Looks()
    looks.add(replace(seen, queue_ns=queue_ns) if shown else seen)
    found = looks.call(replace(_window(0, 100 * ms), run_queue_ns=50 * ms)).held
    assert found is not None
    assert found.low == pytest.approx(low, abs=0.02)
    assert (found.high <= high) is shown
    assert found.high >= found.value


def test_a_second_holder_is_noticed() -> None:
    """A call in which another thread was seen holding the GIL was not alone."""
    looks = Looks()
    looks.add(_trace([1, 2], holder=7))
    looks.add(_trace([3], holder=8))
    assert not looks.call(_window(0, 3)).alone
    looks.add(_trace([5], holder=8))
    assert looks.call(_window(4, 6)).alone


def test_a_late_look_on_the_own_core_that_found_a_sleeper_is_blind() -> None:
    """Only a look that was late, near, and found the thread asleep cannot tell."""
    trace = GilTrace(
        method=GilMethod.MEMORY,
        at_ns=tuple(range(12)),
        held=(False,) * 12,
        late_ns=(60_000,) * 9 + (900_000,) * 3,
        runnable=(False,) * 10 + (True, False),
        same_core=(False,) * 9 + (True, True, False),
    )
    assert count(trace) == Counts(looks=12, held=0, blind=1, running=1, running_held=0)


COUNTS = st.builds(Counts, **dict.fromkeys(("looks", "held", "blind", "running", "running_held"), st.integers(0, 99)))


@given(first=COUNTS, second=COUNTS, third=COUNTS)
def test_counts_add_up_in_any_order(first: Counts, second: Counts, third: Counts) -> None:
    """Pools of pools are pools."""
    assert first + (second + third) == (third + first) + second
    assert first + Counts() == first


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
        counts=Counts(looks=4, held=1),
        held=held,
        alone=True,
    )
    line = call.to_line()
    assert "\n" not in line
    assert line.isascii()
    assert ScannedCall.from_line(line) == call


@pytest.mark.parametrize(("told", "counted"), [(None, None), (5, 5), (900, 17)])
def test_a_call_queues_no_longer_than_it_is_off_its_cpu(told: int | None, counted: int | None) -> None:
    """What was queued between the reading of the run queue and the call is none of the call's."""
    found = Looks().call(replace(_window(10, 30), run_queue_ns=told))  # of 20 ns, 3 on a CPU
    assert found.run_queue_ns == counted
