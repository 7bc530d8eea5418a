"""What verdicts and intervals promise, kept from end to end: simulated calls whose truth is known.

The same with many more probes is `benchmarks/coverage_of_verdicts.py`, and `docs/coverage.md` its output.
"""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import pytest
from simulated import CALLS, WEATHERS, Call, Found, Weather, experiments, probe

FAR = [call for call in CALLS if len(call.tolerable) == 1]
NEAR = [call for call in CALLS if len(call.tolerable) > 1]
"""Those take most of the time, being open for long: every eighth will do here."""


@pytest.fixture(scope="module")
def found() -> list[Found]:
    """Probe calls once in every weather."""
    return list(experiments([*FAR, *NEAR[::8]], WEATHERS, 1, seed=1))


@pytest.mark.thorough
@pytest.mark.parametrize("call", [call for call in CALLS if call.other == 1.0], ids=lambda call: call.name)
def test_still_machine_measures_the_truth(call: Call) -> None:
    """Where nothing disturbs it, the readings have the speed-ups and the share that the call is said to have."""
    result = probe(call, Weather(noise=0.0), random.Random(0))
    threads, processes = (result.strategies[name].speedup for name in ("threads", "processes"))
    serial = result.serial
    assert threads is not None
    assert processes is not None
    assert serial is not None
    assert (threads.value, processes.value) == pytest.approx((call.threads, call.processes), rel=0.01)
    assert serial.utilization.value == pytest.approx(call.used, abs=0.01)
    assert result.gil.held_fraction is not None
    assert result.gil.held_fraction.value == pytest.approx(call.held, abs=0.1)
    assert result.verdict.strategy in {call.right, "inconclusive"}


@pytest.mark.thorough
def test_answers_are_not_wrong(found: list[Found]) -> None:
    """Of calls more than 10 % away from every threshold, no more than 1 % get a wrong answer, in any weather."""
    far = [one for one in found if len(one.call.tolerable) == 1]
    wrong = [f"{one.call.name}, {one.weather.name}: {one.strategy}" for one in far if one.wrong]
    assert len(wrong) <= len(far) / 100, wrong


@pytest.mark.thorough
def test_answers_are_given(found: list[Found]) -> None:
    """Silence is no way to be right: at noise up to 5 % nine in ten of those get an answer, if calls are alike."""
    far = [one for one in found if len(one.call.tolerable) == 1 and one.call.other == 1.0]
    calm = [one for one in far if one.weather.noise <= 0.05]
    assert fmean(not one.silent for one in calm) >= 0.9


@pytest.mark.thorough
def test_intervals_hold_the_truth_where_the_probe_stopped(found: list[Found]) -> None:
    """Nine in ten of all intervals do, although each probe stops when its own intervals say so."""
    assert fmean(caught for one in found for _, caught in one.caught()) >= 0.9


@pytest.mark.thorough
def test_count_of_wrong_answers_counts_them(found: list[Found]) -> None:
    """An answer that the truth excludes is counted, and one that a truth within 10 % allows is not."""
    loop = next(one for one in found if one.strategy == "processes" and one.call.name == "Python loop")
    assert not loop.wrong
    assert replace(loop, call=replace(loop.call, processes=1.1)).wrong
    assert not replace(loop, call=replace(loop.call, processes=1.25)).wrong
    assert dict(loop.caught())["processes"]
    assert not dict(replace(loop, call=replace(loop.call, processes=1.1)).caught())["processes"]
