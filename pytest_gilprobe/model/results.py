"""The records of one workload's results: its verdict, the results of each strategy, the GIL.

All records are frozen, have slots and take keywords only. A field's name ends with its unit (``_s`` for seconds,
``_bytes``) or denominator (``wall_s_per_call``). ``None`` means *could not be measured*; it never stands for zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.executors import ExecutorResult
from pytest_gilprobe.model.extension_imports import ExtensionImport
from pytest_gilprobe.model.holders import HeldStack, Holder
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.own_gils import GilsHeld
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.sharing import Sharing
from pytest_gilprobe.model.words import BROKEN, SERIAL, STRATEGY_NAME, Bound, Gil, GilMethod, Outcome, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """A warning to read before acting on a verdict; ``slug`` names its kind, which ``docs/messages.md`` explains."""

    slug: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer for one workload: the strategy (way to make calls) that is advised, and the reason.

    ``bound`` is what limits the calls, ``gil`` whether they hold the GIL. ``strategy`` is the advised strategy's name,
    or ``inconclusive``. ``candidates`` maps each strategy that may be the best one to its probability (sum 1; one entry
    if decided). ``speedup`` is predicted for an executor of the advised strategy with ``workers`` workers, over serial
    calls (1.0 for ``serial``). ``speedup`` and ``workers`` are ``None`` if the verdict is inconclusive. ``reason`` is
    the whole sentence; ``why`` and ``advice`` are its parts that say why, and what to do, empty in older reports.
    """

    bound: Bound
    gil: Gil
    strategy: str
    candidates: Mapping[str, float] = field(default_factory=dict)
    speedup: float | None
    workers: int | None = None
    reason: str
    why: str = ""
    advice: str = ""
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeShares:
    """How the time of one lane (one thread, process ... of a strategy) was spent, as shares of its time, from 0 to 1.

    ``cpu`` (computing), ``blocked`` (asleep) and ``run_queue`` (waiting for a CPU) add up to 1. ``cpu_with_gil`` and
    ``cpu_without_gil`` are parts of ``cpu``; ``gil_wait`` is a part of ``blocked``. ``None`` means unknown.
    """

    cpu: float
    cpu_with_gil: float | None
    cpu_without_gil: float | None
    gil_wait: float | None
    blocked: float
    run_queue: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """How many times as fast one strategy is as a strategy with less overhead (to start workers, move data ...).

    The answer is ``ratio``. If other programs may have slowed down one of the two strategies, the true ratio lies
    between ``at_worst`` and ``at_best``. Both are ``None`` if other programs cannot have changed the ratio.
    """

    ratio: Estimate
    at_worst: Estimate | None = None
    at_best: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyResult:
    """The results of one strategy of one workload, or of its serial calls; a value is ``None`` if it is not known.

    Attributes:
        outcome: how the strategy ended; ``error`` is a text for the user if the outcome is not ``ok``.
        impossible: whether the strategy can never run for this workload, or the user did not ask for it.
        calls: how many calls were timed, in ``rounds`` batches (calls timed together).
        wall_s_per_call: wall time of one call, ``cpu_s_per_call`` its CPU time.
        speedup: measured speed-up over serial calls, of calls without an executor; ``None`` for serial.
        pool_speedup: speed-up of an executor of the standard library, which dispatches calls and moves data: measured
            if ``pool_rounds`` is above 0, else predicted.
        pool_speedup_at_worst: the lowest ``pool_speedup`` possible, since load by other programs may have changed it;
            ``pool_speedup_at_best`` is the highest. Both are ``None`` if such load cannot have changed it.
        over: how many times as fast this strategy is as each strategy with less overhead (to start workers, move data
            ...), by the other strategy's name.
        cpu_utilization: CPU time / (wall time - run-queue time) of a lane (thread, process ...): 1 if it only computes.
        run_queue_share: share of a lane's time for which it was runnable, but not running; ``shares`` has all shares.
        page_faults_per_call: minor page faults of the whole process, per call.
        start_up_s: time from asking for a worker process until that worker is ready to run tests.
        rss_bytes_per_worker: peak resident memory of a worker process in a batch.
        dispatch_s_per_call: time by which an executor's dispatch prolongs one call in its worker.
        transfer_s_per_call: time to move one call's arguments and result between processes.
        first_call_s: wall time of the first call in a fresh worker; ``None`` unless the strategy is serial.
        extra_cores: number of cores, beyond the first, that a serial call kept busy by threads of its own.
        executor: what tasks cost in an executor that the user named; ``None`` for any other strategy.
        extensions: extension modules of the workload that were tried in a subinterpreter; empty for other strategies.
        pool_rounds: how often ``pool_speedup`` was measured, in an executor of the standard library; 0 if predicted.
        gils_held: how long the GIL of each subinterpreter was held; ``None`` for other strategies, or if unknown.
    """

    outcome: Outcome
    error: str | None = None
    impossible: bool = False
    calls: int | None = None
    rounds: int | None = None
    speedup: Estimate | None = None
    pool_speedup: Estimate | None = None
    pool_speedup_at_worst: Estimate | None = None
    pool_speedup_at_best: Estimate | None = None
    over: Mapping[str, Contrast] = field(default_factory=dict)
    wall_s_per_call: Estimate | None = None
    cpu_s_per_call: Estimate | None = None
    cpu_utilization: Estimate | None = None
    run_queue_share: float | None = None
    page_faults_per_call: float | None = None
    start_up_s: float | None = None
    rss_bytes_per_worker: int | None = None
    dispatch_s_per_call: float | None = None
    transfer_s_per_call: float | None = None
    first_call_s: float | None = None
    extra_cores: float | None = None
    shares: TimeShares | None = None
    executor: ExecutorResult | None = None
    extensions: tuple[ExtensionImport, ...] = ()
    pool_rounds: int = 0
    gils_held: GilsHeld | None = None

    @property
    def call_s(self) -> Estimate:
        """Wall time of one call, in seconds. Raises `ValueError` if no call was timed."""
        return _measured(self.wall_s_per_call, "wall_s_per_call")

    @property
    def call_cpu_s(self) -> Estimate:
        """CPU time of one call, in seconds. Raises `ValueError` if no call was timed."""
        return _measured(self.cpu_s_per_call, "cpu_s_per_call")

    @property
    def utilization(self) -> Estimate:
        """CPU time / (wall time - run-queue time) of a lane (thread ...). Raises `ValueError` if no call was timed."""
        return _measured(self.cpu_utilization, "cpu_utilization")

    @property
    def broken(self) -> bool:
        """Whether this strategy was tried and failed, hung or crashed."""
        return self.outcome in BROKEN


def _measured(estimate: Estimate | None, name: str) -> Estimate:
    if estimate is None:
        msg = f"{name} was not measured"
        raise ValueError(msg)
    return estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class GilResult:
    """How long the GIL was held; a field is ``None`` if it is unknown.

    ``held_fraction`` is the share of the time of serial calls for which the GIL was held, sampled by ``method``.
    ``threads_ceiling`` is 1 / held_fraction: the speed-up that no number of threads can exceed. ``longest_hold_s`` is
    the longest time in seconds for which one of several threads held the GIL without a break (the median of several
    batches of calls); ``longest_holder`` is the place in the code with most of that time. ``holders`` are the places
    that held the GIL in serial calls, the largest share first, ``stacks`` the whole stacks; ``holders_reason`` is why
    these two are unknown.
    """

    held_fraction: Estimate | None = None
    method: GilMethod | None = None
    longest_hold_s: float | None = None
    threads_ceiling: float | None = None
    holders: tuple[Holder, ...] | None = None
    holders_reason: str | None = None
    stacks: tuple[HeldStack, ...] | None = None
    longest_holder: Holder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """The function that a workload calls, by its ``module`` and its ``name`` in that module.

    ``parameters`` are the names of the arguments of one call, with ``=`` appended if an argument must be passed by
    keyword. ``importable`` is false for a lambda or a nested function, which no other process can import by name.
    ``awaited`` is whether the function is a coroutine function, ``awaited_by`` the library whose event loop awaits its
    calls, ``asyncio`` or ``trio``; ``None`` if unknown. ``is_test`` is whether it is a test; its parameters are
    fixtures then.
    """

    module: str
    name: str
    parameters: tuple[str, ...] = ()
    importable: bool = True
    awaited: bool = False
    awaited_by: str | None = None
    is_test: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The seconds that it takes to move one call's arguments to another process or subinterpreter, and its result back.

    ``argument_bytes`` and ``result_bytes`` are the pickled sizes. ``pipe_s`` is the whole round trip, with pickling and
    unpickling. ``parent_s`` is the part for which the side that dispatches calls is busy, ``worker_s`` the part for
    which the side that makes them is busy; both leave out the cost of an empty message. ``shared_parent_s`` and
    ``shared_worker_s`` are the same through shared memory; ``None`` if NumPy arrays are less than 90 % of the bytes.
    """

    argument_bytes: int
    result_bytes: int
    pipe_s: float
    parent_s: float
    worker_s: float
    shared_parent_s: float | None = None
    shared_worker_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadEnd:
    """The ``outcome`` (failed, hung ...) and ``error`` of one strategy of a workload that could not be measured."""

    strategy: str
    outcome: Outcome
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadResult:
    """One workload's entry in a report.

    ``strategies`` has the result of ``serial``, then of each parallel strategy, the one with the least overhead first.
    If nothing was measured, ``reason`` says why, the verdict is inconclusive, all strategies are ``skipped``, and
    ``bad_ends`` has the strategies that failed, hung or crashed. ``workers`` is how many threads, processes ... made
    calls at the same time. ``scaling`` has curves (throughput by number of workers) by strategy. ``scaling``,
    ``sharing`` and ``event_loop`` are ``None`` unless measured. ``callee`` (the function called) and ``transfer`` (the
    cost of moving its data) are ``None`` unless the function was passed to the ``gilprobe`` fixture or API.
    """

    nodeid: str
    status: Status
    reason: str | None = None
    workers: int
    probe_time_s: float
    verdict: Verdict
    strategies: Mapping[str, StrategyResult]
    gil: GilResult = field(default_factory=GilResult)
    scaling: Mapping[str, Scaling] | None = None
    sharing: Sharing | None = None
    event_loop: EventLoop | None = None
    callee: Callee | None = None
    transfer: Transfer | None = None
    bad_ends: tuple[BadEnd, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` for an invalid strategy name, or serial calls that ended ``ok`` without their values."""
        for name in self._names():
            if STRATEGY_NAME.fullmatch(name) is None:
                msg = f"a strategy's name looks like {STRATEGY_NAME.pattern}, found {name!r}"
                raise ValueError(msg)
        base = self.serial
        needed = ("calls", "rounds", "wall_s_per_call", "cpu_s_per_call", "cpu_utilization")
        if base is not None and any(getattr(base, name) is None for name in needed):
            msg = f"serial calls that ended well have {', '.join(needed)}, found null"
            raise ValueError(msg)

    def _names(self) -> Iterator[str]:
        yield from (self.verdict.strategy, *self.verdict.candidates)
        for name, part in self.strategies.items():
            yield from (name, *part.over)
        yield from self.scaling or ()
        yield from (end.strategy for end in self.bad_ends)

    @property
    def serial(self) -> StrategyResult | None:
        """The result of the serial calls; ``None`` unless they ended ``ok``."""
        found = self.strategies.get(SERIAL)
        return found if found is not None and found.outcome is Outcome.OK else None

    @property
    def loop_library(self) -> str | None:
        """The library whose event loop awaits the calls, ``asyncio`` or ``trio``; ``None`` if none or unknown."""
        return None if self.callee is None else self.callee.awaited_by

    @property
    def parallel(self) -> Mapping[str, StrategyResult]:
        """The results of every strategy except serial, by name, least overhead (cost beside the calls) first."""
        return {name: part for name, part in self.strategies.items() if name != SERIAL}
