"""`pytest_gilprobe.probing.ladder`: growing numbers of workers, on a clock that moves only when a stretch says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_workers import Behaviour, FakeGroup, FakeWorker, lost, plan

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.readings import Measurement
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.values import doublings, doublings_to
from pytest_gilprobe.model.words import NextStep, Outcome
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.ladder import LADDER_S
from pytest_gilprobe.probing.schedule import Job
from pytest_gilprobe.stats import scaling, throughput
from pytest_gilprobe.strategies.contract import MOST_LANES
from pytest_gilprobe.strategies.processes import Processes
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.workers.protocol import Failed
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.parent.group import WorkerGroup


def measured(
    law: Callable[[int], float] | None = None, script: Any = None, **changes: Any
) -> tuple[Measurement, FakeGroup]:
    """Measure a pretended workload that waits for 20 ms, with curves."""
    call_s, busy = changes.pop("call_s", 0.02), changes.pop("busy", 0.0)
    cpus, throttled = changes.pop("cpus", 2), changes.pop("throttled", lambda: None)
    group = FakeGroup(behaviour=Behaviour(call_s=call_s, busy=busy, gains={}, law=law))
    if script is not None:
        group.script = script
    job = Job(plan=plan(**{"scale": ()} | changes), keep=0, cpus=cpus, known_call_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(machine, "throttled_s", throttled)
        patch.setattr(machine, "usable_cpus", lambda: cpus)
        found = schedule.measure(
            job, cast("WorkerGroup", group), BUILT_IN, settled=lambda _: NextStep.STOP, progress=lambda *_: None
        )
    return found, group


def counts(found: Measurement, name: str = "threads") -> list[int]:
    return [step.workers for step in found.ladders[name].steps]


def test_ladder_goes_up_and_down() -> None:
    """Calls that wait are tried with up to 64 threads, and each number twice while there is time."""
    found, _ = measured()
    assert counts(found) == [1, 2, 4, 8, 16, 32, 64, 64, 32, 16, 8, 4, 2, 1]
    rates = {point.workers: point.throughput.value for point in scaling.points_of(found.ladders["threads"].steps)}
    assert rates[64] == pytest.approx(3200, rel=0.05)
    assert found.ladders["threads"].complete


def test_flat_curve_ends_early() -> None:
    """Where two doublings gain nothing, no more workers are tried."""
    found, _ = measured(lambda _: 50.0)
    assert counts(found) == [1, 2, 4, 4, 2, 1]


def test_processes_are_tried_one_step_beyond_the_cpus() -> None:
    """Two CPUs: four processes, the two beyond those of the probe opened for the ladder and closed with it."""
    found, group = measured()
    assert counts(found, "processes") == [1, 2, 4, 4, 2, 1]
    assert not any(worker.is_open for worker in group.workers)


def test_computing_calls_are_not_tried_with_many_threads() -> None:
    """More threads than CPUs help nobody who computes, but for one step that shows it."""
    found, _ = measured(busy=1.0)
    assert max(counts(found)) == 4


def test_counts_of_the_user_are_all_tried() -> None:
    """Numbers that the user names are measured although the curve is flat."""
    found, _ = measured(lambda _: 400.0, scale=(1, 3, 12, 24), strategies=frozenset({"serial", "threads"}))
    assert counts(found)[:4] == [1, 3, 12, 24]


def test_machine_is_seen_on_both_ways_where_calls_compute() -> None:
    """One thread, and one for each CPU, between the steps; calls that hardly compute leave the time to the steps."""
    found, _ = measured(busy=1.0)
    for ladder in found.ladders.values():
        assert [step.workers for step in ladder.machine] == [1, 2, 1, 2]
    begins = sorted(step.begin_ns for step in (*found.ladders["threads"].steps, *found.ladders["threads"].machine))
    assert [step.begin_ns for step in found.ladders["threads"].machine] == [begins[1], begins[3], begins[6], begins[7]]
    assert measured(busy=0.05)[0].ladders["threads"].machine == ()

    def without_zlib(_: FakeWorker, question: Any, __: int) -> Failed | None:
        return Failed(error="no zlib") if isinstance(question, MachineStretch) else None

    def without_threads(_: FakeWorker, question: Any, __: int) -> Any:
        return lost(Outcome.CRASHED) if isinstance(question, MachineStretch) else None

    broken, group = measured(busy=1.0, script=without_threads)
    assert group.started > measured(busy=1.0)[1].started, "the worker that was lost has a successor"
    assert [step.workers for step in broken.ladders["processes"].steps][:3] == [1, 2, 4]
    refusing, _ = measured(busy=1.0, script=without_zlib)
    assert refusing.ladders["threads"].machine == ()
    assert counts(refusing) == [1, 2, 4, 4, 2, 1]


@pytest.mark.parametrize("call_s", [0.1, 0.15, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("name", ["threads", "processes"])
def test_slow_calls_have_the_throughput_of_one_worker(call_s: float, name: str) -> None:
    """However few steps the time allows for, the gain over one worker is known."""
    found, _ = measured(call_s=call_s, max_time_s=20.0)
    serial = Estimate(value=call_s, low=call_s * 0.98, high=call_s * 1.02)
    points = scaling.points_of(found.ladders[name].steps, serial)
    assert [point.workers for point in points[:2]] == [1, 2]
    assert scaling.speedup(points, 2) == pytest.approx(2, rel=0.05)


def test_one_slow_worker_makes_three_marks() -> None:
    """Where time allows for it, one worker is measured after the others, with a window for a slope of its own."""
    found, _ = measured(call_s=0.2, scale=(1, 2), max_time_s=20.0)
    last = found.ladders["threads"].steps[-1]
    assert last.workers == 1
    assert throughput.calls_per_s(last) == pytest.approx(5, rel=0.02)


def test_numbers_without_one_get_it() -> None:
    """Gains are over one worker, so that one is measured although the user does not name it."""
    found, _ = measured(scale=(2, 4), strategies=frozenset({"serial", "threads"}))
    assert counts(found) == [1, 2, 4, 4, 2, 1]


def test_number_of_cpus_is_tried() -> None:
    """With 12 CPUs, 8 workers are too few for calls that compute."""
    found, _ = measured(lambda workers: 50.0 * min(workers, 12), busy=1.0, cpus=12)
    assert counts(found)[:6] == [1, 2, 4, 8, 12, 16]
    assert counts(found, "processes")[:6] == [1, 2, 4, 8, 12, 16]


def test_gate_opens_no_more_processes_than_it_needs() -> None:
    """Where threads were tried with as many as a gate asks for, processes go one step beyond the CPUs."""
    expectation = Expectation(scales_to=16)
    found, _ = measured(scale=doublings_to(16), expectation=expectation)
    assert max(counts(found)) == 16
    assert max(counts(found, "processes")) == 4
    named, _ = measured(scale=doublings_to(16), expectation=replace(expectation, strategies=frozenset({"processes"})))
    assert max(counts(named, "processes")) == 16


def test_gate_tries_processes_where_threads_fall_short() -> None:
    """Threads that were tried with as many, but gained under 10 % in the end, decide nothing for processes."""
    law = {1: 50.0, 2: 100.0, 4: 150.0, 8: 200.0, 16: 210.0}.__getitem__
    found, _ = measured(law, scale=doublings_to(16), expectation=Expectation(scales_to=16))
    assert max(counts(found)) == 16
    assert max(counts(found, "processes")) == 16


def test_gate_needs_no_workers_beyond_a_limit() -> None:
    """A gate's numbers end where throughput stops growing, for processes that gain no more as well."""
    found, _ = measured(
        lambda workers: 50.0 * min(workers, 4), scale=doublings_to(64), expectation=Expectation(scales_to=64)
    )
    assert max(counts(found)) == 16
    assert max(counts(found, "processes")) == 16


def test_steps_tell_what_a_quota_held_back() -> None:
    """Throttling is read around each step: half a second more at each look."""
    looks = iter(number / 2 for number in range(10_000))
    found, _ = measured(throttled=lambda: next(looks))
    steps = found.ladders["threads"].steps
    assert {step.throttled_s for step in steps if step.workers <= 2} == {0.5}
    assert {step.throttled_s for step in steps if step.workers > 2} == {None}  # a quota is their limit, as CPUs are


def test_ladder_keeps_its_time() -> None:
    """A ladder of slow calls has fewer steps, says that it is incomplete, and ends in time."""
    found, group = measured(call_s=0.2, max_time_s=20.0, strategies=frozenset({"serial", "threads"}))
    ladder = found.ladders["threads"]
    assert 0 < len(ladder.steps) < 14
    assert not ladder.complete
    ends = [lane[-1] for step in ladder.steps for reading in step.readings for lane in reading.marks_ns]
    assert (max(ends) - ladder.steps[0].begin_ns) / 1e9 <= LADDER_S + 0.3
    assert group.clock.now_ns > 0


def test_calls_too_long_for_a_curve_are_named() -> None:
    """No step fits: the ladder says how long a call takes."""
    found, _ = measured(call_s=2.0, max_time_s=60.0)
    ladder = found.ladders["threads"]
    assert ladder.steps == ()
    assert ladder.error == "one call takes 2.0 s, too long for a curve in 3 s"


def test_failure_with_many_workers_is_reported() -> None:
    """A limit of connections: with 16 it failed; the steps below count, and the test goes on in another worker."""

    def refuse(_: FakeWorker, question: Any, __: int) -> Any:
        many = isinstance(question, Stretch) and question.lanes >= 16
        return Failed(error="ConnectionError: too many connections") if many else None

    found, _ = measured(script=refuse)
    ladder = found.ladders["threads"]
    assert (ladder.failed_at, ladder.outcome) == (16, Outcome.FAILED)
    assert ladder.error == "ConnectionError: too many connections"
    assert counts(found) == [1, 2, 4, 8]
    assert found.ends["threads"].outcome is Outcome.OK
    assert counts(found, "processes") == [1, 2, 4, 4, 2, 1]


def test_hang_with_many_workers_costs_the_ladder_only() -> None:
    """A worker that hangs in a step is replaced; verdict and other ladders stay."""

    def hang(_: FakeWorker, question: Any, __: int) -> Any:
        return lost(Outcome.HUNG) if isinstance(question, Stretch) and question.lanes == 8 else None

    found, _ = measured(script=hang)
    assert found.ladders["threads"].outcome is Outcome.HUNG
    assert found.rounds
    assert found.ladders["processes"].steps


def test_further_processes_that_do_not_start_end_the_ladder() -> None:
    """A test that cannot be set up in four processes is told so; the strategy itself has not failed."""

    def refuse(worker: FakeWorker, question: Any, _: int) -> Any:
        return Failed(error="port in use") if type(question).__name__ == "Open" and worker.number > 2 else None

    found, _ = measured(script=refuse)
    assert (found.ladders["processes"].failed_at, found.ladders["processes"].error) == (4, "port in use")
    assert found.ends["processes"].outcome is Outcome.OK


def test_no_curve_unless_asked_for() -> None:
    """Without ``scale``, a probe asks for no stretch."""
    found, group = measured(scale=None)
    assert found.ladders == {}
    assert not any(isinstance(question, Stretch) for question, _ in group.asked)


@pytest.mark.parametrize(("most", "found"), [(1, (1, 2)), (2, (1, 2)), (6, (1, 2, 4)), (64, (1, 2, 4, 8, 16, 32, 64))])
def test_doublings(most: int, found: tuple[int, ...]) -> None:
    """The numbers double up to the largest one."""
    assert doublings(most) == found


@pytest.mark.parametrize(
    ("cpus", "most"), [(1, 2), (2, 4), (12, 24), (20, 32), (32, 32), (48, 48), (64, 64), (256, MOST_LANES)]
)
def test_processes_reach_the_cpus(cpus: int, most: int) -> None:
    """More processes than 32 are tried where there are as many CPUs only."""
    assert Processes().most_lanes(cpus, 1.0) == most


def test_cpus_are_among_the_doublings() -> None:
    """A number of CPUs that is no power of two is tried, too, unless it is more than the most."""
    assert doublings(24, 12) == (1, 2, 4, 8, 12, 16)
    assert doublings(32, 48) == (1, 2, 4, 8, 16, 32)
