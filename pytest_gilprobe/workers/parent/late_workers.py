"""End the worker processes that were forked while a fixture of pytest's own process had a file, pipe or socket open.

A forked process holds open what was open in pytest's process. A program that a fixture started, and that ends with its
standard input, would go on for as long as a worker holds the pipe, and a port that a fixture closes would stay in use.
So those workers end before the fixture is torn down; others are started when needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.workers.parent.worker import wait_for_end
from pytest_gilprobe.workers.protocol import Stop

if TYPE_CHECKING:
    from pytest_gilprobe.observe.descriptors import OpenFile
    from pytest_gilprobe.workers.parent.group import WorkerGroup


def end_forked_since(group: WorkerGroup, moment_ns: int, before: frozenset[OpenFile]) -> None:
    """End the workers that were forked at ``moment_ns`` or later, and hold open what was not open ``before``.

    ``moment_ns`` is a time of `time.perf_counter_ns`. The workers may tear their own fixtures down, which takes at most
    `pytest_gilprobe.workers.parent.worker.END_S` seconds; then they are killed.
    """
    late = [(owner, one) for owner, one in group.everyone if one.started_ns >= moment_ns and one.inherited - before]
    idle = [worker for _, worker in late if worker.ready is not None and worker.running]
    for worker in idle:
        worker.send(Stop())
    wait_for_end(idle)
    for owner, worker in late:
        owner.discard(worker)
