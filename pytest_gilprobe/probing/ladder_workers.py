"""Set a test up, and call it once, in as many worker processes as a step of a ladder needs.

A ladder measures a strategy's throughput with growing numbers of workers, one number a step. If set-up fails, only the
ladder lacks results: the strategy's other results stay valid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import Done, Opened

if TYPE_CHECKING:
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.parent.worker import Worker
    from pytest_gilprobe.workers.protocol import Answer


def ready(
    test: OpenTest, group: WorkerGroup, strategy: Strategy, serial: Strategy, lanes: int
) -> list[Worker] | Answer | Lost:
    """Set the test up in the processes in which ``strategy`` runs ``lanes`` lanes, and return these processes.

    A lane is a thread, process or interpreter that makes calls. Most strategies use the workers of ``group``: if the
    test is set up in too few of them, it is set up in more, and the strategy ``serial`` calls it once there. If
    ``strategy`` has a worker process of its own, the test is set up and called in further lanes of that process. If
    anything fails, return the worker's answer that says so.
    """
    if strategy.worker_main() is None:
        return _usual(test, group, serial, strategy.workers_needed(lanes))
    bad = test.apart.widened(strategy, replace(test.opening, lanes=lanes))
    return test.workers_of(strategy) if bad is None else bad


def _usual(test: OpenTest, group: WorkerGroup, serial: Strategy, needed: int) -> list[Worker] | Answer | Lost:
    """Open the test in spare workers of the session, if there are not enough in which it is open."""
    alive = [worker for worker in (*test.workers, *test.spare) if worker.alive]
    if len(alive) >= needed:
        return alive[:needed]
    found = group.ready(needed)
    if isinstance(found, Lost):
        return found
    new = [worker for worker in found if worker not in alive][: needed - len(alive)]
    opened = group.ask_all(new, test.opening)
    test.spare += [worker for worker, answer in zip(new, opened, strict=True) if isinstance(answer, Opened)]
    bad = next((answer for answer in opened if not isinstance(answer, Opened)), None)
    if bad is not None:
        return bad
    (question,) = serial.questions(1, 1)
    called = group.ask_all(new, question)
    return next((answer for answer in called if not isinstance(answer, Done)), [*alive, *new])
