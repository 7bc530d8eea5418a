"""`pytest_gilprobe.workers.child.answers` and `.dispatch`: what a worker answers, whatever its strategies are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_gilprobe.strategies.dispatch_trial import DispatchTrial
from pytest_gilprobe.strategies.serial import Serial
from pytest_gilprobe.strategies.threads import Threads
from pytest_gilprobe.workers.child import answers, fixture_sets, machine_answers, workload
from pytest_gilprobe.workers.child.batch import NoThreadError
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch
from pytest_gilprobe.workers.naming import Given
from pytest_gilprobe.workers.protocol import (
    Batch,
    Done,
    Failed,
    MeasureTransfer,
    Open,
    TransferMeasured,
    Unable,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_gilprobe.model.readings import WorkerReading


class Refusing(Serial):
    """A strategy that refuses every test."""

    name = "refusing"

    def refuses(self, work: workload.Workload) -> str | None:
        return f"it dislikes {work.call.__name__}"


class WithoutThreads(Serial):
    """A strategy to which the system gives no threads."""

    name = "no-threads"

    def run(self, work: workload.Workload, question: Batch) -> WorkerReading:
        del work, question
        raise NoThreadError


class WithoutExecutor(Threads):
    """A strategy that would have a trial, but no executor."""

    name = "no-executor"

    def executor(self, workers: int, start_method: str) -> Executor | None:
        del workers, start_method
        return None


STRATEGIES = {one.name: one for one in (Serial(), Threads(), Refusing(), WithoutThreads(), WithoutExecutor())}


@pytest.fixture
def calls() -> list[int]:
    """Return what the open test's calls append to."""
    return []


@pytest.fixture
def errors() -> list[str]:
    """Return what pytest's reports of failures are added to."""
    return []


@pytest.fixture
def opened(calls: list[int], errors: list[str]) -> answers.OpenTest:
    """Open a test that gave a call to the fixture."""

    def count(step: int) -> list[int]:
        calls.append(step)
        return calls

    given = Given(func=count, args=(2,), kwargs={})
    work = workload.Workload(item=cast("Any", SimpleNamespace(obj=count)), call=given.call, given=given)
    return answers.OpenTest(work, STRATEGIES, errors)


def test_strategies_come_from_the_hook() -> None:
    """Each plugin may return a sequence of strategies, or a single one."""
    hook = SimpleNamespace(pytest_gilprobe_strategies=lambda config: [[Threads(), Serial()], Refusing()])  # noqa: ARG005
    found = machine_answers.strategies_of(cast("Any", SimpleNamespace(hook=hook)))
    assert list(found) == ["threads", "serial", "refusing"]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("is_given", [False, True])
def test_memory_is_judged_where_the_process_has_one_test(
    errors: list[str], *, shared: bool, is_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the test's calls share the process with other interpreters is what the server said, whatever the call."""
    monkeypatch.setattr(fixture_sets, "may_be_fresh", lambda _: (False, None))

    def call() -> None:
        return None

    given = Given(func=call, args=(), kwargs={}) if is_given else None
    item = SimpleNamespace(obj=call, _fixtureinfo=SimpleNamespace(argnames=()), funcargs={}, nodeid="a.py::test")
    work = workload.Workload(item=cast("Any", item), call=call, given=given)
    test = answers.OpenTest(work, {}, errors, shared=shared)
    assert test._use.shared is shared


def test_every_refusal_is_reported(opened: answers.OpenTest) -> None:
    """The answer to `Open` names each strategy that refuses the test, with its reason."""
    assert opened.opened.refused == {"refusing": "it dislikes call"}
    assert opened.opened.given


@pytest.mark.parametrize("lanes", [1, 3])
def test_strategy_runs_the_batch(opened: answers.OpenTest, calls: list[int], lanes: int) -> None:
    """A batch is run by the strategy of that name."""
    name = "serial" if lanes == 1 else "threads"
    answer = opened.answer(Batch(strategy=name, calls=4, lanes=lanes))
    assert isinstance(answer, Done)
    assert [lane.calls for lane in answer.reading.lanes] == [4] * lanes
    assert len(calls) == 4 * lanes
    assert not opened.spoilt


def test_heartbeat_comes_with_its_samples(opened: answers.OpenTest, calls: list[int]) -> None:
    """A batch with a heartbeat is made of serial calls, and answered with the heartbeat's samples."""
    answer = opened.answer(Batch(strategy="threads", calls=2, heartbeat=True))
    assert isinstance(answer, Done)
    assert answer.heartbeat is not None
    assert len(calls) == 2


@pytest.mark.parametrize("keep", [True, False])
def test_result_is_kept_for_its_transfer(opened: answers.OpenTest, calls: list[int], *, keep: bool) -> None:
    """A result that was kept is used to measure the transfer; without one, another call is made."""
    opened.answer(Batch(strategy="serial", calls=1, keep_result=keep))
    assert isinstance(opened.answer(MeasureTransfer(strategy="threads")), TransferMeasured)
    assert len(calls) == (1 if keep else 2)


def test_failure_spoils_the_worker(opened: answers.OpenTest, errors: list[str]) -> None:
    """A batch in which pytest reported a failure has failed, and the worker is not fit for the next test."""
    errors.append("failed in call")
    assert opened.answer(Batch(strategy="serial", calls=1)) == Failed(error="failed in call")
    assert opened.spoilt


def test_questions_that_cannot_be_answered(opened: answers.OpenTest) -> None:
    """An unknown strategy, a question for another moment and a refused thread each have an answer."""
    unknown = opened.answer(Batch(strategy="tasks", calls=1))
    assert isinstance(unknown, Failed)
    assert "serial" in unknown.error
    assert "asked for 'tasks'" in unknown.error
    assert opened.answer(Open(nodeid="x", keep=1)) == Failed(error="a test is open, asked for Open")
    assert opened.answer(Batch(strategy="no-threads", calls=1)) == Unable(error="")


@pytest.mark.parametrize("name", ["serial", "no-executor"])
def test_nothing_to_dispatch_with(name: str) -> None:
    """A strategy without an executor, or without a trial of it, has no dispatch to measure."""
    asked = MeasureDispatch(strategy=name, workers=2, start_method="spawn")
    assert machine_answers.measure_dispatch(STRATEGIES, asked) == Failed(error=f"{name} has no executor to try")


def test_a_brief_measurement_makes_at_least_one_round() -> None:
    """A strategy whose executor is tried in a single round is tried in one, briefly or not."""

    class Once(Threads):
        trial = DispatchTrial(work_s=1e-5, tasks=4, rounds=1, most_of_cpu=2)

    for brief in (True, False):
        asked = MeasureDispatch(strategy="threads", workers=2, start_method="spawn", brief=brief)
        found = machine_answers.measure_dispatch({"threads": Once()}, asked)
        assert isinstance(found, DispatchMeasured)
        assert found.work is not None
