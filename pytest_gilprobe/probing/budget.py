"""Count the wall time of one probe against the time that the probe may take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pytest_gilprobe.observe import clocks


class Budget:
    """Count the wall time of a probe against a limit; time that the measured calls did not cause can be left out.

    ``total_s``, the limit in seconds, may be raised while the probe runs.
    """

    def __init__(self, total_s: float) -> None:
        """Start counting now, with a limit of ``total_s`` seconds."""
        self.total_s = total_s
        self._started_ns = clocks.perf_counter_ns()

    def restart(self) -> None:
        """Start counting again at 0; the time that has passed until now does not count."""
        self._started_ns = clocks.perf_counter_ns()

    def give_back(self, since_ns: int) -> None:
        """Do not count the time from ``since_ns``, a moment on the clock `time.perf_counter_ns`, until now."""
        self._started_ns += clocks.perf_counter_ns() - since_ns

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time that passes in the ``with`` block."""
        paused_ns = clocks.perf_counter_ns()
        try:
            yield
        finally:
            self.give_back(paused_ns)

    def left_s(self) -> float:
        """Return the seconds that are left; negative if the limit was exceeded."""
        return self.total_s - (clocks.perf_counter_ns() - self._started_ns) / 1e9
