"""Outside a process: at which random moments its GIL was found held.

The parent reads a few words of the worker's memory; nothing runs in the worker, which cannot tell. What it rests on:

* Moments drawn from a Poisson process see a system as time does, whatever the system's own rhythm, so the share of
  looks that find the GIL held estimates the share of time. *Source:* R. W. Wolff, "Poisson arrivals see time
  averages", Operations Research 30(2), 1982.
* A look is one `os.pread` of an aligned word, which the kernel copies whole.
* A pause must not depend on what is watched. It does where watcher and worker share a core: then the watcher wakes
  when the worker sleeps. So it steps aside, to a core that the worker's main thread did not last run on: measured
  on two cores, half of them busy, this took the bias of sleeping mixtures from -0.02 to -0.0001 (maximum error
  0.10 to 0.03). Where there is no other core, each look says so (``same_core``), how late it was, and whether the
  worker wanted a core (``runnable``), for the statistics to judge.
* A thread that queues for a core with the GIL holds it for that long, which on an idle machine it would not. The kernel
  adds a stretch in the queue to the thread's ``run_delay`` when it is over, so looks that read it show afterwards which
  of them had fallen into one.
"""

from __future__ import annotations

import os
import random
import select
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from pytest_gilprobe.gil.aside import STAT_BYTES, Aside, read_run_queue_ns, read_stat
from pytest_gilprobe.gil.locate import HOLDER_OFFSET
from pytest_gilprobe.model import GilMethod, GilprobeError, GilTrace

if TYPE_CHECKING:
    from types import TracebackType

_perf_counter_ns = partial(time.perf_counter_ns)
_sleep = partial(time.sleep)
"""Looked up once, and wrapped, as in `pytest_gilprobe.host`, which the process beside a scan does without."""

_LAYOUT: Final = struct.Struct("@PiL")
"""``last_holder``, ``locked``, ``switch_number``, aligned as the C compiler does."""

_LOCKED_VALUES: Final = (-1, 0, 1)

_SELECTABLE: Final = 1024
"""`select` refuses descriptors from ``FD_SETSIZE`` on; `poll` takes them, but pauses in whole milliseconds."""

_POLLED_S: Final = 0.001

_Look = tuple[int, int, bool, int, int, bool | None, bool | None, int | None]
"""When, how late, held, by whom, hand-overs, runnable, same core, queued so far: a row of the trace."""

_COLUMNS: Final = 8

_SCHEDSTAT_BYTES: Final = 64
"""Enough of ``/proc/PID/task/TID/schedstat``: three numbers."""


class WatchError(GilprobeError):
    """A process's GIL cannot be watched; ``str()`` is the plain reason."""


class Watcher:
    """Look at another process's GIL at random moments, from the thread that calls `wait`.

    Holds three descriptors while entered. One watcher for one batch: `trace` gives all looks since it was entered.
    """

    def __init__(
        self,
        pid: int,
        address: int,
        *,
        mean_interval_s: float = 0.0005,
        max_samples: int = 2000,
        seed: int | None = None,
    ) -> None:
        """Say what to watch; nothing is opened yet.

        Args:
            pid: The process, a descendant of this one unless the system lets it trace others.
            address: What `pytest_gilprobe.gil.locate.locate` found in that process.
            mean_interval_s: Mean pause between looks, seconds, above 0. Pauses are exponentially distributed.
            max_samples: At most this many looks are kept, at least 2. When they are there, every second one is dropped
                and the mean pause doubles, so that a long batch is covered evenly.
            seed: Makes the intended pauses repeatable; ``None`` seeds from the system.

        Raises:
            ValueError: The interval or the number of looks is out of range.

        """
        if not mean_interval_s > 0 or max_samples < 2:  # noqa: PLR2004 - half of it must be one look
            msg = f"a watcher needs an interval above 0 and 2 looks, found {mean_interval_s!r} and {max_samples!r}"
            raise ValueError(msg)
        self._pid = pid
        self._address = address + HOLDER_OFFSET
        self._mean_ns = mean_interval_s * 1e9
        self._max_samples = max_samples
        self._random = random.Random(seed)  # noqa: S311 - statistics, no secret
        self._memory: int | None = None
        self._stat: int | None = None
        self._schedstat: int | None = None
        self._looks: list[_Look] = []

    def __enter__(self) -> Self:
        """Open the process's memory and look once, unrecorded.

        Raises:
            WatchError: It is gone, may not be traced, or what lies there is no GIL state.

        """
        try:
            self._memory = os.open(f"/proc/{self._pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self._stat = _open_task(self._pid, "stat")
            self._schedstat = _open_task(self._pid, "schedstat")
            words = os.pread(self._memory, _LAYOUT.size, self._address)
        except OSError as error:
            self._close()
            msg = f"cannot read the memory of process {self._pid}: {_plainly(error)}"
            raise WatchError(msg) from error
        if len(words) < _LAYOUT.size or _LAYOUT.unpack(words)[1] not in _LOCKED_VALUES:
            self._close()
            msg = f"process {self._pid} has no GIL state at the address given, or is gone"
            raise WatchError(msg)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what was opened; the trace stays."""
        self._close()

    def wait(self, fd: int, timeout_s: float) -> bool:
        """Look at the GIL at random moments until ``fd`` can be read.

        If the process ends meanwhile, the looking stops and the waiting goes on.

        Args:
            fd: A descriptor that becomes readable when the batch is over, or its other end is closed.
            timeout_s: Seconds to wait at most, 0 or more.

        Returns:
            Whether ``fd`` can be read; ``False`` means that the time is up.

        """
        aside = Aside()
        try:
            return self._watch_until(fd, _perf_counter_ns() + round(timeout_s * 1e9), aside)
        finally:
            aside.come_back()

    def _watch_until(self, fd: int, deadline_ns: int, aside: Aside) -> bool:
        """Pause and look in turn."""
        clock = _perf_counter_ns
        while True:
            now_ns = clock()
            # A pause starts at the look before it, not at the moment meant for it: missed moments are skipped,
            # and the pauses stay independent of how late the last one was.
            meant_ns = now_ns + round(self._random.expovariate(1 / self._mean_ns))
            until_ns = min(meant_ns, deadline_ns) if self._memory is not None else deadline_ns
            if _readable(fd, max(0, until_ns - now_ns) * 1e-9):
                return True
            if clock() >= deadline_ns:
                return False
            if self._memory is not None:
                self._look(self._memory, meant_ns, aside)

    def trace(self) -> GilTrace:
        """Return every look kept so far, in order; no look at all gives a trace of length 0."""
        columns = tuple(zip(*self._looks, strict=True)) or ((),) * _COLUMNS
        at_ns, late_ns, held, holder, switches, runnable, same_core, queue_ns = columns
        return GilTrace(
            method=GilMethod.MEMORY,
            at_ns=at_ns,
            late_ns=late_ns,
            held=held,
            holder=holder,
            switches=switches,
            runnable=() if None in runnable else runnable,
            same_core=() if None in same_core else same_core,
            queue_ns=() if None in queue_ns else queue_ns,
        )

    def _look(self, memory: int, meant_ns: int, aside: Aside) -> None:
        """Read the GIL's words once; a process that is gone ends the watching."""
        try:
            words = os.pread(memory, _LAYOUT.size, self._address)
            stat = os.pread(self._stat, STAT_BYTES, 0) if self._stat is not None else b""
            delays = os.pread(self._schedstat, _SCHEDSTAT_BYTES, 0) if self._schedstat is not None else b""
        except OSError:
            words = stat = delays = b""
        at_ns = _perf_counter_ns()
        if len(words) < _LAYOUT.size:
            self._close()
            return
        holder, locked, switches = _LAYOUT.unpack(words)
        runnable, core = read_stat(stat)
        same_core = aside.leave(core)
        queue_ns = read_run_queue_ns(delays)
        self._looks.append((at_ns, at_ns - meant_ns, locked == 1, holder, switches, runnable, same_core, queue_ns))
        if len(self._looks) >= self._max_samples:
            del self._looks[::2]
            self._mean_ns *= 2

    def _close(self) -> None:
        """Close all descriptors, once."""
        for descriptor in (self._memory, self._stat, self._schedstat):
            if descriptor is not None:
                os.close(descriptor)
        self._memory = self._stat = self._schedstat = None


def _open_task(pid: int, name: str) -> int | None:
    """Open one of the files about the main thread, or ``None`` where the system does not have it."""
    try:
        return os.open(f"/proc/{pid}/task/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _readable(fd: int, pause_s: float) -> bool:
    """Pause with microsecond resolution, shorter if ``fd`` becomes readable; tell whether it is.

    A descriptor too high for `select` is asked every millisecond of the pause instead of during all of it.
    """
    if fd < _SELECTABLE:
        return bool(select.select([fd], (), (), pause_s)[0])
    asked = select.poll()
    asked.register(fd, select.POLLIN)
    while pause_s > _POLLED_S:
        if asked.poll(1):
            return True
        pause_s -= _POLLED_S
    _sleep(pause_s)
    return bool(asked.poll(0))


def _plainly(error: OSError) -> str:
    """Put the two usual failures in words."""
    if isinstance(error, PermissionError):
        return "no right to trace it"
    if isinstance(error, FileNotFoundError | ProcessLookupError):
        return "it is gone"
    return error.strerror or str(error)
