"""Curves from simulated readings of known laws: `stats.throughput`, `stats.scaling` and `stats.scaling_laws`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.ladder import Step, StretchReading
from pytest_gilprobe.model.scaling import ScalingPoint
from pytest_gilprobe.stats import scaling, scaling_laws, throughput

COUNTS = (1, 2, 4, 8, 16, 32, 64)
Law = Callable[[float], float]


def step(
    rate: float,
    workers: int = 1,
    *,
    window_s: float = 0.2,
    calls_per_mark: int = 1,
    bursts: bool = False,
    **changes: Any,
) -> Step:
    """Make a step whose lanes complete ``rate`` calls a second together; in ``bursts``, all lanes at once."""
    apart_ns = workers * calls_per_mark / rate * 1e9
    settled_ns, until_ns = round(0.02e9), round((0.02 + window_s) * 1e9)
    marks = []
    for number in range(workers):
        start = 0.0 if bursts else apart_ns * number / workers
        lane = [round(start + apart_ns * each) for each in range(1, 2 + math.ceil(until_ns / apart_ns))]
        marks.append(tuple(lane))
    reading: dict[str, Any] = {"marks_ns": tuple(marks), "queued_ns": 0, "process_cpu_ns": 0} | changes
    return Step(
        workers=workers,
        begin_ns=0,
        settled_ns=settled_ns,
        until_ns=until_ns,
        calls_per_mark=calls_per_mark,
        readings=(StretchReading(**reading),),
    )


def curve(law: Law, noise: float, seed: int, counts: tuple[int, ...] = COUNTS) -> tuple[ScalingPoint, ...]:
    """Simulate a ladder up and down: two noisy steps for each number of workers."""
    rng = random.Random(seed)
    steps = [step(law(count) * math.exp(rng.gauss(0, noise)), count, window_s=2.0) for count in (*counts, *counts)]
    return scaling.points_of(steps)


def points(*rates: float, width: float = 0.02) -> tuple[ScalingPoint, ...]:
    """Make points of 1, 2, 4 ... workers with intervals of the same relative width."""
    return tuple(
        ScalingPoint(workers=2**at, throughput=Estimate(value=rate, low=rate * (1 - width), high=rate * (1 + width)))
        for at, rate in enumerate(rates)
    )


@given(st.floats(20, 5000), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 10]), st.booleans())
def test_slope_is_the_rate(rate: float, workers: int, calls_per_mark: int, bursts: bool) -> None:  # noqa: FBT001
    """Evenly spread completions and whole bursts both give the rate, whatever the edges of the window."""
    lap_s = workers * calls_per_mark / rate
    found = throughput.calls_per_s(
        step(rate, workers, window_s=max(0.2, 5 * lap_s), calls_per_mark=calls_per_mark, bursts=bursts)
    )
    assert found == pytest.approx(rate, rel=0.06)


def test_too_few_calls_are_no_throughput() -> None:
    """Two completed calls say nothing."""
    assert throughput.calls_per_s(step(8.0)) is None


def test_late_lanes_delay_the_window() -> None:
    """Calls before every lane has made its first one do not count, but for a lane that hardly begins at all."""
    early = tuple(round(each * 10e6) for each in range(1, 30))
    late = tuple(one for one in early if one > 0.1e9)
    one = step(100.0)
    both = Step(
        workers=2,
        begin_ns=0,
        settled_ns=one.settled_ns,
        until_ns=one.until_ns,
        calls_per_mark=1,
        readings=(StretchReading(marks_ns=(early, late), queued_ns=0, process_cpu_ns=0),),
    )
    assert throughput.calls_per_s(both) == pytest.approx(200.0, rel=0.05)


def test_step_beside_other_programs_is_disturbed() -> None:
    """Others must take CPU time, and lanes must wait for a CPU: waiting calls are not in anyone's way."""
    busy: dict[str, Any] = {"cpus_ns": 400_000_000, "cpus_idle_ns": 40_000_000, "process_cpu_ns": 100_000_000}
    assert throughput.disturbed(step(100.0, **busy, queued_ns=60_000_000))
    assert not throughput.disturbed(step(100.0, **busy, queued_ns=1_000_000))
    assert not throughput.disturbed(step(100.0, **busy | {"process_cpu_ns": 350_000_000}, queued_ns=60_000_000))


BUSY: dict[str, Any] = {
    "cpus_ns": 400_000_000, "cpus_idle_ns": 0, "process_cpu_ns": 100_000_000, "queued_ns": 60_000_000,
}  # fmt: skip


def test_throttled_step_is_disturbed() -> None:
    """A quota that held calls back for 10 ms of 220 counts, for a millisecond not."""
    assert throughput.disturbed(replace(step(100.0), throttled_s=0.01))
    assert not throughput.disturbed(replace(step(100.0), throttled_s=0.001))


def test_disturbed_steps_are_left_out() -> None:
    """A step that was held up does not count beside one with as many workers that was not."""
    found = scaling.points_of([step(100.0), step(60.0, **BUSY), step(200.0, 2)])
    assert [point.throughput.value for point in found] == pytest.approx([100, 200], rel=0.02)
    assert scaling.held_up([step(100.0)] * 4 + [step(60.0, **BUSY)]) == ()


def test_number_that_was_only_disturbed_opens_a_curve() -> None:
    """It has a point, for the picture, but the curve decides nothing; nor if too many steps were held up."""
    alone = [*[step(100.0)] * 5, step(120.0, 2, **BUSY)]
    assert [point.workers for point in scaling.points_of(alone)] == [1, 2]
    assert len(scaling.held_up(alone)) == 1
    assert len(scaling.held_up([step(100.0), step(200.0, 2), step(60.0, **BUSY)])) == 1


def test_serial_calls_stand_for_one_worker() -> None:
    """A curve that was not measured with one worker begins with what serial calls give."""
    serial = Estimate(value=0.02, low=0.018, high=0.025)
    found = scaling.points_of([step(100.0, 2)], serial)
    assert (found[0].workers, found[0].throughput.low, found[0].throughput.value) == (1, 40, 50)
    assert scaling.points_of([], serial) == ()
    assert len(scaling.points_of([step(100.0)], serial)) == 1


@pytest.mark.parametrize(
    ("rates", "enough", "best"),
    [
        ((50, 100, 200, 400), 8, 8),
        ((50, 100, 200, 201), 4, 4),
        ((50, 100, 185, 200), 4, 8),
        ((50, 51, 49), 1, 1),
        ((50, 40, 30), 1, 1),
        ((50, 100, 60, 40), 2, 2),
    ],
)
def test_enough_workers_give_nine_tenths_of_the_best(rates: tuple[float, ...], enough: int, best: int) -> None:
    """The fewest workers that reach 90 % are enough; those that cannot be told from the highest are the best."""
    found = points(*rates)
    assert (scaling.enough_workers(found), scaling.best_workers(found)) == (enough, best)


def test_wide_intervals_leave_the_number_open() -> None:
    """If one worker may be enough and only eight seem to be, the answer is open."""
    assert scaling.enough_workers(points(50, 60, 70, 80, width=0.5)) is None


def test_retrograde_curve_falls_for_certain() -> None:
    """A fall within the intervals is none."""
    assert scaling.retrograde(points(50, 100, 60))
    assert not scaling.retrograde(points(50, 100, 90, width=0.2))


LAWS: dict[str, tuple[Law, str, tuple[int, ...]]] = {
    "linear": (lambda n: 50 * n, "linear", (32, 64)),
    "limit of 4": (lambda n: min(50 * n, 200), "capped", (4, 8)),
    "limit of 6": (lambda n: min(50 * n, 300), "capped", (4, 8)),
    "Amdahl": (lambda n: 50 * n / (1 + 0.1 * (n - 1)), "usl", (16, 32, 64)),
    "USL": (lambda n: 50 * n / (1 + 0.05 * (n - 1) + 0.002 * n * (n - 1)), "usl", (8, 16, 32)),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("noise", [0.02, pytest.param(0.05, marks=pytest.mark.thorough)])
def test_known_laws_are_recognised(name: str, noise: float) -> None:
    """With 2 to 5 % noise, the fit names the law that made the curve, and the number is right or its neighbour."""
    law, model, enough = LAWS[name]
    for seed in range(20):
        found = curve(law, noise, seed)
        fit = scaling_laws.best_fit(found)
        assert fit is not None
        assert fit.law == model, seed
        assert scaling.enough_workers(found) in {*enough, None}


def test_intervals_cover_the_truth() -> None:
    """Of the intervals of points with 5 % noise, about 95 % hold the true throughput."""
    law = LAWS["limit of 4"][0]
    held = [
        point.throughput.low <= law(point.workers) <= point.throughput.high
        for seed in range(100)
        for point in curve(law, 0.05, seed)
    ]
    assert 0.92 <= sum(held) / len(held) <= 0.995


def test_parameters_have_standard_errors_that_cover_them() -> None:
    """The true contention lies within two standard errors of the fitted one nearly always."""
    law = LAWS["Amdahl"][0]
    near = 0
    for seed in range(50):
        fit = scaling_laws.best_fit(curve(law, 0.03, seed))
        assert fit is not None
        near += abs(fit.parameters["contention"] - 0.1) <= 2 * fit.errors["contention"]
    assert near >= 40
    assert fit is not None
    assert list(fit.with_errors) == [
        "per_worker", "per_worker_se", "contention", "contention_se", "coherency", "coherency_se",
    ]  # fmt: skip


def test_errors_are_no_smaller_than_those_of_the_points() -> None:
    """Points that lie on a law by chance do not make its parameters exact."""
    fit = scaling_laws.best_fit(points(50, 100, 150, 150, 150, width=0.1))
    assert fit is not None
    assert fit.errors["ceiling"] / 150 == pytest.approx(0.05 / math.sqrt(3), rel=0.1)


def test_law_that_does_not_fit_is_not_shown() -> None:
    """A curve that no law describes has none; nor has one of three points."""
    assert scaling_laws.best_fit(points(50, 400, 60, 300, 20)) is None
    assert scaling_laws.best_fit(points(50, 100, 200)) is None


@given(st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=8))
def test_any_curve_is_judged(rates: list[float]) -> None:
    """No throughputs break the fits; recommended numbers are measured ones."""
    found = points(*rates)
    scaling_laws.best_fit(found)
    counts = {point.workers for point in found}
    assert {scaling.enough_workers(found), scaling.best_workers(found)} <= counts | {None}


def test_memory_is_that_of_all_processes() -> None:
    """A point's memory adds up the processes of its step; unknown in one, it is unknown."""
    one = step(100.0, 2, peak_rss_bytes=10)
    two = Step(
        workers=2, begin_ns=0, settled_ns=one.settled_ns, until_ns=one.until_ns, calls_per_mark=1,
        readings=one.readings * 2,
    )  # fmt: skip
    assert scaling.points_of([two])[0].rss_bytes == 20
    assert scaling.points_of([step(100.0)])[0].rss_bytes is None


def test_points_know_what_the_machine_gave() -> None:
    """To as many threads, or to one for each CPU if those are fewer; never more than one CPU for each."""
    machine = [step(2000, window_s=2.0), step(3200, 2, window_s=2.0), step(9000, 4, window_s=2.0)]
    found = scaling.with_machine(points(50, 100, 150, 150), machine, cpus=4)
    assert [point.machine_gain for point in found] == pytest.approx([1.0, 1.6, 4.0, 4.0], rel=0.01)
    few = scaling.with_machine(points(50, 100, 150), machine, cpus=2)
    assert [point.machine_gain for point in few] == pytest.approx([1.0, 1.6, 1.6], rel=0.01)
    assert [point.machine_gain for point in scaling.with_machine(points(50, 100), (), cpus=2)] == [None, None]
