"""`pytest_gilprobe.workers.child.leftovers`: what a test's calls leave behind in a worker is found."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import pytest

from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.workers.child import leftovers

GIB = 2**30


@pytest.mark.parametrize(
    ("kept", "left", "said"),
    [
        (3 * GIB, 2 * GIB, "kept 3.0 GiB of memory and 2.0 GiB are left"),
        (2 * GIB, 3 * GIB, None),
        (GIB // 4, 0, None),
        (3 * GIB, None, None),
    ],
    ids=["more than is left", "less than is left", "too little to blame", "nothing is known"],
)
def test_calls_that_eat_the_memory(
    kept: int, left: int | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that have kept more memory than is left are stopped before the machine runs out of it."""
    used = iter([GIB, GIB + kept])
    monkeypatch.setattr(leftovers, "_memory", lambda: next(used))
    monkeypatch.setattr(machine, "memory_left_bytes", lambda: left)
    found = leftovers.ResourceUse.now().disturbance()
    assert found is None if said is None else said in str(found)


MS = 10**6


@pytest.mark.parametrize(
    ("readings", "computes"),
    [
        ([(0, 0), (30 * MS, 0)], True),
        ([(0, 0), (0, 0)], False),
        ([(0, 0), (10 * MS, 20 * MS), (20 * MS, 40 * MS)], True),
        ([(0, 0), (0, 30 * MS), (MS, 31 * MS)], False),
        ([(0, 0), *((0, number * 30 * MS) for number in range(1, leftovers.MOST_WATCHES + 1))], False),
        ([(50 * MS, 0), (0, 0)], False),
    ],
    ids=["on a core", "asleep", "on a core in turn with others", "queued, then asleep", "never on a core", "gone"],
)
def test_threads_that_compute_on_are_told_from_those_that_queue(
    readings: list[tuple[int, int]], *, computes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of a pool that wait for a core only to go to sleep are no leftovers, however busy the machine."""
    read = iter(readings)
    now = iter(range(0, 10**12, 30 * MS))
    monkeypatch.setattr(leftovers, "_run_and_queued_ns", lambda _: next(read))
    monkeypatch.setattr(clocks, "sleep", lambda _: None)
    monkeypatch.setattr(clocks, "perf_counter_ns", lambda: next(now))
    assert leftovers._computing(["a thread"]) == ["a thread"] * computes
    assert next(read, None) is None


def test_state_is_restored_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test has changed is put back where that is possible, and the rest is named."""
    before = leftovers.state()
    with monkeypatch.context() as patch:
        patch.setitem(os.environ, "LEFT_BEHIND", "1")
        patch.syspath_prepend("left-behind")
        patch.setattr("time.sleep", lambda _: None)
        assert leftovers.restore(before) == ("the time module",)
        assert "LEFT_BEHIND" not in os.environ
        assert "left-behind" not in sys.path
    assert leftovers.restore(before) == ()


def test_what_a_fixture_puts_back_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what differs from the state before the set-up, and from that before the calls, is left behind."""
    before = leftovers.state()
    with monkeypatch.context() as patch:
        patch.setattr("time.sleep", lambda _: None)
        at_calls = leftovers.state()
        patch.setattr("time.time", lambda: 0.0)
        assert leftovers.still_changed(("the time module",), before, at_calls) == ("the time module",)
    assert leftovers.still_changed(("the time module",), before, at_calls) == ()
    assert leftovers.still_changed((), before) == ()


@pytest.mark.parametrize(
    ("more", "outgrown"),
    [
        ({}, False),
        ({"descriptors": 10_000}, True),
        ({"memory": 2**40}, True),
        ({"threads": frozenset(range(-99, 0))}, True),
        ({"children": frozenset(range(-99, 0))}, True),
    ],
)
def test_worker_that_has_grown_is_replaced(more: dict[str, Any], *, outgrown: bool) -> None:
    """Far more threads, processes, descriptors or memory than at its start make a worker unfit for another test."""
    start = leftovers.ResourceUse.now()
    assert start.outgrown_by(replace(start, **more)) is outgrown
