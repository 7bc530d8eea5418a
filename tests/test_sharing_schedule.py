"""`pytest_gilprobe.probing.sharing`: when a worker is asked what threads share, and what a failure of that costs."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fake_workers import WATCHED_NOT, Behaviour, FakeGroup, FakeWorker, failed, plan

from pytest_gilprobe.model.holders import CodePlace, HeldStack
from pytest_gilprobe.model.readings import Measurement
from pytest_gilprobe.model.sharing import SharingReading
from pytest_gilprobe.model.words import NextStep
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.schedule import Job
from pytest_gilprobe.probing.sharing import BATCH_S
from pytest_gilprobe.stats import holders
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.workers.parent.group import WorkerGroup
from pytest_gilprobe.workers.protocol import MeasureTransfer, Open, Opened, TransferMeasured
from pytest_gilprobe.workers.sharing_messages import SharingSwept, SweepSharing

READING = SharingReading(lanes=2, not_tried=("argument rows (a list)",))


def measured(
    threads: float, answer: Any, *, gil_on: bool = True, **changes: Any
) -> tuple[Measurement, FakeGroup, list[FakeWorker]]:
    """Measure a given call that waits for 20 ms, whose threads gain so much; return also who was swept."""
    gains = {"threads": threads, "processes": 2.0}
    group = FakeGroup(behaviour=Behaviour(busy=0.0, gains=gains, gil_enabled=gil_on))
    swept: list[FakeWorker] = []

    def script(worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(given=True)
        if isinstance(question, MeasureTransfer):
            return TransferMeasured()
        if isinstance(question, SweepSharing):
            assert together == 1
            swept.append(worker)
            return answer
        return None

    group.script = script
    job = Job(plan=plan(), keep=0, cpus=2, known_call_s=0, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(machine, "throttled_s", lambda: None)
        found = schedule.measure(
            job, cast("WorkerGroup", group), BUILT_IN, settled=lambda _: NextStep.STOP, progress=lambda *_: None
        )
    assert found.gil_unwatched == WATCHED_NOT
    return found, group, swept


def test_asked_where_threads_fall_short() -> None:
    """Threads that take turns at what they wait for are asked about, and the worker is used again."""
    found, group, (worker,) = measured(1.0, SharingSwept(reading=READING))
    assert found.sharing == READING
    assert worker in group.workers


def test_not_asked_where_threads_gain() -> None:
    """Threads that gain what they can have nothing to tell."""
    found, _, swept = measured(2.0, SharingSwept(reading=READING))
    assert found.sharing is None
    assert swept == []


def test_failed_sweep_replaces_the_worker() -> None:
    """A call that fails with copies may have left something behind: its worker is not used again, the rounds count."""
    found, group, (worker,) = measured(1.0, failed(FakeWorker(0), None, 1))
    assert found.sharing is None
    assert found.rounds
    assert worker not in group.workers


def asked(group: FakeGroup) -> SweepSharing:
    """Return the question of the sweep that a group was asked."""
    (found,) = (question for question, _ in group.asked if isinstance(question, SweepSharing))
    return found


def test_control_is_asked_for_without_a_gil_only() -> None:
    """Plain Python in threads shows what they could gain where no GIL is there; its batch is as long as the call's."""
    _, group, _ = measured(1.0, SharingSwept(reading=READING))
    assert asked(group).control_calls == 0
    _, group, _ = measured(1.0, SharingSwept(reading=READING), gil_on=False, control_s=0.002)
    assert asked(group).control_calls == int(BATCH_S / 0.002)
    _, group, _ = measured(1.0, SharingSwept(reading=READING), gil_on=False, control_s=1.0)
    assert asked(group).control_calls == 1


def test_stacks_that_held_the_gil_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is told where the GIL was held in serial calls; without samples nothing is."""
    _, group, _ = measured(1.0, SharingSwept(reading=READING))
    assert asked(group).held == ()
    stack = HeldStack(share=1.0, frames=(CodePlace(function="work", file="shop.py", line=3),))
    monkeypatch.setattr(holders, "stacks", lambda batches: (stack,) * min(1, len(batches)))
    _, group, _ = measured(1.0, SharingSwept(reading=READING))
    assert asked(group).held == (stack,)
