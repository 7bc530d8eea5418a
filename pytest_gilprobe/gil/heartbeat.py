"""In the worker, where its memory cannot be read: how long a sleeper must wait for the GIL when it wakes.

A thread sleeps about 2 ms at a time. If the GIL is free when it wakes, it runs at once; if not, it waits until the
holder lets go, or is made to after one switch interval, or, in native code that never yields, for as long as it takes.
This disturbs what it measures (each wait ends with a hand-over), so it belongs in a pass of its own. What it rests on:

* Whether it waited is told by the system, not guessed from how late it is: sleeping costs a thread one voluntary
  context switch, each wait for the GIL one more (``ru_nvcsw``). Only where the system does not count them per
  thread, a waking later than `_LATE_NS` is taken for a wait.
* Time in the run queue (``schedstat``) is other programs' fault and is taken out of the lateness.
* It steps aside as the watcher does: see `pytest_gilprobe.gil.aside`.
* What it reads, it reads by a call that keeps the GIL: an ordinary read would let it go and queue again.
* Pauses are exponentially distributed: see `pytest_gilprobe.gil.watch`.
* It ends before ``with`` does: no thread is left for the interpreter's exit to trip over.
"""

from __future__ import annotations

import _thread
import os
import random
import time
from typing import TYPE_CHECKING, Final, Self

from pytest_gilprobe.gil.aside import STAT_BYTES, Aside, read_run_queue_ns, read_stat
from pytest_gilprobe.model import GilMethod, GilTrace

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_LATE_NS: Final = 500_000
"""Above what a prompt waking costs (0.1 ms measured), far below the shortest usual switch interval (5 ms)."""

_ASLEEP_SWITCHES: Final = 1
_START_TIMEOUT_S: Final = 10.0

_PRIMITIVES: Final = (time.perf_counter_ns, _thread.start_new_thread, _thread.allocate_lock, _thread.get_native_id)
"""Kept in a tuple from import on: tests patch `time` and `threading`, some patchers the names in every module."""


class Heartbeat:
    """Beat in a thread of this process while a ``with`` block runs; one heartbeat for one batch.

    The thread is started below `threading`: patched or traced threads, and checks for leaked ones, do not concern it.
    """

    def __init__(self, *, mean_pause_s: float = 0.002, seed: int | None = None) -> None:
        """Say how often to beat; nothing is started yet.

        Args:
            mean_pause_s: Mean sleep, seconds, above 0.
            seed: Makes the intended pauses repeatable; ``None`` seeds from the system.

        Raises:
            ValueError: The pause is not above 0.

        """
        if not mean_pause_s > 0:
            msg = f"a heartbeat needs a pause above 0, found {mean_pause_s!r}"
            raise ValueError(msg)
        self._mean_s = mean_pause_s
        self._random = random.Random(seed)  # noqa: S311 - statistics, no secret
        self._beats: list[tuple[int, int, bool]] = []
        allocate_lock = _PRIMITIVES[2]
        self._begun, self._stop, self._ended = allocate_lock(), allocate_lock(), allocate_lock()

    def __enter__(self) -> Self:
        """Start beating; returns once the thread runs.

        Raises:
            RuntimeError: The system gives no thread.

        """
        for lock in (self._begun, self._stop, self._ended):
            lock.acquire()
        start_new_thread, native_id = _PRIMITIVES[1], _PRIMITIVES[3]
        start_new_thread(self._beat, (native_id(),))
        self._begun.acquire(timeout=_START_TIMEOUT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and wait until the thread is at its end; a sleep is cut short."""
        self._stop.release()
        self._ended.acquire()

    def trace(self) -> GilTrace:
        """Return the beats so far: waking moments, whether the GIL was held then, and how long the wait for it was."""
        beats = tuple(self._beats)
        return GilTrace(
            method=GilMethod.HEARTBEAT,
            at_ns=tuple(at_ns for at_ns, _, _ in beats),
            late_ns=tuple(late_ns for _, late_ns, _ in beats),
            held=tuple(held for _, _, held in beats),
        )

    def _beat(self, watched: int) -> None:
        """Sleep and wake until told to stop: the thread's whole life; ``watched`` is the other's native id."""
        clock = _PRIMITIVES[0]
        aside, queue = Aside(), _HeldRead("/proc/thread-self/schedstat")
        stat = _HeldRead(f"/proc/self/task/{watched}/stat")
        try:
            switches, queued_ns = _count_switches(), read_run_queue_ns(queue.read()) or 0
            aside.leave(read_stat(stat.read())[1])
            self._begun.release()
            while True:
                pause_s = self._random.expovariate(1 / self._mean_s)
                asleep_ns = clock()
                if self._stop.acquire(timeout=pause_s):
                    return
                at_ns = clock()
                switches_before, switches = switches, _count_switches()
                queued_before_ns, queued_ns = queued_ns, read_run_queue_ns(queue.read()) or 0
                late_ns = at_ns - asleep_ns - round(pause_s * 1e9) - (queued_ns - queued_before_ns)
                self._beats.append((at_ns, max(0, late_ns), _waited(switches - switches_before, late_ns)))
                aside.leave(read_stat(stat.read())[1])
        finally:
            queue.close()
            stat.close()
            self._ended.release()


def _waited(switches: int, late_ns: int) -> bool:
    """Whether a waking had to wait for the GIL; a system that counts no switch for a sleep counts none at all."""
    return switches > _ASLEEP_SWITCHES if switches >= _ASLEEP_SWITCHES else late_ns > _LATE_NS


def _switch_counter() -> Callable[[], int]:
    """Find the call that counts the calling thread's voluntary context switches; 0 where there is none."""
    try:
        from resource import RUSAGE_THREAD, getrusage  # noqa: PLC0415 - neither Windows nor macOS has both
    except ImportError:
        return lambda: 0
    return lambda: getrusage(RUSAGE_THREAD).ru_nvcsw


_count_switches: Final = _switch_counter()


class _HeldRead:
    """A small file of the system, read again and again without releasing the GIL; empty where that cannot be done."""

    def __init__(self, path: str) -> None:
        """Open it, if it is there, and `ctypes` to read it with."""
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
        """Read it from its start."""
        if self._descriptor is None:
            return b""
        size = self._pread(self._descriptor, self._text, STAT_BYTES, 0)
        return self._text.raw[: max(0, size)]

    def close(self) -> None:
        """Close what was opened."""
        if self._descriptor is not None:
            os.close(self._descriptor)
