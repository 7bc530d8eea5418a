"""The records of what single calls do: to their arguments, and to the event loop in which they are awaited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsReading:
    """What calls did to their arguments, compared before the first call and later.

    Attributes:
        changed: the arguments that differ, such as ``argument 1 (a list)``.
        unknown: the arguments that could not be compared, each with the reason; ``iterators`` are those among them that
            are iterators, or containers that became smaller and are too large to be compared.
        fresh_s: wall times of single calls with copies of the arguments as they were; empty if nothing changed.
        used_s: wall times of single calls with the arguments as earlier calls left them.
        imported: whether modules were imported between the two moments.
    """

    changed: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    iterators: tuple[str, ...] = ()
    fresh_s: tuple[float, ...] = ()
    used_s: tuple[float, ...] = ()
    imported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlock:
    """The longest time in one call for which the event loop did not look for events, on its thread's clocks.

    ``wall_ns`` begins at ``start_ns`` of `time.perf_counter_ns`. Of it, the thread computed for ``cpu_ns`` and waited
    for a core for ``queue_ns``. For the rest it slept, or waited for the GIL, unless ``waits``, which counts how often
    it gave its core up, is 0. ``None`` means that the system does not report the value. The call that had the block
    lasted from ``call_start_ns`` to ``call_end_ns``; both are 0 if that was not kept.
    """

    start_ns: int
    wall_ns: int
    cpu_ns: int
    queue_ns: int | None
    waits: int | None = None
    call_start_ns: int = 0
    call_end_ns: int = 0
