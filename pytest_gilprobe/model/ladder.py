"""The records of a ladder: the raw readings of one strategy with growing, and then falling, numbers of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.words import Outcome, Sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchReading:
    """What one worker process did in a stretch: a set time in which its lanes make calls without a pause.

    A lane is a thread, process or the like that makes calls. Times are in nanoseconds.

    Attributes:
        marks_ns: for each lane, the moments, by `time.perf_counter_ns`, that it noted: one after every
            `Step.calls_per_mark` calls.
        queued_ns: time for which lanes were runnable but not running, summed over the lanes; ``None`` if not reported.
        process_cpu_ns: CPU time of the whole process and of its ended child processes.
        cpus_ns: time of all usable CPUs together during the stretch, busy or idle, which the system counts in whole
            ticks; 0 if not reported.
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
    """One step of a ladder, which measures one strategy with growing, and then falling, numbers of workers.

    In a step, ``workers`` workers make calls for a set time, without a pause. Moments are by `time.perf_counter_ns`.

    Attributes:
        workers: how many lanes (threads, processes ...) made calls, in all worker processes together.
        begin_ns: when the lanes began to make calls.
        settled_ns: the earliest moment from which completed calls count; the time before it is for warming up.
        until_ns: the moment up to which completed calls count.
        calls_per_mark: how many calls a lane makes from one mark (a recorded moment) to the next.
        readings: what each worker process did, one reading for each process.
        sleeps: how many samples found a lane in each kind of sleep; empty if no samples were taken.
        throttled_s: seconds for which CPU quotas stopped the workers, summed over the CPUs. ``None`` if not reported,
            or if there were more workers than usable CPUs: the CPUs then limit the workers anyway.
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
    """The raw readings of one strategy's throughput with growing, and then falling, numbers of workers.

    Attributes:
        steps: the steps in the order in which they were made; empty if ``error`` says why there are none.
        failed_at: the number of workers with which calls failed, hung or crashed; ``None`` if they never did.
        outcome: whether the calls with ``failed_at`` workers failed, hung or crashed; ``None`` if no calls did.
        error: the error of the calls with ``failed_at`` workers, or why there are no steps; ``None`` if all went well.
        complete: whether there was time for all numbers of workers that were wanted.
        machine: steps in which threads, at most one for each CPU, compute without the GIL. They are made between the
            steps of the strategy and show which speed-up the machine itself can give.
    """

    steps: tuple[Step, ...] = ()
    failed_at: int | None = None
    outcome: Outcome | None = None
    error: str | None = None
    complete: bool = True
    machine: tuple[Step, ...] = ()
