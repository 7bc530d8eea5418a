"""Make calls without a pause for a set time (a stretch), and note the moments at which calls were completed.

The calls are made in lanes (threads or tasks). Threads are started, and wait, before the stretch begins. A lane notes
the time after every few calls, as a mark; the first mark beyond the set time is its last, so that no call is cut off.
Between marks a lane makes its calls in a loop of `itertools.repeat`, as in a batch (calls timed together).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from pytest_gilprobe.model.ladder import StretchReading
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.workers.child import control
from pytest_gilprobe.workers.child.async_batch import failed
from pytest_gilprobe.workers.child.batch import (
    LaneThread,
    Queueing,
    Usage,
    WorkloadError,
    describe,
    end_lanes,
    start_lanes,
)
from pytest_gilprobe.workers.child.room import with_room
from pytest_gilprobe.workers.stretch_messages import Stretch

if TYPE_CHECKING:
    from pytest_gilprobe.workers.child.batch import LaneContext
    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.child.home_loop import HomeLoop
    from pytest_gilprobe.workers.stretch_messages import MachineStretch

_perf_counter_ns = clocks.perf_counter_ns
_thread_time_ns = clocks.thread_time_ns
_Event = threading.Event


class _LaneFailedError(Exception):
    """Ends all tasks of a stretch after a call in one of them failed."""


@with_room
def _marks(call: Call, question: Stretch) -> list[int]:
    """Call until the end of the stretch; return the moments at which so many more calls were completed."""
    marks: list[int] = []
    while True:
        for one in repeat(call, question.calls_per_mark):
            one()
        now = _perf_counter_ns()
        marks.append(now)
        if now >= question.until_ns:
            return marks


def run_serial(call: Call, question: Stretch) -> StretchReading:
    """Make calls in this thread, without a pause between them, for the time that ``question`` sets.

    The result has the moments at which calls were completed. Raises `WorkloadError` if a call raises anything.
    """
    machine.reset_peak_rss()
    _sleep_until(question.begin_ns)
    usage, queueing = Usage(), Queueing()
    try:
        cpu = _thread_time_ns()
        marks = _marks(call, question)
        cpu = _thread_time_ns() - cpu
        queued = queueing.until_ns(marks[-1])
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
        raise WorkloadError(describe(error)) from None
    finally:
        queueing.close()
    return reading_of([marks], [queued], usage, cpu)


def run_threads(lanes: Sequence[LaneContext], question: Stretch) -> StretchReading:
    """Make calls in several new threads, without a pause between them, for the time that ``question`` sets.

    ``lanes`` has a context manager for each thread, which yields its call. The result has the moments at which calls
    were completed. Raises `WorkloadError` if a call raises, and `NoThreadError` if the system refuses a thread: threads
    already started are then left waiting.
    """
    machine.reset_peak_rss()
    threads = [_StretchThread(lane, question) for lane in lanes]
    start_lanes(threads)
    usage = Usage()
    for thread in threads:
        thread.go.set()
    end_lanes(threads)
    return reading_of([thread.marks for thread in threads], [thread.queued_ns for thread in threads], usage)


def run_machine(question: MachineStretch) -> StretchReading:
    """Compress data in several threads, without the GIL, for the time that ``question`` sets.

    The result has the moments at which each block of data was compressed. Raises `ImportError` if Python was built
    without zlib, and `NoThreadError` if the system refuses a thread.
    """
    call = control.compressor()
    asked = Stretch(
        strategy="", lanes=question.lanes, begin_ns=question.begin_ns, until_ns=question.until_ns, calls_per_mark=1
    )
    return run_threads([contextlib.nullcontext(call)] * question.lanes, asked)


async def run_tasks(home: HomeLoop, call: Callable[[], Awaitable[object]], question: Stretch) -> StretchReading:
    """Make calls without a pause in ``question.lanes`` tasks of the loop ``home``, for the time that ``question`` sets.

    The result has the moments at which calls were completed. Raises `WorkloadError` if a call raises; if there are
    several tasks, its text has the number of those that failed.
    """
    machine.reset_peak_rss()
    marks: list[list[int]] = []
    failures: list[BaseException] = []

    async def lane() -> None:
        own: list[int] = []
        marks.append(own)
        try:
            while not own or own[-1] < question.until_ns:
                for _ in repeat(None, question.calls_per_mark):
                    await call()
                own.append(_perf_counter_ns())
        except BaseException as error:
            if failures and isinstance(error, home.cancelled):
                raise
            failures.append(error)
            raise _LaneFailedError from None

    _sleep_until(question.begin_ns)
    usage, queueing = Usage(), Queueing()
    try:
        cpu = _thread_time_ns()
        await home.together([lane] * question.lanes)
        cpu = _thread_time_ns() - cpu
        queued = queueing.until_ns(_perf_counter_ns())
    except BaseException as error:  # noqa: BLE001 - as above
        if not failures or question.lanes == 1:
            raise WorkloadError(describe(failures[0] if failures else error)) from None
        raise WorkloadError(failed(failures, question.lanes)) from None
    finally:
        queueing.close()
    return reading_of(marks, [queued] * question.lanes, usage, cpu)


def _sleep_until(moment_ns: int) -> None:
    """Sleep until a moment of `time.perf_counter_ns`, which may be past."""
    ahead_ns = moment_ns - _perf_counter_ns()
    if ahead_ns > 0:
        clocks.sleep(ahead_ns / 1e9)


def reading_of(
    marks: Sequence[Sequence[int]], queued: Sequence[int | None], usage: Usage, in_this_thread_ns: int = 0
) -> StretchReading:
    """Return the reading of a stretch (calls back to back for a set time) that has just ended.

    ``marks`` are the moments that each lane (thread or task) noted after every few calls, and ``queued`` the
    nanoseconds that each thread waited in the run queue for a core, ``None`` if unknown. ``usage`` was created when the
    stretch began. ``in_this_thread_ns`` is the CPU time of calls made in this thread.
    """
    whole = usage.reading((), in_this_thread_ns)
    known = [one for one in queued if one is not None]
    return StretchReading(
        marks_ns=tuple(map(tuple, marks)),
        queued_ns=sum(known) if len(known) == len(queued) else None,
        process_cpu_ns=whole.process_cpu_ns + whole.children_cpu_ns,
        cpus_ns=whole.cpus_ns,
        cpus_idle_ns=whole.cpus_idle_ns,
        peak_rss_bytes=whole.peak_rss_bytes,
    )


class _StretchThread(LaneThread):
    """A thread that prepares one lane, waits until it is told to go, and makes its calls."""

    def __init__(self, lane: LaneContext, question: Stretch) -> None:
        super().__init__()
        self._lane = lane
        self._question = question
        self.go = _Event()
        self.marks: list[int] = []
        self.queued_ns: int | None = None

    def run(self) -> None:
        try:
            with self._lane as call:
                self.ready.set()
                self.go.wait()
                _sleep_until(self._question.begin_ns)
                queueing = Queueing()
                try:
                    self.marks = _marks(call, self._question)
                    self.queued_ns = queueing.until_ns(self.marks[-1])
                finally:
                    queueing.close()
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
            self.error = describe(error)
        finally:
            self.ready.set()
