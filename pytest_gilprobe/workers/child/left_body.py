"""Compare calls made in a test's body with the same calls after the body was left, as ``fresh=True`` leaves it.

What a ``with`` or a ``finally`` of the body closes is closed after it: a call may then find nothing to do, and be
quick.
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
"""Most calls of each kind: what disturbs one call in two leaves enough of them to tell a factor of three."""
TRIALS_S = 0.5
"""Seconds of such calls, with the making of their fixtures, after which no more are made."""


class LeftBody:
    """Compares both kinds of calls of an open test, after its first call, which loads and compiles what it needs."""

    def __init__(self, work: Workload, fresh: FreshCall, inside: Callable[[], float]) -> None:
        """Compare calls of ``work``, that of ``fresh``, with those that ``inside`` makes and times."""
        self._work = work
        self._fresh = fresh
        self._inside = inside
        self.failed = False
        """Whether a call of either kind failed, perhaps half-way."""

    def compare(self) -> ArgumentsReading:
        """Return how long calls in the body and calls after it take, in turn; nothing if one of them failed."""
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
