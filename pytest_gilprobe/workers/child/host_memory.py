"""Tell how much memory of a process that hosts subinterpreters is due to those that make calls."""

from __future__ import annotations

from pytest_gilprobe.observe import machine


class HostMemory:
    """The memory of this process: before it hosted any subinterpreter, before calls are made, and at its peak."""

    def __init__(self) -> None:
        """Note the memory that this process takes now, before it hosts any subinterpreter."""
        self._alone_bytes = _present_bytes()
        self._idle_bytes = self._alone_bytes

    def begin(self) -> None:
        """Note the memory of this process now, before calls are made, and measure its peak from now on."""
        self._idle_bytes = _present_bytes()

    def peak_bytes(self, lanes: int, interpreters: int) -> int | None:
        """Return the peak memory since `begin`, in bytes, as if this process hosted only ``lanes`` subinterpreters.

        ``lanes`` is how many subinterpreters make calls, ``interpreters`` how many take memory. The result is the sum
        of three parts. The first is the memory of the process before it hosted any. The second is what all of them had
        added at `begin`, times ``lanes`` / ``interpreters``, since it is not known which of them took how much. The
        third is what calls have added since `begin`. Return ``None`` if the system does not report memory.
        """
        peak, idle, alone = machine.peak_rss_bytes(), self._idle_bytes, self._alone_bytes
        if peak is None or idle is None or alone is None:
            return None
        return alone + max(0, idle - alone) * lanes // max(1, interpreters) + max(0, peak - idle)


def _present_bytes() -> int | None:
    """Return this process's present memory, from which its peak counts now; the peak so far if it cannot be reset."""
    machine.reset_peak_rss()
    return machine.peak_rss_bytes()
