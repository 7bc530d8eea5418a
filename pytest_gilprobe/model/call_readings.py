"""The records of what single calls do: to their arguments, and to the event loop in which they are awaited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsReading:
    """Which arguments calls have changed, and how long calls take with the arguments before and after such a change.

    Arguments as they were before the first call are compared with the same arguments after several calls. If calls are
    made after the test's body has returned, no arguments are compared: ``fresh_s`` then has times of calls within the
    body, and ``used_s`` times of calls after it.

    Attributes:
        changed: the arguments that differ, such as ``argument 1 (a list)``.
        unknown: the arguments that could not be compared, each with the reason.
        iterators: the arguments in ``unknown`` that calls may use up: iterators, and containers that are too large to
            be compared but are known to have become smaller.
        fresh_s: wall times in seconds of single calls with copies of the arguments as they were before the first call;
            empty if no argument changed, or a call with copies failed.
        used_s: wall times in seconds of single calls with the arguments as earlier calls left them; empty if no
            argument changed and ``iterators`` is empty, or a call with copies failed.
        imported: whether modules were imported between the first call and the comparison.
    """

    changed: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    iterators: tuple[str, ...] = ()
    fresh_s: tuple[float, ...] = ()
    used_s: tuple[float, ...] = ()
    imported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlock:
    """The longest block of an event loop in one call; a block is a time in which the loop did not look for events.

    Blocks are compared by their length without waits for a core. Times are in nanoseconds, moments are by
    `time.perf_counter_ns`. ``None`` means that the system does not report the value.

    Attributes:
        start_ns: the moment at which the block began.
        wall_ns: how long the block lasted, with waits for a core.
        cpu_ns: how long the loop's thread computed in the block. In the rest of ``wall_ns``, the thread waited for a
            core, slept in a call or waited for the GIL.
        queue_ns: how long the thread waited for a core in the block.
        waits: how often the thread gave up its core by itself in the block: if 0, it neither slept nor waited for the
            GIL.
        call_start_ns: the moment at which the call began; 0 if unknown.
        call_end_ns: the moment at which the call ended; 0 if unknown.
    """

    start_ns: int
    wall_ns: int
    cpu_ns: int
    queue_ns: int | None
    waits: int | None = None
    call_start_ns: int = 0
    call_end_ns: int = 0
