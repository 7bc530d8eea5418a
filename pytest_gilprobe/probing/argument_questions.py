"""Find out in a worker process whether calls change their arguments, so that later calls may do other work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.readings import End
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.verdict import same_call
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import ArgumentsCompared

if TYPE_CHECKING:
    from pytest_gilprobe.probing.budget import Budget
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.protocol import CompareArguments, WatchArguments


def ask_of_arguments(
    test: OpenTest, group: WorkerGroup, budget: Budget, question: WatchArguments | CompareArguments
) -> None:
    """Ask the first worker process to record the arguments of the test's call, or compare them with an earlier record.

    ``question`` says which of the two. A comparison stores in ``test.seen`` whether the calls made so far have changed
    their arguments, and how long calls with changed and with recorded arguments take. If these times show that the
    timed calls do other work than the test's own call, every strategy that has not failed, except serial calls, gets
    the outcome ``skipped``. The time that the worker takes does not count for ``budget``. If the worker is lost
    meanwhile, it is replaced, and nothing is stored.
    """
    with budget.paused():
        answer = group.ask(test.workers[0], question)
        if isinstance(answer, Lost):
            test.mend()
    if not isinstance(answer, ArgumentsCompared) or answer.reading is None:
        return
    test.seen = replace(test.seen, arguments=answer.reading)
    if same_call.differs(test.seen):
        for strategy in test.going_ones():
            test.end(strategy, End(outcome=Outcome.SKIPPED, error=same_call.not_compared(test.seen)))
