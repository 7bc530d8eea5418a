"""Define what a strategy is: one object with everything that is special about one way to run many calls.

The modules that schedule, judge, report and compare loop over the existing strategies: a new one needs no change there.
To add a strategy, subclass `Strategy` (or a strategy that is nearly the same), and return an instance from the hook
``pytest_gilprobe_strategies`` in a conftest file or a plugin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    from pytest_gilprobe.strategies.dispatch_trial import DispatchTrial
    from pytest_gilprobe.workers.burst_messages import MakeBursts
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.executor_messages import StartExecutor
    from pytest_gilprobe.workers.naming import Given
    from pytest_gilprobe.workers.stretch_messages import Stretch
    from pytest_gilprobe.workers.worker_spec import WorkerMain


MOST_LANES = 64
"""Largest number of threads or tasks in a curve (throughput by number of threads, tasks or processes), if the user
names no numbers."""
MOST_PROCESSES = 32
"""Largest number of worker processes in a curve (throughput by number of processes), if the user names no numbers: each
process is a whole pytest session. On a machine with more CPUs than this, a curve may have one process for each CPU, but
at most `MOST_LANES`."""
COMPUTES = 0.95
"""CPU utilization from which calls count as computing, not waiting. A curve (throughput by number of threads) for such
calls ends at twice the number of CPUs."""


class Strategy(ABC):
    """One way to run many calls of one workload: a test, or a call that a test makes.

    A strategy is used on two sides. In pytest's own process, it plans batches (calls timed together) and phrases
    results for reports. In a worker process, `run` makes the calls. Each process gets its own instances from the hook
    ``pytest_gilprobe_strategies``, so an instance has no state. A lane is one of the threads, processes or the like in
    which a strategy makes calls.

    Attributes:
        name: The name in reports and in ``strategies=``, such as ``threads``: small letters, digits, ``-`` and ``_``.
        rank: The place in the order by what a strategy costs beside the calls; the lowest costs least. Of strategies
            that gain about the same, the one with the lowest rank is advised.
        by_default: Whether the strategy is tried if ``strategies=`` is not given.
        one_process: Whether all lanes live in one process, so that they share its GIL, its locks and its memory.
        one_thread: Whether all lanes live in one thread, so that they never compete for the GIL.
        moves_data: Whether arguments must be moved to where a call is made, such as another process, and results back.
        moves_by_itself: Whether `measure_transfer` times a way of moving data that only this strategy uses. If not, it
            times the usual way: to pickle the data and to send it through a pipe.
        warmed_up_by_serial: Whether the warm-up counts as this strategy's first batch. In the warm-up every worker
            process makes one call, all beginning at the same moment. True is right only if each lane is a worker
            process of its own and `run` makes calls one after the other.
        samples_gil: Whether to sample how long the GIL is held during a batch in a single worker process.
        scales: Whether `stretch` works, so that throughput can be measured with growing numbers of lanes.
        trial: The tasks that measure what dispatching costs in the strategy's `executor`; ``None`` if that is not
            measured.
        through_executor: Whether calls go through an executor that the user named. Dispatching and moving data are then
            part of the timed calls, and are not predicted.
        bottleneck: What limits the speed-up to the value of `ceiling`, as a phrase with a verb at its end:
            ``the GIL, which a call holds``.
        outside: A phrase for what the lanes may wait for although they share no interpreter, such as
            ``outside the processes: a server``.
        lane_nouns: The noun for one lane and its plural, such as ``thread`` and ``threads``.
        color: The color in the terminal and on the HTML page: one of `report.views.COLORS`, but not yellow, red or
            gray, which stand for answers other than a strategy, such as "inconclusive".
        icon: The icon on the HTML page: the ``d`` of an SVG path on a grid of 16 by 16.
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
        """Return whether this strategy can make calls of ``kind``: plain or awaited ones.

        Reports on calls of another kind do not mention the strategy at all.
        """
        return True

    def default_for(self, kind: CallKind) -> bool:
        """Return whether this strategy is tried for ``kind`` (plain or awaited calls) if ``strategies=`` is unset."""
        return self.by_default and self.exists_for(kind)

    def refuses(self, work: Workload) -> str | None:
        """Return why the strategy cannot be tried for ``work``, the test that is set up; ``None`` if it can.

        This method is called in a worker process.
        """
        return None

    def start(self, work: Workload, question: StartExecutor) -> None:
        """Start the user's executor in a worker process; keep it in ``work.held``, which is closed with the test.

        Called before the first batch (calls timed together), and only if `through_executor` is true. ``work`` is the
        test that is set up, and ``question`` is the message that asks for the start. Raises `GilprobeError` if nothing
        can be started.
        """
        msg = f"{self.name} has nothing to start"
        raise GilprobeError(msg)

    # How a batch is run

    def worker_main(self) -> WorkerMain | None:
        """Return the main function of worker processes that only this strategy uses; ``None`` for the usual ones.

        The function answers messages from pytest's own process. `Open` asks it to set the test up in a number of lanes
        (threads, interpreters ...), and each `Batch` to make calls. If `scales` is true, it must also answer a later
        `Open` that asks for more lanes of the same test, and `Stretch`, which asks for calls for a set time.
        """
        return None

    @abstractmethod
    def workers_needed(self, lanes: int) -> int:
        """Return the number of worker processes that a batch of ``lanes`` lanes (threads, processes ...) takes."""

    @abstractmethod
    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return the messages that ask for a batch (calls timed together): a `Batch` for each worker process in it.

        ``calls`` is the number of calls in each lane (thread, process ...), and ``lanes`` the number of lanes in all
        worker processes together.
        """

    @abstractmethod
    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make the calls of a batch that fall to this worker process, and return the readings of its clocks.

        A batch is a number of calls that are timed together. ``work`` is the test that is set up, and ``question`` says
        how many calls to make, in how many lanes (threads ...). Raises `WorkloadError` with the text for the user if a
        call raises.
        """

    def bursts(self, work: Workload, question: MakeBursts) -> tuple[BurstPair, ...]:
        """Make pairs of very short batches (calls timed together) in a worker; return each pair's clock readings.

        A pair is a batch of serial calls, then a batch by this strategy, which `run` makes by default. ``question``
        says how many pairs to make. Called only for a strategy that makes calls in threads. Raises what `run` raises.
        """
        one = Batch(strategy=self.name, calls=question.calls, lanes=question.lanes)
        pairs = ((work.serial(one.calls), self.run(work, one)) for _ in range(question.number))
        return tuple(BurstPair(alone=alone, together=together) for alone, together in pairs)

    def longest_factor(self, lanes: int, cpus: int, busy: float) -> float:
        """Return the longest time that a batch (calls timed together) may take, as a multiple of a serial batch's time.

        The serial batch makes as many calls as each of the ``lanes`` (threads, processes ...) of this strategy's batch.
        ``cpus`` is the number of usable CPUs. ``busy`` is a call's CPU time divided by its duration: from 0 (it waits)
        to 1 (it computes), and above 1 if the call has threads of its own.
        """
        return max(1.0, busy * lanes / cpus)

    # How its throughput grows

    def stretch(self, work: Workload, question: Stretch) -> StretchReading | None:
        """Make calls without a pause for a set time in this process; return the moments at which calls were completed.

        ``work`` is the test that is set up. ``question`` has the time to begin, the time to end and the number of lanes
        (threads ...) that make calls. The result is ``None``, the default, if the strategy cannot do this. If `scales`
        is true, the strategy has to override this method. Raises `WorkloadError` if a call raises.
        """
        return None

    def most_lanes(self, cpus: int, busy: float) -> int:
        """Return the largest number of lanes (threads, processes ...) worth trying if the user names none.

        ``cpus`` is the number of usable CPUs, and ``busy`` a call's CPU time divided by its duration. The default is
        twice ``cpus``, to show whether more lanes than CPUs pay off. It is at most `MOST_PROCESSES`; on a machine with
        more CPUs than that, it is ``cpus`` or `MOST_LANES`, whichever is less.
        """
        return min(2 * cpus, max(MOST_PROCESSES, min(cpus, MOST_LANES)))

    # What it costs beside the calls

    def executor(self, workers: int, start_method: str) -> Executor | None:
        """Return a new executor such as users would take for this strategy, for example a thread pool.

        It has ``workers`` workers. If these are processes, they are started by ``start_method``, such as ``fork``. The
        result is ``None``, the default, if there is no executor for the strategy. Called in a worker process.
        """
        return None

    def measure_transfer(self, given: Given, result: object) -> TransferMeasured:
        """Measure, in a worker process, how long moving the data of one call takes, or say why it cannot be moved.

        The data is the arguments in ``given``, and ``result``, which the call returned.
        """
        return transfer.measure(given, result)

    def ceiling(self, gil: GilResult, loop: EventLoop | None) -> Estimate | None:
        """Return the speed-up that the strategy cannot exceed; ``None``, the default, if nothing is known to limit it.

        ``gil`` says how long serial calls hold the GIL. ``loop`` says how long they block the event loop that awaits
        them; it is ``None`` if the calls are not awaited.
        """
        return None

    def in_pool(self, speedup: Estimate, inputs: PoolInputs) -> Estimate:
        """Return the speed-up to expect in the executor that users would take for this strategy, such as a thread pool.

        It is predicted from ``speedup``, the measured speed-up of the calls without an executor, and from ``inputs``,
        such as the costs of dispatching tasks.
        """
        return dispatch.dispatched(speedup, inputs)

    # How it is told

    def lanes_text(self, workers: int) -> str:
        """Return the phrase for ``workers`` lanes (threads, processes ...), such as ``2 threads``."""
        singular, plural = self.lane_nouns
        named = numbers.count(workers, singular, plural)
        return named if plural == self.name else f"{named} of {self.name}"

    def gain_text(self, workers: int, speedup: float) -> str:
        """Return the phrase for the ``speedup`` with ``workers`` lanes, such as ``2 threads give 1.9x``.

        A ``speedup`` above the number of lanes is shown as that number.
        """
        return f"{self.lanes_text(workers)} give {numbers.about(min(speedup, float(workers)))}"

    @abstractmethod
    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return why this strategy is advised, as the second half of a sentence: ``a waiting thread releases the GIL``.

        ``evidence`` is all that was measured. Two words sum it up: ``bound`` says whether calls compute or wait, and
        ``gil`` whether they hold the GIL.
        """

    def costs_text(self, evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
        """Return one clause for each cost (start-up, data, memory) that matters for the verdict; empty by default."""
        return ()

    def cautions(self, evidence: Evidence, verdict: Verdict) -> tuple[Caution, ...]:
        """Return warnings about this strategy that a user should know before following the verdict; none by default."""
        return ()

    def when_broken(self, outcome: Outcome) -> Caution:
        """Return the warning to show if calls by this strategy failed, hung or crashed; ``outcome`` says which."""
        return Caution(
            slug=f"fails-in-{self.name}",
            message=f"in {self.name} it {outcome}: calls may not share what they use",
        )

    # What to paste

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make many calls by this strategy; ``None``, the default, if there is no such code.

        ``callee`` is the function to call. ``workers`` is how many lanes (threads, processes ...) the code uses.
        ``calls_per_task`` is how many calls one task of an executor makes.
        """
        return None

    def code_with_shared_memory(self, callee: Callee, workers: int) -> list[str] | None:
        """Return source lines that make many calls with arrays in shared memory; ``None``, the default, for no code.

        ``callee`` is the function to call, and ``workers`` is how many lanes (processes ...) the code uses.
        """
        return None
