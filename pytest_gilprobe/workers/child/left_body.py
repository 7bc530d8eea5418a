"""Compare calls made inside a test's body with the same calls made after the body was left.

The call is the one that the body passes to the `gilprobe` fixture. With ``@pytest.mark.gilprobe(fresh=True)``, the body
is left before each timed call. What a ``with`` or a ``finally`` of the body closes is closed by then, so the call may
find nothing to do, and be too quick.
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
"""Largest number of pairs of calls: one inside the test's body, one after the body was left. Even if every other call
is disturbed, this is enough to see whether one kind takes three times as long as the other."""
TRIALS_S = 0.5
"""Seconds after which no further pair of calls (one inside the test's body, one after it was left) is begun. The time
includes the set-up of fixtures for the calls."""


class LeftBody:
    """Compares how long calls take inside a test's body, and after the body was left.

    Call `compare` after the test's first call, which loads what calls need. ``failed`` is whether a call has failed,
    perhaps half-way.
    """

    def __init__(self, work: Workload, fresh: FreshCall, inside: Callable[[], float]) -> None:
        """Prepare to compare: ``inside`` makes one call inside the test's body, and returns its seconds.

        ``work`` makes the calls after the body was left. ``fresh`` makes and tears down the fixtures of each call.
        """
        self._work = work
        self._fresh = fresh
        self._inside = inside
        self.failed = False
        """Whether a call of either kind failed, perhaps half-way."""

    def compare(self) -> ArgumentsReading:
        """Make calls inside the test's body and after it was left, in turn, and return their seconds.

        In the result, ``fresh_s`` has the seconds of the calls inside the body, and ``used_s`` those of the calls after
        it. If a call fails, both are empty, and ``failed`` is set.
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
