"""Tell which part of the memory of a process that hosts interpreters belongs to those that make calls."""

from __future__ import annotations

from pytest_gilprobe.observe import machine


class HostMemory:
    """The memory of this process, which hosts interpreters: what it took before it had any, and what calls add."""

    def __init__(self) -> None:
        """Note the memory that this process takes now, without interpreters."""
        self._alone_bytes = _present_bytes()
        self._idle_bytes = self._alone_bytes

    def begin(self) -> None:
        """Note the memory that this process takes before a batch or a stretch; its peak counts from now on."""
        self._idle_bytes = _present_bytes()

    def peak_bytes(self, lanes: int, interpreters: int) -> int | None:
        """Return the part of the peak since `begin` that so many ``lanes`` take, and the process without interpreters.

        What the process took at `begin` beyond its memory without interpreters is divided evenly by all
        ``interpreters`` that take memory, lanes or not, as they cannot be told apart; so is what earlier calls have
        kept. All memory beyond that was taken by calls of the lanes. ``None`` if the system does not report memory.
        """
        peak, idle, alone = machine.peak_rss_bytes(), self._idle_bytes, self._alone_bytes
        if peak is None or idle is None or alone is None:
            return None
        return alone + max(0, idle - alone) * lanes // max(1, interpreters) + max(0, peak - idle)


def _present_bytes() -> int | None:
    """Return this process's present memory, from which its peak counts now; the peak so far if it cannot be reset."""
    machine.reset_peak_rss()
    return machine.peak_rss_bytes()
