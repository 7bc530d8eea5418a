"""`pytest_gilprobe.probing.survey`: the survey of what this machine gives, once for each number of workers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from evidence import estimate
from fake_workers import FakeGroup, FakeWorker, lost

from pytest_gilprobe.observe import executor_workers, machine
from pytest_gilprobe.probing.survey import CONTROL_ROUNDS, Surveyor, costs_of, lost_s
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.workers.child import dispatch
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch, TrialTimes
from pytest_gilprobe.workers.protocol import Control, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.machine import Machine
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.parent.group import WorkerGroup


PROCESSES = BUILT_IN["processes"]
USUAL = tuple(one for one in BUILT_IN.parallel if one.by_default)


def task_s(machine: Machine) -> dict[str, float | None]:
    """Return what an empty task costs at best, by strategy."""
    return {name: None if cost is None else cost.task_s for name, cost in machine.costs.items()}


@pytest.fixture
def survey(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeGroup], Surveyor]:
    """Make a surveyor on a machine of two CPUs."""
    monkeypatch.setattr(machine, "usable_cpus", lambda: 2)
    return lambda group: Surveyor(cast("WorkerGroup", group))


def refusing(kind: type) -> Callable[[FakeWorker, Any, int], Any]:
    """Fail all questions of one kind."""
    return lambda _, question, __: Failed(error="no") if isinstance(question, kind) else None


def test_unsurveyed_machine_is_its_cpus_alone(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """Before a survey nothing is guessed."""
    surveyor = survey(FakeGroup())
    assert surveyor.machine(2).cpus == 2
    assert (surveyor.machine(2).scaling, surveyor.machine(2).costs) == (None, {})
    assert surveyor.any_machine() == surveyor.machine(2)


def test_survey_measures_scaling_and_hand_out(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """Two workers that do twice the work in the same time scale to 2.0; the pools' costs are kept."""
    surveyor = survey(FakeGroup())
    surveyor.survey(2, USUAL, 10)
    found = surveyor.machine(2)
    assert found.scaling is not None
    assert found.scaling.value == pytest.approx(2.0)
    assert (found.scaling_workers, task_s(found)) == (2, {"threads": 1e-5, "processes": 1e-4})


def test_survey_is_made_once(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """A second survey for as many workers asks nothing; one for more workers does, and the first stays the report's."""
    group = FakeGroup()
    surveyor = survey(group)
    surveyor.survey(2, USUAL, 10)
    asked = len(group.asked)
    surveyor.survey(2, USUAL, 10)
    assert len(group.asked) == asked
    surveyor.survey(3, USUAL, 10)
    assert len(group.asked) > asked
    assert surveyor.any_machine() is surveyor.machine(2)


def asked_briefly(group: FakeGroup) -> list[tuple[str, bool]]:
    """Return what executors were timed, and whether briefly."""
    return [(one.strategy, one.brief) for one, _ in group.asked if isinstance(one, MeasureDispatch)]


def test_probes_with_little_time_have_executors_timed_briefly(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """The first probe that has more time has them timed once more, and that holds for all that follow."""
    group = FakeGroup()
    surveyor = survey(group)
    brief, usual = ([(name, briefly) for name in ("threads", "processes")] for briefly in (True, False))
    for budget_s, asked in ((0.5, brief), (1.0, brief), (10, brief + usual), (0.5, brief + usual), (10, brief + usual)):
        surveyor.survey(2, USUAL, budget_s)
        assert asked_briefly(group) == asked
    assert [count for asked, count in group.asked if isinstance(asked, Control)] == [1, *[1, 2] * CONTROL_ROUNDS]
    surveyor.survey(3, USUAL, 0.5)
    assert asked_briefly(group) == brief + usual + brief


def test_only_executors_that_are_needed_are_timed_once_more(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """What other probes need is kept as it is known, whatever time the probes before had."""
    group = FakeGroup()
    surveyor = survey(group)
    for budget_s, strategies in ((1.0, USUAL), (10, USUAL[:2]), (1.0, USUAL), (10, USUAL[:2])):
        surveyor.survey(2, strategies, budget_s)
    assert asked_briefly(group) == [("threads", True), ("processes", True), ("threads", False)]
    assert task_s(surveyor.machine(2)) == {"threads": 1e-5, "processes": 1e-4}
    surveyor.survey(2, USUAL, 10)
    assert asked_briefly(group)[3:] == [("processes", False)]


def test_what_was_timed_briefly_is_kept_if_the_usual_timing_fails(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """A pool that cannot be timed a second time costs what it did the first time, and is not tried a third time."""

    def script(_: FakeWorker, question: Any, __: int) -> Any:
        return Failed(error="no") if isinstance(question, MeasureDispatch) and not question.brief else None

    group = FakeGroup(script=script)
    surveyor = survey(group)
    for budget_s in (1.0, 10, 10):
        surveyor.survey(2, USUAL, budget_s)
    assert len(asked_briefly(group)) == 4
    assert task_s(surveyor.machine(2)) == {"threads": 1e-5, "processes": 1e-4}


def test_control_runs_alone_and_together_in_turn(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """After one try for its length, the control loop alternates between one worker and all."""
    group = FakeGroup()
    survey(group).survey(2, USUAL, 10)
    assert [count for asked, count in group.asked if isinstance(asked, Control)] == [1, *[1, 2] * CONTROL_ROUNDS]


def test_survey_without_workers_is_silent(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """Workers that cannot start are the probe's to report; the survey leaves the machine unknown."""
    surveyor = survey(FakeGroup(refuses=lost()))
    surveyor.survey(2, USUAL, 10)
    assert surveyor.machine(2).scaling is None


def test_control_that_fails_leaves_scaling_unknown(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """Without control there is no scaling, but the pools' costs are still known."""
    surveyor = survey(FakeGroup(script=refusing(Control)))
    surveyor.survey(2, USUAL, 10)
    assert surveyor.machine(2).scaling is None
    assert surveyor.machine(2).scaling_workers is None
    assert task_s(surveyor.machine(2))["threads"] == 1e-5


def test_control_that_fails_together_leaves_scaling_unknown(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """One worker's failure in the common control is enough."""

    def script(_: FakeWorker, question: Any, together: int) -> Any:
        return Failed(error="no") if isinstance(question, Control) and together > 1 else None

    surveyor = survey(FakeGroup(script=script))
    surveyor.survey(2, USUAL, 10)
    assert surveyor.machine(2).scaling is None


def test_pool_that_cannot_be_timed_costs_nothing_known(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """A hand-out that failed is unknown, not zero."""
    surveyor = survey(FakeGroup(script=refusing(MeasureDispatch)))
    surveyor.survey(2, USUAL, 10)
    assert task_s(surveyor.machine(2)) == {"threads": None, "processes": None}


def test_both_pools_are_timed_with_the_sessions_start_method(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """A thread group and a process group of as many workers are timed, started as this session starts processes."""
    group = FakeGroup(start_method="forkserver")
    survey(group).survey(2, USUAL, 10)
    asked = [question for question, _ in group.asked if isinstance(question, MeasureDispatch)]
    assert [(one.strategy, one.workers, one.start_method) for one in asked] == [
        ("threads", 2, "forkserver"),
        ("processes", 2, "forkserver"),
    ]


def test_import_is_measured_once_where_workers_are_not_forked(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """What a module takes to import is asked once; forked workers inherit it, and a main module is not run to see."""

    def imports(_: FakeWorker, question: Any, __: int) -> Any:
        return (
            DispatchMeasured(task_s=0.0, start_up_s=0.0, import_s=0.2)
            if isinstance(question, MeasureDispatch)
            else None
        )

    group = FakeGroup(script=imports)
    surveyor = survey(group)
    group.start_method = "spawn"
    assert [surveyor.import_s(PROCESSES, "work", 2), surveyor.import_s(PROCESSES, "work", 2)] == [0.2, 0.2]
    assert [question.module for question, _ in group.asked if isinstance(question, MeasureDispatch)] == ["work"]
    assert surveyor.import_s(PROCESSES, "__main__", 2) is None
    group.start_method = "fork"
    assert surveyor.import_s(PROCESSES, "other", 2) == 0.0


@pytest.mark.parametrize(("module", "known"), [("json", True), ("no_such_module_anywhere", False)])
def test_import_in_a_real_pool(module: str, *, known: bool) -> None:
    """A real group's workers tell how long a module takes, and nothing of one that they do not find."""
    asked = MeasureDispatch(strategy=PROCESSES.name, workers=2, start_method="spawn", module=module)
    found = dispatch.measure(PROCESSES, asked)
    assert isinstance(found, DispatchMeasured)
    assert (found.import_s is not None) is known


# What workers lose


def handed_out(
    alone_s: float,
    pooled_s: float,
    *,
    least: float = 1.0,
    queued: float = 0.0,
    others: float = 0.0,
    more_cpu_s: float | None = None,
) -> DispatchMeasured:
    """Make what a group told of tasks that took so long alone and in the group, where less in the best round."""
    work = TrialTimes(
        alone_s=alone_s,
        pooled_s=pooled_s,
        alone_least_s=alone_s,
        pooled_least_s=pooled_s * least,
        queued=queued,
        others=others,
        more_cpu_s=more_cpu_s,
    )
    return DispatchMeasured(task_s=1e-5, start_up_s=0.0, task_cpu_s=6e-5, work=work)


def test_what_scales_loses_nothing() -> None:
    """Two workers that do two tasks in the time of one, on a machine that scales to 2, lose nothing."""
    found = lost_s(handed_out(4e-4, 2e-4), estimate(2.0), 2.5)
    assert found is not None
    assert found.value == pytest.approx(0.0)


def test_what_a_worker_loses_is_a_tasks_share_of_the_pool_beyond_the_task() -> None:
    """A task of 0.4 ms that two workers finish every 0.3 ms takes each of them 0.6 ms."""
    found = lost_s(handed_out(4e-4, 3e-4, least=0.9), estimate(2.0), 2.5)
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((1.4e-4, 1.7e-4, 2e-4))


def test_what_the_machine_scales_to_is_not_known_exactly() -> None:
    """Where it may scale to a tenth less or more, so may what the workers lose."""
    found = lost_s(handed_out(4e-4, 3e-4), estimate(2.0, 1.8, 2.2), 2.5)
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((1.4e-4, 2e-4, 2.6e-4))


@pytest.mark.parametrize(("pooled_s", "most"), [(5e-3, 9.6e-3), (25e-5, 1e-4)])
@pytest.mark.parametrize(("queued", "others"), [(0.4, 0.0), (0.0, 0.3)])
def test_on_a_busy_machine_what_is_lost_lies_between_cpu_time_and_what_was_measured(
    pooled_s: float, most: float, queued: float, others: float
) -> None:
    """A group has more to wake than one thread alone, so other programs make it lose more; less than seen it cannot.

    One busy program on two CPUs is not in the way of one thread, but of a group.
    """
    found = lost_s(handed_out(4e-4, pooled_s, queued=queued, others=others), estimate(2.0), 2.5)
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((6e-5, math.sqrt(6e-5 * most), most))


@pytest.mark.parametrize(
    ("more_cpu_s", "most"),
    [(2e-4, 5e-4), (8e-4, 1.2e-3), (2e-5, 15e-5), (0.0, 15e-5), (None, 1.2e-3)],
)
def test_on_a_busy_machine_the_added_cpu_time_bounds_what_is_lost(more_cpu_s: float | None, most: float) -> None:
    """A loss is at most 2.5 times the CPU time that the executor adds, or that an empty task takes, or as measured."""
    found = lost_s(handed_out(4e-4, 8e-4, others=0.4, more_cpu_s=more_cpu_s), estimate(2.0), 2.5)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((6e-5, most))
    assert found.value == pytest.approx(math.sqrt(max(6e-5, more_cpu_s or 0.0) * most))


def test_more_workers_may_lose_more_of_the_cpu_time_that_is_added() -> None:
    """The bound was measured with two workers: with four, it is taken to be twice as high."""
    for workers, most in ((1, 6e-4), (2, 6e-4), (4, 1.2e-3)):
        costs = costs_of(PROCESSES, handed_out(4e-4, 8e-4, others=0.4, more_cpu_s=2e-4), estimate(2.0), workers)
        assert costs is not None
        assert costs.lost_s is not None
        assert costs.lost_s.high == pytest.approx(most)


def test_on_a_calm_machine_the_added_cpu_time_changes_nothing() -> None:
    """There, the measured times themselves tell what is lost."""
    found = lost_s(handed_out(4e-4, 3e-4, more_cpu_s=1e-5), estimate(2.0), 2.5)
    assert found == lost_s(handed_out(4e-4, 3e-4), estimate(2.0), 2.5)


def test_what_was_not_measured_is_not_made_up() -> None:
    """Without the trial, or without how the machine scales, nothing is known of the loss."""
    measured = handed_out(4e-4, 3e-4)
    assert costs_of(PROCESSES, None, estimate(2.0), 2) is None
    assert lost_s(measured, None, 2.5) is None
    assert lost_s(replace(measured, work=None), estimate(2.0), 2.5) is None


def test_only_what_is_asked_for_is_tried(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """Process pools are not started where only threads are asked for; they are once another test asks for them."""
    group = FakeGroup()
    surveyor = survey(group)
    for strategies, tried in ((USUAL[:2], ["threads"]), (USUAL, ["threads", "processes"])):
        surveyor.survey(2, strategies, 10)
        assert [one.strategy for one, _ in group.asked if isinstance(one, MeasureDispatch)] == tried


@pytest.mark.parametrize("strategy", [one for one in USUAL if one.trial is not None])
def test_a_real_pool_tells_what_tasks_cost_that_compute(strategy: Strategy) -> None:
    """Both pools tell times alone and in the group, and the CPU time of an empty task."""
    found = dispatch.measure(strategy, MeasureDispatch(strategy=strategy.name, workers=2, start_method="spawn"))
    assert isinstance(found, DispatchMeasured)
    assert found.work is not None
    assert 0 < found.work.alone_least_s <= found.work.alone_s
    assert 0 < found.work.pooled_least_s <= found.work.pooled_s
    assert found.work.queued >= 0
    assert found.task_cpu_s
    assert (found.work.more_cpu_s is None) == (executor_workers.ExecutorWorkers().use() is None)


def test_a_worker_that_is_lost_ends_the_control(survey: Callable[[FakeGroup], Surveyor]) -> None:
    """A worker that is gone is not asked again, and the machine's scaling stays unknown."""
    group = FakeGroup(script=lambda _, question, __: lost() if getattr(question, "calls", 0) > 5 else None)
    surveyor = survey(group)
    surveyor.survey(2, USUAL, 10)
    assert surveyor.machine(2).scaling is None
