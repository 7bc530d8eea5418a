"""`pytest_gilprobe.stats.pools`: what handing out and moving data leave of a speed-up, against its definition."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from evidence import SERIAL, estimate, machine
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model import Estimate, Machine, SerialResult, Transfer
from pytest_gilprobe.stats import pools

# The thread that hands out


GAINS = st.floats(0.1, 8)


@given(gain=GAINS, call_s=st.floats(1e-8, 10), task_s=st.floats(1e-7, 1e-2))
def test_pool_finishes_a_call_every_longest_of_two(gain: float, call_s: float, task_s: float) -> None:
    """A pool's speed-up is call time / max(call time / speed-up, hand-out)."""
    found = pools.handed_out(estimate(gain), estimate(call_s), task_s)
    assert found.value == pytest.approx(call_s / max(call_s / gain, task_s))


@given(gain=GAINS, call_s=st.floats(1e-8, 10), task_s=st.floats(0, 1e-2))
def test_handing_out_never_helps(gain: float, call_s: float, task_s: float) -> None:
    """A pool is never predicted to gain more than the bare calls did."""
    assert pools.handed_out(estimate(gain), estimate(call_s), task_s).value <= gain * (1 + 1e-9)


def test_unknown_hand_out_costs_nothing() -> None:
    """Where the cost of handing out was not measured, the bare calls' speed-up stands."""
    assert pools.handed_out(estimate(1.9), estimate(1e-9), None) == estimate(1.9)


def test_transfer_costs_on_both_sides() -> None:
    """Moving data loads the worker, which lengthens the call, and the parent, which lengthens the hand-out."""
    moved = Transfer(argument_bytes=1, result_bytes=1, pipe_s=0.0, queue_s=0.0, parent_s=0.0, worker_s=0.01)
    assert pools.handed_out(estimate(2.0), estimate(0.01), 0.0, transfer=moved).value == pytest.approx(1.0)
    dear = replace(moved, parent_s=0.02)
    assert pools.handed_out(estimate(2.0), estimate(0.01), 0.0, transfer=dear).value == pytest.approx(0.5)


def test_intervals_stay_in_order() -> None:
    """The prediction's interval is the calls' and the speed-up's, end by end."""
    found = pools.handed_out(estimate(1.9, 1.7, 2.1), estimate(1e-4, 0.9e-4, 1.1e-4), 1e-4)
    assert (found.low, found.value, found.high) == pytest.approx((0.9, 1.0, 1.1))
    assert math.isclose(found.confidence, 0.95)


def test_hand_out_has_an_interval() -> None:
    """Between its best round and the middle one lies what handing out costs: near the line the low end says so."""
    found = pools.handed_out(estimate(2.0), estimate(2e-4), 1e-4, 2e-4)
    assert (found.low, found.value, found.high) == pytest.approx((1.0, 2.0, 2.0))
    far = pools.handed_out(estimate(2.0), estimate(1e-2), 1e-4, 2e-4)
    assert far == estimate(2.0)


# What workers lose, the GIL, and the CPUs


def calls(call_s: float, busy: float = 1.0, held: float | None = 1.0) -> SerialResult:
    """Make calls of so many seconds that compute for a share of them and hold the GIL for a share."""
    fraction = None if held is None else estimate(held)
    cpu = estimate(call_s * busy)
    return replace(SERIAL, wall_s_per_call=estimate(call_s), cpu_s_per_call=cpu, gil_held_fraction=fraction)


def costs(task_s: float, lost: Estimate | None = None, *, cpus: int = 2) -> Machine:
    """Make a machine whose pools can hand out a task in so many seconds, and lose some with each."""
    return machine(cpus=cpus, thread_task_s=task_s, process_task_s=task_s, thread_lost_s=lost, process_lost_s=lost)


@pytest.mark.parametrize(("call_us", "gain"), [(97, 0.85), (337, 1.23), (739, 1.51), (1331, 1.58)])
def test_workers_lose_time_with_every_task(call_us: float, gain: float) -> None:
    """Processes that lose 0.21 ms with each task come within 15 % or so of what pools on two CPUs were seen to give.

    Of calls shorter than a quarter of that it is on the low side: such tasks lose less.
    """
    found = pools.of_processes(estimate(2.0), calls(call_us * 1e-6), costs(72e-6, estimate(211e-6)), 2, None)
    assert found.value == pytest.approx(2 * call_us / (call_us + 211))
    assert found.value == pytest.approx(gain, rel=0.3 if call_us < 300 else 0.1)


def test_where_nothing_is_lost_one_thread_that_hands_out_is_the_limit() -> None:
    """Eight CPUs have room for two workers and the parent: a call is done no sooner than the next is handed out."""
    found = pools.of_processes(estimate(2.0), calls(110e-6), costs(68e-6, estimate(0.0), cpus=8), 2, None)
    assert found.value == pytest.approx(110 / 68)


def test_what_is_lost_has_an_interval() -> None:
    """The low end is that of the most that is lost, the high end that of the least."""
    found = pools.of_processes(estimate(2.0), calls(1e-3), costs(1e-6, estimate(1e-4, 0.0, 1e-3)), 2, None)
    assert (found.low, found.value, found.high) == pytest.approx((1.0, 2 / 1.1, 2.0))


@pytest.mark.parametrize(
    ("gil", "call_s", "most"),
    [
        (True, 22e-6, 1.1 * 22 / (0.75 * 22 + 6)),
        (False, 22e-6, 1.9),
        (True, 1e-2, 1.9),  # the hand-out is next to nothing: what was measured stands
    ],
)
def test_handing_out_to_threads_takes_the_gil(gil: bool, call_s: float, most: float) -> None:  # noqa: FBT001 - a parameter
    """Where there is a GIL, calls that hold it for most of their time and the hand-out take turns at it."""
    found = pools.of_threads(estimate(1.9), calls(call_s, held=0.75), costs(6e-6), 2, gil=gil)
    assert found.value == pytest.approx(most)


@given(
    gain=st.floats(0.1, 8),
    width=st.floats(1, 1.5),
    call_s=st.floats(1e-7, 1),
    busy=st.floats(0, 2),
    held=st.none() | st.floats(0, 1),
    prices=st.tuples(st.none() | st.floats(0, 1e-2), st.none() | st.floats(0, 0.1)),
)
def test_a_pool_is_never_better_than_the_calls_and_its_interval_holds_it(
    *,
    gain: float,
    width: float,
    call_s: float,
    busy: float,
    held: float | None,
    prices: tuple[float | None, float | None],
) -> None:
    """Whatever it costs: the value is no more than the bare calls', and lies between its ends."""
    lost_s, moving = prices
    lost = None if lost_s is None else estimate(lost_s, lost_s / width, lost_s * width)
    bare, serial, on = estimate(gain, gain / width, gain * width), calls(call_s, busy, held), costs(1e-5, lost)
    moved = (
        None
        if moving is None
        else Transfer(argument_bytes=1, result_bytes=1, pipe_s=moving, queue_s=moving, parent_s=moving, worker_s=moving)
    )
    for found in (pools.of_threads(bare, serial, on, 16, gil=True), pools.of_processes(bare, serial, on, 16, moved)):
        assert found.value <= gain * (1 + 1e-9)
        assert 0 <= found.low <= found.value <= found.high <= gain * width * (1 + 1e-9)
