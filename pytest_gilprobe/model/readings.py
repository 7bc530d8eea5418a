"""The records of raw measurements, before any statistics, and of the evidence for one verdict.

A lane is a thread or process that makes calls. A batch is calls timed together, a round one batch of each strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gilprobe.model.apart_readings import ApartReading
from pytest_gilprobe.model.call_readings import ArgumentsReading, LoopBlock
from pytest_gilprobe.model.executors import ExecutorReading
from pytest_gilprobe.model.ladder import Ladder
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.machine import DispatchCosts, Machine
from pytest_gilprobe.model.own_gils import GilLooks
from pytest_gilprobe.model.pools import PoolRound
from pytest_gilprobe.model.results import Callee, GilResult, StrategyResult, Transfer
from pytest_gilprobe.model.sharing import SharingReading
from pytest_gilprobe.model.stacks import Stack
from pytest_gilprobe.model.words import SERIAL, GilMethod, Outcome, Sleep

if TYPE_CHECKING:
    from pytest_gilprobe.strategies.contract import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReading:
    """The clocks of one lane (a thread that makes calls) over the ``calls`` calls that it made in a batch.

    ``start_ns`` and ``end_ns`` are `time.perf_counter_ns`, one clock for all processes of a machine. ``cpu_ns`` is the
    thread's CPU time, ``run_queue_ns`` the time for which it was runnable but not running. ``waits`` and
    ``preemptions`` count its voluntary and involuntary context switches. ``cpus`` are the CPUs on which it began and
    ended; empty unless it was told on which CPU to begin. ``None`` means that the system does not report the value.
    """

    calls: int
    start_ns: int
    end_ns: int
    cpu_ns: int
    run_queue_ns: int | None
    waits: int | None = None
    preemptions: int | None = None
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReading:
    """One worker process's measurements of one batch (calls timed together); ``lanes`` has one for each of its threads.

    ``process_cpu_ns`` is the process's CPU time; ``children_cpu_ns`` is that of child processes that ended and were
    waited for, 0 if unknown. ``peak_rss_bytes`` is the peak memory, ``page_faults`` the number of minor faults;
    ``None`` if unknown. ``gil_enabled`` is whether the GIL is on. ``cpus_ns`` is the time of all usable CPUs in the
    batch, in whole system ticks; ``cpus_idle_ns`` is the idle part. ``executor`` has the timed tasks of an executor
    that the user named, if one made the calls (``lanes`` are then equal parts of the tasks' total); else ``None``.
    """

    lanes: tuple[LaneReading, ...]
    process_cpu_ns: int
    peak_rss_bytes: int | None
    gil_enabled: bool
    children_cpu_ns: int = 0
    cpus_ns: int = 0
    cpus_idle_ns: int = 0
    page_faults: int | None = None
    executor: ExecutorReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GilSamples:
    """Samples of a worker's GIL, taken by ``method``; ``at_ns`` to ``loop_stack`` have one value for each sample.

    Attributes:
        at_ns: `time.perf_counter_ns` just after each sample, in order; ``held`` is whether the GIL was held then.
        late_ns: ns from a sample's planned moment to ``at_ns``, less waits for a core if a worker's thread samples.
        holder: number of the thread that held the GIL, or held it last. From here to ``loop_stack``: empty if unknown.
        switches: how often the GIL had passed from one thread to another.
        runnable: whether the worker's main thread was on a core or waiting for one.
        same_core: whether the sampler may have shared the main thread's core.
        queue_ns: how long the main thread had waited for a core in total, without a wait still going on.
        sleeps: what the main thread slept in.
        stack: the holder's stack, as an index into ``stacks`` (all different stacks); -1 if none was read.
        loop_stack: the same for the main thread, if it runs an event loop that is not waiting for events; else -1.
        torn: how many stacks were dropped: they had no frame, or the GIL passed to another thread as they were read.
    """

    method: GilMethod
    at_ns: tuple[int, ...]
    held: tuple[bool, ...]
    late_ns: tuple[int, ...]
    holder: tuple[int, ...] = ()
    switches: tuple[int, ...] = ()
    runnable: tuple[bool, ...] = ()
    same_core: tuple[bool, ...] = ()
    queue_ns: tuple[int, ...] = ()
    sleeps: tuple[Sleep, ...] = ()
    stack: tuple[int, ...] = ()
    loop_stack: tuple[int, ...] = ()
    stacks: tuple[Stack, ...] = ()
    torn: int = 0

    def __post_init__(self) -> None:
        """Raise `ValueError` for columns of different lengths; only columns that may be unknown may be empty."""
        columns = (self.holder, self.switches, self.runnable, self.same_core, self.queue_ns, self.sleeps)
        known = [column for column in (*columns, self.stack, self.loop_stack) if column]
        if any(len(column) != len(self.at_ns) for column in (self.held, self.late_ns, *known)):
            msg = f"the columns of samples are as long as their {len(self.at_ns)} moments, found other lengths"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReading:
    """One batch (calls timed together) of one strategy; ``workers`` has one reading from each worker that took part.

    A lane is the thread or process that makes one share of the calls. ``gil`` has samples of the worker's GIL;
    ``own_gils`` has samples of the lanes' GILs if each lane of one process has its own. Both are ``None`` if no samples
    were taken. ``apart`` is true if each lane had a process of its own, and so a GIL of its own.
    """

    workers: tuple[WorkerReading, ...]
    gil: GilSamples | None = None
    apart: bool = True
    own_gils: GilLooks | None = None

    @property
    def lanes(self) -> tuple[LaneReading, ...]:
        """The readings of all lanes (threads) of all workers, one worker after the other."""
        return tuple(lane for worker in self.workers for lane in worker.lanes)

    @property
    def executors(self) -> tuple[ExecutorReading, ...]:
        """One reading for each worker that made calls through an executor that the user named; empty if none did."""
        return tuple(worker.executor for worker in self.workers if worker.executor is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One batch (calls timed together) of each strategy, made close in time; ``batches`` has them by strategy name."""

    batches: Mapping[str, BatchReading]

    def __post_init__(self) -> None:
        """Raise `ValueError` for a round without a batch of serial calls."""
        if SERIAL not in self.batches:
            msg = f"a round has a batch of {SERIAL} calls, found {sorted(self.batches)}"
            raise ValueError(msg)

    @property
    def serial(self) -> BatchReading:
        """The batch of serial calls."""
        return self.batches[SERIAL]

    @property
    def parallel(self) -> Mapping[str, BatchReading]:
        """The batches of all strategies except serial, by name."""
        return {name: batch for name, batch in self.batches.items() if name != SERIAL}

    @property
    def bare(self) -> Mapping[str, BatchReading]:
        """The batches of those parallel strategies that made calls without an executor, by the strategy's name."""
        return {name: batch for name, batch in self.parallel.items() if not batch.executors}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a strategy ended: ``outcome``, and ``error``, a text for the user if the outcome is not ``ok``.

    ``impossible`` is true if the strategy can never run for this workload, or the user did not ask for it.
    """

    outcome: Outcome
    error: str | None = None
    impossible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Everything that one probe measured of a workload.

    Attributes:
        workers: number of threads, processes ... that shared the calls of a parallel batch (calls timed together).
        rounds: the timed batches; a round has one batch of each strategy that was still tried.
        ends: how each parallel strategy ended, by name; ``serial`` is included only if its calls failed.
        first_call_s: seconds of the first call; ``start_up_s``: seconds to start the slowest worker process.
        apart: start-up times, costs of moving data ... of strategies with worker processes of their own, by name.
        gil_on_at_start: whether the GIL was on before any call; ``gil_switched_on_by``: modules that switched it on.
        gil_unwatched: why the GIL was not sampled in serial batches, ``None`` if it was; ``holders_unread`` is why the
            stacks of the threads that held it were not read, ``None`` if they were.
        throttled_share: share of the rounds' time for which a CPU quota held threads back; ``None`` if unknown.
        tracers: the tools that slow down Python code in the workers, such as a debugger.
        left_changed: what calls changed in their worker process and left so; such a worker was then replaced.
        out_of_time: a text for the user if the time was too short; ``no_time_for``: strategies left out for this.
        allowed_s: how many seconds the probe was allowed, if they were too few; ``None`` if they were enough.
        controls: rounds of a fixed pure-Python loop, which show the speed-up that the machine can give at that time.
        bursts: rounds of short batches of serial calls and threads, made if other programs disturbed ``rounds``.
        heartbeat: serial calls while a thread in the worker sampled the GIL, if no other process could; else ``None``.
        callee: the function that is called; ``None`` if it is not known.
        transfer: the seconds to move a call's data to another process and back; ``None`` if not measured.
        normal_call_s: seconds of the call when pytest ran the test, without known waits for a CPU; ``None`` if unknown.
        arguments: what calls did to their arguments; ``None`` if that was not examined.
        fresh: whether each call had new arguments; ``fresh_because``: the error of calls that reused them, if any.
        not_fresh: why fixtures cannot be made anew for each call; ``None`` if they can or need not be.
        after_body: whether calls were made after the test's body had returned.
        awaited: whether an event loop awaited the calls; ``loop_hidden``: why no other process sees when it waits.
        loop_pass: further serial calls, timed only for how long they blocked the event loop; ``None`` if none.
        ladders: the readings with growing numbers of workers, by the strategy's name; empty unless asked for.
        sharing: timings of threads that each have copies of shared objects; ``None`` unless threads gained too little.
        pool_rounds: calls in Python's own executors, if the verdict needs them; ``pools_ended``: why they ended early.
    """

    workers: int
    rounds: tuple[Round, ...]
    ends: Mapping[str, End]
    first_call_s: float | None = None
    start_up_s: float | None = None
    apart: Mapping[str, ApartReading] = field(default_factory=dict)
    gil_on_at_start: bool = True
    gil_unwatched: str | None = None
    holders_unread: str | None = None
    throttled_share: float | None = None
    tracers: tuple[str, ...] = ()
    left_changed: tuple[str, ...] = ()
    gil_switched_on_by: tuple[str, ...] = ()
    out_of_time: str | None = None
    allowed_s: float | None = None
    no_time_for: frozenset[str] = frozenset()
    controls: tuple[ControlRound, ...] = ()
    bursts: tuple[Round, ...] = ()
    heartbeat: BatchReading | None = None
    callee: Callee | None = None
    transfer: Transfer | None = None
    normal_call_s: float | None = None
    arguments: ArgumentsReading | None = None
    fresh: bool = False
    fresh_because: str | None = None
    not_fresh: str | None = None
    after_body: bool = False
    awaited: bool = False
    loop_hidden: str | None = None
    loop_pass: LoopPass | None = None
    ladders: Mapping[str, Ladder] = field(default_factory=dict)
    sharing: SharingReading | None = None
    pool_rounds: tuple[PoolRound, ...] = ()
    pools_ended: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPass:
    """Serial calls in an event loop: each call's longest time without other tasks (``blocks``), and GIL ``samples``."""

    blocks: tuple[LoopBlock, ...]
    samples: GilSamples | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRound:
    """One round of the control, a fixed pure-Python loop that shows which speed-up the machine can give.

    ``alone`` has wall and CPU times in one worker while the others rested; ``together`` those of all workers at once.
    """

    alone: BatchReading
    together: BatchReading

    def as_round(self) -> Round:
        """Return a `Round` with ``alone`` as its serial batch and ``together`` as the batch named ``control``."""
        return Round(batches={SERIAL: self.alone, "control": self.together})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the verdict on one workload is based on.

    ``measurement`` has raw readings, ``machine`` what the machine can give, ``gil`` how long the GIL was held.
    ``strategies`` are the parallel strategies, the one with the least overhead first; ``results`` has the result of
    each and of ``serial``, by name. ``event_loop`` is how calls block their event loop; ``None`` if they have none.
    """

    measurement: Measurement
    machine: Machine
    strategies: tuple[Strategy, ...]
    results: Mapping[str, StrategyResult]
    gil: GilResult
    event_loop: EventLoop | None = None

    @property
    def serial(self) -> StrategyResult:
        """The result of the serial calls."""
        return self.results[SERIAL]

    def at_once(self, name: str) -> float:
        """Return how many calls the strategy ``name`` made at a time: its speed-up cannot be more than that."""
        executor = self.results[name].executor
        return float(self.measurement.workers if executor is None else executor.at_once)

    def costs_s(self, strategy: Strategy) -> DispatchCosts | None:
        """Return the costs of a strategy's executor on this machine; ``None`` if they were not measured."""
        return self.machine.costs.get(strategy.name)
