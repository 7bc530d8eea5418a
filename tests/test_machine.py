"""`pytest_gilprobe.machine`: the survey of what this machine gives, once for each number of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_workers import FakePool, FakeWorker, lost

from pytest_gilprobe import host
from pytest_gilprobe.machine import CONTROL_ROUNDS, Surveyor
from pytest_gilprobe.model import Strategy
from pytest_gilprobe.workers import handout
from pytest_gilprobe.workers.protocol import Control, Failed, HandedOut, HandOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.pool import Pool


@pytest.fixture
def survey(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakePool], Surveyor]:
    """Make a surveyor on a machine of two CPUs."""
    monkeypatch.setattr(host, "usable_cpus", lambda: 2)
    return lambda pool: Surveyor(cast("Pool", pool))


def refusing(kind: type) -> Callable[[FakeWorker, Any, int], Any]:
    """Fail all questions of one kind."""
    return lambda _, question, __: Failed(error="no") if isinstance(question, kind) else None


def test_unsurveyed_machine_is_its_cpus_alone(survey: Callable[[FakePool], Surveyor]) -> None:
    """Before a survey nothing is guessed."""
    surveyor = survey(FakePool())
    assert surveyor.machine(2).cpus == 2
    assert (surveyor.machine(2).scaling, surveyor.machine(2).thread_task_s) == (None, None)
    assert surveyor.any_machine() == surveyor.machine(2)


def test_survey_measures_scaling_and_hand_out(survey: Callable[[FakePool], Surveyor]) -> None:
    """Two workers that do twice the work in the same time scale to 2.0; the pools' costs are kept."""
    surveyor = survey(FakePool())
    surveyor.survey(2)
    found = surveyor.machine(2)
    assert found.scaling is not None
    assert found.scaling.value == pytest.approx(2.0)
    assert (found.scaling_workers, found.thread_task_s, found.process_task_s) == (2, 1e-5, 1e-4)


def test_survey_is_made_once(survey: Callable[[FakePool], Surveyor]) -> None:
    """A second survey for as many workers asks nothing; one for more workers does, and the first stays the report's."""
    pool = FakePool()
    surveyor = survey(pool)
    surveyor.survey(2)
    asked = len(pool.asked)
    surveyor.survey(2)
    assert len(pool.asked) == asked
    surveyor.survey(3)
    assert len(pool.asked) > asked
    assert surveyor.any_machine() is surveyor.machine(2)


def test_control_runs_alone_and_together_in_turn(survey: Callable[[FakePool], Surveyor]) -> None:
    """After one try for its length, the control loop alternates between one worker and all."""
    pool = FakePool()
    survey(pool).survey(2)
    assert [count for asked, count in pool.asked if isinstance(asked, Control)] == [1, *[1, 2] * CONTROL_ROUNDS]


def test_survey_without_workers_is_silent(survey: Callable[[FakePool], Surveyor]) -> None:
    """Workers that cannot start are the probe's to report; the survey leaves the machine unknown."""
    surveyor = survey(FakePool(refuses=lost()))
    surveyor.survey(2)
    assert surveyor.machine(2).scaling is None


def test_control_that_fails_leaves_scaling_unknown(survey: Callable[[FakePool], Surveyor]) -> None:
    """Without control there is no scaling, but the pools' costs are still known."""
    surveyor = survey(FakePool(script=refusing(Control)))
    surveyor.survey(2)
    assert surveyor.machine(2).scaling is None
    assert surveyor.machine(2).scaling_workers is None
    assert surveyor.machine(2).thread_task_s == 1e-5


def test_control_that_fails_together_leaves_scaling_unknown(survey: Callable[[FakePool], Surveyor]) -> None:
    """One worker's failure in the common control is enough."""

    def script(_: FakeWorker, question: Any, together: int) -> Any:
        return Failed(error="no") if isinstance(question, Control) and together > 1 else None

    surveyor = survey(FakePool(script=script))
    surveyor.survey(2)
    assert surveyor.machine(2).scaling is None


def test_pool_that_cannot_be_timed_costs_nothing_known(survey: Callable[[FakePool], Surveyor]) -> None:
    """A hand-out that failed is unknown, not zero."""
    surveyor = survey(FakePool(script=refusing(HandOut)))
    surveyor.survey(2)
    assert (surveyor.machine(2).thread_task_s, surveyor.machine(2).process_task_s) == (None, None)


def test_both_pools_are_timed_with_the_sessions_start_method(survey: Callable[[FakePool], Surveyor]) -> None:
    """A thread pool and a process pool of as many workers are timed, started as this session starts processes."""
    pool = FakePool(start_method="forkserver")
    survey(pool).survey(2)
    asked = [question for question, _ in pool.asked if isinstance(question, HandOut)]
    assert [(one.strategy, one.workers, one.start_method) for one in asked] == [
        (Strategy.THREADS, 2, "forkserver"),
        (Strategy.PROCESSES, 2, "forkserver"),
    ]


def test_import_is_measured_once_where_workers_are_not_forked(survey: Callable[[FakePool], Surveyor]) -> None:
    """What a module takes to import is asked once; forked workers inherit it, and a main module is not run to see."""

    def imports(_: FakeWorker, question: Any, __: int) -> Any:
        return HandedOut(task_s=0.0, start_up_s=0.0, import_s=0.2) if isinstance(question, HandOut) else None

    pool = FakePool(script=imports)
    surveyor = survey(pool)
    pool.start_method = "spawn"
    assert [surveyor.import_s("work", 2), surveyor.import_s("work", 2)] == [0.2, 0.2]
    assert [question.module for question, _ in pool.asked if isinstance(question, HandOut)] == ["work"]
    assert surveyor.import_s("__main__", 2) is None
    pool.start_method = "fork"
    assert surveyor.import_s("other", 2) == 0.0


@pytest.mark.parametrize(("module", "known"), [("json", True), ("no_such_module_anywhere", False)])
def test_import_in_a_real_pool(module: str, *, known: bool) -> None:
    """A real pool's workers tell how long a module takes, and nothing of one that they do not find."""
    asked = HandOut(strategy=Strategy.PROCESSES, workers=2, start_method="spawn", module=module)
    assert (handout.measure(asked).import_s is not None) is known
