"""The messages between the parent and a worker, as plain data.

One question, one answer, in order. Every message is a frozen record of numbers, strings and such records,
so nothing of the user's is ever pickled: the worker collects the same node id for itself. A worker that does
not answer is killed, so no message needs an acknowledgement.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model import BatchReading, Callee, GilTrace, Strategy, Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a new worker is told: how to run the parent's pytest session over just the marked tests.

    ``arguments`` is the parent's command line and ``overrides`` goes behind it; ``folder`` is this worker's own, for
    its temporary files; ``nodeids`` are the marked tests and ``files`` the absolute paths they are collected from.
    ``prune`` leaves every other file out of the collection. ``gil_switched_on_by`` names the modules that had
    switched the GIL on in the parent: a forked worker has it on from the start. ``forked`` is how it began.
    """

    arguments: tuple[str, ...]
    overrides: tuple[str, ...]
    plugins: tuple[str, ...]
    working_dir: str
    folder: str
    nodeids: frozenset[str]
    files: frozenset[str]
    prune: bool = True
    forked: bool = False
    gil_switched_on_by: tuple[str, ...] = ()


# Questions, parent to worker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Set this test up and hold it ready.

    ``keep`` is how many of its collectors, counted from the session, stay set up when it is closed.
    """

    nodeid: str
    keep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Run ``calls`` calls back to back in each of ``threads`` threads (1: in the main thread).

    ``heartbeat`` has a sleeper measure the GIL meanwhile, in passes that are not timed. ``begin_ns``, for several
    workers at once, is the moment of `time.perf_counter_ns` to begin at. ``keep_result``, for one call, keeps what it
    returned until the next question: for `Ship`.
    """

    calls: int
    threads: int = 1
    heartbeat: bool = False
    keep_result: bool = False
    begin_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Tear the open test down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Run a fixed pure-Python loop as if it were a workload, be a test open or not."""

    calls: int
    begin_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOut:
    """Measure what a pool of ``workers`` costs per task, or only to import ``module`` in them; no test is open."""

    strategy: Strategy
    workers: int
    start_method: str
    module: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ship:
    """Measure what it costs to move the data of one call of the open test.

    Its result is the one that the question before had kept; where none was kept, a call is made for it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Tear down what is left, and end."""


Question = Open | Batch | Close | Control | HandOut | Ship | Stop


# Answers, worker to parent.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker has collected. ``gil_address`` is where its GIL's ``locked`` lies, else ``gil_reason`` says why not.

    ``gil_switched_on_by`` names the modules whose import switched the GIL on, where that was warned of.
    """

    pid: int
    nodeids: frozenset[str]
    gil_address: int | None
    gil_reason: str | None
    gil_enabled: bool
    gil_switched_on_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The test is set up. ``unsafe_in_threads`` says why threads must not run it, ``tracers`` what traces its code.

    ``callee`` is the function that its calls call; ``given`` says that it came through the fixture, with its arguments.
    """

    unsafe_in_threads: str | None = None
    tracers: tuple[str, ...] = ()
    callee: Callee | None = None
    given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A batch ran to its end."""

    reading: BatchReading
    heartbeat: GilTrace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The test is torn down; ``error`` is what its tear-down raised.

    ``left`` names what its calls left behind that could disturb the next test: then this worker should be replaced.
    It also should when ``spoilt``: a batch failed half-way, or the worker has grown too big. ``gil_switched_on_by``
    is as in `Ready`, for the whole life of the worker.
    """

    error: str | None = None
    left: tuple[str, ...] = ()
    spoilt: bool = False
    gil_switched_on_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Seconds that a task took which computes without the GIL: alone, and one of many in a pool.

    Both are those of the middle round, and of the best one (``_least_s``). ``queued`` is the share of its time for
    which the thread that ran them alone was kept from its core, ``others`` the share of the CPUs' time that other
    programs took meanwhile.
    """

    alone_s: float
    pooled_s: float
    alone_least_s: float
    pooled_least_s: float
    queued: float
    others: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """What a pool costs: per task, and to start and end one worker (0 for threads).

    ``task_s`` is that of the best round, ``task_high_s`` of the middle one; ``task_cpu_s`` is the CPU time of both
    sides. ``work`` is how long tasks took that compute. ``import_s`` is how long all of its workers
    took to import the module that was asked for; ``None`` where they could not.
    """

    task_s: float
    start_up_s: float
    task_high_s: float | None = None
    task_cpu_s: float | None = None
    work: Work | None = None
    import_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What moving the data costs, or ``refused``: why it cannot be moved."""

    transfer: Transfer | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The question could not be answered, or the workload raised: a text for the user, with its traceback."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unable:
    """The machine did not give what the question needs; the worker is of no use any more, the workload not to blame."""

    error: str


Answer = Ready | Opened | Done | Closed | HandedOut | Shipped | Failed | Unable
