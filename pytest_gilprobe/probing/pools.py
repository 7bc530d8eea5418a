"""Time calls through executors (pools of workers), if the advice depends on what executors cost."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import EXTRA_CORES
from pytest_gilprobe.probing.batches import LIMIT_SHARE, span_s
from pytest_gilprobe.probing.open_test import NotProbed, text_of
from pytest_gilprobe.stats.rounds import extra_cores
from pytest_gilprobe.workers.pool_messages import PoolsRan, RunPools

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.probing.budget import Budget
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.probing.pace import Pace
    from pytest_gilprobe.workers.parent.group import WorkerGroup

FEWEST_CALLS = 4
"""Smallest number of calls for each worker of an executor in one series of calls through it: fewer would only show how
an executor starts and ends a series."""
LEAST_LIMIT_S = 5.0
"""Shortest time limit, in seconds, after which a task of an executor counts as lost. The limit is shorter only if 80 %
(`LIMIT_SHARE`) of the time-out of a batch (a timed series of calls) is less than this."""
MOST_TIMES = 20
"""A task (one call) of an executor counts as lost if it takes longer than this many times the expected time of a whole
series of serial calls, but not before `LEAST_LIMIT_S` seconds."""


def question_of(test: OpenTest, group: WorkerGroup, plan: Plan, pace: Pace) -> RunPools:
    """Return the message that asks a worker for a round: a series of serial calls, and one through each executor.

    The executors are those of the strategies that have not failed or been skipped. Strategies without an executor of
    the standard library, or with a worker process of their own, are left out. The message names no strategy if calls of
    this test cannot be made in an executor. ``pace`` says how many calls a series has for each worker, and ``plan`` how
    many workers an executor has.
    """
    strategies = tuple(one.name for one in test.going_ones() if one.trial is not None and one.worker_main() is None)
    if not _may_be_submitted(test, group):
        strategies = ()
    calls = max(FEWEST_CALLS, pace.calls)
    return RunPools(
        strategies=strategies,
        calls=calls,
        workers=plan.workers,
        start_method=group.start_method,
        limit_s=min(plan.timeout_s * LIMIT_SHARE, max(LEAST_LIMIT_S, MOST_TIMES * calls * pace.call_s)),
    )


def _may_be_submitted(test: OpenTest, group: WorkerGroup) -> bool:
    """Return whether calls can be given to an executor: plain ones with the same arguments, as the user would.

    A test's fixtures cannot: they may be a connection, which processes must not share. Forked processes inherit a test
    without any. Nor can calls with threads of their own: a process that is forked beside those may hang.
    """
    callee = test.seen.callee
    if any(extra_cores(one.serial) > EXTRA_CORES for one in test.seen.rounds):
        return False
    if test.most_calls is not None or test.seen.awaited or callee is None or callee.awaited:
        return False
    return (test.given and callee.importable) or (group.start_method == "fork" and not callee.parameters)


def make_round(test: OpenTest, group: WorkerGroup, question: RunPools, budget: Budget) -> None:
    """Make a round (a series of serial calls, and one through each executor), and add its times to ``test.seen``.

    ``question`` is the message that asks a worker process for the round. No round is made if it names no strategy, or
    if ``budget`` has too little time left. A round may also fail, as a call may not work in an executor; the worker is
    then replaced. In these cases, ``test.seen`` gets the reason, and the verdict rests on predicted costs of executors.
    """
    seen = test.seen
    if not question.strategies:
        test.seen = replace(seen, pools_ended="its calls cannot be made in executors")
    elif budget.left_s() < _round_s(seen):
        test.seen = replace(seen, pools_ended="time was up")
    else:
        answer = group.ask(test.workers[0], replace(question, number=len(seen.pool_rounds)))
        if isinstance(answer, PoolsRan):
            test.seen = replace(seen, pool_rounds=(*seen.pool_rounds, answer.round))
            return
        test.seen = replace(seen, pools_ended=text_of(answer))
        with contextlib.suppress(NotProbed):  # there is no other worker: the rounds still count
            test.mend(distrusted=test.workers[0])


def _round_s(seen: Measurement) -> float:
    """Return about how long a round takes: as long as the last one, or at first as one of bare calls."""
    if not seen.pool_rounds:
        return sum(map(span_s, seen.rounds[-1].batches.values()))
    last = seen.pool_rounds[-1]
    return (last.alone.wall_ns + sum(one.wall_ns for one in last.pooled.values())) / 1e9
