"""Read this process's clocks: wall time, CPU time, time in the run queue, context switches.

Functions of the standard library are looked up once, on import, so that a test that replaces ``time.perf_counter``
does not change the clocks of this module. The functions are wrapped because freezegun finds the originals in every
module, by identity, and would replace them.
"""

from __future__ import annotations

import os
import time
from functools import partial

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

perf_counter_ns = partial(time.perf_counter_ns)
thread_time_ns = partial(time.thread_time_ns)
process_time_ns = partial(time.process_time_ns)
sleep = partial(time.sleep)
_open = open
_os_open = partial(os.open)
_os_pread = partial(os.pread) if hasattr(os, "pread") else None
_os_close = partial(os.close)

_START_AFTER_NAME = 19
SCHEDSTAT_BYTES = 64
"""Number of bytes to read of the file ``schedstat`` that Linux has for each thread: enough for the file's three
numbers."""


def run_delay_ns(schedstat: bytes) -> int | None:
    """Return how long a thread has waited for a CPU, in nanoseconds, from the content of its ``schedstat`` file.

    Returns:
        The time; ``None`` if the text does not contain it, or if the kernel does not count it: the text is then "0 0
            0", as if the thread had never run.

    *Source:* second field of ``/proc/PID/task/TID/schedstat`` (``run_delay``), the kernel's ``sched-stats.rst``.
    """
    fields = schedstat.split()
    return int(fields[1]) if len(fields) > 2 and fields[2] != b"0" else None  # noqa: PLR2004 - running, queueing, runs


class RunQueueClock:
    """Measure how long the calling thread has been runnable without running, in nanoseconds.

    Create and read the clock in the thread to be measured. Each reading is a system call that releases the GIL: do not
    read the clock within the time that is being measured.
    """

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        """Open this thread's ``schedstat`` file; without that file (only Linux has it), every reading is ``None``."""
        try:
            self._fd = _os_open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def read_ns(self) -> int | None:
        """Return how long the thread was runnable without running so far, in nanoseconds; ``None`` if not reported."""
        if self._fd < 0 or _os_pread is None:
            return None
        try:
            return run_delay_ns(_os_pread(self._fd, SCHEDSTAT_BYTES, 0))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Close the ``schedstat`` file; further readings are ``None``."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                _os_close(fd)
            except OSError:  # the workload closed every file descriptor
                return


def children_time_ns() -> int:
    """Return the CPU time, in nanoseconds, of this process's children that ended and were waited for.

    The time is 0 if the system does not report it.
    """
    if resource is None:
        return 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def process_age_ns() -> int | None:
    """Return how long ago this process started, in nanoseconds, in steps of a system tick; ``None`` if unknown.

    *Source:* field 22 of ``proc_pid_stat(5)``, counted from boot.
    """
    try:
        with _open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[_START_AFTER_NAME])
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def context_switches() -> tuple[int, int] | None:
    """Return the numbers of the calling thread's voluntary and involuntary context switches so far, in this order.

    In a voluntary switch the thread waits for something; an involuntary switch is a preemption. ``None`` if the system
    does not count them for each thread (only Linux does). *Source:* ``getrusage(2)``, ``ru_nvcsw`` and ``ru_nivcsw``.
    """
    if resource is None or not hasattr(resource, "RUSAGE_THREAD"):
        return None
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_nvcsw, used.ru_nivcsw
