"""`pytest_gilprobe.stats.dispatch` and the strategies: what dispatch and moving data leave of a speed-up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from evidence import GIL, SERIAL, estimate, machine
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.machine import DispatchCosts
from pytest_gilprobe.model.results import Transfer
from pytest_gilprobe.stats.dispatch import PoolInputs, dispatch_s, dispatched
from pytest_gilprobe.strategies.processes import Processes
from pytest_gilprobe.strategies.threads import Threads

MANY = 16
"""Workers: more than any speed-up here."""
THREADS, PROCESSES = Threads(), Processes()


def costs(task_s: float, task_high_s: float | None = None, lost: Estimate | None = None) -> DispatchCosts:
    """Make what an executor costs: seconds per empty task at best and in the middle, and what workers lose."""
    return DispatchCosts(task_s=task_s, task_high_s=task_s if task_high_s is None else task_high_s, lost_s=lost)


def inputs(
    call_s: float | Estimate,
    cost: DispatchCosts | None = None,
    *,
    busy: float = 1.0,
    held: float | None = 1.0,
    cpus: int = 2,
    **changes: Any,
) -> PoolInputs:
    """Make what a prediction rests on: calls of so many seconds that compute for a share and hold the GIL for one."""
    wall = call_s if isinstance(call_s, Estimate) else estimate(call_s)
    cpu = estimate(wall.value * busy)
    usual = PoolInputs(
        workers=MANY,
        serial=replace(SERIAL, wall_s_per_call=wall, cpu_s_per_call=cpu),
        gil=replace(GIL, held_fraction=None if held is None else estimate(held)),
        gil_on=True,
        machine=machine(cpus=cpus),
        costs=cost,
    )
    return replace(usual, **changes)


def moved(parent_s: float, worker_s: float) -> Transfer:
    """Make data that costs so much to move on both sides."""
    return Transfer(argument_bytes=1, result_bytes=1, pipe_s=0.0, parent_s=parent_s, worker_s=worker_s)


# The thread that dispatches


GAINS = st.floats(0.1, 8)


@given(gain=GAINS, call_s=st.floats(1e-8, 10), task_s=st.floats(1e-7, 1e-2))
def test_executor_finishes_a_call_every_longest_of_two(gain: float, call_s: float, task_s: float) -> None:
    """An executor's speed-up is call time / max(call time / speed-up, dispatch)."""
    found = dispatched(estimate(gain), inputs(call_s, costs(task_s)))
    assert found.value == pytest.approx(call_s / max(call_s / gain, task_s))


@given(gain=GAINS, call_s=st.floats(1e-8, 10), task_s=st.floats(0, 1e-2))
def test_dispatching_never_helps(gain: float, call_s: float, task_s: float) -> None:
    """An executor is never predicted to gain more than the bare calls did."""
    assert dispatched(estimate(gain), inputs(call_s, costs(task_s))).value <= gain * (1 + 1e-9)


def test_unknown_dispatch_costs_nothing() -> None:
    """Where the cost of dispatching was not measured, the bare calls' speed-up stands."""
    assert dispatched(estimate(1.9), inputs(1e-9)) == estimate(1.9)
    assert dispatch_s(None) is None


def test_transfer_costs_on_both_sides() -> None:
    """Moving data loads the worker, which lengthens the call, and the parent, which lengthens the dispatch."""
    free = inputs(0.01, costs(0.0))
    assert dispatched(estimate(2.0), replace(free, transfer=moved(0.0, 0.01))).value == pytest.approx(1.0)
    assert dispatched(estimate(2.0), replace(free, transfer=moved(0.02, 0.01))).value == pytest.approx(0.5)


def test_intervals_stay_in_order() -> None:
    """The prediction's interval is the calls' and the speed-up's, end by end."""
    found = dispatched(estimate(1.9, 1.7, 2.1), inputs(estimate(1e-4, 0.9e-4, 1.1e-4), costs(1e-4)))
    assert (found.low, found.value, found.high) == pytest.approx((0.9, 1.0, 1.1))
    assert math.isclose(found.confidence, 0.95)


def test_dispatch_has_an_interval() -> None:
    """Between its best round and the middle one lies what dispatch costs: near the line the low end says so."""
    found = dispatched(estimate(2.0), inputs(2e-4, costs(1e-4, 2e-4)))
    assert (found.low, found.value, found.high) == pytest.approx((1.0, 2.0, 2.0))
    assert dispatched(estimate(2.0), inputs(1e-2, costs(1e-4, 2e-4))) == estimate(2.0)


def test_workers_cannot_do_more_than_their_number() -> None:
    """Two workers that seem to gain 2.4x have 2x of which an executor can lose."""
    assert dispatched(estimate(2.4), inputs(0.01, costs(0.0), workers=2)).value == pytest.approx(2.0)


# What workers lose, the GIL, and the CPUs


@pytest.mark.parametrize(("call_us", "gain"), [(97, 0.85), (337, 1.23), (739, 1.51), (1331, 1.58)])
def test_workers_lose_time_with_every_task(call_us: float, gain: float) -> None:
    """Processes that lose 0.21 ms with each task come within 15 % or so of what pools on two CPUs were seen to give.

    Of calls shorter than a quarter of that it is on the low side: such tasks lose less.
    """
    lossy = costs(72e-6, lost=estimate(211e-6))
    found = PROCESSES.in_pool(estimate(2.0), inputs(call_us * 1e-6, lossy, workers=2))
    assert found.value == pytest.approx(2 * call_us / (call_us + 211))
    assert found.value == pytest.approx(gain, rel=0.3 if call_us < 300 else 0.1)


def test_where_nothing_is_lost_one_thread_that_dispatches_is_the_limit() -> None:
    """Eight CPUs have room for two workers and the parent: a call is done no sooner than the next is dispatched."""
    found = PROCESSES.in_pool(estimate(2.0), inputs(110e-6, costs(68e-6, lost=estimate(0.0)), cpus=8, workers=2))
    assert found.value == pytest.approx(110 / 68)


def test_what_is_lost_has_an_interval() -> None:
    """The low end is that of the most that is lost, the high end that of the least."""
    lossy = costs(1e-6, lost=estimate(1e-4, 0.0, 1e-3))
    found = PROCESSES.in_pool(estimate(2.0), inputs(1e-3, lossy, workers=2))
    assert (found.low, found.value, found.high) == pytest.approx((1.0, 2 / 1.1, 2.0))


@pytest.mark.parametrize(
    ("gil", "call_s", "most"),
    [
        (True, 22e-6, 1.1 * 22 / (0.75 * 22 + 6)),
        (False, 22e-6, 1.9),
        (True, 1e-2, 1.9),  # the dispatch is next to nothing: what was measured stands
    ],
)
def test_dispatching_to_threads_takes_the_gil(gil: bool, call_s: float, most: float) -> None:  # noqa: FBT001 - a parameter
    """Where there is a GIL, calls that hold it for most of their time and the dispatch take turns at it."""
    found = THREADS.in_pool(estimate(1.9), inputs(call_s, costs(6e-6), held=0.75, gil_on=gil))
    assert found.value == pytest.approx(most)


@given(
    gain=st.floats(0.1, 8),
    width=st.floats(1, 1.5),
    call_s=st.floats(1e-7, 1),
    busy=st.floats(0, 2),
    held=st.none() | st.floats(0, 1),
    lost_s=st.none() | st.floats(0, 1e-2),
    moving=st.none() | st.floats(0, 0.1),
)
def test_an_executor_is_never_better_than_the_calls_and_its_interval_holds_it(
    *,
    gain: float,
    width: float,
    call_s: float,
    busy: float,
    held: float | None,
    lost_s: float | None,
    moving: float | None,
) -> None:
    """Whatever it costs: the value is no more than the bare calls', and lies between its ends."""
    lost = None if lost_s is None else estimate(lost_s, lost_s / width, lost_s * width)
    bare = estimate(gain, gain / width, gain * width)
    given_ = inputs(call_s, costs(1e-5, lost=lost), busy=busy, held=held)
    with_data = replace(given_, transfer=None if moving is None else moved(moving, moving))
    for found in (THREADS.in_pool(bare, given_), PROCESSES.in_pool(bare, with_data)):
        assert found.value <= gain * (1 + 1e-9)
        assert 0 <= found.low <= found.value <= found.high <= gain * width * (1 + 1e-9)
