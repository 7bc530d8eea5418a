"""Every record, enum and error that crosses a room: the project's vocabulary.

All records are frozen, have slots and take keywords only. Units are suffixes (``_s`` seconds,
``_ns`` nanoseconds, ``_bytes``), denominators are in the name (``wall_s_per_call``). ``None``
means *could not be measured*; it never stands for zero, and nothing here is ever a guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

SCHEMA_VERSION = 1
"""Version of ``gilprobe.json``. History: 1, the first; 0.1.0 wants a number in ``transfer.queue_s``, which may be
null."""


NOT_ASKED = "not among the strategies asked for"
"""Why a strategy that ``strategies=`` leaves out was skipped."""


class GilprobeError(Exception):
    """Base of every error that this package raises on purpose; ``str()`` is fit for the user."""


class Strategy(StrEnum):
    """A way to run many calls of one workload."""

    SERIAL = "serial"
    THREADS = "threads"
    PROCESSES = "processes"


class Recommendation(StrEnum):
    """What a verdict advises: a strategy, or nothing that could be told."""

    SERIAL = "serial"
    THREADS = "threads"
    PROCESSES = "processes"
    INCONCLUSIVE = "inconclusive"


class Bound(StrEnum):
    """What a call spends its time on: waiting (``io``), computing (``cpu``) or both."""

    IO = "io"
    CPU = "cpu"
    MIXED = "mixed"
    INCONCLUSIVE = "inconclusive"


class Gil(StrEnum):
    """The GIL's part in a workload."""

    HELD = "held"
    RELEASED = "released"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How one strategy ended. ``skipped`` was never tried, and its error says why."""

    OK = "ok"
    FAILED = "failed"
    HUNG = "hung"
    CRASHED = "crashed"
    SKIPPED = "skipped"


class Status(StrEnum):
    """Whether a workload was measured; ``error`` is this tool's own failure, not the test's.

    ``scanned`` was run once, by pytest itself, and watched: no strategy was tried.
    """

    PROBED = "probed"
    SCANNED = "scanned"
    NOT_PROBED = "not_probed"
    ERROR = "error"


class GilMethod(StrEnum):
    """How a GIL-held fraction was obtained."""

    MEMORY = "memory"
    HEARTBEAT = "heartbeat"


class FailOn(StrEnum):
    """What, beyond an expectation that does not hold, makes a test or the session fail where it is asked for."""

    UNSAFE = "unsafe"
    HUNG = "hung"
    INCONCLUSIVE = "inconclusive"
    REGRESSION = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its confidence interval.

    ``low <= value <= high``, all finite. Anything else is refused with `ValueError`, so that a
    failure inside the statistics cannot travel on as a number.
    """

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Refuse what is not an interval around a finite value."""
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            msg = f"an estimate is finite, found {self.value!r} [{self.low!r}, {self.high!r}]"
            raise ValueError(msg)
        if not self.low <= self.value <= self.high:
            msg = f"an estimate lies in its interval, found {self.value!r} [{self.low!r}, {self.high!r}]"
            raise ValueError(msg)
        if not 0 < self.confidence < 1:
            msg = f"a confidence lies between 0 and 1, found {self.confidence!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Something the reader should know before acting on a verdict. The slug is in ``docs/messages.md``."""

    slug: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer for one workload.

    ``speedup`` is the predicted speed-up of a pool of ``workers`` with the advised strategy over
    serial calls (1.0 for ``serial``), ``None`` when inconclusive.
    """

    bound: Bound
    gil: Gil
    strategy: Recommendation
    speedup: float | None
    reason: str
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeShares:
    """Where the time of one thread of a strategy went; the known shares add up to 1.

    ``cpu_with_gil`` and ``cpu_without_gil`` are ``None`` together when the GIL could not be watched:
    then only ``cpu`` is known. ``gil_wait`` is part of being blocked, told apart only in threads.
    """

    cpu: float
    cpu_with_gil: float | None
    cpu_without_gil: float | None
    gil_wait: float | None
    blocked: float
    run_queue: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialResult:
    """What serial calls measured: the base of every speed-up.

    ``calls`` in all, over ``rounds`` batches. ``first_call_s`` is the wall time of the first call
    in a fresh worker. ``native_cpu_share`` is how many cores beyond the first the process kept busy (0.0 none,
    1.0 one more): native helper threads, or a pool that the call starts. ``longest_hold_s`` is the longest time that
    the GIL was seen held without a break.
    """

    calls: int
    rounds: int
    wall_s_per_call: Estimate
    cpu_s_per_call: Estimate
    cpu_utilization: Estimate
    gil_held_fraction: Estimate | None = None
    gil_method: GilMethod | None = None
    longest_hold_s: float | None = None
    run_queue_share: float | None = None
    native_cpu_share: float | None = None
    first_call_s: float | None = None
    shares: TimeShares | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadsResult:
    """What calls in N threads of one worker measured.

    ``speedup`` is that of the calls alone; ``pool_speedup`` is what a `ThreadPoolExecutor` is predicted to give, its
    hand-out cost counted. ``hand_out_s_per_call`` is by how much a call takes longer there for the worker that makes
    it; ``impossible`` tells that threads cannot be tried, or were not asked for. ``ceiling`` is 1 / GIL-held fraction:
    the speed-up that no number of threads can pass. On a busy machine the intervals also reach to what other programs
    may have hidden: ``pool_speedup_least`` and ``pool_speedup_most`` are the estimates of the pool's speed-up if all
    of that is against the threads, and if it is for them; ``None`` where nothing is hidden.
    """

    outcome: Outcome
    error: str | None = None
    speedup: Estimate | None = None
    pool_speedup: Estimate | None = None
    pool_speedup_least: Estimate | None = None
    pool_speedup_most: Estimate | None = None
    wall_s_per_call: Estimate | None = None
    cpu_s_per_call: Estimate | None = None
    gil_held_fraction: Estimate | None = None
    ceiling: float | None = None
    hand_out_s_per_call: float | None = None
    run_queue_share: float | None = None
    shares: TimeShares | None = None
    impossible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesResult:
    """What calls in N worker processes measured.

    ``start_up_s`` is how long one worker took from being asked for to being ready to run tests.
    ``rss_bytes_per_worker`` is its peak resident memory in a batch. ``transfer_s_per_call`` is the time to move the
    arguments and the result of one call between processes, where they are known. ``over_threads`` is the processes'
    speed over that of the threads, compared round by round: the noise of serial calls is not in it;
    ``over_threads_least`` and ``over_threads_most`` are that at the two extremes of what a busy machine may hide.
    """

    outcome: Outcome
    error: str | None = None
    speedup: Estimate | None = None
    over_threads: Estimate | None = None
    over_threads_least: Estimate | None = None
    over_threads_most: Estimate | None = None
    pool_speedup: Estimate | None = None
    wall_s_per_call: Estimate | None = None
    cpu_s_per_call: Estimate | None = None
    start_up_s: float | None = None
    rss_bytes_per_worker: int | None = None
    transfer_s_per_call: float | None = None
    hand_out_s_per_call: float | None = None
    run_queue_share: float | None = None
    shares: TimeShares | None = None
    impossible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """The function that a workload calls, as another module would name it.

    ``parameters`` are the names of what one call is given; one with ``=`` behind it can be given by name only.
    ``importable`` is false for a lambda or a function made inside another one: no other process can find such a
    function by its name.
    """

    module: str
    name: str
    parameters: tuple[str, ...] = ()
    importable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What it costs to move one call's arguments to another process and its result back, in seconds per call.

    ``pipe_s`` and ``queue_s`` are whole round trips, pickling and reading included, through a Pipe and a Queue. Of a
    pipe's, ``parent_s`` is what the process that hands out is busy with, and ``worker_s`` the worker, both less what
    an empty message costs: that is the hand-out's. ``queue_s`` is ``None`` where the Pipe takes too long to measure
    both. ``shared_parent_s`` and ``shared_worker_s`` are the same with
    NumPy arrays put into shared memory, ``None`` where less than nine tenths of the bytes are such arrays.
    """

    argument_bytes: int
    result_bytes: int
    pipe_s: float
    queue_s: float | None
    parent_s: float
    worker_s: float
    shared_parent_s: float | None = None
    shared_worker_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadEnd:
    """How a strategy failed, hung or crashed before it turned out that nothing could be measured."""

    strategy: Strategy
    outcome: Outcome
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadResult:
    """One workload's line in a report.

    Where nothing was measured, ``status`` is not ``probed`` and ``reason`` says why: then the verdict is inconclusive,
    ``serial`` is ``None``, the other strategies are ``skipped``, and ``bad_ends`` tell how they ended if that was not
    well. ``workers`` is the number of threads or processes that were tried. ``callee`` is the function that was called,
    ``transfer`` what its arguments and result cost to move, known where the workload was given as a function with its
    arguments.
    """

    nodeid: str
    status: Status
    reason: str | None = None
    workers: int
    probe_time_s: float
    verdict: Verdict
    serial: SerialResult | None
    threads: ThreadsResult
    processes: ProcessesResult
    callee: Callee | None = None
    transfer: Transfer | None = None
    bad_ends: tuple[BadEnd, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the Python that a report was made on.

    ``free_threaded_build`` and ``gil_enabled`` are two facts: a free-threaded build may run with its GIL on.
    ``scaling_ceiling`` is the speed-up of a fixed pure-Python loop in ``ceiling_workers`` processes: what this
    machine could give at the time. ``compiler`` tells two builds of one version apart. ``gil_switched_on_by`` names
    the modules whose import switched the GIL on in pytest's own process.
    """

    python: str
    implementation: str
    free_threaded_build: bool
    gil_enabled: bool
    compiler: str
    platform: str
    machine: str
    cpus_usable: int
    cpus_logical: int
    start_method: str
    switch_interval_s: float
    load_average_1min: float | None
    scaling_ceiling: float | None
    ceiling_workers: int | None
    gil_switched_on_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPool:
    """Tests of a scan that were each too short to tell anything, told together.

    ``kind`` is ``file`` or ``fixture`` and ``name`` a file or a fixture that ``tests`` of them share. ``wall_s`` is
    the time that their calls took in all.
    """

    kind: str
    name: str
    tests: int
    wall_s: float
    cpu_utilization: float
    gil_held_fraction: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFinding:
    """One thing that a scan found about a suite.

    The slug is in ``docs/messages.md``; ``names`` are node ids or files, the weightiest first.
    """

    slug: str
    message: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a scan saw of a whole suite, in the call phases of ``tests`` tests that took ``wall_s`` in all.

    For ``run_queue_s`` of it other programs kept them from a core.

    Of them ``tests_alone`` were long enough to be told one by one; the others are in ``pools``, once by file and once
    by each fixture. ``lost`` tests left no record. ``unwatched`` says why the GIL was not watched, where it was not.
    ``died_in`` names the test in which a pytest process died.
    """

    tests: int
    tests_alone: int
    wall_s: float
    cpu_s: float
    run_queue_s: float | None = None
    gil_held_fraction: Estimate | None = None
    unwatched: str | None = None
    lost: int = 0
    died_in: str | None = None
    findings: tuple[ScanFinding, ...] = ()
    pools: tuple[ScanPool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole report: what ``gilprobe.json`` holds.

    ``created`` is UTC, ISO 8601, to the second. ``scan`` is there after a scan.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    created: str
    environment: Environment
    workloads: tuple[WorkloadResult, ...]
    scan: Scan | None = None


# Samples: what a worker sends back and a watcher sees, before any statistics.


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadReading:
    """One thread's clocks over its part of a batch.

    ``start_ns`` and ``end_ns`` are `time.perf_counter_ns`, one clock for all processes of a machine;
    ``run_queue_ns`` is time spent runnable but not running, ``waits`` how often the thread gave its CPU up to wait for
    something, ``preemptions`` how often it was pushed off it; ``None`` where the system does not tell.
    """

    calls: int
    start_ns: int
    end_ns: int
    cpu_ns: int
    run_queue_ns: int | None
    waits: int | None = None
    preemptions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReading:
    """What one worker measured in one batch: a reading per thread, and the whole process.

    ``children_cpu_ns`` is CPU time of child processes that ended in the batch and were waited for; 0 where untold.
    ``cpus_ns`` is what all usable CPUs counted meanwhile, in coarse steps, and ``cpus_idle_ns`` what of that they
    idled.
    """

    threads: tuple[ThreadReading, ...]
    process_cpu_ns: int
    peak_rss_bytes: int | None
    gil_enabled: bool
    children_cpu_ns: int = 0
    cpus_ns: int = 0
    cpus_idle_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GilTrace:
    """Moments at which a worker's GIL was looked at, and whether it was held.

    ``at_ns`` is `time.perf_counter_ns` just after each look, in order; ``late_ns`` is how much later than
    meant the look was over. Where known, else empty: ``holder`` is an opaque number of the thread that held the
    GIL, or held it last; ``switches`` is how often it had passed from one thread to another; ``runnable`` is
    whether the worker's main thread was on a core or waiting for one; ``same_core`` is whether the watcher may have
    shared that thread's core; ``queue_ns`` is how long that thread had queued for a core, without the stretch that it
    was in. A heartbeat's look is its waking, and ``late_ns`` the part of its lateness that it did not spend waiting for
    a core.
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

    def __post_init__(self) -> None:
        """Refuse columns of different lengths; only the ones that may be unknown may be empty."""
        known = [
            column for column in (self.holder, self.switches, self.runnable, self.same_core, self.queue_ns) if column
        ]
        if any(len(column) != len(self.at_ns) for column in (self.held, self.late_ns, *known)):
            msg = f"the columns of a trace are as long as its {len(self.at_ns)} moments, found other lengths"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One batch of one strategy: a reading from each worker that took part, and the GIL as watched."""

    strategy: Strategy
    readings: tuple[BatchReading, ...]
    trace: GilTrace | None = None


JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One batch of each strategy that was tried, close together in time; ``None`` where it was not."""

    serial: Sample
    threads: Sample | None = None
    processes: Sample | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a strategy ended, and the text for the user where that was not well.

    ``impossible`` tells that it cannot be run however often one tries, or was not asked for.
    """

    outcome: Outcome
    error: str | None = None
    impossible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Everything that one probe saw. ``workers`` threads, or processes, shared the calls of a batch.

    ``threads_end`` and ``processes_end`` are ``ok`` as long as nothing went wrong, even before the first round.
    ``gil_unwatched`` says why no serial batch was watched. ``throttled_share`` is the share of the rounds' time for
    which a CPU quota held threads back, at most 1; ``gil_on_at_start`` is the GIL's state in the workers before any
    call.
    ``controls`` are rounds of the fixed pure-Python loop, serial and in processes, run between the workload's own.
    ``left_changed`` names what the calls left changed in their processes, which were replaced then.
    ``gil_switched_on_by`` names the modules whose import switched the GIL on. ``out_of_time`` says what there was no
    time for, in the user's words, and ``no_time_for`` which strategies were not tried at all for want of it.
    """

    workers: int
    rounds: tuple[Round, ...]
    threads_end: End
    processes_end: End
    first_call_s: float | None = None
    start_up_s: float | None = None
    gil_on_at_start: bool = True
    gil_unwatched: str | None = None
    throttled_share: float | None = None
    tracers: tuple[str, ...] = ()
    left_changed: tuple[str, ...] = ()
    gil_switched_on_by: tuple[str, ...] = ()
    out_of_time: str | None = None
    no_time_for: frozenset[Strategy] = frozenset()
    controls: tuple[Round, ...] = ()
    heartbeat: Sample | None = None
    callee: Callee | None = None
    transfer: Transfer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine gives and costs now, measured with a fixed loop and empty tasks.

    ``scaling`` is the speed-up of a pure-Python loop in ``scaling_workers`` processes; ``noise`` the standard
    deviation of the logarithm of one batch's time; the task costs are seconds per task handed to a pool, at best
    and in the middle round (``_high_s``). By so much as ``_lost_s`` says a task that computes takes longer for its
    worker than alone. ``process_start_up_s`` is how long a process pool of ``scaling_workers`` takes to be ready, and
    to end; ``import_s`` how much longer where its workers, started by ``start_method``, must import the module of a
    workload's function first (0 where they inherit it). ``None`` was not measured.
    """

    cpus: int
    scaling: Estimate | None = None
    scaling_workers: int | None = None
    noise: float = 0.03
    thread_task_s: float | None = None
    process_task_s: float | None = None
    thread_task_high_s: float | None = None
    process_task_high_s: float | None = None
    thread_lost_s: Estimate | None = None
    process_lost_s: Estimate | None = None
    process_start_up_s: float | None = None
    start_method: str | None = None
    import_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that one verdict rests on."""

    measurement: Measurement
    machine: Machine
    serial: SerialResult
    threads: ThreadsResult
    processes: ProcessesResult


class Wish(Enum):
    """What would bring the verdict forward."""

    NOTHING = "nothing"
    ROUND = "another round"
    PROOF = "another round: something that was expected is contradicted and not excluded yet, or is open"
    CONTROL = "a control: could the machine have done better just now?"
