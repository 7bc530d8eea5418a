"""Measure, by a thread in the worker process, how often the GIL is held, if the process's memory cannot be read.

The heartbeat, a thread, sleeps about 2 ms at a time. If the GIL is free when the heartbeat wakes, it runs immediately.
If not, it waits until the holder releases the GIL: voluntarily, or on request after one switch interval (native code
may ignore the request). Each wait ends with a switch of the GIL and so disturbs the measured code: use a heartbeat in a
separate batch (calls timed together). The heartbeat's samples are valid for these reasons:

* The system's counts of context switches show whether the heartbeat waited: a sleep costs a thread one voluntary
  switch, and a wait for the GIL one more. On a system without such counts, a waking that is over 0.5 ms late is a wait.
* Time in the run queue is caused by other programs and is subtracted from the lateness.
* The heartbeat avoids the measured thread's CPU, and its pauses are exponentially distributed, for the reasons given in
  `pytest_gilprobe.observe.gil_sampler`.
* It reads files of ``/proc`` by a call that keeps the GIL: an ordinary read would release it and wait for it again.
* It ends before the ``with`` block does, so that it is not left running when the interpreter exits.
"""

from __future__ import annotations

import _thread
import os
import random
from functools import partial
from typing import Final, Self

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.affinity import STAT_BYTES, CpuAvoider, parse_stat

_LATE_NS: Final = 500_000
"""Above what a prompt waking costs (0.1 ms), far below the shortest usual switch interval (5 ms)."""

MEAN_PAUSE_S: Final = 0.002
"""Mean time in seconds from one sample of the heartbeat (a thread that sleeps and wakes) to the next: far below the
switch interval of usually 5 ms after which a thread requests the GIL."""
_ASLEEP_SWITCHES: Final = 1
_START_TIMEOUT_S: Final = 10.0

_start_new_thread = partial(_thread.start_new_thread)
_allocate_lock = partial(_thread.allocate_lock)
_native_id = partial(_thread.get_native_id)
"""Looked up on import and wrapped: see `pytest_gilprobe.observe.clocks`."""


class Heartbeat:
    """Sample this process's GIL by a thread that sleeps and wakes while a ``with`` block runs.

    Use a new heartbeat for each batch (calls timed together). The thread does not go through `threading`, so that
    patches, trace functions and checks for leaked threads do not affect it.
    """

    def __init__(self, *, mean_pause_s: float = MEAN_PAUSE_S, seed: int | None = None) -> None:
        """Set the mean length of the sleeps; no thread is started yet.

        Args:
            mean_pause_s: Mean length of a sleep in seconds, above 0.
            seed: Seed of the random sleeps, which makes them repeatable; ``None`` seeds from the system.

        """
        self._mean_s = mean_pause_s
        self._random = random.Random(seed)  # noqa: S311 - statistics, no secret
        self._beats: list[tuple[int, int, bool]] = []
        self._begun, self._stop, self._ended = _allocate_lock(), _allocate_lock(), _allocate_lock()

    def __enter__(self) -> Self:
        """Start the heartbeat's thread and wait until it runs, for at most 10 seconds.

        Raises:
            RuntimeError: The system refuses to start a thread.

        """
        for lock in (self._begun, self._stop, self._ended):
            lock.acquire()
        _start_new_thread(self._beat, (_native_id(),))
        self._begun.acquire(timeout=_START_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the heartbeat's thread, even during a sleep, and wait until the thread has ended."""
        self._stop.release()
        self._ended.acquire()

    def samples(self) -> GilSamples:
        """Return one sample for each waking of the heartbeat so far.

        A sample has the moment of the waking, in nanoseconds by `time.perf_counter_ns`, how many nanoseconds late the
        waking was, and whether the heartbeat waited for the GIL.
        """
        at_ns, late_ns, held = zip(*self._beats, strict=True) if self._beats else ((), (), ())
        return GilSamples(method=GilMethod.HEARTBEAT, at_ns=at_ns, late_ns=late_ns, held=held)

    def _beat(self, measured: int) -> None:
        """Sleep and wake until stopped: all that the thread does. ``measured`` is the other thread's native id."""
        clock, avoider = clocks.perf_counter_ns, CpuAvoider()
        schedstat = _GilKeepingFile("/proc/thread-self/schedstat")
        stat = _GilKeepingFile(f"/proc/self/task/{measured}/stat")
        try:
            switches, queued_ns = _voluntary_switches(), clocks.run_delay_ns(schedstat.read()) or 0
            avoider.avoid(parse_stat(stat.read())[1])
            self._begun.release()
            while True:
                pause_s = self._random.expovariate(1 / self._mean_s)
                asleep_ns = clock()
                if self._stop.acquire(timeout=pause_s):
                    return
                at_ns = clock()
                switches_before, switches = switches, _voluntary_switches()
                queued_before_ns, queued_ns = queued_ns, clocks.run_delay_ns(schedstat.read()) or 0
                late_ns = at_ns - asleep_ns - round(pause_s * 1e9) - (queued_ns - queued_before_ns)
                self._beats.append((at_ns, max(0, late_ns), _waited(switches - switches_before, late_ns)))
                avoider.avoid(parse_stat(stat.read())[1])
        finally:
            schedstat.close()
            stat.close()
            self._ended.release()


def _waited(switches: int, late_ns: int) -> bool:
    """Return whether a waking waited for the GIL; a system that counts no switch for a sleep counts none at all."""
    return switches > _ASLEEP_SWITCHES if switches >= _ASLEEP_SWITCHES else late_ns > _LATE_NS


def _voluntary_switches() -> int:
    """Count the calling thread's voluntary context switches; 0 where the system does not."""
    counted = clocks.context_switches()
    return 0 if counted is None else counted[0]


class _GilKeepingFile:
    """A small file of the system, read again and again without releasing the GIL; empty where that cannot be done."""

    def __init__(self, path: str) -> None:
        """Open the file, if it is there, and `ctypes` to read it with."""
        self._descriptor: int | None = None
        try:
            import ctypes  # noqa: PLC0415 - absent where libffi is

            self._pread = ctypes.PyDLL(None).pread
            self._pread.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long)
            self._pread.restype = ctypes.c_ssize_t
            self._text = ctypes.create_string_buffer(STAT_BYTES)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (ImportError, OSError, AttributeError, TypeError):
            return

    def read(self) -> bytes:
        """Return the file's content, from its start."""
        if self._descriptor is None:
            return b""
        size = self._pread(self._descriptor, self._text, STAT_BYTES, 0)
        return self._text.raw[: max(0, size)]

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
