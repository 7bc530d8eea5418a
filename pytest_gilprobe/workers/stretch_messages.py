"""The questions that ask a worker process for a stretch of calls, and their answer; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.ladder import StretchReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Call back to back in each of ``lanes`` lanes (threads or tasks), and note the time after some calls, as a mark.

    A lane begins at ``begin_ns`` and ends with its first mark after ``until_ns``; both are moments of
    `time.perf_counter_ns`. A mark is noted after every ``calls_per_mark`` calls. ``strategy`` is the name of the
    strategy that makes the calls.
    """

    strategy: str
    lanes: int
    begin_ns: int
    until_ns: int
    calls_per_mark: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStretch:
    """Compute without the GIL in each of ``lanes`` threads, to find out what the machine gives to threads.

    The threads begin at ``begin_ns`` and end after ``until_ns``, as in `Stretch`.
    """

    lanes: int
    begin_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretched:
    """The answer to `Stretch` and `MachineStretch`: ``reading`` has the moments and clocks."""

    reading: StretchReading
