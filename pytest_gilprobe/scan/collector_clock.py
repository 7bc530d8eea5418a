"""Clock the full garbage collections of pytest's process, which strike whichever test runs at that moment.

A full collection visits every object that can be part of a cycle: mostly what pytest and the imported modules keep. In
a session of 64,000 tests, one collection takes 0.2 to 1.7 s, and a test that allocates a few lists may be the one that
triggers it.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.observe import clocks, interpreter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAST_NS: Final = 1_000_000
"""Nanoseconds from which a collection is noted: fewer than two samples of the GIL fall into a shorter one."""
_OLDEST: Final = 2
"""Generation of a full collection. A free-threaded build has but one generation, numbered 0."""


class CollectionClock:
    """Note when the full garbage collections that Python starts by itself begin and end.

    A collection that a test asks for is not noted, since it is part of that test. The allocation counts tell the two
    apart: they are above their thresholds when Python starts a collection.
    """

    def __init__(self) -> None:
        """Prepare; nothing is noted before `start`."""
        self._began_ns = 0
        self._noted: list[tuple[int, int]] = []
        self._oldest = 0 if interpreter.free_threaded_build() else _OLDEST

    def start(self) -> None:
        """Have Python call this clock at the begin and end of each collection."""
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Have Python call this clock no more; do nothing if a test has removed the callback."""
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)

    def take(self) -> Sequence[tuple[int, int]]:
        """Return and forget the collections noted so far, each as the moments of its begin and its end.

        The moments are those of `time.perf_counter_ns`.
        """
        if not self._noted:
            return ()
        noted, self._noted = self._noted, []
        return noted

    def _note(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] != self._oldest:
            return
        if phase == "start":
            self._began_ns = clocks.perf_counter_ns() if _by_itself(self._oldest) else 0
        elif self._began_ns:
            ended_ns = clocks.perf_counter_ns()
            if ended_ns - self._began_ns >= LEAST_NS:
                self._noted.append((self._began_ns, ended_ns))
            self._began_ns = 0


def _by_itself(oldest: int) -> bool:
    counts, thresholds = gc.get_count(), gc.get_threshold()
    return counts[0] > thresholds[0] and counts[oldest] > thresholds[oldest]
