"""Make bursts: very short batches (calls timed together) whose lanes (threads) certainly begin side by side.

Beside other programs, two threads of one process hardly ever have a CPU each for all of a batch of 50 ms. For a
millisecond or two they often do. So:

* Before each burst, every lane sleeps, on a CPU of its own: a scheduler prefers a thread that slept to a busy one.
* Lanes wait for each other without giving up their CPUs: the first ones compute without the GIL until the last one is
  there. If that takes too long, the burst is left out.
* From that moment on, the time that a lane spends in the run queue, waiting for a CPU, is measured.
* A lane that is done sleeps until all are. If it went on, it might lose its CPU while it holds the GIL, and the others
  would wait for it.
* Before each burst of all lanes, one lane makes a burst alone. The two are compared: a change of the machine's speed
  affects both.
* Threads live through all bursts. The first pair, with cold caches and memory, is left out.

The bursts in which no lane queued are selected later, by `pytest_gilprobe.stats.overlap`. *Source:* beside one busy
loop on two CPUs, 50 % of bursts of 1.5 ms were undisturbed; of batches that begin at a set moment, nearly none were.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from pytest_gilprobe.model.readings import LaneReading, WorkerReading
from pytest_gilprobe.observe import clocks, interpreter
from pytest_gilprobe.observe.affinity import StartingCpu, new_threads_unpinned
from pytest_gilprobe.workers.burst_messages import BurstPair
from pytest_gilprobe.workers.child.batch import LaneThread, NoThreadError, describe, end_lanes, run_calls, start_lanes
from pytest_gilprobe.workers.child.calls import Call, in_advance
from pytest_gilprobe.workers.child.control import without_gil

if TYPE_CHECKING:
    from pytest_gilprobe.workers.child.batch import LaneContext

_Lock = threading.Lock
_perf_counter_ns = clocks.perf_counter_ns

PAUSE_S = 0.001
"""Seconds for which a lane (thread) sleeps before each burst (a very short batch of calls). *Source:* of 0.5 to 6 ms, 1
ms gave the most undisturbed bursts a second beside one busy loop."""
PATIENCE_NS = 6_000_000
"""Longest time, in nanoseconds, that a lane (thread) waits for the other lanes to get a CPU each; a burst that could
only begin later is left out. A busy program keeps a CPU for 3 to 4 ms at a time."""


def run_threads(lanes: Sequence[LaneContext], calls: int, number: int) -> tuple[BurstPair, ...]:
    """Make ``number`` bursts of ``calls`` calls in each of several new threads, and as many in one thread alone.

    A burst is a very short batch (calls timed together). ``lanes`` has a context manager for each thread, which yields
    its call. A pair is left out if the threads did not all have a CPU in time. Raises `WorkloadError` if a call raises,
    and `NoThreadError` if the system refuses a thread: threads already started then end.
    """
    pairs = [(_Meeting(1), _Meeting(len(lanes))) for _ in range(number + 1)]
    threads = [_BurstsThread(at, len(lanes), lane, calls, pairs) for at, lane in enumerate(lanes)]
    with new_threads_unpinned():  # threads that a call starts may outlive it
        try:
            start_lanes(threads)
        except NoThreadError:
            _give_up(pairs)
            raise
        end_lanes(threads)
    return _complete([thread.made for thread in threads if thread.made is not None])


class _Meeting:
    """One burst: it begins when all its lanes (threads) have a CPU, if that is soon, and ends with the last one."""

    def __init__(self, lanes: int) -> None:
        self._lock = _Lock()
        self._missing = self._going = lanes
        self._end = _Lock()
        self._end.acquire()
        self.begin_ns = 0
        self.given_up = False

    def arrive(self) -> None:
        with self._lock:
            self._missing -= 1
            if not self._missing and not self.given_up:
                self.begin_ns = _perf_counter_ns()

    def give_up(self) -> None:
        """Let go whoever waits for the burst, unless it has begun."""
        with self._lock:
            if not self.begin_ns and not self.given_up:
                self.given_up = True
                self._end.release()

    def leave(self) -> bool:
        """Say that a lane is done, and return whether it is the last: it lets all lanes go that wait for the end."""
        with self._lock:
            self._going -= 1
            if not self._going:
                self._end.release()
            return not self._going

    def wait_for_end(self) -> None:
        """Sleep until all lanes have left, or the burst is given up."""
        with self._end:
            return


_Pairs = Sequence[tuple[_Meeting, _Meeting]]
"""For each pair of bursts, the meeting of the lane that makes one alone, and the meeting of all lanes."""


def _give_up(pairs: _Pairs) -> None:
    for meeting in chain.from_iterable(pairs):
        meeting.give_up()


class _Lane:
    """One lane's (thread's) part of all bursts: a reading for each burst, or ``None`` if it has no part in it."""

    def __init__(self, call: Call, calls: int, number: int, pairs: _Pairs) -> None:
        """Prepare lane ``number``, counted from 0, in the thread that makes its ``calls`` calls of each burst."""
        self._call = call
        self._calls = calls
        self._number = number
        self._cpu = StartingCpu(number)
        self._pairs = pairs
        self.readings: list[tuple[LaneReading | None, LaneReading | None]] = []

    def make(self, lanes: int) -> None:
        """Make this lane's part; the ``lanes`` lanes take turns in making a burst alone."""
        queue = clocks.RunQueueClock()
        self._cpu.hold()
        try:
            for at, (alone, together) in enumerate(self._pairs):
                own = None
                if at % lanes == self._number:
                    own = self._burst(alone, queue)
                else:
                    alone.wait_for_end()
                self.readings.append((own, self._burst(together, queue)))
        finally:
            self._cpu.release()
            queue.close()

    def _burst(self, meeting: _Meeting, queue: clocks.RunQueueClock) -> LaneReading | None:
        ready = in_advance(self._call, self._calls)
        clocks.sleep(PAUSE_S)
        switches = clocks.context_switches()
        before = _met(meeting, queue)
        if not meeting.begin_ns:
            return None
        try:
            _, end_ns, cpu_ns = run_calls(ready)
            since = clocks.context_switches()
        finally:
            is_last = meeting.leave()
        now, asked_ns = queue.read_ns(), _perf_counter_ns()
        meeting.wait_for_end()
        # a lane that loses its CPU at its end, with the GIL, keeps the others waiting; after the last end, nobody waits
        afterwards_ns = max(0, asked_ns - end_ns) if is_last else 0
        queued = None if now is None or before is None else max(0, now - before - afterwards_ns)
        return LaneReading(
            calls=self._calls,
            start_ns=meeting.begin_ns,
            end_ns=end_ns,
            cpu_ns=cpu_ns,
            run_queue_ns=queued,
            waits=None if switches is None or since is None else since[0] - switches[0],
            preemptions=None if switches is None or since is None else since[1] - switches[1],
            cpus=self._cpu.held(),
        )


def _met(meeting: _Meeting, queue: clocks.RunQueueClock) -> int | None:
    """Keep this thread's CPU until all lanes have one; return its time in the run queue until just before, in ns."""
    before = latest = queue.read_ns()
    meeting.arrive()
    until_ns = _perf_counter_ns() + PATIENCE_NS
    while not meeting.begin_ns and not meeting.given_up:
        before, latest = latest, queue.read_ns()
        without_gil()
        if _perf_counter_ns() > until_ns:
            meeting.give_up()
    return before


class _BurstsThread(LaneThread):
    """A thread that makes one lane's part of all bursts; ``lanes`` is how many lanes there are."""

    def __init__(self, number: int, lanes: int, lane: LaneContext, calls: int, pairs: _Pairs) -> None:
        super().__init__()
        self._number = number
        self._lane = lane
        self._calls = calls
        self._pairs = pairs
        self._lanes = lanes
        self.made: _Lane | None = None

    def run(self) -> None:
        try:
            with self._lane as call:
                self.ready.set()
                self.made = _Lane(call, self._calls, self._number, self._pairs)
                self.made.make(self._lanes)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
            self.error = describe(error)
        finally:
            _give_up(self._pairs)  # nobody need wait for a lane that failed
            self.ready.set()


def _complete(lanes: Sequence[_Lane]) -> tuple[BurstPair, ...]:
    """Return the pairs of bursts that all lanes made, without the first, in which they warmed up."""
    found = []
    for readings in list(zip(*(lane.readings for lane in lanes), strict=True))[1:]:
        alone = tuple(one for one, _ in readings if one is not None)
        together = tuple(one for _, one in readings if one is not None)
        if alone and len(together) == len(lanes):
            found.append(BurstPair(alone=_reading(alone), together=_reading(together)))
    return tuple(found)


def _reading(lanes: tuple[LaneReading, ...]) -> WorkerReading:
    """Return the reading of a burst: its lanes' clocks alone, since the process's are too coarse for it."""
    return WorkerReading(
        lanes=lanes,
        process_cpu_ns=sum(lane.cpu_ns for lane in lanes),
        peak_rss_bytes=None,
        gil_enabled=interpreter.gil_enabled(),
    )
