"""The messages between the parent (pytest's own process) and a worker process: questions and answers as plain data.

Each question gets one answer, in the order of the questions; `Stop` and `WatchParent` get none. A message is a frozen
record of numbers, strings and other records: no object of the user's is pickled, because the worker collects the same
test for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.call_readings import ArgumentsReading, LoopBlock
from pytest_gilprobe.model.extension_imports import ExtensionImport
from pytest_gilprobe.model.readings import GilSamples, WorkerReading
from pytest_gilprobe.model.results import Callee, Transfer
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.observe.frame_layout import FrameLayout
from pytest_gilprobe.workers.burst_messages import BurstsMade, MakeBursts
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, ExecutorStarted, StartExecutor
from pytest_gilprobe.workers.extension_messages import ExtensionAnswer, ExtensionQuestion
from pytest_gilprobe.workers.parent_watch_messages import EndWatch, ParentWatched, WatchParent
from pytest_gilprobe.workers.pool_messages import PoolsRan, RunPools
from pytest_gilprobe.workers.sharing_messages import SharingSwept, SweepSharing
from pytest_gilprobe.workers.stretch_messages import Stretched, StretchQuestion

# Questions: from the parent to a worker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Set a test up and get ready to call it.

    ``keep`` is how many of the test's collectors (session, package, module ...), counted from the session, stay set up
    after the test is closed. ``fresh`` is whether its function-scoped fixtures are made anew for each call. ``lanes``
    is for a worker that hosts subinterpreters: in how many of them the test must be set up, with those in which it
    already is. ``awaited`` is whether the test awaited its call when pytest ran it.
    """

    nodeid: str
    keep: int
    fresh: bool = False
    lanes: int = 1
    awaited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Run one worker's part of a batch: ``calls`` calls back to back in each of ``lanes`` lanes, such as threads.

    ``strategy`` is the name of the strategy that makes the calls. ``first_lane`` is the number of this worker's first
    lane among the lanes of all workers. ``heartbeat`` measures how often the GIL is held, by the delays of a thread
    that sleeps, and ``time_blocks`` how long each call blocks its event loop; both make the calls serially, and the
    times of the batch do not count. ``keep_result`` keeps the result of a batch of one call for `MeasureTransfer`,
    which must be asked next. The workers of a batch begin together at ``begin_ns``, a moment of `time.perf_counter_ns`;
    with 0, a worker begins at once.
    """

    strategy: str
    calls: int
    lanes: int = 1
    first_lane: int = 0
    heartbeat: bool = False
    time_blocks: bool = False
    keep_result: bool = False
    begin_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Make the arguments of ``calls`` calls, if each call has its own, before a `Batch` that has a ``begin_ns``."""

    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Tear the open test down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Run the control (a fixed pure-Python loop) ``calls`` times from ``begin_ns`` on, as in `Batch`."""

    calls: int
    begin_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureDispatch:
    """Measure what an executor of ``workers`` workers costs per task, while no test is open.

    If ``module`` is not ``None``, measure instead how long the executor's workers take to import that module.
    """

    strategy: str
    workers: int
    start_method: str
    module: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTransfer:
    """Measure the cost of moving the arguments and the result of one call of the open test, as ``strategy`` moves it.

    The result is what the last `Batch` kept with ``keep_result``; else one more call is made.
    """

    strategy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchArguments:
    """Record the state of the arguments of the open test's call, before its first call, for `CompareArguments`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareArguments:
    """Compare the arguments with their state at `WatchArguments`; if it changed, time calls with both states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the worker process. First tear down the fixtures that are still set up, unless a test is open."""


Question = (
    Open
    | Batch
    | MakeBursts
    | StretchQuestion
    | SweepSharing
    | RunPools
    | Prepare
    | Close
    | Control
    | MeasureDispatch
    | MeasureTransfer
    | StartExecutor
    | WatchArguments
    | CompareArguments
    | WatchParent
    | EndWatch
    | ExtensionQuestion
    | Stop
)


# Answers: from a worker to the parent.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker process has collected its tests.

    ``gil_address`` is the address of the ``locked`` field of the worker's GIL; if it is ``None``, ``gil_reason`` says
    why. ``frames`` is where the worker keeps its Python frames; if it is ``None``, ``frames_reason`` says why.
    ``gil_switched_on_by`` names the modules whose import switched the GIL on, if Python warned of that.
    ``main_thread`` is the address of its main thread's state, ``None`` without ``frames``.
    ``strategies`` are the names of the strategies that the worker knows; ``None`` if that was not reported.
    """

    pid: int
    nodeids: frozenset[str]
    gil_address: int | None
    gil_reason: str | None
    gil_enabled: bool
    frames: FrameLayout | None = None
    frames_reason: str | None = None
    main_thread: int | None = None
    gil_switched_on_by: tuple[str, ...] = ()
    strategies: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The test is set up.

    ``refused`` maps the name of each strategy that must not be tried to the reason. ``tracers`` names the tools that
    trace the worker's code. ``callee`` describes the function that is called; ``None`` if it cannot be called by
    itself. ``given`` is whether the test passed the function and its arguments to the `gilprobe` fixture.
    ``most_calls`` is for how many calls this worker may make arguments in advance; ``None`` if all calls have the same
    arguments. ``may_be_fresh`` is whether a marked test's fixtures could be made anew for each call, but are not;
    ``not_fresh`` is why they could not, ``None`` if they could, if they are, or if there are none. ``after_body`` is
    whether the test's body is left before each call that it passes to the fixture. ``awaited`` is whether the event
    loop that runs the test awaits the calls. ``loop_hidden`` is why it cannot be seen from outside of the process when
    that loop waits for events, ``None`` if it can. ``events_fd`` is the descriptor by which the loop waits, ``None`` if
    unknown.

    The other fields are for a worker that hosts subinterpreters, one for each lane; else they are empty or ``None``.
    ``imports`` are the extension modules that the first one imported. ``gil_addresses`` are the addresses of the
    ``locked`` fields of their GILs, empty if one is unknown. ``lane_start_up_s`` is how many seconds the first one took
    to start, alone. ``lane_threads`` are the system's ids of the threads in which they run.
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    tracers: tuple[str, ...] = ()
    callee: Callee | None = None
    given: bool = False
    most_calls: int | None = None
    may_be_fresh: bool = False
    not_fresh: str | None = None
    after_body: bool = False
    awaited: bool = False
    loop_hidden: str | None = None
    events_fd: int | None = None
    imports: tuple[ExtensionImport, ...] = ()
    gil_addresses: tuple[int, ...] = ()
    lane_start_up_s: float | None = None
    lane_threads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A batch of calls ran to its end; ``reading`` has the clocks.

    ``heartbeat`` is ``None`` unless the `Batch` asked for a heartbeat. ``blocks`` has the longest block of the event
    loop in each call if the `Batch` asked for it and the loop can be watched, else it is ``None``.
    """

    reading: WorkerReading
    heartbeat: GilSamples | None = None
    blocks: tuple[LoopBlock, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The test is torn down; ``error`` describes what failed in its tear-down, ``None`` if nothing did.

    ``left`` names the changes by the test's calls that could disturb the next test and could not be undone.
    ``spoilt`` is whether a batch or the tear-down failed, or the worker has grown too big. If ``left`` is not empty or
    ``spoilt`` is true, the worker should be replaced. ``gil_switched_on_by`` names the modules whose import switched
    the GIL on during the whole life of the worker.
    """

    error: str | None = None
    left: tuple[str, ...] = ()
    spoilt: bool = False
    gil_switched_on_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferMeasured:
    """The cost of moving the data of one call, in ``transfer``, or why the data cannot be moved, in ``refused``."""

    transfer: Transfer | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The answer to `Prepare`: the worker has made the arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsCompared:
    """What calls did to their arguments, in ``reading``; ``None`` in the answer to `WatchArguments`."""

    reading: ArgumentsReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The question could not be answered, or the workload raised; ``error`` is for the user, with any traceback.

    ``outcome`` is how the strategy ended: an executor that the user named may also have hung, or lost its workers.
    ``impossible`` is whether the strategy can never run for this workload. ``imports`` is as in `Opened`.
    """

    error: str
    outcome: Outcome = Outcome.FAILED
    impossible: bool = False
    imports: tuple[ExtensionImport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unable:
    """The system refused a resource, such as a thread (``error`` says which): the worker cannot be used any more."""

    error: str


Answer = (
    Ready
    | Opened
    | Done
    | BurstsMade
    | Stretched
    | SharingSwept
    | PoolsRan
    | Closed
    | DispatchMeasured
    | TransferMeasured
    | ArgumentsCompared
    | ExecutorStarted
    | Prepared
    | ParentWatched
    | ExtensionAnswer
    | Failed
    | Unable
)
