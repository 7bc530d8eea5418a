"""Make the first call in all workers at once, so that imports, compiling and connecting are done before measuring."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.readings import BatchReading
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.probing.batches import not_again, shortly
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import Done, Prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gilprobe.probing.budget import Budget
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.strategies.registry import Strategies
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.protocol import Answer


def warm_up(
    test: OpenTest, group: WorkerGroup, strategies: Strategies, budget: Budget
) -> tuple[BatchReading, Mapping[str, BatchReading]]:
    """Make the first call in all worker processes at once, so that it is not part of what is measured later.

    If the test passed a function and its arguments to the `gilprobe` fixture, the first worker keeps the call's result,
    to measure later how long moving it takes.

    Returns two values. The first one is the reading of the first worker's call. The second one is for strategies whose
    first batch would make just these calls: it maps their names to the readings of all workers, as a batch.

    If the call fails in one of several workers, the strategies that need several are recorded as failed, and the second
    value is empty. One worker in which the call worked is kept in use. If there is none, the call is made once more, in
    a new worker. Raises `NotProbed` if that fails, if the call hung in all workers, or if it failed and there is only
    one worker. The time after a failure does not count for ``budget``, the time limit of the probe.
    """
    answers = _first_calls(test, group, strategies.serial)
    readings = [answer.reading for answer in answers if isinstance(answer, Done)]
    if len(readings) == len(answers):
        whole = BatchReading(workers=tuple(readings))
        alike = [one for one in test.going_ones() if one.warmed_up_by_serial]
        counts = {one.name: whole for one in alike if one.workers_needed(test.seen.workers) == len(readings)}
        return BatchReading(workers=(readings[0],)), counts
    with budget.paused():
        worked = _alone(test, group, answers, strategies.serial)
    return BatchReading(workers=(worked.reading,)), {}


def _first_calls(test: OpenTest, group: WorkerGroup, serial: Strategy) -> list[Answer | Lost]:
    (question,) = serial.questions(1, 1)
    question = replace(question, begin_ns=shortly())
    first, *others = test.workers
    if test.most_calls is not None:
        group.ask_each([(worker, Prepare(calls=1)) for worker in test.workers])
    return group.ask_each([(first, replace(question, keep_result=test.given)), *((one, question) for one in others)])


def _alone(test: OpenTest, group: WorkerGroup, answers: Sequence[Answer | Lost], serial: Strategy) -> Done:
    """Go on in one worker after a first call failed: one in which it worked, else a new one, without company."""
    again = "again in a worker process"
    bad = next(answer for answer in answers if not isinstance(answer, Done))
    hung = all(isinstance(answer, Lost) and answer.outcome is Outcome.HUNG for answer in answers)
    if len(answers) == 1 or hung:
        raise not_again(test, again, bad)
    workers = list(test.workers)
    test.end_those_in_several(bad, f"its first call in one of {len(answers)} processes at once")
    for worker, answer in zip(workers, answers, strict=True):
        if isinstance(answer, Done):
            test.keep_only(worker)
            return answer
    for worker in workers[1:]:
        if worker.alive:
            group.discard(worker)
    test.mend(distrusted=workers[0])
    answer = _first_calls(test, group, serial)[0]
    if not isinstance(answer, Done):
        raise not_again(test, again, answer)
    return answer
