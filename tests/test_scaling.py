"""`pytest_gilprobe.verdict.scaling`: how many workers are enough, what limits them, what the verdict makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from evidence import estimate, evidence, measurement
from fake_workers import plan
from test_stats_scaling import Law, step

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.ladder import Ladder, Step
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.words import Outcome, Sleep
from pytest_gilprobe.verdict import scaling
from pytest_gilprobe.verdict.results import result_of

IN_LOCKS = {Sleep.LOCK: 80, Sleep.CALL: 20}
IN_CALLS = {Sleep.CALL: 100}


def ladder(
    law: Law, counts: tuple[int, ...] = (1, 2, 4, 8, 16), sleeps: dict[Sleep, int] | None = None, **changes: Any
) -> Ladder:
    """Make a ladder up and down of a law without noise; ``sleeps`` are the looks at the most lanes."""
    cpu_s = changes.pop("cpu_s", 0.0)
    of_step = {name: changes.pop(name) for name in ("cpus_ns", "cpus_idle_ns", "queued_ns") if name in changes}
    steps: list[Step] = []
    for count in (*counts, *reversed(counts)):
        one = step(law(count), count, window_s=2.0, process_cpu_ns=round(min(count, 2) * cpu_s * 1e9), **of_step)
        steps.append(replace(one, sleeps=(sleeps or {}) if count > 1 else IN_CALLS))
    return Ladder(steps=tuple(steps), **changes)


def curve(found: Ladder, name: str = "threads", **changes: Any) -> Scaling:
    """Judge one strategy's ladder beside evidence of calls that wait for 20 ms and hardly hold the GIL."""
    waits: dict[str, Any] = {
        "wall_s_per_call": estimate(0.02),
        "cpu_utilization": estimate(0.01),
        "held_fraction": estimate(0.01),
    }
    seen = measurement(ladders={name: found})
    curves = scaling.curves(evidence(2.0, 2.0, seen=seen, **waits | changes))
    assert curves is not None
    return curves[name]


@pytest.mark.parametrize(
    ("found", "changes", "limit"),
    [
        (ladder(lambda n: 50 * n), {}, "none found up to 16"),
        (ladder(lambda n: 50 * n, complete=False), {}, "none found up to 16, and there was no time for more"),
        (
            ladder(lambda n: min(50 * n, 200), sleeps=IN_CALLS),
            {},
            "outside this process: a server, a disk or the like takes about 4.0 calls at a time, or 200 a second",
        ),
        (
            ladder(lambda _: 200, (1, 2, 4), sleeps=IN_CALLS),
            {},
            "outside this process: a server, a disk or the like takes one call at a time, or 200 a second",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS),
            {},
            "a lock or pool in this process, not the GIL: it takes about 4.0 calls at a time",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS),
            {"held_fraction": estimate(0.13)},
            "a lock or pool in this process, or the GIL: it takes about 4.0 calls at a time",
        ),
        (
            ladder(lambda n: min(50 * n, 500), (1, 2, 4, 8, 16, 32), sleeps=IN_LOCKS),
            {"held_fraction": estimate(0.09)},
            "the GIL, which a call holds for 9 % of its time",
        ),
        (
            ladder(lambda _: 700, (1, 2, 4)),
            {"held_fraction": estimate(1.0)},
            "the GIL, which a call holds for 100 % of its time",
        ),
        (ladder(lambda n: 50 * min(n, 2), (1, 2, 4), cpu_s=2.0), {}, "the CPUs (2 usable)"),
        (ladder(lambda _: 50, (1, 2, 4), cpu_s=2.0), {}, "shared data or memory: 2 busy CPUs gain only 1.0x"),
        (ladder(lambda n: min(50 * n, 200)), {}, None),
        (
            ladder(lambda n: 50 * n, (1, 2, 4), failed_at=8, outcome=Outcome.FAILED, error="OSError: no"),
            {},
            "with 8 threads it failed",
        ),
    ],
)
def test_limit_is_named(found: Ladder, changes: dict[str, Any], limit: str | None) -> None:
    """Each kind of limit shows in the curve, the CPUs in use, the GIL's use, and in what lanes sleep in."""
    assert curve(found, **changes).limit == limit


@pytest.mark.parametrize("complete", [True, False])
def test_curve_says_whether_time_was_missing(complete: bool) -> None:  # noqa: FBT001
    """A gate must not blame the time where nobody asked for more workers."""
    assert curve(ladder(lambda n: 50 * n, complete=complete)).complete is complete


def test_processes_share_no_lock_of_python() -> None:
    """What limits processes that do not compute is outside of them."""
    found = curve(ladder(lambda n: min(50 * n, 100), (1, 2, 4)), "processes")
    assert (
        found.limit
        == "outside the processes: a server, a disk or the like takes about 2.0 calls at a time, or 100 a second"
    )


def test_hard_limit_is_fitted_and_recommended() -> None:
    """A limit of four calls at a time: four workers are enough, the law has its parameters with errors."""
    found = curve(ladder(lambda n: min(50 * n, 200), sleeps=IN_CALLS))
    assert (found.enough_workers, found.best_workers, found.model) == (4, 4, "capped")
    assert found.parameters["ceiling"] == pytest.approx(200, rel=0.02)
    assert set(found.parameters) == {"per_worker", "per_worker_se", "ceiling", "ceiling_se"}


def test_quota_leaves_a_curve_open() -> None:
    """Where a CPU quota held calls back, the curve is that of the quota's periods."""
    found = ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS)
    late = replace(found, steps=tuple(replace(one, throttled_s=0.2) for one in found.steps))
    judged = curve(late)
    assert judged.open_because == "a CPU quota held calls back for 10 % of the time"
    assert (judged.enough_workers, judged.limit) == (None, None)


def test_busy_machine_leaves_a_curve_open() -> None:
    """Where other programs held lanes up, neither numbers nor limits are told."""
    busy: dict[str, Any] = {"cpus_ns": 4_000_000_000, "cpus_idle_ns": 0, "queued_ns": 4_000_000_000}
    found = curve(ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS, **busy))
    assert (found.enough_workers, found.best_workers, found.limit, found.model) == (None, None, None, None)
    assert found.open_because == "other programs used 100 % of the CPUs' time, and calls waited for a CPU"


def test_verdict_advises_the_number_of_the_curve() -> None:
    """With a curve, the verdict has its number of workers and the speed-up there, and says so."""
    found = ladder(lambda n: min(50 * n, 200))
    result = result_of(plan(), evidence(1.0, 2.0, seen=measurement(ladders={"processes": found})))
    assert (result.verdict.strategy, result.verdict.workers) == ("processes", 4)
    assert result.verdict.speedup == pytest.approx(4.0, rel=0.05)
    assert result.verdict.reason.endswith("; 4 processes are enough")


def test_verdict_without_a_curve_keeps_the_number_that_was_tried() -> None:
    """Without a curve, or with one that says that one worker is enough, the number is that of the probe."""
    assert result_of(plan(), evidence(1.0, 2.0)).verdict.workers == 2
    flat = measurement(ladders={"processes": ladder(lambda _: 50, (1, 2, 4))})
    assert result_of(plan(), evidence(1.0, 2.0, seen=flat)).verdict.workers == 2


def test_ladder_that_failed_at_once_says_why() -> None:
    """Without two points there is no curve, only the reason."""
    found = curve(Ladder(error="one call takes 2.0 s, too long for a curve in 3 s"))
    assert (found.points, found.limit, found.error) == ((), None, "one call takes 2.0 s, too long for a curve in 3 s")


def test_curves_are_written_and_read_again() -> None:
    """A report with curves survives its JSON."""
    from reports_fixture import rich_report  # noqa: PLC0415 - a big fixture for one test

    report = rich_report()
    scaled = {"threads": curve(ladder(lambda n: min(50 * n, 200), sleeps=IN_CALLS))}
    first, *others = report.workloads
    report = replace(report, workloads=(replace(first, scaling=scaled), *others))
    assert report_json.from_json(report_json.to_json(report), "here") == report
