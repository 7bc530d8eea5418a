"""`pytest_gilprobe.probing.ladder`: growing numbers of workers, on a clock that moves only when a stretch says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_workers import Behaviour, FakeGroup, FakeWorker, lost, plan

from pytest_gilprobe.model.readings import Measurement
from pytest_gilprobe.model.words import NextStep, Outcome
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.ladder import LADDER_S, doublings
from pytest_gilprobe.probing.schedule import Job
from pytest_gilprobe.stats import scaling
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.workers.protocol import Failed
from pytest_gilprobe.workers.stretch_messages import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.parent.group import WorkerGroup


def measured(
    law: Callable[[int], float] | None = None, script: Any = None, **changes: Any
) -> tuple[Measurement, FakeGroup]:
    """Measure a pretended workload that waits for 20 ms, with curves."""
    call_s, busy = changes.pop("call_s", 0.02), changes.pop("busy", 0.0)
    group = FakeGroup(behaviour=Behaviour(call_s=call_s, busy=busy, gains={}, law=law))
    if script is not None:
        group.script = script
    job = Job(plan=plan(**{"scale": ()} | changes), keep=0, cpus=2, known_call_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(machine, "throttled_s", lambda: None)
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
