"""The strategy ``threads``: N threads of one process, which share its GIL, its locks and its memory."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.model.thresholds import HARDLY_HELD
from pytest_gilprobe.model.words import Bound, CallKind, Gil
from pytest_gilprobe.report import async_snippets, pool_snippets
from pytest_gilprobe.stats import dispatch
from pytest_gilprobe.strategies.contract import COMPUTES, MOST_LANES, Strategy
from pytest_gilprobe.strategies.dispatch_trial import DispatchTrial
from pytest_gilprobe.workers.child import batch, bursts, stretch, workload
from pytest_gilprobe.workers.protocol import Batch

if TYPE_CHECKING:
    from pytest_gilprobe.model.ladder import StretchReading
    from pytest_gilprobe.model.loop_time import EventLoop
    from pytest_gilprobe.model.readings import Evidence, WorkerReading
    from pytest_gilprobe.model.results import Callee, GilResult
    from pytest_gilprobe.model.words import Outcome
    from pytest_gilprobe.stats.dispatch import PoolInputs
    from pytest_gilprobe.workers.burst_messages import BurstPair, MakeBursts
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.stretch_messages import Stretch

MATTERS = 0.05
"""Dispatching a call holds the GIL. The predicted speed-up in a thread pool takes this into account if dispatching
takes at least this share of the call's time."""
SLACK = 1.1
"""Factor by which a predicted speed-up of threads may exceed its limit. The limit is computed from how long calls and
dispatching hold the GIL, and these times have errors."""


class Threads(Strategy):
    """The strategy of N threads in one process."""

    name = "threads"
    rank = 20
    one_process = True
    samples_gil = True
    scales = True
    trial = DispatchTrial(work_s=60e-6, tasks=60, rounds=15)  # fewer tasks would not reach all threads
    bottleneck = "the GIL, which a call holds"
    lane_nouns = ("thread", "threads")
    color = "green"
    icon = "M1.5 4h13M1.5 8h13M1.5 12h13"

    def __init_subclass__(cls) -> None:
        """Have no curve of a strategy with a `run` of its own, unless it says otherwise or has its own `stretch`."""
        super().__init_subclass__()
        if "scales" not in cls.__dict__:
            cls.scales = cls.stretch is not Threads.stretch or (cls.scales and cls.run is Threads.run)

    def default_for(self, kind: CallKind) -> bool:
        """Return whether threads are tried if ``strategies=`` is not given: only if ``kind`` is that of plain calls.

        Nobody would start a thread and an event loop for each awaited call.
        """
        return self.by_default and kind is CallKind.PLAIN

    def refuses(self, work: Workload) -> str | None:
        """Return why the test must not run in threads, such as an unsafe fixture; ``None`` if no reason is known."""
        return workload.unsafe_in_threads(work)

    def workers_needed(self, lanes: int) -> int:
        """Return 1: all threads run in one worker process."""
        return 1

    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return the message that asks for a batch (calls timed together): for the first worker process.

        It asks for ``calls`` calls in each of ``lanes`` threads.
        """
        return (Batch(strategy=self.name, calls=calls, lanes=lanes),)

    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make the calls of a batch (calls timed together) in new threads; return the readings of their clocks.

        The threads start together. ``question`` says how many there are, and how many calls each makes.
        """
        return batch.run_threads([work.lane(number) for number in range(question.lanes)], question.calls)

    def bursts(self, work: Workload, question: MakeBursts) -> tuple[BurstPair, ...]:
        """Make pairs of very short batches (calls timed together) in new threads; return each pair's clock readings.

        A pair is a batch in one of the threads alone, then one in all threads. ``question`` says how many pairs,
        threads and calls. Pairs in which a thread waited too long for a CPU are left out. For a subclass with its own
        `run`, `Strategy.bursts` makes the pairs.
        """
        if type(self).run is not Threads.run:
            return super().bursts(work, question)
        lanes = [work.lane(number) for number in range(question.lanes)]
        return bursts.run_threads(lanes, question.calls, question.number)

    def longest_factor(self, lanes: int, cpus: int, busy: float) -> float:
        """Return the longest time that a batch (calls timed together) may take, as a multiple of a serial batch's time.

        In the worst case, the GIL makes the ``lanes`` threads take turns. ``busy`` is a call's CPU time divided by its
        duration; ``cpus`` is ignored. The result is at least 1.
        """
        return max(1.0, busy * lanes)

    def stretch(self, work: Workload, question: Stretch) -> StretchReading | None:
        """Make calls without a pause for a set time in new threads; return the moments at which calls were completed.

        The threads start together.
        """
        return stretch.run_threads([work.lane(number) for number in range(question.lanes)], question)

    def most_lanes(self, cpus: int, busy: float) -> int:
        """Return the largest number of threads worth trying if the user names none.

        That is `MOST_LANES` for calls that wait, else twice ``cpus`` but at most `MOST_LANES`. Calls wait if ``busy``,
        their CPU time divided by their duration, is below `COMPUTES`.
        """
        return MOST_LANES if busy < COMPUTES else min(2 * cpus, MOST_LANES)

    def executor(self, workers: int, start_method: str) -> Executor | None:
        """Return a new `ThreadPoolExecutor` of ``workers`` threads."""
        return ThreadPoolExecutor(workers)

    def ceiling(self, gil: GilResult, loop: EventLoop | None) -> Estimate | None:
        """Return 1 / f, which the speed-up of threads cannot exceed: a call holds the GIL for a share f of its time.

        The share is taken from ``gil``; ``loop`` is ignored. ``None`` if the share is unknown or next to 0.
        """
        held = gil.held_fraction
        if held is None or held.low < HARDLY_HELD:
            return None
        return Estimate(value=1 / held.value, low=1 / held.high, high=1 / held.low, confidence=held.confidence)

    def in_pool(self, speedup: Estimate, inputs: PoolInputs) -> Estimate:
        """Return the speed-up to expect in a `ThreadPoolExecutor`, in which dispatching takes the GIL from the calls.

        It is predicted from ``speedup``, the measured speed-up of the calls without an executor, and from ``inputs``,
        such as the costs of dispatching tasks.
        """
        found = dispatch.dispatched(speedup, inputs)
        held, call_s = inputs.gil.held_fraction, inputs.serial.call_s
        if not inputs.gil_on or held is None or inputs.costs is None or inputs.task_s < call_s.value * MATTERS:
            return found
        turns = (
            (call_s.value, held.value, inputs.task_s),
            (call_s.low, held.high, inputs.task_high_s),
            (call_s.high, held.low, inputs.task_s),
        )
        return dispatch.capped_each(
            found, (SLACK * call / max(call * share + task, 1e-12) for call, share, task in turns)
        )

    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return why threads are advised: what lets their calls overlap."""
        held = evidence.gil.held_fraction
        if gil is Gil.ABSENT:
            return "no GIL stands in the way"
        if bound is Bound.IO:
            return "a waiting thread releases the GIL"
        if held is not None:
            return f"the GIL is held for {numbers.percent(held.value)} of the time, so threads overlap"
        return "the threads overlap"

    def when_broken(self, outcome: Outcome) -> Caution:
        """Return the warning that the code is not safe in threads: it failed, hung or crashed, as ``outcome`` says."""
        return Caution(
            slug=f"unsafe-in-{self.name}",
            message=f"in {self.name} it {outcome}: do not run it in {self.name} before that is mended",
        )

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make calls in a thread pool; never ``None``.

        ``workers`` is how many threads the pool has. ``calls_per_task`` is how many calls one task makes: a helper
        function makes these calls, since the pool's ``map`` ignores ``chunksize``. If the calls are awaited,
        ``calls_per_task`` is ignored.
        """
        if callee.awaited:
            return async_snippets.in_executor("ThreadPoolExecutor", callee, workers)
        return pool_snippets.thread_pool(callee, workers, calls_per_task)
