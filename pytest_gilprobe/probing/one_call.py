"""Make one call by each strategy, if a call is too long to be repeated; the test's run in pytest is the serial call."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from pytest_gilprobe.model.readings import Round
from pytest_gilprobe.model.words import SERIAL
from pytest_gilprobe.probing.batches import Batches
from pytest_gilprobe.probing.budget import Budget
from pytest_gilprobe.probing.open_test import NotProbed, OpenTest
from pytest_gilprobe.probing.pace import BATCH_S, Pace

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import BatchReading
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.probing.schedule import Job, Progress
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.strategies.registry import Strategies
    from pytest_gilprobe.workers.parent.group import WorkerGroup


LEAST_CALLS = 2
"""Number of serial calls that must fit into the time of a probe, one to warm up and one to measure; if they do not fit,
a call counts as too long to be repeated."""


class TooLong(NotProbed):
    """Raised if a call is too long to be repeated; ``seen`` has the readings, at most one call a thread or process."""


def is_too_long(call_s: float, plan: Plan) -> bool:
    """Return whether two calls of ``call_s`` seconds, one after the other, take longer than ``plan`` allows a probe."""
    return call_s * LEAST_CALLS > plan.max_time_s


def measure(job: Job, test: OpenTest, group: WorkerGroup, strategies: Strategies, progress: Progress) -> NoReturn:
    """Make one call in each lane (thread, process ...) of every strategy for which there is time; then raise `TooLong`.

    The exception's text proposes a ``max_time``. Executors that the user named, and strategies with a worker process of
    their own, are left out. The times are stored in ``test.seen``, beside those of the serial call, which pytest made
    in its own run of the test. No calls are made if ``job`` has no times of that call, or if no strategy fits into the
    time. ``progress`` is called before each strategy, with its name and 1.
    """
    call_s, plan = job.known_call_s, job.plan
    needed = math.ceil(call_s * (2 + 2 * plan.workers))
    if job.own_run is not None:
        batches = Batches(test, group, strategies.serial, job.control_s, plan.timeout_s)
        _try_each(job.own_run, job, test, batches, progress)
    msg = f"one call takes {call_s:.1f} s, too long for max_time={plan.max_time_s:g}; max_time={needed} would do"
    raise TooLong(msg)


def _try_each(own: BatchReading, job: Job, test: OpenTest, batches: Batches, progress: Progress) -> None:
    pace, budget = Pace.of_first_call(own.lanes[0], BATCH_S), Budget(job.plan.max_time_s)

    def fits(strategy: Strategy) -> bool:
        if strategy.through_executor:  # its start makes several calls
            return False
        return pace.call_s * strategy.longest_factor(job.plan.workers, job.cpus, pace.busy) <= budget.left_s()

    if not any(map(fits, test.going_ones())):
        return
    test.start()
    test.set_up()
    test.end_those_apart("a call that is too long to be repeated is not made in a worker of the strategy's own")
    budget.restart()
    got: dict[str, BatchReading] = {SERIAL: own}
    try:
        for strategy in filter(fits, test.going_ones()):
            if not test.going(strategy):  # a worker that was lost may have ended it meanwhile
                continue
            progress(strategy.name, 1)
            batch = batches.parallel(strategy, pace, budget)
            if batch is not None:
                got[strategy.name] = batch
    except NotProbed:  # no worker can go on: what was tried until then counts
        pass
    test.seen = replace(test.seen, rounds=(Round(batches=got),))
    test.tear_down()
