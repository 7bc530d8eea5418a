"""Sample several GILs of another process at random moments: one for each of its subinterpreters."""

from __future__ import annotations

import os
import random
import struct
from typing import TYPE_CHECKING, Final, Self

from pytest_gilprobe.model.own_gils import GilLooks
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.pauses import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOCKED: Final = struct.Struct("@i")
_HELD: Final = 1
_MOST_LOOKS: Final = 2_000
"""Looks of one batch that are kept; when there are more, every second one is dropped, and pauses double."""


class OwnGils:
    """Sample the GILs of another process's subinterpreters; a context manager that keeps the process's memory open.

    One sample (a "look") reads of every GIL whether it is held. If the process ends, or its memory may not be read,
    there are no further looks; no exception is raised.
    """

    def __init__(self, pid: int, addresses: Sequence[int], *, mean_s: float) -> None:
        """Prepare to look at the GILs of process ``pid``, with a mean pause of ``mean_s`` seconds between two looks.

        ``addresses`` has the address of each GIL's ``locked`` int (1 if the GIL is held), one for each subinterpreter.
        """
        self._pid = pid
        self._addresses = addresses
        self._mean_s = mean_s
        self._memory: int | None = None
        self._looks: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        """Open the process's memory."""
        try:
            self._memory = os.open(f"/proc/{self._pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._memory = None
        return self

    def __exit__(self, *_: object) -> None:
        """Close the process's memory; the looks stay available."""
        self._close()

    def sample_until(self, fd: int, timeout_s: float) -> bool:
        """Sample the GILs at random moments until ``fd`` can be read or ``timeout_s`` seconds have passed.

        Return whether ``fd`` can be read.
        """
        deadline_ns = clocks.perf_counter_ns() + round(timeout_s * 1e9)
        while (left_s := (deadline_ns - clocks.perf_counter_ns()) / 1e9) > 0:
            pause_s = left_s if self._memory is None else min(left_s, random.expovariate(1 / self._mean_s))
            if readable(fd, pause_s):
                return True
            self._look()
        return readable(fd, 0)

    def looks(self) -> GilLooks | None:
        """Return the samples kept so far, in order of time; ``None`` if there are none.

        Each sample (a "look") has a moment, and says of each GIL whether it was held then.
        """
        if not self._looks:
            return None
        at_ns, held = zip(*self._looks, strict=True)
        return GilLooks(at_ns=at_ns, held=held)

    def _look(self) -> None:
        if self._memory is None:
            return
        held = 0
        try:
            for lane, address in enumerate(self._addresses):
                (locked,) = _LOCKED.unpack(os.pread(self._memory, _LOCKED.size, address))
                held |= (locked == _HELD) << lane
        except (OSError, struct.error):
            self._close()
            return
        self._looks.append((clocks.perf_counter_ns(), held))
        if len(self._looks) >= _MOST_LOOKS:
            del self._looks[::2]
            self._mean_s *= 2

    def _close(self) -> None:
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None
