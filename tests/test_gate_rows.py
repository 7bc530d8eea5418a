"""The table of gates in ``docs/ci.md``: each row is what the gate does with these figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from reports_fixture import probed, processes, serial, threads, verdict

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import Block, EventLoop
from pytest_gilprobe.model.results import Caution, WorkloadResult
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.words import INCONCLUSIVE, Bound, Gil
from pytest_gilprobe.verdict import differences, expectations, loop_gate, margins
from pytest_gilprobe.verdict.gating import UNCHECKED

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")
OPEN = "passes, with a caution"
FASTER = Estimate(value=1.85, low=1.8, high=1.9)
PARTS = (threads(1.8), processes(1.8))


def workload(strategy: str, *, of_threads: Estimate = FASTER, of_processes: Estimate = FASTER) -> WorkloadResult:
    """Make a result whose pools give what bare calls do."""
    base = probed("a::b", verdict(Bound.CPU, Gil.HELD, strategy, 1.8, "it"), serial(0.02, 0.98, 0.9), *PARTS)
    found = {"threads": of_threads, "processes": of_processes}
    parts = {
        name: replace(base.strategies[name], speedup=one, pool_speedup=one, over={}) for name, one in found.items()
    }
    return replace(base, strategies={**base.strategies, **parts})


def ended(expectation: Expectation, result: WorkloadResult) -> str:
    """Say what a gate does, in the page's words."""
    found = expectations.check(expectation, result)
    if found.failures:
        return "fails"
    assert {one.slug for one in found.cautions} <= {UNCHECKED}
    return OPEN if found.cautions else "passes"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def times(gain: Estimate) -> str:
    return f"{gain.value:.2f}x [{gain.low:.2f}, {gain.high:.2f}]"


def widened(gain: Estimate) -> str:
    low, high = margins.widened(gain)
    return f"{low:.2f} to {high:.2f}"


def share(value: float, spread: float) -> tuple[Estimate, str, str]:
    """Return a share, how the page writes it, and the gate's interval."""
    found = Estimate(value=value, low=value - spread, high=value + spread)
    low, high = margins.widened_share(found)
    shown = f"{numbers.percent(value)} ({numbers.percent(found.low)} to {numbers.percent(found.high)})"
    return found, shown, f"{numbers.percent(low)} to {numbers.percent(high)}"


@pytest.mark.parametrize("value", [1.8, 1.4, 1.2])
def test_least_speedup(value: float) -> None:
    """A speed-up is excluded by the gate's interval alone."""
    gain = Estimate(value=value, low=round(value - 0.1, 2), high=round(value + 0.1, 2))
    result = ended(Expectation(min_speedup=1.5), workload("threads", of_threads=gain, of_processes=gain))
    assert row("`min_speedup=1.5`", times(gain), widened(gain), result) in PAGE


@pytest.mark.parametrize(("value", "spread", "answer"), [(1.5, 0.1, INCONCLUSIVE), (1.3, 0.05, "processes")])
def test_expected_strategy(value: float, spread: float, answer: str) -> None:
    """A strategy is excluded if it is out of reach for every value of both intervals."""
    gain = Estimate(value=value, low=value - spread, high=value + spread)
    result = ended(Expectation(strategies=frozenset({"threads"})), workload(answer, of_threads=gain))
    shown = f"*{'threads or processes?' if answer == INCONCLUSIVE else answer}*"
    figures = f"{shown} threads {times(gain)}, processes {times(FASTER)}"
    between = f"threads {widened(gain)}, processes {widened(FASTER)}"
    assert row('`expect="threads"`', figures, between, result) in PAGE


@pytest.mark.parametrize("value", [0.74, 0.60])
def test_expected_bound(value: float) -> None:
    """A bound is excluded by the CPU utilization."""
    used, shown, between = share(value, 0.04)
    base = workload("processes")
    part = replace(base.strategies["serial"], cpu_utilization=used)
    found = replace(base, verdict=replace(base.verdict, bound=Bound.MIXED))
    found = replace(found, strategies={**base.strategies, "serial": part})
    result = ended(Expectation(bound=Bound.CPU), found)
    assert row('`expect_bound="cpu"`', f"CPU {shown}", between, result) in PAGE


@pytest.mark.parametrize(("value", "spread"), [(0.25, 0.04), (0.3, 0.03)])
def test_most_held(value: float, spread: float) -> None:
    """A held share fails if the limit lies below the gate's interval."""
    held, shown, between = share(value, spread)
    base = workload("processes")
    result = ended(Expectation(max_gil_held=0.2), replace(base, gil=replace(base.gil, held_fraction=held)))
    assert row("`max_gil_held=0.2`", f"GIL held {shown}", between, result) in PAGE


@pytest.mark.parametrize("wait", [0.3, 0.05])
def test_longest_hold(wait: float) -> None:
    """A long hold counts where threads wait for the GIL."""
    base = workload("processes")
    base = replace(base, gil=replace(base.gil, longest_hold_s=0.06))
    parts = {name: replace(base.strategies[name], shares=threads(1.0, wait=wait).shares) for name in base.parallel}
    result = ended(Expectation(max_gil_hold_s=0.05), replace(base, strategies={**base.strategies, **parts}))
    figures = f"a hold of 60 ms; threads wait for the GIL for {numbers.percent(wait)} of their time"
    between = "none: the median of the rounds counts" if result == "fails" else "none: too few waits to tell"
    assert row("`max_gil_hold=0.05`", figures, between, result) in PAGE


@pytest.mark.parametrize(("length_s", "busy"), [(0.03, False), (0.025, True)])
def test_longest_block(length_s: float, *, busy: bool) -> None:
    """A block fails if it exceeds the limit by more than clocks and neighbours explain."""
    block = Block(length_s=length_s, computing_s=length_s, blocking_s=0.0, gil_wait_s=0.0, queue_s=0.0, calls=3)
    cautions = (Caution(slug="busy-machine", message="busy"),) if busy else ()
    base = workload("processes")
    base = replace(base, event_loop=EventLoop(repeated_block=block), verdict=replace(base.verdict, cautions=cautions))
    slack = loop_gate.SLACK_WHEN_BUSY if busy else loop_gate.SLACK
    figures = f"{numbers.seconds(length_s)} computing{', on a busy machine' if busy else ''}"
    between = f"{numbers.seconds(length_s / slack)} or more"
    assert row("`max_loop_block=0.02`", figures, between, ended(Expectation(max_loop_block=0.02), base)) in PAGE


@pytest.mark.parametrize("value", [1.7, 1.4])
def test_regression(value: float) -> None:
    """A speed-up fell if the intervals of both reports exclude each other."""
    gain = Estimate(value=value, low=round(value - 0.1, 2), high=round(value + 0.1, 2))
    slow = Estimate(value=1.0, low=0.95, high=1.05)
    before, now = (workload("processes", of_threads=slow, of_processes=one) for one in (FASTER, gain))
    result = "is a regression" if any(one.worse for one in differences.changes(now, before)) else "passes"
    figures = f"processes {times(FASTER)} in the baseline, {times(gain)} now"
    between = f"{widened(FASTER)}, {widened(gain)}"
    assert row("`--gilprobe-fail-on=regression`", figures, between, result) in PAGE
