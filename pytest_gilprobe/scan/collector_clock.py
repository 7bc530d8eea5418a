"""Clock the full garbage collections of pytest's process, which strike whichever test runs at that moment.

A full collection visits every object that can be part of a cycle; most of these belong to pytest and to imported
modules. With 64,000 tests collected by pytest, one collection takes 0.2 to 2 s, and a test that allocates only a few
lists may trigger it.
"""

from __future__ import annotations

import dis
import sys
import threading
from gc import callbacks, get_count, get_objects, get_threshold, isenabled  # bound here: a test may replace them
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.observe import clocks, interpreter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

LEAST_NS: Final = 1_000_000
"""A garbage collection is recorded if it takes at least this time, in nanoseconds, apart from the estimated time for
visiting objects that the current test made."""
MOST_NOTED: Final = 1_000
"""Maximum number of garbage collections that are recorded during one test; any others count as part of the test."""
_OLDEST: Final = 2
"""Generation of a full collection. A free-threaded build has but one generation, numbered 0."""
_CALL: Final = 12
"""Most instructions from loading the name ``collect`` to the call itself, caches not counted."""


class CollectionClock:
    """Record the full garbage collections that Python itself starts in the thread that runs the tests.

    A collection that a test starts, as by `gc.collect`, belongs to that test and is not recorded.

    Only a part of a collection's duration is recorded: the time for visiting objects older than the tests. The rest is
    due to objects that the current test made. The recorded share is ``old / (old + new)``. ``old`` is the number of
    objects at `start`. ``new`` is an upper estimate of the test's objects: the number of young collections since the
    last `take`, times the number of new objects at which Python begins a young collection. A free-threaded build has no
    young collections, so there ``new`` is 0.
    """

    def __init__(self) -> None:
        """Prepare to record collections in the thread that calls this; it must be the one that runs the tests."""
        self._thread = threading.get_ident()
        self._began_ns = 0
        self._young = 0
        self._before = 0
        self._noted: list[tuple[int, int]] = []
        self._oldest = 0 if interpreter.free_threaded_build() else _OLDEST

    def start(self) -> None:
        """Begin to record: count the existing objects and register a callback of Python's garbage collector.

        Their number tells which part of a collection is due to objects that the session had before its tests. The
        callback takes 0.2 microseconds for each collection.
        """
        self._before = len(get_objects())
        callbacks.append(self._note)

    def stop(self) -> None:
        """Stop recording: remove the callback of Python's garbage collector, unless a test has already removed it."""
        if self._note in callbacks:
            callbacks.remove(self._note)

    def take(self) -> Sequence[tuple[int, int]]:
        """Return the garbage collections recorded since the last call of this method, and forget them.

        Each one is a pair of begin and end, in nanoseconds of `time.perf_counter_ns`. The end is not the real one, but
        earlier: the estimated time for visiting objects that the current test made is subtracted.
        """
        self._young = 0
        if not self._noted:
            return ()
        noted, self._noted = self._noted, []
        return noted

    def _note(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] != self._oldest:
            self._young += phase == "start"
        elif threading.get_ident() != self._thread:
            return
        elif phase == "start":
            interrupted = sys._getframe().f_back  # noqa: SLF001 - no public name tells
            by_itself = self._by_itself() and interrupted is not None and not _asked_for(interrupted)
            self._began_ns = clocks.perf_counter_ns() if by_itself else 0
        elif self._began_ns:
            took_ns = clocks.perf_counter_ns() - self._began_ns
            others = self._before / max(1, self._before + self._young * get_threshold()[0])
            if took_ns * others >= LEAST_NS and len(self._noted) < MOST_NOTED:
                self._noted.append((self._began_ns, self._began_ns + round(took_ns * others)))
            self._began_ns = 0

    def _by_itself(self) -> bool:
        """Return whether Python may have started a full collection: it is on, and the last one is long ago."""
        counts, thresholds = get_count(), get_threshold()
        long_ago = self._oldest == 0 or counts[self._oldest] > thresholds[self._oldest]
        return isenabled() and thresholds[0] > 0 and long_ago


def _asked_for(frame: FrameType) -> bool:
    """Return whether code is at a call of something named ``collect``, as in ``gc.collect()``."""
    before: list[dis.Instruction] = []
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.offset > frame.f_lasti:
            break
        before.append(instruction)
    at_call = bool(before) and before[-1].opname.startswith(("CALL", "PRECALL"))
    return at_call and any(instruction.argval == "collect" for instruction in before[-_CALL:])
