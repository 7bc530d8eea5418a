"""The strategy ``interpreters``: N subinterpreters of one process, each with a GIL of its own (CPython 3.14 and later).

Subinterpreters share nothing that Python code can see, so they gain what processes gain. Starting one takes about as
long as starting a process. Passing bytes or text to one costs less than passing them to another process.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import partial
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.report import async_snippets, pool_snippets
from pytest_gilprobe.strategies.dispatch_trial import DispatchTrial
from pytest_gilprobe.strategies.processes import Processes
from pytest_gilprobe.workers.child import dispatch, handing_over, interpreter_host
from pytest_gilprobe.workers.protocol import Batch, TransferMeasured

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_gilprobe.model.ladder import StretchReading
    from pytest_gilprobe.model.readings import Evidence, WorkerReading
    from pytest_gilprobe.model.results import Callee
    from pytest_gilprobe.model.words import Bound, Gil
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.naming import Given
    from pytest_gilprobe.workers.stretch_messages import Stretch
    from pytest_gilprobe.workers.worker_spec import WorkerMain

NEEDED = "subinterpreters with a GIL of their own need CPython 3.14"
"""Why subinterpreters are not tried on an earlier Python, on another implementation and on a free-threaded build."""
FIRST_PYTHON = (3, 14)
"""First Python whose library has `concurrent.interpreters` and `InterpreterPoolExecutor`. *Source:* PEP 734."""


class Interpreters(Processes):
    """The strategy of N subinterpreters in one process that never forks.

    It counts as costlier than processes: a subinterpreter takes as long to start and as much memory as a process, and
    most extension modules do not load in one. So it is advised only if it gives more than processes.
    """

    name = "interpreters"
    rank = 45
    by_default = False
    trial = DispatchTrial(work_s=200e-6, tasks=24, rounds=9)
    warmed_up_by_serial = False
    moves_by_itself = True
    outside = "outside the interpreters: a lock of their process, a server, a disk or the like"
    lane_nouns = ("interpreter", "interpreters")
    color = "pink"
    icon = "M1.5 2.5h13v11h-13zM8 2.5v11"

    def refuses(self, work: Workload) -> str | None:
        """Return why subinterpreters cannot be tried: this Python has none with a GIL of their own; else ``None``."""
        is_cpython = sys.implementation.name == "cpython"
        if is_cpython and sys.version_info >= FIRST_PYTHON and not sysconfig.get_config_var("Py_GIL_DISABLED"):
            return None
        return NEEDED

    def worker_main(self) -> WorkerMain | None:
        """Return the main function of the worker process that hosts the subinterpreters, and serves only this strategy.

        That process never forks, and the test is set up only in its subinterpreters.
        """
        return partial(interpreter_host.serve, self)

    def workers_needed(self, lanes: int) -> int:
        """Return 1: one worker process hosts all subinterpreters."""
        return 1

    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return the message that asks for a batch (calls timed together): for the process with all subinterpreters.

        It asks for ``calls`` calls in each of ``lanes`` subinterpreters.
        """
        return (Batch(strategy=self.name, calls=calls, lanes=lanes),)

    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make the calls of a batch (calls timed together) in one subinterpreter; return the readings of its clocks.

        This method is called in that subinterpreter. Raises `ValueError` if ``question`` asks for several lanes
        (subinterpreters): only the process that hosts them can answer that.
        """
        _check_alone(question)
        return super().run(work, question)

    def stretch(self, work: Workload, question: Stretch) -> StretchReading | None:
        """Make calls without a pause for a set time; return the moments at which calls were completed.

        This method is called in the one subinterpreter that makes the calls. Raises `ValueError` if ``question`` asks
        for several lanes (subinterpreters).
        """
        _check_alone(question)
        return super().stretch(work, question)

    def executor(self, workers: int, start_method: str) -> Executor | None:
        """Return a new `InterpreterPoolExecutor` of ``workers`` interpreters, with the ``sys.path`` of this process."""
        from concurrent import futures  # noqa: PLC0415 - CPython 3.14 and later

        pool: type[Executor] = futures.InterpreterPoolExecutor  # type: ignore[attr-defined, unused-ignore]
        return pool(workers, initializer=dispatch.use_path, initargs=(list(sys.path),))  # type: ignore[call-arg]

    def measure_transfer(self, given: Given, result: object) -> TransferMeasured:
        """Measure how long it takes to pass a call's arguments to a subinterpreter, and its ``result`` back.

        ``given`` has the arguments.
        """
        return handing_over.measure(given, result)

    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return why subinterpreters are advised: why threads gain less, and what they have over processes."""
        why = super().why_advised(evidence, bound, gil)
        processes = evidence.results.get("processes")
        if processes is None or processes.outcome is not Outcome.OK or processes.pool_speedup is None:
            return why
        return f"{why}, and {self._over_processes(evidence)}"

    def _over_processes(self, evidence: Evidence) -> str:
        """Say what a call costs less here than in processes, beside its own time."""
        here, there = (evidence.results[name] for name in (self.name, "processes"))
        costs = [
            (what, mine, theirs)
            for what, mine, theirs in (
                ("moving the data of a call", here.transfer_s_per_call, there.transfer_s_per_call),
                ("dispatching a call", here.dispatch_s_per_call, there.dispatch_s_per_call),
            )
            if mine is not None and theirs is not None and mine < theirs
        ]
        if not costs:
            most = evidence.at_once("processes")
            return (
                f"processes give only {numbers.about(min(there.pool_speedup.value, most) if there.pool_speedup else 1)}"
            )
        what, mine, theirs = max(costs, key=lambda cost: cost[2] - cost[1])
        return f"{what} takes {numbers.seconds(mine)} instead of {numbers.seconds(theirs)} for processes"

    def cautions(self, evidence: Evidence, verdict: object) -> tuple[Caution, ...]:
        """Return an empty tuple: the warnings that there are about processes do not hold for subinterpreters."""
        return ()

    def when_broken(self, outcome: Outcome) -> Caution:
        """Return the warning that calls failed, hung or crashed in subinterpreters; ``outcome`` says which."""
        return Caution(
            slug=f"fails-in-{self.name}",
            message=f"in {self.name} it {outcome}: not all that a process may do is allowed in them",
        )

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make calls in an interpreter pool, under the guard ``if __name__ == "__main__":``.

        ``workers`` is how many interpreters the pool has. ``calls_per_task`` is how many calls one task makes; it is
        ignored if the calls are awaited. This method never returns ``None``.
        """
        if callee.awaited:
            return async_snippets.in_executor("InterpreterPoolExecutor", callee, workers)
        return pool_snippets.interpreter_pool(callee, workers, calls_per_task)


def _check_alone(question: Batch | Stretch) -> None:
    """Refuse what is for a host of interpreters in a worker that hosts none: nothing is measured there as if it did."""
    if question.lanes != 1:
        msg = f"a batch or stretch of {question.lanes} interpreters reached a worker that hosts none"
        raise ValueError(msg)
