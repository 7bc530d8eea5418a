"""The records of what single calls do: to their arguments, and to the event loop in which they are awaited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsReading:
    """What calls did to their arguments: the arguments before the first call, compared with those after later calls.

    Attributes:
        changed: the arguments that differ, such as ``argument 1 (a list)``.
        unknown: the arguments that could not be compared, each with the reason.
        iterators: those of the arguments in ``unknown`` that are iterators, or containers that became smaller and are
            too large to be compared.
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
    """The longest block of one call: the longest time for which the event loop did not look for events.

    A field is ``None`` if the system does not report its value.

    Attributes:
        start_ns: when the block began, by `time.perf_counter_ns`.
        wall_ns: how long the block lasted.
        cpu_ns: how long the loop's thread computed in the block.
        queue_ns: how long the thread waited for a core in the block. For the rest of the block it slept, or waited for
            the GIL, unless ``waits`` is 0.
        waits: how often the thread gave its core up by itself in the block.
        call_start_ns: when the call began; 0 if unknown.
        call_end_ns: when the call ended; 0 if unknown.
    """

    start_ns: int
    wall_ns: int
    cpu_ns: int
    queue_ns: int | None
    waits: int | None = None
    call_start_ns: int = 0
    call_end_ns: int = 0
