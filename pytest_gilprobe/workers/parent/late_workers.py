"""End the worker processes that were forked while a fixture of pytest's own process had a file, pipe or socket open.

Such a worker holds the fixture's file, pipe or socket open, too. While it lives, a port that the fixture closes stays
in use, and a program that the fixture started never reads the end of its standard input. So such a worker ends before
the fixture is torn down; another one is started when needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.workers.parent.worker import wait_for_end
from pytest_gilprobe.workers.protocol import Stop

if TYPE_CHECKING:
    from pytest_gilprobe.observe.descriptors import OpenFile
    from pytest_gilprobe.workers.parent.group import WorkerGroup


def end_forked_since(group: WorkerGroup, moment_ns: int, before: frozenset[OpenFile]) -> None:
    """End the workers that were forked at ``moment_ns`` or later and inherited open files that are not in ``before``.

    Files include pipes and sockets. ``moment_ns`` is a time of `time.perf_counter_ns`. A worker may tear its own
    fixtures down, for at most `pytest_gilprobe.workers.parent.worker.END_S` seconds; then it is killed.
    """
    late = [(owner, one) for owner, one in group.everyone if one.started_ns >= moment_ns and one.inherited - before]
    idle = [worker for _, worker in late if worker.ready is not None and worker.running]
    for worker in idle:
        worker.send(Stop())
    wait_for_end(idle)
    for owner, worker in late:
        owner.discard(worker)
