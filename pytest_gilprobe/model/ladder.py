"""The records of a ladder: raw readings of one strategy with growing numbers of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.words import Outcome, Sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchReading:
    """What one worker process did in a stretch: its lanes called back to back for a set time.

    Attributes:
        marks_ns: for each lane, the moments of `time.perf_counter_ns` at which it had made so many more calls.
        queued_ns: time for which the lanes were runnable but not running, added up; ``None`` if not reported.
        process_cpu_ns: CPU time of the whole process and of its ended child processes.
        cpus_ns: time that all usable CPUs counted meanwhile, in steps of a system tick; 0 if not reported.
        cpus_idle_ns: the idle part of ``cpus_ns``.
        peak_rss_bytes: peak resident memory of the process; ``None`` if not reported.
    """

    marks_ns: tuple[tuple[int, ...], ...]
    queued_ns: int | None
    process_cpu_ns: int
    cpus_ns: int = 0
    cpus_idle_ns: int = 0
    peak_rss_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stretch of a ladder, with one number of workers.

    Attributes:
        workers: how many lanes (threads, processes ...) made calls, in all worker processes together.
        begin_ns: the moment at which they began, on the clock of the marks.
        settled_ns: from when on completed calls count; ``until_ns`` is when they stop counting.
        calls_per_mark: how many calls a lane makes from one mark to the next.
        readings: one for each worker process.
        sleeps: how often lanes were seen in what they slept in; empty if that was not watched.
        throttled_s: seconds for which CPU quotas throttled the workers, added up over CPUs; ``None`` if not reported,
            and with more workers than usable CPUs, since a quota is their limit then, as CPUs are.
    """

    workers: int
    begin_ns: int
    settled_ns: int
    until_ns: int
    calls_per_mark: int
    readings: tuple[StretchReading, ...]
    sleeps: Mapping[Sleep, int] = field(default_factory=dict)
    throttled_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """All steps of one strategy, in the order in which they were made: up, and down again.

    Attributes:
        steps: the steps; empty if ``error`` says why there are none.
        failed_at: the number of workers with which calls failed, hung or crashed; ``None`` if they never did.
        outcome: how they ended there.
        error: how they failed, or why there is no ladder; ``None`` if all went well.
        complete: whether no time was missing for more workers.
        machine: steps of threads that compress data without the GIL, made between the others: what the machine gives
            to so many workers, up to one for each CPU.
    """

    steps: tuple[Step, ...] = ()
    failed_at: int | None = None
    outcome: Outcome | None = None
    error: str | None = None
    complete: bool = True
    machine: tuple[Step, ...] = ()
