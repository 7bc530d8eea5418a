"""The strategy ``tasks``: N calls of a coroutine function at once in one event loop, which runs in one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.model.thresholds import HARDLY_HELD
from pytest_gilprobe.model.words import CallKind, Outcome
from pytest_gilprobe.report import async_snippets
from pytest_gilprobe.strategies.contract import MOST_LANES, Strategy
from pytest_gilprobe.verdict import blocking, loop_code
from pytest_gilprobe.workers.child import loops
from pytest_gilprobe.workers.protocol import Batch

if TYPE_CHECKING:
    from pytest_gilprobe.model.ladder import StretchReading
    from pytest_gilprobe.model.loop_time import EventLoop
    from pytest_gilprobe.model.readings import Evidence, WorkerReading
    from pytest_gilprobe.model.results import Callee, GilResult, Verdict
    from pytest_gilprobe.model.words import Bound, Gil
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.stretch_messages import Stretch


class Tasks(Strategy):
    """The strategy of N tasks in the event loop that runs the test: all share its fixtures, context and connections.

    Making a task costs next to nothing. So a task group in the user's code gains what was measured, and no cost of
    dispatching is predicted.
    """

    name = "tasks"
    rank = 10
    one_process = True
    one_thread = True
    samples_gil = False
    scales = True
    bottleneck = "the event loop, which a call blocks"
    lane_nouns = ("task", "tasks")
    color = "purple"
    icon = "M8 2a6 6 0 1 0 6 6M8 8V4.5M8 8h2.5"

    def exists_for(self, kind: CallKind) -> bool:
        """Return whether ``kind`` is that of awaited calls: a plain function cannot be a task."""
        return kind is CallKind.AWAITED

    def refuses(self, work: Workload) -> str | None:
        """Return why calls cannot be tasks in the test's event loop, as when no loop is known; ``None`` if they can."""
        if work.home is not None:
            return None if work.fresh is None else work.fresh.alone
        if loops.is_drawn_coroutine(work.item):
            return "Hypothesis calls it: one call is a series of examples, each in a run of the event loop of its own"
        if work.is_coroutine:
            return "its plugin runs it in an event loop that is neither asyncio's nor trio's"
        return "the call is not awaited in an event loop"

    def workers_needed(self, lanes: int) -> int:
        """Return 1: all tasks run in one worker process."""
        return 1

    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return a tuple of one message, which asks the first worker process for a batch (calls timed together).

        All tasks run in this process: the message asks for ``calls`` calls in each of ``lanes`` tasks.
        """
        return (Batch(strategy=self.name, calls=calls, lanes=lanes),)

    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make the calls of a batch (calls timed together) in new tasks; return the readings of the clocks.

        The tasks run in the test's own event loop. ``question`` says how many there are, and how many calls each makes.
        """
        return work.tasks(question.calls, question.lanes)

    def stretch(self, work: Workload, question: Stretch) -> StretchReading | None:
        """Make calls without a pause for a set time in new tasks; return the moments at which calls were completed.

        The tasks run in the test's own event loop. Returns ``None`` if there is no such loop. Raises `WorkloadError` if
        a call raises.
        """
        return work.stretch_of_tasks(question)

    def most_lanes(self, cpus: int, busy: float) -> int:
        """Return `MOST_LANES`, the largest number of tasks to try if the user names none.

        Tasks cost next to nothing, and no more of them are tried once further tasks gain nothing.
        """
        return MOST_LANES

    def longest_factor(self, lanes: int, cpus: int, busy: float) -> float:
        """Return ``lanes``: the longest time that a batch may take, as a multiple of a serial batch's time.

        A batch is a number of calls that are timed together, in ``lanes`` tasks. In the worst case, every call blocks
        the event loop for all of its time.
        """
        return float(lanes)

    def ceiling(self, gil: GilResult, loop: EventLoop | None) -> Estimate | None:
        """Return 1 / f, which tasks cannot exceed in speed-up: f is the share of time for which calls block the loop.

        The share is taken from ``loop``. ``None`` if it is unknown or next to 0.
        """
        blocked = None if loop is None else loop.blocked_fraction
        if blocked is None or blocked.low < HARDLY_HELD:
            return None
        return Estimate(
            value=1 / blocked.value, low=1 / blocked.high, high=1 / blocked.low, confidence=blocked.confidence
        )

    def gain_text(self, workers: int, speedup: float) -> str:
        """Return the phrase for the speed-up of ``workers`` tasks, such as ``2 tasks of one loop give 1.9x``."""
        return f"{self.lanes_text(workers)} of one loop give {numbers.about(min(speedup, float(workers)))}"

    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return why tasks are advised: a call leaves the event loop to the others while it waits."""
        loop = evidence.event_loop
        if loop is None or loop.blocked_fraction is None:
            return "a call that waits leaves the event loop to the others"
        free = numbers.percent(1 - loop.blocked_fraction.value)
        return f"a call leaves the event loop free for {free} of its time"

    def costs_text(self, evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
        """Return a clause on how not to block the event loop; empty if tasks are advised or if no way is known."""
        loop = evidence.event_loop
        if verdict.strategy == self.name or loop is None:
            return ()
        said = blocking.short_remedy(loop, evidence.measurement.workers, _library(evidence))
        return () if said is None else (said,)

    def when_broken(self, outcome: Outcome) -> Caution:
        """Return the warning that several calls at once failed, hung or crashed in one loop; ``outcome`` says which."""
        return Caution(
            slug=f"unsafe-in-{self.name}",
            message=f"in {self.name} it {outcome}: do not make several calls at once before that is mended",
        )

    def cautions(self, evidence: Evidence, verdict: Verdict) -> tuple[Caution, ...]:
        """Return warnings if calls block the event loop, by a sleep that is not awaited or by waiting for the GIL."""
        loop, workers, library = evidence.event_loop, evidence.measurement.workers, _library(evidence)
        if loop is None or loop.shares is None:
            return ()
        found = []
        if loop.shares.blocking >= blocking.WORTH_TELLING:
            share, moves = numbers.percent(loop.shares.blocking), blocking.moves(loop, workers, library)
            what = blocking.remedy(blocking.best(moves)) if moves else blocking.short_remedy(loop, workers, library)
            message = (
                f"it blocks the event loop: for {share} of its time a call sleeps in something not awaited, such as "
                f"time.sleep or a blocking client; {what}"
            )
            found.append(Caution(slug="blocks-the-loop", message=message))
        if loop.shares.gil_wait >= blocking.WORTH_TELLING:
            share, where = numbers.percent(loop.shares.gil_wait), blocking.held_elsewhere(loop)
            write = loop_code.of(library)
            message = (
                f"the event loop waits for the GIL for {share} of a call's time: other threads, such as those of "
                f"{write.to_thread}, compute in Python{where}; do that in a process pool, {write.by_pool}"
            )
            found.append(Caution(slug="loop-waits-for-gil", message=message))
        return tuple(found)

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make each call in a task of its own, at most ``workers`` at once; never ``None``."""
        return async_snippets.task_group(callee, workers)


def _library(evidence: Evidence) -> str | None:
    """Return the library of the loop that awaits the calls; ``None`` if it is not known."""
    callee = evidence.measurement.callee
    return None if callee is None else callee.awaited_by
