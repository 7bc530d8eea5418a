"""Curves of the strategy ``interpreters``: more and more interpreters of one host, and what comes of their failures."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import sessions
from evidence import evidence, machine, measurement, tried
from fake_workers import Behaviour, FakeGroup, FakeWorker, lost, plan
from test_scaling import IN_CALLS, IN_LOCKS, ladder
from with_interpreters import INTERPRETERS, needs_them

from pytest_gilprobe.model.apart_readings import ApartReading
from pytest_gilprobe.model.machine import DispatchCosts
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.values import doublings_to
from pytest_gilprobe.model.words import NextStep, Outcome, Sleep
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe import machine as this_machine
from pytest_gilprobe.observe.lane_sleeps import LaneSleeps
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.schedule import Job
from pytest_gilprobe.report import snippets
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import scaling
from pytest_gilprobe.verdict.results import result_of
from pytest_gilprobe.workers.protocol import (
    Batch,
    Close,
    Failed,
    Open,
    Opened,
)
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretch

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.workers.parent.group import WorkerGroup

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="what threads sleep in is known on Linux only")

OUTSIDE = "outside the interpreters: a lock of their process, a server, a disk or the like"
TAKES_2 = "takes about 2.0 calls at a time, or 100 a second"
IN_EVENTS = {Sleep.EVENTS: 100}
LETS_THROUGH_2 = "it lets through 2.0 calls in the time of one (a lock held for 50 % of a call, or a pool of 2)"


# In the schedule, on a clock that moves only when a step says so


def measured(script_apart: Any = lambda *_: None, **changes: Any) -> tuple[Measurement, FakeGroup]:
    """Measure a pretended workload in interpreters, with a curve."""
    law, busy, cpus = changes.pop("law", None), changes.pop("busy", 0.0), changes.pop("cpus", 2)
    group = FakeGroup(behaviour=Behaviour(busy=busy, gains={}, law=law), script_apart=script_apart)
    settings = {"scale": (), "strategies": frozenset({"serial", "interpreters"})} | changes
    job = Job(plan=plan(**settings), keep=0, cpus=cpus, known_call_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(this_machine, "throttled_s", lambda: None)
        found = schedule.measure(
            job, cast("WorkerGroup", group), BUILT_IN, settled=lambda _: NextStep.STOP, progress=lambda *_: None
        )
    return found, group


def counts(found: Measurement) -> list[int]:
    return [step.workers for step in found.ladders["interpreters"].steps]


def of_host(group: FakeGroup, kind: type) -> list[Any]:
    """List the questions of one kind that the host of the interpreters was asked."""
    return [question for question, _ in group.groups["interpreters"].asked if isinstance(question, kind)]


def test_interpreters_are_tried_one_step_beyond_the_cpus() -> None:
    """Two CPUs: four interpreters of the host that the rounds had used; the further ones are opened and called once."""
    found, group = measured()
    assert counts(found) == [1, 2, 4, 4, 2, 1]
    assert [question.lanes for question in of_host(group, Open)] == [2, 4]
    assert [(one.calls, one.lanes) for one in of_host(group, Batch)][-1] == (1, 4)
    assert [one.lanes for one in of_host(group, Stretch)] == [1, 2, 4, 4, 2, 1]
    assert group.groups["interpreters"].started == 1
    assert group.started == 1
    assert not any(worker.is_open for worker in group.groups["interpreters"].workers)
    assert all(len(step.readings) == 1 for step in found.ladders["interpreters"].steps)
    assert found.apart["interpreters"].lane_start_up_s == 0.25


def test_machine_is_seen_between_their_steps() -> None:
    """What the machine gives to computing threads is seen in the usual worker, between the steps of the host."""
    found, group = measured(busy=1.0)
    curve = found.ladders["interpreters"]
    assert [step.workers for step in curve.machine] == [1, 2, 1, 2]
    begins = sorted(step.begin_ns for step in (*curve.steps, *curve.machine))
    assert [step.begin_ns for step in curve.machine] == [begins[1], begins[3], begins[6], begins[7]]
    assert of_host(group, MachineStretch) == []


def test_lanes_of_the_host_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of as many interpreters as take part are looked at, in the host; not those that only wait there."""
    watched: list[tuple[int, ...]] = []

    class Watch(LaneSleeps):
        def __init__(self, *given: Any, threads: tuple[int, ...], **named: Any) -> None:
            super().__init__(*given, threads=threads, **named)
            watched.append(threads)
            self.found[Sleep.CALL] += 1

    def open_lanes(worker: FakeWorker, question: Any, _: int) -> Any:
        if not isinstance(question, Open):
            return None
        worker.is_open = True
        return Opened(lane_threads=tuple(range(7, 7 + question.lanes)))

    monkeypatch.setattr("pytest_gilprobe.probing.ladder.LaneSleeps", Watch)
    found, _ = measured(open_lanes)
    assert watched == [(7,), (7, 8), (7, 8, 9, 10), (7, 8, 9, 10), (7, 8), (7,)]
    assert all(step.sleeps == {Sleep.CALL: 1} for step in found.ladders["interpreters"].steps)


def test_numbers_of_the_user_are_all_tried() -> None:
    """The host opens as many as the next step needs, and no more."""
    found, group = measured(scale=(1, 2, 3, 5))
    assert counts(found) == [1, 2, 3, 5, 5, 3, 2, 1]
    assert [question.lanes for question in of_host(group, Open)] == [2, 3, 5]


def test_gate_has_them_tried_as_far_as_it_asks() -> None:
    """``scales_to`` of interpreters alone goes beyond the CPUs; after threads that scale so far, it need not."""
    expectation = Expectation(scales_to=16)
    alone, _ = measured(scale=doublings_to(16), expectation=expectation)
    assert max(counts(alone)) == 16
    both = frozenset({"serial", "threads", "interpreters"})
    beside, _ = measured(scale=doublings_to(16), expectation=expectation, strategies=both)
    assert max(counts(beside)) == 4


@pytest.mark.parametrize("kind", [Open, Batch, Stretch])
def test_failure_in_further_interpreters_ends_the_ladder_only(kind: Any) -> None:
    """A set-up, a first call or a step that fails with four is told; two still count, and the test is torn down."""

    def refuse(_: FakeWorker, question: Any, __: int) -> Any:
        return Failed(error="port in use") if isinstance(question, kind) and question.lanes == 4 else None

    found, group = measured(refuse)
    ladder_ = found.ladders["interpreters"]
    assert (ladder_.failed_at, ladder_.outcome, ladder_.error) == (4, Outcome.FAILED, "port in use")
    assert counts(found) == [1, 2]
    assert found.ends["interpreters"].outcome is Outcome.OK
    assert isinstance(group.groups["interpreters"].asked[-1][0], Close)


def test_wide_steps_start_in_portions() -> None:
    """Each portion has the whole time-out, and its interpreters are called once before the next ones start."""
    found, group = measured(scale=(1, 11))
    assert counts(found)[:2] == [1, 11]
    asked = [question for question, _ in group.groups["interpreters"].asked if isinstance(question, Open | Batch)]
    assert [(type(one), one.lanes) for one in asked[-6:]] == [
        (kind, lanes) for lanes in (6, 10, 11) for kind in (Open, Batch)
    ]


@pytest.mark.parametrize("outcome", [Outcome.HUNG, Outcome.CRASHED])
@pytest.mark.parametrize("kind", [Open, Stretch])
def test_lost_host_costs_the_ladder_only(kind: Any, outcome: Outcome) -> None:
    """A host that is lost is removed from its own group; usual workers stay, and nobody asks the host again.

    If it is the start of further interpreters that takes too long, no calls are said to have hung.
    """

    def lose(_: FakeWorker, question: Any, __: int) -> Any:
        return lost(outcome) if isinstance(question, kind) and question.lanes == 4 else None

    found, group = measured(lose)
    curve, is_start = found.ladders["interpreters"], kind is Open and outcome is Outcome.HUNG
    assert (curve.failed_at, curve.outcome) == (4, Outcome.FAILED if is_start else outcome)
    assert ("starting 2 more, and setting the test up there, took too long" in str(curve.error)) is is_start
    assert found.rounds[0].batches["interpreters"].lanes
    assert group.groups["interpreters"].workers == []
    assert [worker.alive for worker in group.workers] == [True]


@pytest.mark.parametrize("kind", [Open, Batch])
def test_strategy_that_ended_has_no_curve(kind: type) -> None:
    """Where no interpreter could be set up or called, the other strategies have their curves."""

    def refuse(_: FakeWorker, question: Any, __: int) -> Any:
        return Failed(error="no") if isinstance(question, kind) else None

    found, group = measured(refuse, strategies=frozenset({"serial", "threads", "interpreters"}))
    assert set(found.ladders) == {"threads"}
    assert of_host(group, Stretch) == []


# What is made of it


def judged(law: Any, sleeps: dict[Sleep, int] | None = None, **changes: Any) -> Any:
    """Judge a ladder of interpreters that gain more than anything else."""
    seen = measurement(
        ladders={"interpreters": ladder(law, (1, 2, 4), sleeps)},
        apart={"interpreters": ApartReading(start_up_s=3.0, lane_start_up_s=0.25)},
    )
    found = evidence(1.0, 1.0, seen=seen, **changes)
    results = {**found.results, "interpreters": tried(2.0)}
    return replace(found, results=results, strategies=(*found.strategies, INTERPRETERS))


def test_verdict_and_code_have_the_number_of_the_curve() -> None:
    """Four interpreters are enough: verdict, start-up and the code to paste have that number."""
    costs = DispatchCosts(task_s=1e-5, task_high_s=1e-5, start_up_s=0.5)
    found = judged(lambda n: 50 * n, on=machine(costs={"interpreters": costs, "processes": costs}))
    callee = Callee(module="shop", name="work", importable=True)
    result = result_of(plan(), replace(found, measurement=replace(found.measurement, callee=callee)))
    assert (result.verdict.strategy, result.verdict.workers) == ("interpreters", 4)
    assert "4 interpreters, the most tried, gain most" in result.verdict.reason
    assert "starting the interpreters takes 1.0 s" in result.verdict.reason
    assert result.scaling is not None
    assert result.scaling["interpreters"].start_up_s == 0.25
    assert "InterpreterPoolExecutor(max_workers=4)" in snippets.code(result, BUILT_IN).text


@pytest.mark.parametrize(
    ("sleeps", "limit"),
    [
        (None, f"{OUTSIDE} {TAKES_2}"),
        (IN_EVENTS, f"{OUTSIDE} {TAKES_2}"),
        ({Sleep.EVENTS: 40, Sleep.CALL: 60}, f"{OUTSIDE} {TAKES_2}"),
        ({Sleep.EVENTS: 10, Sleep.CALL: 90}, f"outside this process: a server, a disk or the like {TAKES_2}"),
        (IN_CALLS, f"outside this process: a server, a disk or the like {TAKES_2}"),
        (IN_LOCKS, f"a lock or pool in this process: {LETS_THROUGH_2}"),
        ({Sleep.AWAKE: 100}, None),
    ],
)
def test_limit_of_interpreters_that_wait(sleeps: dict[Sleep, int] | None, limit: str | None) -> None:
    """They share a process, so that what they wait for need not be outside of it; of a common GIL there is no word.

    A loop's wait for events tells nothing, since another thread of the interpreter may wait for a lock meanwhile.
    """
    found = scaling.curves(judged(lambda n: min(50 * n, 100), sleeps))
    assert found is not None
    assert found["interpreters"].limit == limit


# Real interpreters

SESSION = """
    import os
    import time

    import pytest

    def take(most):
        for number in range(most):
            try:
                os.mkdir(f"slot-{number}")
                return f"slot-{number}"
            except FileExistsError:
                pass
        raise OSError("too many connections")

    @pytest.mark.gilprobe(scale=(1, 2, 3, 5))
    def test_sleeps():
        time.sleep(0.005)

    @pytest.mark.gilprobe
    def test_two_at_a_time():
        slot = take(2)
        time.sleep(0.005)
        os.rmdir(slot)

    @pytest.mark.gilprobe(scale=(1, 3))
    def test_ended():
        try:
            slot = take(2)
        except OSError:
            os._exit(3)
        time.sleep(0.005)
        os.rmdir(slot)

    @pytest.mark.gilprobe
    def test_native():
        import psutil
        time.sleep(0.005)

    @pytest.mark.gilprobe(scale=(1, 2))
    def test_after():
        time.sleep(0.005)
"""


@needs_them
def test_curves_of_real_interpreters(tmp_path: Path) -> None:
    """Numbers that the user names are tried, failures with many cost the curve only, and the next test has one."""
    sessions.write(tmp_path, SESSION)
    arguments = ("--gilprobe-scale=1,2,4", "--gilprobe-strategies=interpreters", "--gilprobe-timeout=20")
    done = sessions.run(tmp_path, *arguments)
    assert done.exit_status == 0, done.output

    def curve(name: str) -> Any:
        return done.one(name)["scaling"]["interpreters"]

    def workers(name: str) -> list[int]:
        return [point["workers"] for point in curve(name)["points"]]

    assert workers("::test_sleeps") == [1, 2, 3, 5], curve("::test_sleeps")
    memory = [point["rss_bytes"] for point in curve("::test_sleeps")["points"]]
    assert memory == sorted(memory), "more interpreters take more memory"
    assert curve("::test_sleeps")["start_up_s"] > 0
    assert workers("::test_two_at_a_time") == [1, 2]
    assert (curve("::test_two_at_a_time")["failed_at"], curve("::test_two_at_a_time")["outcome"]) == (4, "failed")
    assert "too many connections" in curve("::test_two_at_a_time")["error"]
    assert (curve("::test_ended")["failed_at"], curve("::test_ended")["outcome"]) == (3, "crashed")
    assert done.one("::test_native")["strategies"]["interpreters"]["outcome"] == "skipped"
    assert done.one("::test_native")["scaling"] is None
    assert workers("::test_after") == [1, 2]


LOCKED = """
    import asyncio
    import ctypes
    import time

    import pytest

    libc = ctypes.CDLL(None)
    stream = ctypes.c_void_p.in_dll(libc, "stderr")

    def locked():
        time.sleep(0.002)
        libc.flockfile(stream)
        try:
            time.sleep(0.006)
        finally:
            libc.funlockfile(stream)

    @pytest.mark.gilprobe(scale=(1, 2, 4))
    def test_lock():
        locked()
"""
IN_HELPERS = """
    @pytest.mark.asyncio
    @pytest.mark.gilprobe(scale=(1, 2, 4))
    async def test_lock():
        await asyncio.to_thread(locked)
"""


def check_lock_limits(folder: Path, limit: str, *arguments: str) -> None:
    """Check that the limit of one test's interpreters begins so, or is not named: a busy machine may hide it."""
    done = sessions.run(folder, "--gilprobe-strategies=interpreters", *arguments)
    assert done.exit_status == 0, done.output
    found = done.one("::test_lock")["scaling"]["interpreters"]
    assert [point["workers"] for point in found["points"]] == [1, 2, 4], found
    assert found["limit"] is None or found["limit"].startswith(limit), found


@needs_them
@on_linux
def test_lock_of_their_process_limits_real_interpreters(tmp_path: Path) -> None:
    """A lock of the C library, held for 6 of 8 ms, lets one interpreter in at a time."""
    sessions.write(tmp_path, LOCKED)
    check_lock_limits(tmp_path, "a lock or pool in this process: it lets through")


@needs_them
@on_linux
def test_lock_of_their_helper_threads_is_not_called_outside(tmp_path: Path) -> None:
    """The thread of the event loop waits for events while a helper thread waits for the lock."""
    pytest.importorskip("pytest_asyncio")
    sessions.write(tmp_path, LOCKED + IN_HELPERS)
    check_lock_limits(tmp_path, OUTSIDE, "-p", "pytest_asyncio.plugin")
