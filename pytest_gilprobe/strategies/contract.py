"""Define what a strategy is: one object with everything that is special about one way to run many calls.

Schedule, statistics, verdict, gates, reports and comparison loop over the existing strategies and do not refer to a
strategy by its name. To add a strategy, subclass `Strategy` (or a strategy that is nearly the same), and return an
instance from the hook ``pytest_gilprobe_strategies`` in a conftest file or a plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.model.words import CallKind, Outcome
from pytest_gilprobe.stats import dispatch
from pytest_gilprobe.workers.burst_messages import BurstPair
from pytest_gilprobe.workers.child import transfer
from pytest_gilprobe.workers.protocol import Batch, TransferMeasured

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.ladder import StretchReading
    from pytest_gilprobe.model.loop_time import EventLoop
    from pytest_gilprobe.model.readings import Evidence, WorkerReading
    from pytest_gilprobe.model.results import Callee, GilResult, Verdict
    from pytest_gilprobe.model.words import Bound, Gil
    from pytest_gilprobe.stats.dispatch import PoolInputs
    from pytest_gilprobe.workers.burst_messages import MakeBursts
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.executor_messages import StartExecutor
    from pytest_gilprobe.workers.naming import Given
    from pytest_gilprobe.workers.stretch_messages import Stretch
    from pytest_gilprobe.workers.worker_spec import WorkerMain


MOST_LANES = 64
"""Most threads or tasks with which a curve (throughput by number of lanes) is measured, if the user names no
numbers."""
MOST_PROCESSES = 32
"""Most worker processes with which a curve is measured, if the user names no numbers: each process is a whole pytest
session. With more CPUs than this, a curve has up to one process for each CPU, but at most `MOST_LANES`."""
COMPUTES = 0.95
"""CPU utilization of calls from which a curve has only one number of threads that exceeds the number of CPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchTrial:
    """The tasks by which an executor is timed to learn what dispatching costs.

    Each of ``rounds`` rounds has ``tasks`` tasks that compute for about ``work_s`` seconds. The time lost to
    dispatching grows with a task's length. So ``work_s`` should be near the length of call at which the executor begins
    to pay off. See `pytest_gilprobe.workers.child.dispatch`.
    """

    work_s: float
    tasks: int
    rounds: int


class Strategy(ABC):
    """One way to run many calls of one workload.

    A strategy is used on two sides. In pytest's process, it plans batches (calls timed together) and phrases results
    for reports. In a worker process, which gets its own instances from the same hook, `run` makes the calls. An
    instance has no state. A lane is one of the threads, processes or the like in which a strategy makes calls.

    Attributes:
        name: The name in reports and in ``strategies=``, such as ``threads``; see `STRATEGY_NAME`.
        rank: The order by cost, lowest first; of strategies that gain about the same, the lowest rank is advised.
        by_default: Whether the strategy is tried if ``strategies=`` is not given.
        one_process: Whether all lanes live in one process, so that they share its GIL, its locks and its memory.
        one_thread: Whether all lanes live in one thread, so that they never compete for the GIL.
        moves_data: Whether arguments and results are moved to and from other processes.
        moves_by_itself: Whether `measure_transfer` measures this strategy's own way of moving data. If not, the cost is
            that of pickling the data and sending it through a pipe.
        warmed_up_by_serial: Whether the first call, which all workers make serially at the same time to warm up, may
            count as this strategy's first batch. Set it to True only if each lane is a worker of its own, and `run`
            makes serial calls and does nothing else.
        samples_gil: Whether the worker's GIL is sampled during a batch that takes a single worker.
        scales: Whether the strategy has `stretch`, so that throughput can be measured with growing numbers of lanes.
        trial: How the executor's dispatch cost is measured; ``None`` for a strategy whose dispatch costs nothing.
        through_executor: Whether calls are made through the user's own executor: dispatch and moving of data are then
            part of what is timed, and nothing is predicted.
        bottleneck: What sets the limit that `ceiling` returns, in words that end with a verb: ``the GIL, which a call
            holds``.
        outside: The phrase for what all lanes may wait for if they share no interpreter, such as ``outside the
            processes: a server``.
        lane_nouns: The noun for one lane, and its plural.
        color: The color in terminal and page: one of `report.views.COLORS`, of which yellow, red and gray are for
            answers that are no strategy.
        icon: The icon on the page: a path on a grid of 16 by 16, as in the ``d`` of an SVG path.
    """

    name: str
    rank: ClassVar[int]
    by_default: ClassVar[bool] = True
    one_process: ClassVar[bool] = False
    one_thread: ClassVar[bool] = False
    moves_data: ClassVar[bool] = False
    moves_by_itself: ClassVar[bool] = False
    warmed_up_by_serial: ClassVar[bool] = False
    samples_gil: ClassVar[bool] = False
    scales: ClassVar[bool] = False
    trial: ClassVar[DispatchTrial | None] = None
    through_executor: ClassVar[bool] = False
    bottleneck: ClassVar[str] = "a ceiling, which a call takes up"
    outside: ClassVar[str] = "outside the processes: a server, a disk or the like"
    lane_nouns: ClassVar[tuple[str, str]] = ("lane", "lanes")
    color: ClassVar[str] = "purple"
    icon: ClassVar[str] = "M8 1.5L14.5 8L8 14.5L1.5 8z"

    # Can it be tried?

    def exists_for(self, kind: CallKind) -> bool:
        """Return whether the strategy exists for calls of this ``kind``; if not, reports do not mention it."""
        return True

    def default_for(self, kind: CallKind) -> bool:
        """Return whether the strategy is tried for calls of this ``kind`` if ``strategies=`` is not given."""
        return self.by_default and self.exists_for(kind)

    def refuses(self, work: Workload) -> str | None:
        """Return why the strategy cannot be tried for ``work``, the test that is set up; ``None`` if it can.

        This method is called in a worker.
        """
        return None

    def start(self, work: Workload, question: StartExecutor) -> None:
        """Start the user's executor in a worker; keep it in ``work.held``, so that it is closed with the test.

        Called before the first batch, and only if `through_executor` is true. ``work`` is the test that is set up, and
        ``question`` is the message that asks for the start. Raises `GilprobeError` if nothing can be started.
        """
        msg = f"{self.name} has nothing to start"
        raise GilprobeError(msg)

    # How a batch is run

    def worker_main(self) -> WorkerMain | None:
        """Return the function that a worker process of this strategy's own runs; ``None`` if it uses the usual workers.

        The function answers messages from pytest's process: `Open` asks it to set the test up in a number of lanes, and
        each `Batch` to make calls. If ``scales`` is true, it must also answer `Open` with more lanes while the test is
        open, and `Stretch`, which asks for calls for a set time.
        """
        return None

    @abstractmethod
    def workers_needed(self, lanes: int) -> int:
        """Return the number of worker processes that a batch of ``lanes`` lanes (threads, processes ...) takes."""

    @abstractmethod
    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return the requests for one batch: a `Batch` for each of `workers_needed` workers.

        ``calls`` is the number of calls in each lane, and ``lanes`` the number of lanes in all workers together.
        """

    @abstractmethod
    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make one worker's calls of a batch in that worker process, and return the readings of its clocks.

        ``work`` is the test that is set up, and ``question`` says how many calls to make, in how many lanes. Raises
        `WorkloadError` with the text for the user if a call raises.
        """

    def bursts(self, work: Workload, question: MakeBursts) -> tuple[BurstPair, ...]:
        """Make several very short batches in a worker, each after one of serial calls; return the pairs of readings.

        Only a strategy whose lanes are threads of one process is asked to; see `pytest_gilprobe.workers.child.bursts`.
        The default calls `run`. Raises what `run` raises.
        """
        one = Batch(strategy=self.name, calls=question.calls, lanes=question.lanes)
        pairs = ((work.serial(one.calls), self.run(work, one)) for _ in range(question.number))
        return tuple(BurstPair(alone=alone, together=together) for alone, together in pairs)

    def longest_factor(self, lanes: int, cpus: int, busy: float) -> float:
        """Return the largest expected duration of this strategy's batch, as a multiple of a serial batch's duration.

        ``lanes`` is how many lanes the batch has, and ``cpus`` the number of usable CPUs. ``busy`` is the share of its
        time for which a call computes, from 0 to 1 (above 1 if a call has threads of its own).
        """
        return max(1.0, busy * lanes / cpus)

    # How its throughput grows

    def stretch(self, work: Workload, question: Stretch) -> StretchReading | None:
        """Make calls back to back for a set time in one worker's lanes, in that worker process.

        Needed only if ``scales`` is true; see `pytest_gilprobe.workers.child.stretch`. Returns ``None`` if the strategy
        cannot do that. Raises `WorkloadError` with the text for the user if a call raises.
        """
        return None

    def most_lanes(self, cpus: int, busy: float) -> int:
        """Return the largest number of lanes worth trying if the user names none.

        ``cpus`` is the number of usable CPUs, and ``busy`` is as in `longest_factor`. More lanes than CPUs pay only for
        calls that wait. One doubling beyond the CPUs shows that it does not pay.
        """
        return min(2 * cpus, max(MOST_PROCESSES, min(cpus, MOST_LANES)))

    # What it costs beside the calls

    def executor(self, workers: int, start_method: str) -> Executor | None:
        """Return a new executor, of the kind that users would take for this strategy; ``None`` if there is none to try.

        It is started in a worker process, with ``workers`` workers. If these are processes, ``start_method`` starts
        them.
        """
        return None

    def measure_transfer(self, given: Given, result: object) -> TransferMeasured:
        """Measure, in a worker, how long moving the data of a call takes, or say why the data cannot be moved.

        The data is the arguments in ``given``, and ``result``, which the call returned.
        """
        return transfer.measure(given, result)

    def ceiling(self, gil: GilResult, loop: EventLoop | None) -> Estimate | None:
        """Return the speed-up that the strategy cannot exceed; ``None`` if nothing limits it.

        ``gil`` and ``loop`` tell how serial calls use the GIL and the event loop that awaits them, if there is one.
        """
        return None

    def in_pool(self, speedup: Estimate, inputs: PoolInputs) -> Estimate:
        """Return the speed-up to expect in the executor that users would take for this strategy.

        It is predicted from ``speedup``, the measured speed-up of the calls without an executor, and from ``inputs``,
        such as the costs of dispatch.
        """
        return dispatch.dispatched(speedup, inputs)

    # How it is told

    def lanes_text(self, workers: int) -> str:
        """Return the phrase for ``workers`` lanes, such as ``2 threads``."""
        singular, plural = self.lane_nouns
        named = numbers.count(workers, singular, plural)
        return named if plural == self.name else f"{named} of {self.name}"

    def gain_text(self, workers: int, speedup: float) -> str:
        """Return the phrase for the speed-up of ``workers`` lanes, such as ``2 threads give 1.9x``.

        A ``speedup`` above the number of lanes is shown as that number.
        """
        return f"{self.lanes_text(workers)} give {numbers.about(min(speedup, float(workers)))}"

    @abstractmethod
    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return the reason why this strategy is advised: the second half of the verdict's sentence.

        ``evidence`` is all that the verdict is based on; ``bound`` and ``gil`` are its words for the calls and for the
        GIL.
        """

    def costs_text(self, evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
        """Return one clause for each cost (start-up, data, memory) that matters for the verdict; empty by default."""
        return ()

    def cautions(self, evidence: Evidence, verdict: Verdict) -> tuple[Caution, ...]:
        """Return cautions special to this strategy, to be known before following the verdict; empty by default."""
        return ()

    def when_broken(self, outcome: Outcome) -> Caution:
        """Return the caution to show if this strategy failed, hung or crashed, which ``outcome`` says."""
        return Caution(
            slug=f"fails-in-{self.name}",
            message=f"in {self.name} it {outcome}: calls may not share what they use",
        )

    # What to paste

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make many calls by this strategy; ``None``, the default, if there is no such code.

        ``callee`` is the function. ``workers`` is how many lanes (threads, processes ...) the code uses.
        ``calls_per_task`` is how many calls one task of an executor makes.
        """
        return None

    def code_with_shared_memory(self, callee: Callee, workers: int) -> list[str] | None:
        """Return source lines that make many calls with arrays in shared memory; ``None``, the default, for no code.

        ``callee`` is the function, and ``workers`` is how many lanes (processes ...) the code uses.
        """
        return None
