"""Compare calls made inside a test's body with the same calls made after the body was left.

With ``fresh=True``, the body is left before each timed call. What a ``with`` or a ``finally`` of the body closes is
closed by then: the call may find nothing to do, and be too quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model.call_readings import ArgumentsReading
from pytest_gilprobe.observe import clocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.child.calls import FreshCall
    from pytest_gilprobe.workers.child.workload import Workload

PAIRS = 10
"""Most calls of each kind (in the body, and after it). If one call in two is disturbed, the others are still enough to
recognize a factor of three."""
TRIALS_S = 0.5
"""Seconds, with the set-up of fixtures, after which no further pair of calls is made."""


class LeftBody:
    """Compares calls in a test's body with calls after it, once the test's first call has loaded what it needs."""

    def __init__(self, work: Workload, fresh: FreshCall, inside: Callable[[], float]) -> None:
        """Compare calls of ``work``, that of ``fresh``, with those that ``inside`` makes and times."""
        self._work = work
        self._fresh = fresh
        self._inside = inside
        self.failed = False
        """Whether a call of either kind failed, perhaps half-way."""

    def compare(self) -> ArgumentsReading:
        """Return the seconds of calls in the body (``fresh_s``) and after it (``used_s``), made in turn.

        If a call fails, the reading is empty.
        """
        inside_s: list[float] = []
        after_s: list[float] = []
        kinds = [(inside_s, self._inside), (after_s, self._after)]
        started_ns = clocks.perf_counter_ns()
        try:
            while len(after_s) < PAIRS and (clocks.perf_counter_ns() - started_ns) / 1e9 < TRIALS_S:
                for times, call_s in kinds:
                    times.append(self._with_new_fixtures(call_s))
                kinds.reverse()
        except BaseException:  # noqa: BLE001 - whatever the user's code raises; pytest.fail is no Exception
            self.failed = True
            return ArgumentsReading()
        return ArgumentsReading(fresh_s=tuple(inside_s), used_s=tuple(after_s))

    def _with_new_fixtures(self, call_s: Callable[[], float]) -> float:
        try:
            return call_s()
        finally:
            self._fresh.tear_down()

    def _after(self) -> float:
        self._fresh.prepare(1)
        (lane,) = self._work.serial(1).lanes
        return (lane.end_ns - lane.start_ns) / 1e9
