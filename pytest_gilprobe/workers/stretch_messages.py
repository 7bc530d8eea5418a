"""Messages that have a worker process run a stretch: calls back to back for a set time; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.ladder import StretchReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Make calls back to back for a set time, in each of ``lanes`` lanes (threads or tasks).

    A lane notes the time after every ``calls_per_mark`` calls, as a mark. It begins at ``begin_ns`` and ends with its
    first mark after ``until_ns``; both are moments of `time.perf_counter_ns`. ``strategy`` is the name of the strategy
    that makes the calls.
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


StretchQuestion = Stretch | MachineStretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretched:
    """The answer to `Stretch` and `MachineStretch`: ``reading`` has the marks of each lane and the clocks."""

    reading: StretchReading
