"""`pytest_gilprobe.probing.prober`: from a plan to a result, whatever goes wrong on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_workers import NODEID, Behaviour, FakeGroup, FakeWorker, lost, plan

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.results import Callee, WorkloadResult
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.words import Bound, Gil, Outcome, Status
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing.prober import ProbeRunner
from pytest_gilprobe.probing.survey import Surveyor
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.results import unmeasured
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch
from pytest_gilprobe.workers.protocol import Open, Opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.parent.group import WorkerGroup


def probe(
    group: FakeGroup,
    *,
    known_call_s: float = 0.0,
    steps: list[str] | None = None,
    is_open: Callable[[WorkloadResult], bool] = lambda _: False,
    **changes: Any,
) -> WorkloadResult:
    """Probe the pretended workload on a machine of two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "usable_cpus", lambda: 2)
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        prober = ProbeRunner(
            group=cast("WorkerGroup", group),
            surveyor=Surveyor(cast("WorkerGroup", group)),
            strategies=BUILT_IN,
            progress=steps.append if steps is not None else lambda _: None,
            is_open=is_open,
        )
        return prober.probe(plan(**changes), keep=0, known_call_s=known_call_s)


CPU = Behaviour(call_s=0.02, busy=1.0, gains={"threads": 1.0, "processes": 2.0})
IO = Behaviour(call_s=0.02, busy=0.02, gains={"threads": 2.0, "processes": 2.0})
NATIVE = Behaviour(call_s=0.02, busy=1.0, gains={"threads": 2.0, "processes": 2.0})
NOTHING_HELPS = Behaviour(call_s=0.02, busy=1.0, gains={"threads": 1.0, "processes": 1.0})
TINY = Behaviour(call_s=1e-6, busy=1.0, gains={"threads": 1.0, "processes": 2.0})


@pytest.mark.parametrize(
    ("behaviour", "bound", "strategy"),
    [
        (CPU, Bound.CPU, "processes"),
        (IO, Bound.IO, "threads"),
        (NATIVE, Bound.CPU, "threads"),
        (NOTHING_HELPS, Bound.CPU, "serial"),
        (TINY, Bound.CPU, "serial"),
    ],
)
def test_textbook_cases_get_the_textbook_answer(behaviour: Behaviour, bound: Bound, strategy: str) -> None:
    """On a quiet machine each kind of workload is told, with a reason, and the result can be written down."""
    found = probe(FakeGroup(behaviour))
    assert found.status is Status.PROBED
    assert (found.verdict.bound, found.verdict.strategy) == (bound, strategy)
    assert found.verdict.reason
    assert found.probe_time_s > 0
    assert report_json.workload_to_json(found)


@pytest.mark.parametrize(("behaviour", "asked"), [(CPU, ["shop"]), (IO, [])])
def test_import_is_measured_where_processes_are_advised(behaviour: Behaviour, asked: list[str]) -> None:
    """What a group's spawned workers import is told with the number of calls that pay for it; other advice asks not."""

    def answers(worker: FakeWorker, question: Any, _: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(callee=Callee(module="shop", name="work"))
        if isinstance(question, MeasureDispatch) and question.module is not None:
            return DispatchMeasured(task_s=0.0, start_up_s=0.0, import_s=0.3)
        return None

    group = FakeGroup(behaviour, script=answers)
    found = probe(group)
    assert [question.module for question, _ in group.asked if getattr(question, "module", None)] == asked
    assert ("takes 500 ms with the import of shop: it pays off from 50 calls on" in found.verdict.reason) is bool(asked)


def test_without_a_gil_threads_do_for_python_code() -> None:
    """On a free-threaded build the GIL is absent, and threads that scale are the answer for computing."""
    group = FakeGroup(Behaviour(call_s=0.02, busy=1.0, gains={"threads": 2.0, "processes": 2.0}, gil_enabled=False))
    for worker in cast("list[Any]", group.ready(2)):
        worker.ready = type(worker.ready)(
            pid=1, nodeids=frozenset({NODEID}), gil_address=None, gil_reason="no GIL", gil_enabled=False
        )
    found = probe(group)
    assert (found.verdict.gil, found.verdict.strategy) == (Gil.ABSENT, "threads")


def test_finding_that_nothing_can_be_measured_is_a_result() -> None:
    """A call that is too long is not probed, with the reason in the result and in its verdict."""
    found = probe(FakeGroup(), known_call_s=100.0)
    assert found.status is Status.NOT_PROBED
    assert found.reason is not None
    assert "too long" in found.reason
    assert found.verdict.strategy == "inconclusive"


def test_workers_that_cannot_start_are_a_result() -> None:
    """A group without workers ends the probe, not the session."""
    found = probe(FakeGroup(refuses=lost()))
    assert (found.status, found.reason) == (Status.NOT_PROBED, "it is gone")


def test_own_error_is_owned_up_to() -> None:
    """An error of this tool becomes a result with status ``error`` that names it; nothing is raised or guessed."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    found = probe(FakeGroup(script=broken))
    assert found.status is Status.ERROR
    assert found.reason is not None
    assert found.reason.startswith("internal error, please report it: ZeroDivisionError: ")
    assert "in broken" in found.reason, "the traceback is lost"
    assert found.verdict.strategy == "inconclusive"


def test_interrupt_is_the_users() -> None:
    """Ctrl-C passes through."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe(FakeGroup(script=interrupted))


def test_what_else_is_to_decide_gets_its_rounds() -> None:
    """A verdict that is settled is measured on while somebody else has something open, and no longer."""
    assert rounds_of(probe(FakeGroup(IO))) < 9
    assert rounds_of(probe(FakeGroup(IO), is_open=lambda found: rounds_of(found) < 9)) == 9


def rounds_of(found: WorkloadResult) -> int:
    return 0 if found.serial is None else found.serial.rounds or 0


def test_progress_names_strategy_and_round() -> None:
    """While it runs, the user is told the strategy and the round."""
    steps: list[str] = []
    probe(FakeGroup(), steps=steps)
    assert steps[:4] == ["start", "serial 1", "threads 1", "processes 1"]


def test_unmeasured_workload_claims_nothing() -> None:
    """A workload that was not measured has no numbers, and says why everywhere."""
    found = unmeasured(plan(), plan().strategies, Status.NOT_PROBED, "it is skipped")
    assert (found.serial, found.verdict.speedup, found.verdict.reason) == (None, None, "it is skipped")
    assert {part.outcome for part in found.strategies.values()} == {Outcome.SKIPPED}
    assert {part.error for part in found.strategies.values()} == {"it is skipped"}


@pytest.mark.parametrize(("expects", "longer"), [(frozenset({"threads"}), True), (frozenset(), False)])
def test_an_open_answer_that_is_expected_has_the_time_of_a_proof(expects: frozenset[str], *, longer: bool) -> None:
    """A call on the line between two answers is measured on for twice as long, if a test expects one of them."""
    edge = Behaviour(call_s=0.3, busy=1.0, gains={"threads": 1.3, "processes": 1.0})
    found = probe(FakeGroup(edge), max_time_s=5.0, proof_time_s=10.0, expectation=Expectation(strategies=expects))
    assert found.verdict.strategy == "inconclusive"
    assert (found.probe_time_s > 6) is longer
