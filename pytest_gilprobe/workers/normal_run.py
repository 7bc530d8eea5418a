"""Read the clocks of a test's normal run in pytest's own process, for calls that are too long to repeat."""

from __future__ import annotations

from pytest_gilprobe.model.readings import LaneReading
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.child.batch import Queueing


class NormalRun:
    """Reads the clocks for one call: they start when this object is made, and stop with `end`, in the call's thread."""

    def __init__(self) -> None:
        """Begin to time a call: read wall time, the process's CPU time, and this thread's wait for a core so far."""
        self._queueing = Queueing()
        self._cpu_ns = clocks.process_time_ns()
        self._start_ns = clocks.perf_counter_ns()

    def end(self) -> LaneReading:
        """Stop the clocks and return what they show for the call: its duration, CPU time and wait for a core.

        The CPU time is that of the whole process, which does nothing else during the call.
        """
        end_ns = clocks.perf_counter_ns()
        cpu_ns = clocks.process_time_ns() - self._cpu_ns
        queued_ns = self._queueing.until_ns(end_ns, since_ns=self._start_ns)
        self._queueing.close()
        return LaneReading(
            calls=1, start_ns=self._start_ns, end_ns=end_ns, cpu_ns=max(0, cpu_ns), run_queue_ns=queued_ns
        )
