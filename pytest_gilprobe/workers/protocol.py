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
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, ExecutorStarted, MeasureDispatch, StartExecutor
from pytest_gilprobe.workers.extension_messages import ExtensionAnswer, ExtensionQuestion
from pytest_gilprobe.workers.parent_watch_messages import EndWatch, ParentWatched, WatchParent
from pytest_gilprobe.workers.pool_messages import PoolsRan, RunPools
from pytest_gilprobe.workers.sharing_messages import SharingSwept, SweepSharing
from pytest_gilprobe.workers.stretch_messages import Stretched, StretchQuestion

# Questions: from the parent to a worker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Asks a worker process to set a test up and get ready to call it.

    ``keep`` is how many of the test's collectors (session, package, module ...), counted from the session, stay set up
    after the test is closed. ``fresh`` is whether its function-scoped fixtures are made anew for each call. ``lanes``
    is for a worker that hosts subinterpreters: in how many of them, all in all, the test must be set up. ``awaited`` is
    whether the test awaited its call when pytest ran it.
    """

    nodeid: str
    keep: int
    fresh: bool = False
    lanes: int = 1
    awaited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Asks a worker process for its part of a batch (calls timed together): ``calls`` calls in each of ``lanes`` lanes.

    A lane is a thread or the like; ``first_lane`` is the number of this worker's first lane among those of all workers.
    ``strategy`` names the way to make calls, such as ``threads``. All workers begin at ``begin_ns``, a moment of
    `time.perf_counter_ns` (0: at once). ``keep_result`` keeps the calls' results for a `MeasureTransfer` right after.
    With ``heartbeat`` or ``time_blocks``, the calls are serial. The answer then also says how often a thread that wakes
    up finds the GIL held (``heartbeat``), or how long each call blocks its event loop (``time_blocks``).
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
    """Asks a worker process, before a `Batch`, to make the arguments of ``calls`` calls, if each call has its own."""

    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Asks a worker process to tear down the test that is set up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Asks a worker process to run a fixed pure-Python loop, to see which speed-up the machine itself can give.

    The loop is run ``calls`` times from ``begin_ns`` on, a moment of `time.perf_counter_ns` (0: at once).
    """

    calls: int
    begin_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTransfer:
    """Asks what it costs to move a call's arguments to another process or subinterpreter, and its result back.

    ``strategy`` names the way to make calls, such as ``processes``, that moves the data. If the `Batch` before kept no
    result, or each call gets new fixtures, one more call is made to get a result.
    """

    strategy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchArguments:
    """Asks a worker process to record the state of the arguments of a test's call, before the first call is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareArguments:
    """Asks a worker process whether calls have changed their arguments since the message `WatchArguments`.

    If they have, the worker times calls with the original arguments and calls with the changed arguments.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Asks a worker process to tear down its fixtures and end; between `Open` and `Close`, it ends at once."""


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
    """First message of a worker process: it has collected its tests (``nodeids``) and awaits questions.

    ``gil_address`` is the address of the ``locked`` field of the worker's GIL; if it is ``None``, ``gil_reason`` says
    why. ``frames`` is where the worker keeps its Python frames; if it is ``None``, ``frames_reason`` says why.
    ``gil_switched_on_by`` names the modules whose import switched the GIL on, if Python warned of that. ``main_thread``
    is the address of the main thread's state, ``None`` without ``frames``. ``strategies`` are the names of the ways to
    make calls, such as ``threads``, that the worker knows; ``None`` if they were not reported.
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
    """The answer to `Open`: the test is set up.

    ``refused`` maps the name of each way to make calls that must not be tried to the reason. ``tracers`` names the
    tools that trace the worker's code. ``callee`` describes the function that is called; ``None`` if it has no name.
    ``given`` is whether the test passed the function and its arguments to the `gilprobe` fixture. ``most_calls`` is for
    how many calls this worker may make arguments in advance; ``None`` if all calls have the same arguments.
    ``may_be_fresh`` is whether all calls share function-scoped fixtures that could be made anew for each; ``not_fresh``
    is why they could not, else ``None``. ``after_body`` is whether calls that the test's body passes to the fixture are
    made after the body was left. ``awaited`` is whether the event loop that runs the test awaits the calls.
    ``loop_hidden`` is why another process cannot see when that loop waits for events; ``None`` if it can. ``events_fd``
    is the file descriptor by which the loop waits; ``None`` if unknown.

    The other fields are for a worker that hosts subinterpreters, one for each lane; else they are empty or ``None``.
    ``imports`` are the extension modules that the first subinterpreter imported. ``lane_start_up_s`` is how many
    seconds the first subinterpreter took to start, before any other started. ``gil_addresses`` are the addresses of the
    ``locked`` fields of all subinterpreters' GILs, empty if one is unknown. ``lane_threads`` are the system's ids of
    the threads in which the subinterpreters run.
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
    """The answer to `Batch` or `Control`: all calls were made; ``reading`` has their wall and CPU times.

    ``heartbeat`` has samples of the GIL, and ``blocks`` the longest time for which each call blocked its event loop.
    Each is ``None`` unless the `Batch` asked for it; ``blocks`` is also ``None`` if the loop cannot be watched.
    """

    reading: WorkerReading
    heartbeat: GilSamples | None = None
    blocks: tuple[LoopBlock, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The answer to `Close`: the test is torn down; ``error`` says what failed in that, ``None`` if nothing did.

    ``left`` names the changes by the test's calls that could disturb the next test and could not be undone. ``spoilt``
    is whether calls or the tear-down failed, or the worker has grown too big. If ``left`` is not empty or ``spoilt`` is
    true, the worker should be replaced. ``gil_switched_on_by`` names the modules whose import switched the GIL on
    during the whole life of the worker.
    """

    error: str | None = None
    left: tuple[str, ...] = ()
    spoilt: bool = False
    gil_switched_on_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferMeasured:
    """The answer to `MeasureTransfer`: ``transfer`` is the cost; ``None`` if ``refused`` says why data cannot move."""

    transfer: Transfer | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The answer to `Prepare`: the worker process has made the arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsCompared:
    """The answer to `CompareArguments`: ``reading`` is what calls did to their arguments.

    The answer to `WatchArguments` is the same record, with ``None`` as its ``reading``.
    """

    reading: ArgumentsReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The answer if the worker could not do what was asked, or if a call raised; ``error`` is a text for the user.

    ``outcome`` is how the calls ended: they failed or, in an executor that the user named, may have hung or crashed.
    ``impossible`` is whether the strategy can never run for this test. ``imports`` are the extension modules that a
    subinterpreter imported, if the calls were to be made in one.
    """

    error: str
    outcome: Outcome = Outcome.FAILED
    impossible: bool = False
    imports: tuple[ExtensionImport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unable:
    """The answer if the system refused a resource, such as a thread (``error`` says which): the worker cannot go on."""

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
