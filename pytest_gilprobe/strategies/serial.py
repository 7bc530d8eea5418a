"""The strategy ``serial``: one call after the other in one worker's main thread, the base of every speed-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import words
from pytest_gilprobe.report import async_snippets, pool_snippets
from pytest_gilprobe.strategies.contract import Strategy
from pytest_gilprobe.verdict import reasons
from pytest_gilprobe.workers.protocol import Batch

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Evidence, WorkerReading
    from pytest_gilprobe.model.results import Callee
    from pytest_gilprobe.model.words import Bound, Gil
    from pytest_gilprobe.workers.child.workload import Workload


class Serial(Strategy):
    """The strategy of serial calls: one call after the other."""

    name = words.SERIAL
    rank = 0
    samples_gil = True
    color = "blue"
    icon = "M1.5 8h12M9.5 4l4 4-4 4"

    def workers_needed(self, lanes: int) -> int:
        """Return 1: all calls are made in one worker process, whatever ``lanes`` is."""
        return 1

    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return the message that asks for a batch (calls timed together): ``calls`` calls in the first worker process.

        ``lanes`` is ignored.
        """
        return (Batch(strategy=self.name, calls=calls),)

    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make the calls of a batch (calls timed together) one after the other; return the readings of the clocks.

        They are made in the main thread of this worker process. ``question`` says how many there are.
        """
        return work.serial(question.calls, question.begin_ns)

    def lanes_text(self, workers: int) -> str:
        """Return the phrase ``serial calls``, whatever the number of workers."""
        return "serial calls"

    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return why no parallel strategy is advised, as the part of a sentence that follows the speed-ups."""
        return reasons.why_serial(evidence, gil).why

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make one call of ``callee`` after the other, in a comprehension; never ``None``."""
        if callee.awaited:
            return async_snippets.one_by_one(callee)
        return pool_snippets.one_by_one(callee)
