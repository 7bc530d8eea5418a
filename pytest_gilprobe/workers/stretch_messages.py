"""The questions that ask a worker process for a stretch of calls, and their answer; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.ladder import StretchReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Call back to back in each of ``lanes`` lanes from ``begin_ns`` until the first mark after ``until_ns``.

    Both are moments of `time.perf_counter_ns`. A lane notes the time after every ``calls_per_mark`` calls.
    ``first_lane`` is the number of this worker's first lane among all. ``strategy`` is the name of the strategy.
    """

    strategy: str
    lanes: int
    begin_ns: int
    until_ns: int
    calls_per_mark: int
    first_lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStretch:
    """Compute without the GIL in each of ``lanes`` threads, as `Stretch` makes calls: what does the machine give?"""

    lanes: int
    begin_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretched:
    """A stretch ran to its end."""

    reading: StretchReading
