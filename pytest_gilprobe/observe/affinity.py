"""Place threads on CPUs: keep a measuring thread off the measured thread's CPU, and start each lane on its own CPU.

A sampler on the CPU of the sampled thread runs only while that thread does not, and so misses its activity. Moving the
sampled thread would disturb that thread, so the sampler moves.

A lane is a thread that makes calls. While another program is busy, a scheduler may leave two lanes on one CPU for a
whole batch (calls timed together) although a second CPU is usable, so that they never run at the same time. So each
lane begins on a CPU of its own, and may move to any other CPU from then on.

On Linux, affinity belongs to one thread: no other thread of the process moves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

STAT_BYTES: Final = 512
"""Number of bytes of ``/proc/PID/task/TID/stat`` to read: enough for the thread's name, state and CPU."""

_open, _listdir = open, os.listdir  # a test may replace them

_STATE_FIELD: Final = 0
_CPU_FIELD: Final = 36
"""`state` and `processor` in proc(5), counted from the field after the name."""

_RUNNABLE: Final = b"R"


def parse_stat(stat: bytes) -> tuple[bool | None, int | None]:
    """Return whether a thread is runnable and the number of its last CPU.

    ``stat`` is the content of the thread's ``/proc/PID/task/TID/stat``. The thread's name in it, in parentheses, may
    contain parentheses and spaces. Both values are ``None`` if the text ends too early, for instance because the thread
    has ended.
    """
    fields = stat[stat.rfind(b")") + 1 :].split()
    if len(fields) <= _CPU_FIELD:
        return None, None
    return fields[_STATE_FIELD] == _RUNNABLE, int(fields[_CPU_FIELD])


class CpuAvoider:
    """Keep the calling thread off another thread's CPU; create and use an avoider in one thread only."""

    def __init__(self) -> None:
        """Remember the CPUs on which the calling thread may run; nothing is changed yet."""
        self._original = self._current = _affinity()

    def avoid(self, cpu: int | None) -> bool | None:
        """Exclude CPU number ``cpu`` from the calling thread's affinity, if another CPU remains.

        A CPU that an earlier call excluded is allowed again.

        Returns:
            Whether the calling thread was allowed to run on ``cpu`` before this method was called; ``None`` if ``cpu``
            is ``None`` (then nothing is changed), or if the system does not report affinity.

        """
        if cpu is None or not self._current:
            return None
        if cpu not in self._current:
            return False
        others = self._original - {cpu}
        if others and _set_affinity(others):
            self._current = others
        return True

    def restore(self) -> None:
        """Restore the calling thread's original affinity."""
        if self._current != self._original:
            _set_affinity(self._original)
            self._current = self._original


class StartingCpu:
    """Start a lane (a thread that makes calls) on a CPU of its own; create and use an object only in that thread."""

    def __init__(self, lane: int) -> None:
        """Choose the CPU of lane number ``lane`` (0 or more); lanes share CPUs if there are fewer CPUs than lanes."""
        self._original = _affinity()
        self._cpu = sorted(self._original)[lane % len(self._original)] if len(self._original) > 1 else None

    def hold(self) -> None:
        """Restrict this thread to the CPU chosen for it, until `release`; do nothing if only one CPU is usable."""
        if self._cpu is not None:
            _set_affinity(frozenset({self._cpu}))

    def held(self) -> tuple[int, ...]:
        """Return the CPU numbers where a thread under `hold` starts and ends: twice the one chosen; empty if none."""
        return () if self._cpu is None else (self._cpu, self._cpu)

    def until_now(self) -> tuple[int, ...]:
        """Return two CPU numbers: the CPU chosen for this thread, and the CPU on which the thread runs now.

        The result is empty if no CPU was chosen, as only one is usable, or if the system does not report the present
        CPU.
        """
        if self._cpu is None:
            return ()
        try:
            with _open("/proc/thread-self/stat", "rb") as stat:
                _, now = parse_stat(stat.read(STAT_BYTES))
        except OSError:
            return ()
        return () if now is None else (self._cpu, now)

    def release(self) -> None:
        """Let this thread use all its CPUs again; it stays on its present CPU until the system moves it."""
        if self._cpu is not None:
            _set_affinity(self._original)


def _affinity() -> frozenset[int]:
    """Return the CPUs that the calling thread may run on; none where the system does not report them."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return frozenset()


def _set_affinity(cpus: frozenset[int]) -> bool:
    """Restrict the calling thread to ``cpus``; return whether the system did so."""
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def new_threads_unpinned() -> Iterator[None]:
    """When the ``with`` block ends, let threads started in it use the CPUs that the caller could use before it."""
    before, cpus = set(_threads()), _affinity()
    try:
        yield
    finally:
        for thread in set(_threads()) - before if len(cpus) > 1 else ():
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setaffinity(thread, cpus)


def _threads() -> list[int]:
    """Return the system's numbers of this process's threads; none where the system does not list them."""
    try:
        return [int(name) for name in _listdir("/proc/self/task")]
    except OSError:
        return []
