"""Measure which speed-up the machine gives to threads that compute without the GIL, between the steps of a ladder.

A ladder measures the throughput of a test's calls with growing numbers of workers. The threads that are measured here
make calls of this tool's own, of about 1 ms each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model.ladder import Step
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretched

if TYPE_CHECKING:
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.parent.worker import Worker

SETTLE_S: Final = 0.005
"""Seconds at the start of each step (a timing of one number of threads) for which calls do not count: the time of a few
calls, of about 1 ms each."""
WINDOW_S: Final = 0.04
"""Seconds of each step (a timing of one number of threads) for which calls count: some 40 calls of each thread, and
longer than a scheduler's time slice."""
LEAD_S: Final = 0.01
"""Seconds from asking the worker process for a step (a timing of one number of threads) until the threads begin: the
worker makes their data meanwhile. `LEAD_PER_LANE_S` for each thread is added."""
LEAD_PER_LANE_S: Final = 0.0004
"""Seconds for each lane (such as a thread) that are added to the time from asking a worker process for a timing until
its lanes begin, since they need time to start."""
TIMEOUT_S: Final = 10.0
"""Seconds after which a step (a timing of one number of threads) counts as failed; one that works takes less than a
tenth of a second."""


class MachineSteps:
    """Measure which speed-up the machine gives to threads that compute without the GIL, in one worker process.

    One step measures one number of threads. Steps are made beside a ladder (throughput with growing, then falling
    numbers of workers): each number of threads is measured once while the ladder's numbers grow, and once while they
    fall. ``steps`` has all steps so far. ``broken`` is whether the worker was lost in a step; then no further step is
    made.
    """

    def __init__(self, group: WorkerGroup, worker: Worker, most: int, timeout_s: float) -> None:
        """Prepare to time up to ``most`` threads (one for each usable CPU) in ``worker``, a process of ``group``.

        Each timing is ended after ``timeout_s`` seconds, or after `TIMEOUT_S` if that is less.
        """
        self._group = group
        self._worker = worker
        self._most = most
        self._timeout_s = min(TIMEOUT_S, timeout_s)
        self.broken = False
        self._seen: set[int] = set()
        self.steps: tuple[Step, ...] = ()

    def begin_way_down(self) -> None:
        """Forget which numbers of threads were measured, so that `measure_beside` measures each of them once again.

        Call this when the ladder, beside which the threads are measured, begins to go down to fewer workers.
        """
        self._seen.clear()

    def measure_beside(self, workers: int) -> None:
        """Time one computing thread, then ``workers`` threads at once, but at most as many as there are CPUs.

        Numbers of threads that were timed before are left out, until `begin_way_down` is called. Each timing is
        appended to ``steps``, unless it fails.
        """
        for number in sorted({1, min(workers, self._most)} - self._seen):
            self._seen.add(number)
            found = self._step(number)
            if found is not None:
                self.steps = (*self.steps, found)

    def _step(self, lanes: int) -> Step | None:
        if self.broken or not self._worker.alive:
            return None
        begin_ns = clocks.perf_counter_ns() + round((LEAD_S + LEAD_PER_LANE_S * lanes) * 1e9)
        settled_ns = begin_ns + round(SETTLE_S * 1e9)
        until_ns = settled_ns + round(WINDOW_S * 1e9)
        asked = MachineStretch(lanes=lanes, begin_ns=begin_ns, until_ns=until_ns)
        answer = self._group.ask(self._worker, asked, self._timeout_s)
        self.broken = isinstance(answer, Lost)
        if not isinstance(answer, Stretched):
            return None
        return Step(
            workers=lanes,
            begin_ns=begin_ns,
            settled_ns=settled_ns,
            until_ns=until_ns,
            calls_per_mark=1,
            readings=(answer.reading,),
        )
