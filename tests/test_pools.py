"""Rounds in real executors: when they are wanted, how they are made, and what follows from them."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import evidence as made
import pytest
from fake_workers import FakeGroup, failed, lost, plan

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.executors import TaskSeries
from pytest_gilprobe.model.machine import DispatchCosts
from pytest_gilprobe.model.pools import PoolRound
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.model.words import INCONCLUSIVE, NextStep
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.schedule import Job
from pytest_gilprobe.stats import pools, reduce
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.judge import judge
from pytest_gilprobe.workers.child import pool_trial, workload
from pytest_gilprobe.workers.child.executor_tasks import ExecutorError
from pytest_gilprobe.workers.child.workload import Workload
from pytest_gilprobe.workers.pool_messages import RunPools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gilprobe.model.readings import Evidence, Measurement
    from pytest_gilprobe.workers.parent.group import WorkerGroup

CALL_NS = 1_000_000


def pool_round(*, others: float = 0.0, **gains: float) -> PoolRound:
    """Make a round in which executors gain so much, and other programs use a share of the CPUs."""
    tasks = {
        name: TaskSeries(tasks=8, calls_per_task=1, wall_ns=round(8 * CALL_NS / gain)) for name, gain in gains.items()
    }
    alone = TaskSeries(tasks=4, calls_per_task=1, wall_ns=4 * CALL_NS)
    return PoolRound(alone=alone, pooled=tasks, cpus_ns=1000, cpus_idle_ns=0, own_cpu_ns=round(1000 * (1 - others)))


def seen(number: int, *, others: float = 0.0, ended: str | None = None, **gains: float) -> Measurement:
    """Make a measurement with so many equal rounds in executors, after enough ordinary ones."""
    return made.measurement(
        *[made.PYTHON_LOOP] * 3,
        pool_rounds=tuple(pool_round(others=others, **gains) for _ in range(number)),
        pools_ended=ended,
    )


# What follows


def test_a_speed_up_is_measured_by_ratios() -> None:
    """It is the rate of tasks over that of serial calls, with an interval."""
    found = pools.speedup(seen(8, threads=1.4, processes=1.7), "processes")
    assert found is not None
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(1.7)


def test_few_rounds_or_a_crowded_machine_tell_nothing() -> None:
    """Then the speed-up stays predicted; more than one call for each worker is never told."""
    assert pools.speedup(seen(pools.FEWEST_ROUNDS - 1, threads=1.4), "threads") is None
    assert pools.speedup(seen(8, threads=1.4), "processes") is None
    assert pools.speedup(seen(8, others=0.2, threads=1.4), "threads") is None
    capped = pools.speedup(seen(8, threads=2.3), "threads")
    assert capped is not None
    assert capped.high == 2.0


def test_measured_stands_in_place_of_predicted() -> None:
    """A result says how many rounds it rests on, and has no bounds for what a busy machine hides."""
    strategies, machine = made.PLAIN, made.machine()
    found = reduce.reduce(seen(8, threads=1.0, processes=1.5), machine, strategies).results["processes"]
    assert found.pool_rounds == 8
    assert found.pool_speedup is not None
    assert found.pool_speedup.value == pytest.approx(1.5)
    assert (found.pool_speedup_at_worst, found.pool_speedup_at_best) == (None, None)
    assert reduce.reduce(seen(0), machine, strategies).results["processes"].pool_rounds == 0


# When they are wanted

ROUGH = DispatchCosts(task_s=1e-4, task_high_s=1e-4, lost_s=Estimate(value=3e-3, low=1e-3, high=6e-3))


def undecided(measurement: Measurement) -> Evidence:
    """Make evidence of calls of 10 ms, of which what dispatch costs in processes leaves open whether they pay."""
    machine = made.machine(costs={**made.costs(threads=1e-5), "processes": ROUGH})
    found = reduce.reduce(measurement, machine, made.PLAIN)
    return replace(
        made.evidence(seen=measurement, on=machine), results=dict(found.results), gil=found.gil, machine=machine
    )


def test_what_dispatch_leaves_open_is_tried() -> None:
    """The next step is a round in executors, until these decide."""
    open_one = judge(undecided(seen(0)))
    assert (open_one.verdict.strategy, open_one.next_step) == (INCONCLUSIVE, NextStep.POOL)
    assert judge(undecided(seen(8, threads=1.0, processes=1.6))).verdict.strategy == "processes"
    still = judge(undecided(seen(8, threads=1.0, processes=1.3)))
    assert (still.verdict.strategy, still.next_step) == (INCONCLUSIVE, NextStep.POOL)


def test_what_many_rounds_leave_open_is_tried() -> None:
    """Where executors take a good part of the speed-up, they are tried after some rounds of bare calls."""
    part = made.estimate(1.5, 1.1, 1.8)
    for rounds, in_pool, step in ((4, part, NextStep.ROUND), (5, part, NextStep.POOL), (5, None, NextStep.ROUND)):
        found = made.evidence(1.0, part, seen=made.measurement(*[made.PYTHON_LOOP] * rounds))
        costs = replace(found.results["processes"], pool_speedup=in_pool or part, speedup=made.estimate(1.9, 1.4, 2.0))
        if in_pool is None:
            costs = replace(costs, speedup=part)
        now = judge(replace(found, results={**found.results, "processes": costs}))
        assert (now.verdict.strategy, now.next_step) == (INCONCLUSIVE, step)


@pytest.mark.parametrize("changes", [{"ended": "time was up"}, {"others": 0.3}])
def test_what_cannot_be_tried_stays_open(changes: dict[str, Any]) -> None:
    """Where rounds in executors failed, or other programs run, none follows, and the answer says why it is open."""
    rounds = pools.FEWEST_ROUNDS if "others" in changes else 0
    found = judge(undecided(seen(rounds, processes=1.6, **changes)))
    assert (found.verdict.strategy, found.next_step) == (INCONCLUSIVE, NextStep.STOP)
    assert "known only roughly" in found.verdict.reason


def test_much_data_is_believed_of_a_real_executor_only() -> None:
    """Processes that seem to pay although moving data takes a fifth of a call are tried before they are advised."""
    found = made.evidence(1.0, 1.9, seen=seen(0))
    moving = replace(found.results["processes"], transfer_s_per_call=2e-3)
    found = replace(found, results={**found.results, "processes": moving})
    now = judge(found)
    assert (now.verdict.strategy, now.next_step) == ("processes", NextStep.POOL)
    ended = replace(found, measurement=replace(found.measurement, pools_ended="it cannot be pickled"))
    assert (judge(ended).verdict.strategy, judge(ended).next_step) == ("processes", NextStep.STOP)


@pytest.mark.parametrize(
    ("threads", "processes", "in_pool", "step"),
    [
        (1.0, 1.9, 1.8, NextStep.STOP),  # 1.7x if dispatch costs twice as much
        (1.0, 1.9, 1.5, NextStep.POOL),  # 1.2x
        (1.0, 1.9, 1.15, NextStep.POOL),  # 1.4x if it costs half as much
        (1.0, 1.9, 0.3, NextStep.STOP),  # 0.5x
    ],
)
def test_an_answer_that_hangs_on_what_dispatch_costs_is_tried(
    threads: float, processes: float, in_pool: float, step: NextStep
) -> None:
    """It stands if nothing more is measured; a wrong prediction by a factor of two would make another of it."""
    found = made.evidence(threads, processes, seen=replace(seen(0), controls=(made.control(),) * 3))
    part = replace(found.results["processes"], pool_speedup=made.estimate(in_pool))
    now = judge(replace(found, results={**found.results, "processes": part}))
    assert (now.verdict.strategy, now.next_step) == ("serial" if in_pool < 1.3 else "processes", step)


@pytest.mark.parametrize(
    ("made_so_far", "others", "more"), [(2, 0.9, True), (3, 0.3, False), (3, 0.2, True), (6, 0.2, False)]
)
def test_rounds_that_cannot_count_end_soon(made_so_far: int, others: float, more: bool) -> None:  # noqa: FBT001 - a parameter
    """The more time other programs take, the fewer rounds show it for certain."""
    assert pools.may_tell_more(seen(made_so_far, others=others, processes=1.6)) == more


# In the schedule, on a clock that moves only when a batch says so


def plain_group(**changes: Any) -> FakeGroup:
    """Make workers that were forked, in which a function without arguments is called."""
    return FakeGroup(start_method="fork", callee=Callee(module="m", name="f"), **changes)


def measured(group: FakeGroup, wanted: Callable[[Measurement], NextStep], **changes: Any) -> Measurement:
    """Measure the pretended workload."""
    job = Job(plan=plan(**changes), keep=0, cpus=2, known_call_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        return schedule.measure(job, cast("WorkerGroup", group), BUILT_IN, wanted, lambda *_: None)


def until(rounds: int) -> Callable[[Measurement], NextStep]:
    """Want rounds in executors until there are so many, or they ended."""

    def settled(so_far: Measurement) -> NextStep:
        open_still = len(so_far.pool_rounds) < rounds and so_far.pools_ended is None
        return NextStep.POOL if open_still else NextStep.STOP

    return settled


def test_rounds_are_made_while_wanted() -> None:
    """Each asks for all strategies that have an executor, and the order of their series rotates."""
    group = plain_group()
    found = measured(group, until(4))
    assert (len(found.pool_rounds), found.pools_ended) == (4, None)
    asked = [question for question, _ in group.asked if isinstance(question, RunPools)]
    assert [one.number for one in asked] == [0, 1, 2, 3]
    assert asked[0].strategies == ("threads", "processes")
    assert found.pool_rounds[0].pooled.keys() == {"threads", "processes"}


def test_time_ends_them() -> None:
    """No round is begun that does not fit."""
    found = measured(plain_group(), until(10_000), max_time_s=3.0)
    assert found.pools_ended == "time was up"
    assert found.pool_rounds


@pytest.mark.parametrize(
    "changes",
    [
        {"callee": None},
        {"callee": Callee(module="m", name="f", awaited=True)},
        {"callee": Callee(module="m", name="f", parameters=("connection",))},
        {"start_method": "spawn"},
    ],
)
def test_what_no_executor_can_be_given_is_not_tried(changes: dict[str, Any]) -> None:
    """A test with fixtures, a coroutine, and what other processes cannot find: no worker is asked, none replaced."""
    group = replace(plain_group(), **changes)
    found = measured(group, until(4))
    assert (found.pool_rounds, found.pools_ended) == ((), "its calls cannot be made in executors")
    assert not [question for question, _ in group.asked if isinstance(question, RunPools)]
    assert group.started == 2


@pytest.mark.parametrize("answer", [failed, lambda *_: lost()])
def test_a_failure_ends_them_and_nothing_else(answer: Callable[..., Any]) -> None:
    """The reason is kept, the worker is replaced, and the strategies go on."""
    script = lambda worker, question, count: answer(worker, question, count) if isinstance(question, RunPools) else None  # noqa: E731
    group = plain_group(script=script)
    found = measured(group, until(4))
    assert found.pool_rounds == ()
    assert found.pools_ended
    assert {found.ends[name].error for name in ("threads", "processes")} == {None}
    assert group.started == 3


# In a worker: real executors


class Given(SimpleNamespace):
    """A function with its arguments, as far as a workload says that there is one."""


def nap(seconds: float) -> str:
    """Sleep, and tell where."""
    time.sleep(seconds)
    return f"{os.getpid()} {threading.current_thread().name}"


def asked(**changes: Any) -> RunPools:
    """Make a question for two workers."""
    usual = RunPools(strategies=("threads", "processes"), calls=3, workers=2, start_method="fork", limit_s=30)
    return replace(usual, **changes)


@pytest.fixture
def trial() -> Iterator[Callable[[Workload, RunPools], PoolRound]]:
    """Return what makes one round, and end its executors afterwards."""
    works: list[Workload] = []

    def run(work: Workload, question: RunPools) -> PoolRound:
        works.append(work)
        return pool_trial.run(work, {one.name: one for one in BUILT_IN.parallel}, question)

    yield run
    for held in [one for work in works for one in work.held.values()]:
        held.close()


def of_given(call: Any) -> Workload:
    """Make the workload of a call that was given with its arguments."""
    return Workload(item=cast("Any", None), call=call, given=cast("Any", Given()))


def test_a_round_has_each_series(trial: Callable[[Workload, RunPools], PoolRound]) -> None:
    """Calls that wait overlap in both executors, which go on to the next round."""
    work = of_given(partial(nap, 0.02))
    first = trial(work, asked())
    held = work.held[pool_trial.HELD_AS]
    second = trial(work, asked(number=1))
    assert work.held[pool_trial.HELD_AS] is held
    for one in (first, second):
        assert one.alone.tasks == 3
        assert {name: series.tasks for name, series in one.pooled.items()} == {"threads": 6, "processes": 6}
        assert min(one.alone.wall_ns, *(series.wall_ns for series in one.pooled.values())) > 0
        assert one.own_cpu_ns > 0


def test_a_test_without_fixtures_is_inherited(
    trial: Callable[[Workload, RunPools], PoolRound], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked process has the call; one with fixtures, or that is not forked, cannot be given it."""
    called = SimpleNamespace(parameters=())
    monkeypatch.setattr(workload, "callee", lambda _: called)
    seen_there: list[int] = []
    work = Workload(item=cast("Any", None), call=lambda: seen_there.append(1))
    assert trial(work, asked()).pooled["processes"].tasks == 6
    assert len(seen_there) == 4 + 6 + 3, "those in threads, and serial ones: processes have lists of their own"
    with pytest.raises(ExecutorError, match="cannot be given to a pool's process"):
        trial(Workload(item=cast("Any", None), call=lambda: None), asked(start_method="spawn"))
    called.parameters = ("connection",)
    with pytest.raises(ExecutorError, match="cannot be given to a pool's process"):
        trial(Workload(item=cast("Any", None), call=lambda: None), asked())


def test_a_call_that_cannot_be_moved_ends_all(trial: Callable[[Workload, RunPools], PoolRound]) -> None:
    """Nothing is held then."""
    work = of_given(partial(print, threading.Lock()))
    with pytest.raises(ExecutorError, match="cannot be moved to its workers"):
        trial(work, asked())
    assert work.held == {}
