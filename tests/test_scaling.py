"""`pytest_gilprobe.verdict.scaling`: how many workers are enough, what limits them, what the verdict makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from evidence import estimate, evidence, machine, measurement, processes, round_, serial, threads
from fake_workers import plan
from test_stats_scaling import Law, step

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.ladder import Ladder, Step
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.machine import DispatchCosts
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.words import CallKind, Outcome, Sleep
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import scaling
from pytest_gilprobe.verdict.results import result_of

IN_LOCKS = {Sleep.LOCK: 80, Sleep.CALL: 20}
IN_CALLS = {Sleep.CALL: 100}
LETS_THROUGH_4 = "it lets through 4.0 calls in the time of one (a lock held for 25 % of a call, or a pool of 4)"
SHARED = (
    "shared data or memory: 2 busy CPUs gain only 1.0x, since a call takes 1.8 times the CPU time that it takes alone"
)
OUTSIDE_4 = "outside this process: a server, a disk or the like takes about 4.0 calls at a time, or 200 a second"


def ladder(
    law: Law, counts: tuple[int, ...] = (1, 2, 4, 8, 16), sleeps: dict[Sleep, int] | None = None, **changes: Any
) -> Ladder:
    """Make a ladder up and down of a law without noise; ``sleeps`` are the looks at the most lanes."""
    cpu_s = changes.pop("cpu_s", 0.0)
    of_step = {name: changes.pop(name) for name in ("cpus_ns", "cpus_idle_ns", "queued_ns") if name in changes}
    steps: list[Step] = []
    for count in (*counts, *reversed(counts)):
        cpu_ns = changes.get("process_cpu_ns", round(min(count, 2) * cpu_s * 1e9))
        one = step(law(count), count, window_s=2.0, process_cpu_ns=cpu_ns, **of_step)
        steps.append(replace(one, sleeps=(sleeps or {}) if count > 1 else IN_CALLS))
    changes.pop("process_cpu_ns", None)
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
            OUTSIDE_4,
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps={Sleep.EVENTS: 100}),
            {},
            OUTSIDE_4,
        ),
        (
            ladder(lambda _: 200, (1, 2, 4), sleeps=IN_CALLS),
            {},
            "outside this process: a server, a disk or the like takes one call at a time, or 200 a second",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS),
            {},
            f"a lock or pool in this process, not the GIL: {LETS_THROUGH_4}",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS),
            {"held_fraction": estimate(0.13)},
            f"a lock or pool in this process, or the GIL: {LETS_THROUGH_4}",
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
        (
            ladder(lambda _: 50, (1, 2, 4), cpu_s=2.0),
            {},
            SHARED,
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps={Sleep.GIL: 80, Sleep.CALL: 20}),
            {},
            "the GIL, for which threads wait for 80 % of their time",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps={Sleep.OTHER_LOCK: 80, Sleep.CALL: 20}),
            {"held_fraction": None},
            f"a lock or pool in this process, not the GIL: {LETS_THROUGH_4}",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps={Sleep.OTHER_LOCK: 50, Sleep.GIL: 30, Sleep.CALL: 20}),
            {},
            f"a lock or pool in this process, or the GIL: {LETS_THROUGH_4}",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS),
            {"held_fraction": None},
            f"a lock or pool in this process, or the GIL: {LETS_THROUGH_4}",
        ),
        (ladder(lambda n: min(50 * n, 200), sleeps=IN_CALLS), {"held_fraction": estimate(0.17)}, OUTSIDE_4),
        (ladder(lambda n: min(50 * n, 200)), {"held_fraction": estimate(0.17)}, None),
        (
            ladder(lambda n: min(50 * n, 200), (2, 4, 8, 16), sleeps=IN_LOCKS),
            {},
            f"a lock or pool in this process or the other side (not told apart), not the GIL: {LETS_THROUGH_4}",
        ),
        (
            ladder(lambda n: min(50 * n, 200), sleeps={Sleep.LOCK: 25, Sleep.CALL: 25, Sleep.AWAKE: 50}),
            {},
            None,
        ),
        (
            ladder(lambda n: {1: 50, 2: 100, 4: 200, 8: 150, 16: 80}[round(n)], sleeps=IN_CALLS),
            {},
            f"{OUTSIDE_4}; throughput falls beyond 4 threads",
        ),
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


@pytest.mark.parametrize("alone", [IN_LOCKS, {}])
def test_pool_of_the_process_may_hide_the_other_side(alone: dict[Sleep, int]) -> None:
    """Where a call waits for another thread of its process even alone, or may do so, both sides of it are named."""
    found = ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS | {Sleep.LOCK: 400})
    steps = tuple(replace(step, sleeps=alone) if step.workers == 1 else step for step in found.steps)
    said = "a lock or pool in this process or the other side (not told apart), not the GIL"
    assert curve(replace(found, steps=steps)).limit == f"{said}: {LETS_THROUGH_4}"


def test_build_without_a_gil_says_nothing_of_it() -> None:
    """Where the GIL is off, it is neither excluded nor suspected."""
    off = round_(serial(gil_on=False), threads=threads(gil_on=False), processes=processes(gil_on=False))
    found = ladder(lambda n: min(50 * n, 200), sleeps=IN_LOCKS)
    seen = measurement(off, ladders={"threads": found}, gil_on_at_start=False)
    curves = scaling.curves(evidence(2.0, 2.0, seen=seen, held_fraction=None))
    assert curves is not None
    assert curves["threads"].limit == f"a lock or pool in this process: {LETS_THROUGH_4}"


def test_waiting_alone_in_a_lock_does_not_hide_what_is_outside() -> None:
    """Where calls take longer and spend no more time in locks, the other side is the limit all the same."""
    found = ladder(lambda n: min(50 * n, 200), sleeps={Sleep.LOCK: 10, Sleep.CALL: 90})
    steps = tuple(replace(step, sleeps=IN_LOCKS) if step.workers == 1 else step for step in found.steps)
    assert curve(replace(found, steps=steps)).limit == OUTSIDE_4


def test_limit_says_if_the_machine_gives_less_than_its_cpus() -> None:
    """Hardware threads share a core; other programs take time. Calls that compute are not to blame."""
    found = ladder(lambda n: 50 * min(n, 1.4), (1, 2, 4), cpu_s=2.0)
    gives = [step(2000, window_s=2.0), step(2800, 2, window_s=2.0)]
    said = "the CPUs (2 usable, which give threads that compute without a GIL 1.4x)"
    assert curve(replace(found, machine=tuple(gives))).limit == said
    whole = [gives[0], step(3900, 2, window_s=2.0)]
    assert curve(replace(found, machine=tuple(whole))).limit == "the CPUs (2 usable)"


def test_calls_with_native_threads_are_limited_by_the_cpus() -> None:
    """A call that keeps both CPUs busy alone takes no more CPU time beside others: nothing is shared."""
    found = ladder(lambda _: 50, (1, 2, 4), process_cpu_ns=4_000_000_000)
    assert curve(found).limit == "the CPUs (2 usable)"


def test_calls_that_wait_may_waste_cpus_as_well() -> None:
    """64 lanes of calls that compute for a tenth of their time should gain 20; with busy CPUs, 5 is too little."""
    counts = (1, 2, 4, 8, 16, 32, 64)
    steps: list[Step] = []
    for count in (*counts, *reversed(counts)):
        cpus = min(2.0, 0.1 * count if count < 4 else 0.4 * count)
        steps.append(step(min(50 * count, 250), count, window_s=2.0, process_cpu_ns=round(cpus * 2e9)))
    assert (curve(Ladder(steps=tuple(steps))).limit or "").startswith("shared data or memory: 2 busy CPUs gain only 5")


def test_busy_cpus_are_a_limit_even_if_the_last_step_grew() -> None:
    """From 8 to 16 workers 12 CPUs gain half as much again; more processes than that gain nothing."""
    found = ladder(lambda n: 50 * min(n, 12), process_cpu_ns=24_000_000_000)
    seen = measurement(ladders={"processes": found})
    curves = scaling.curves(evidence(seen=seen, on=machine(cpus=12)))
    assert curves is not None
    assert curves["processes"].limit == "the CPUs (12 usable)"


@pytest.mark.parametrize(("flat_from", "limit"), [(99, "none found up to 17"), (8, OUTSIDE_4.replace("4.0", "8.0"))])
def test_last_step_is_no_doubling(flat_from: int, limit: str) -> None:
    """17 workers can gain only 6 % over 16: growth is what 17 gain over 8."""
    found = curve(ladder(lambda n: 50 * min(n, flat_from), (1, 2, 4, 8, 16, 17), sleeps=IN_CALLS))
    assert found.limit == limit.replace("200 a second", "400 a second")


@pytest.mark.parametrize(
    ("blocked", "loop"), [(estimate(0.01), ""), (estimate(0.15), ", the event loop"), (None, ", the event loop")]
)
def test_tasks_are_limited_by_what_they_share_or_by_the_other_side(blocked: Estimate | None, loop: str) -> None:
    """Tasks are not watched, so both are named; so is the event loop if it may be in use, or is not known."""
    seen = measurement(ladders={"tasks": ladder(lambda n: min(50 * n, 200))})
    tasks = BUILT_IN.existing_for(CallKind.AWAITED).parallel
    found = evidence(seen=seen, strategies=tuple(tasks))
    curves = scaling.curves(replace(found, event_loop=EventLoop(blocked_fraction=blocked)))
    assert curves is not None
    assert curves["tasks"].limit == (
        f"the other side (a server, a disk or the like){loop}, or a lock or pool that tasks share: "
        "it takes about 4.0 calls at a time, or 200 a second"
    )


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


def test_one_that_was_held_up_leaves_a_curve_open() -> None:
    """Sixteen threads that give 60 times what one gave say that something kept that one from its CPU."""
    steps = ladder(lambda n: 10 if n == 1 else 50 * n)
    found = curve(steps)
    assert found.open_because == "2 threads gave more than 2 times as much as one, which was held up"
    assert found.limit is None
    assert found.enough_workers is None
    slow: dict[str, Any] = {"wall_s_per_call": estimate(0.1), "cpu_s_per_call": estimate(0.001)}
    assert curve(steps, **slow).open_because is None, "calls that are served in batches help each other"


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


def test_costs_are_those_of_the_number_of_the_curve() -> None:
    """Starting 4 processes takes twice as long as starting the 2 of the probe."""
    costly = machine(costs={"processes": DispatchCosts(task_s=1e-5, task_high_s=1e-5, start_up_s=0.5)})
    seen = measurement(ladders={"processes": ladder(lambda n: min(50 * n, 200))})
    for ladders, said in ((seen, "takes 1.0 s"), (replace(seen, ladders={}), "takes 500 ms")):
        verdict = result_of(plan(), evidence(1.0, 2.0, seen=ladders, on=costly)).verdict
        assert f"starting the processes {said}" in (verdict.advice or "")
        assert f"starting the processes {said}" in verdict.reason


def test_verdict_without_a_curve_keeps_the_number_that_was_tried() -> None:
    """Without a curve, or with one that says that one worker is enough, the number is that of the probe."""
    assert result_of(plan(), evidence(1.0, 2.0)).verdict.workers == 2
    flat = measurement(ladders={"processes": ladder(lambda _: 50, (1, 2, 4))})
    assert result_of(plan(), evidence(1.0, 2.0, seen=flat)).verdict.workers == 2


@pytest.mark.parametrize(
    ("rates", "clause"),
    [
        ((50, 50, 50), "but in the curve, more than 1 process gains nothing"),
        ((50, 50, 55.2), "but in the curve, 4 processes give 1.1x"),
    ],
)
def test_verdict_says_that_its_curve_gains_little(rates: tuple[float, ...], clause: str) -> None:
    """Advice that its own curve does not bear out says so, with the most that the curve gains."""
    found = ladder(lambda n: rates[round(n).bit_length() - 1], (1, 2, 4))
    result = result_of(plan(), evidence(1.0, 2.0, seen=measurement(ladders={"processes": found})))
    assert result.scaling is not None
    assert result.scaling["processes"].enough_workers == 1
    assert result.verdict.reason.endswith(f"; {clause}")
    assert clause in (result.verdict.advice or "")


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
