"""Messages that ask a worker process for calls without a pause for a set time (a stretch); see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.ladder import StretchReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Asks a worker process for calls without a pause for a set time, in each of ``lanes`` lanes (threads or tasks).

    A lane begins at ``begin_ns``. After every ``calls_per_mark`` calls it notes the time, as a mark, and it ends with
    its first mark after ``until_ns``. Both are moments of `time.perf_counter_ns`. ``strategy`` names the way to make
    calls, such as ``threads``.
    """

    strategy: str
    lanes: int
    begin_ns: int
    until_ns: int
    calls_per_mark: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStretch:
    """Asks a worker process to compute without the GIL in ``lanes`` threads, to see what threads can gain at most.

    The threads begin at ``begin_ns`` and end soon after ``until_ns``, two moments of `time.perf_counter_ns`.
    """

    lanes: int
    begin_ns: int
    until_ns: int


StretchQuestion = Stretch | MachineStretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretched:
    """The answer to `Stretch` and `MachineStretch`: ``reading`` shows how many calls were completed by which moment.

    ``reading`` also has the CPU time of the worker process, and the busy and idle time of all CPUs.
    """

    reading: StretchReading
