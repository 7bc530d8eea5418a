"""`pytest_gilprobe.probe`: from a plan to a result, whatever goes wrong on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_workers import NODEID, Behaviour, FakePool, FakeWorker, lost, plan

from pytest_gilprobe import host, serialize
from pytest_gilprobe.config import Expectation
from pytest_gilprobe.machine import Surveyor
from pytest_gilprobe.model import Bound, Callee, Gil, Outcome, Recommendation, Status, Strategy, WorkloadResult
from pytest_gilprobe.probe import Prober, unmeasured
from pytest_gilprobe.workers.protocol import HandedOut, HandOut, Open, Opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.pool import Pool


def probe(
    pool: FakePool,
    *,
    known_call_s: float = 0.0,
    steps: list[str] | None = None,
    is_open: Callable[[WorkloadResult], bool] = lambda _: False,
    **changes: Any,
) -> WorkloadResult:
    """Probe the pretended workload on a machine of two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "usable_cpus", lambda: 2)
        patch.setattr(host, "perf_counter_ns", pool.clock.read_ns)
        prober = Prober(
            pool=cast("Pool", pool),
            surveyor=Surveyor(cast("Pool", pool)),
            progress=steps.append if steps is not None else lambda _: None,
            is_open=is_open,
        )
        return prober.probe(plan(**changes), keep=0, known_call_s=known_call_s)


CPU = Behaviour(call_s=0.02, busy=1.0, threads=1.0, processes=2.0)
IO = Behaviour(call_s=0.02, busy=0.02, threads=2.0, processes=2.0)
NATIVE = Behaviour(call_s=0.02, busy=1.0, threads=2.0, processes=2.0)
NOTHING_HELPS = Behaviour(call_s=0.02, busy=1.0, threads=1.0, processes=1.0)
TINY = Behaviour(call_s=1e-6, busy=1.0, threads=1.0, processes=2.0)


@pytest.mark.parametrize(
    ("behaviour", "bound", "strategy"),
    [
        (CPU, Bound.CPU, Recommendation.PROCESSES),
        (IO, Bound.IO, Recommendation.THREADS),
        (NATIVE, Bound.CPU, Recommendation.THREADS),
        (NOTHING_HELPS, Bound.CPU, Recommendation.SERIAL),
        (TINY, Bound.CPU, Recommendation.SERIAL),
    ],
)
def test_textbook_cases_get_the_textbook_answer(behaviour: Behaviour, bound: Bound, strategy: Recommendation) -> None:
    """On a quiet machine each kind of workload is told, with a reason, and the result can be written down."""
    found = probe(FakePool(behaviour))
    assert found.status is Status.PROBED
    assert (found.verdict.bound, found.verdict.strategy) == (bound, strategy)
    assert found.verdict.reason
    assert found.probe_time_s > 0
    assert serialize.workload_to_json(found)


@pytest.mark.parametrize(("behaviour", "asked"), [(CPU, ["shop"]), (IO, [])])
def test_import_is_measured_where_processes_are_advised(behaviour: Behaviour, asked: list[str]) -> None:
    """What a pool's spawned workers import is told with the number of calls that pay for it; other advice asks not."""

    def answers(worker: FakeWorker, question: Any, _: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(callee=Callee(module="shop", name="work"))
        if isinstance(question, HandOut) and question.module is not None:
            return HandedOut(task_s=0.0, start_up_s=0.0, import_s=0.3)
        return None

    pool = FakePool(behaviour, script=answers)
    found = probe(pool)
    assert [question.module for question, _ in pool.asked if getattr(question, "module", None)] == asked
    assert ("(start-up 500 ms, the import of shop included" in found.verdict.reason) is bool(asked)


def test_without_a_gil_threads_do_for_python_code() -> None:
    """On a free-threaded build the GIL is absent, and threads that scale are the answer for computing."""
    pool = FakePool(Behaviour(call_s=0.02, busy=1.0, threads=2.0, processes=2.0, gil_enabled=False))
    for worker in cast("list[Any]", pool.ready(2)):
        worker.ready = type(worker.ready)(
            pid=1, nodeids=frozenset({NODEID}), gil_address=None, gil_reason="no GIL", gil_enabled=False
        )
    found = probe(pool)
    assert (found.verdict.gil, found.verdict.strategy) == (Gil.ABSENT, Recommendation.THREADS)


def test_finding_that_nothing_can_be_measured_is_a_result() -> None:
    """A call that is too long is not probed, with the reason in the result and in its verdict."""
    found = probe(FakePool(), known_call_s=100.0)
    assert found.status is Status.NOT_PROBED
    assert found.reason is not None
    assert "too long" in found.reason
    assert found.verdict.strategy is Recommendation.INCONCLUSIVE


def test_workers_that_cannot_start_are_a_result() -> None:
    """A pool without workers ends the probe, not the session."""
    found = probe(FakePool(refuses=lost()))
    assert (found.status, found.reason) == (Status.NOT_PROBED, "it is gone")


def test_own_error_is_owned_up_to() -> None:
    """An error of this tool becomes a result with status ``error`` that names it; nothing is raised or guessed."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    found = probe(FakePool(script=broken))
    assert found.status is Status.ERROR
    assert found.reason == "internal error, please report it: ZeroDivisionError: "
    assert found.verdict.strategy is Recommendation.INCONCLUSIVE


def test_interrupt_is_the_users() -> None:
    """Ctrl-C passes through."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe(FakePool(script=interrupted))


def test_what_else_is_to_decide_gets_its_rounds() -> None:
    """A verdict that is settled is measured on while somebody else has something open, and no longer."""
    assert rounds_of(probe(FakePool(IO))) < 9
    assert rounds_of(probe(FakePool(IO), is_open=lambda found: rounds_of(found) < 9)) == 9


def rounds_of(found: WorkloadResult) -> int:
    return 0 if found.serial is None else found.serial.rounds


def test_progress_names_strategy_and_round() -> None:
    """While it runs, the user is told the strategy and the round."""
    steps: list[str] = []
    probe(FakePool(), steps=steps)
    assert steps[:4] == ["start", "serial 1", "threads 1", "processes 1"]


def test_unmeasured_workload_claims_nothing() -> None:
    """A workload that was not measured has no numbers, and says why everywhere."""
    found = unmeasured(NODEID, Status.NOT_PROBED, "it is skipped", 2)
    assert (found.serial, found.verdict.speedup, found.verdict.reason) == (None, None, "it is skipped")
    assert {found.threads.outcome, found.processes.outcome} == {Outcome.SKIPPED}
    assert {found.threads.error, found.processes.error} == {"it is skipped"}


@pytest.mark.parametrize(("expects", "longer"), [(frozenset({Strategy.THREADS}), True), (frozenset(), False)])
def test_an_open_answer_that_is_expected_has_the_time_of_a_proof(expects: frozenset[Strategy], *, longer: bool) -> None:
    """A call on the line between two answers is measured on for twice as long, if a test expects one of them."""
    edge = Behaviour(call_s=0.3, busy=1.0, threads=1.3, processes=1.0)
    found = probe(FakePool(edge), max_time_s=5.0, proof_time_s=10.0, expectation=Expectation(strategies=expects))
    assert found.verdict.strategy is Recommendation.INCONCLUSIVE
    assert (found.probe_time_s > 6) is longer
