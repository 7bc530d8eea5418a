"""Makers of samples, measurements and evidence: of a quiet machine with two CPUs unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_gilprobe.model import (
    BatchReading,
    End,
    Estimate,
    Evidence,
    GilMethod,
    GilTrace,
    Machine,
    Measurement,
    Outcome,
    ProcessesResult,
    Round,
    Sample,
    SerialResult,
    Strategy,
    ThreadReading,
    ThreadsResult,
)

START_NS = 1_000_000_000


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    """Make an estimate, exact unless its ends are given."""
    return Estimate(value=value, low=value if low is None else low, high=value if high is None else high)


def thread(
    wall_s: float,
    *,
    cpu_s: float = 0.0,
    queue_s: float | None = 0.0,
    calls: int = 10,
    start_s: float = 0.0,
    waits: int | None = None,
    preemptions: int | None = None,
) -> ThreadReading:
    """Make one thread's reading."""
    start = START_NS + round(start_s * 1e9)
    return ThreadReading(
        calls=calls,
        start_ns=start,
        end_ns=start + round(wall_s * 1e9),
        cpu_ns=round(cpu_s * 1e9),
        run_queue_ns=None if queue_s is None else round(queue_s * 1e9),
        waits=waits,
        preemptions=preemptions,
    )


def reading(
    *threads: ThreadReading,
    native_s: float = 0.0,
    children_s: float = 0.0,
    gil: bool = True,
    rss: int | None = 50_000_000,
    idle: float | None = None,
) -> BatchReading:
    """Make a worker's reading; ``native_s`` is CPU time of other threads, ``children_s`` of child processes.

    ``idle`` is the share of their time that two CPUs idled meanwhile, ``None`` where that is untold.
    """
    cpus_ns = 0 if idle is None else 2 * max(one.end_ns - one.start_ns for one in threads)
    cpu = sum(one.cpu_ns for one in threads) + round(native_s * 1e9)
    return BatchReading(
        threads=threads,
        process_cpu_ns=cpu,
        children_cpu_ns=round(children_s * 1e9),
        peak_rss_bytes=rss,
        gil_enabled=gil,
        cpus_ns=cpus_ns,
        cpus_idle_ns=round(cpus_ns * (idle or 0.0)),
    )


def serial(wall_s: float = 0.1, busy: float = 1.0, **changes: Any) -> Sample:
    """Make a serial batch of 10 calls."""
    trace = changes.pop("trace", None)
    known = {name: changes.pop(name) for name in ("native_s", "children_s", "gil", "rss", "idle") if name in changes}
    one = thread(wall_s, cpu_s=changes.pop("cpu_s", wall_s * busy), **changes)
    return Sample(strategy=Strategy.SERIAL, readings=(reading(one, **known),), trace=trace)


def threads(wall_s: float = 0.2, busy: float = 0.5, lanes: int = 2, **changes: Any) -> Sample:
    """Make a batch of 10 calls in each of two threads."""
    trace = changes.pop("trace", None)
    known = {name: changes.pop(name) for name in ("native_s", "children_s", "gil", "rss", "idle") if name in changes}
    one = thread(wall_s, cpu_s=changes.pop("cpu_s", wall_s * busy), **changes)
    return Sample(strategy=Strategy.THREADS, readings=(reading(*[one] * lanes, **known),), trace=trace)


def processes(wall_s: float = 0.1, busy: float = 1.0, workers: int = 2, **changes: Any) -> Sample:
    """Make a batch of 10 calls in each of two workers."""
    known = {name: changes.pop(name) for name in ("native_s", "children_s", "gil", "rss", "idle") if name in changes}
    one = thread(wall_s, cpu_s=changes.pop("cpu_s", wall_s * busy), **changes)
    return Sample(strategy=Strategy.PROCESSES, readings=(reading(one, **known),) * workers)


def trace(share: float, *, looks: int = 400, span_s: float = 0.1, method: GilMethod = GilMethod.MEMORY) -> GilTrace:
    """Make a trace that finds the GIL held for a share of evenly spread looks."""
    moments = tuple(START_NS + round(span_s * 1e9 * (number + 0.5) / looks) for number in range(looks))
    held = tuple(int((number + 1) * share) > int(number * share) for number in range(looks))
    return GilTrace(method=method, at_ns=moments, held=held, late_ns=(0,) * looks)


PYTHON_LOOP = Round(serial=serial(), threads=threads(), processes=processes())
"""A quiet round of computing under the GIL."""


def measurement(*rounds: Round, **changes: Any) -> Measurement:
    """Make a measurement of two workers."""
    usual = Measurement(
        workers=2,
        rounds=rounds or (PYTHON_LOOP,),
        threads_end=End(outcome=Outcome.OK),
        processes_end=End(outcome=Outcome.OK),
    )
    return replace(usual, **changes)


MACHINE = Machine(cpus=2, scaling=estimate(2.0), scaling_workers=2, noise=0.03, thread_task_s=1e-5, process_task_s=1e-4)


def machine(**changes: Any) -> Machine:
    """Make a quiet machine of two CPUs."""
    return replace(MACHINE, **changes)


SERIAL = SerialResult(
    calls=10,
    rounds=1,
    wall_s_per_call=estimate(0.01),
    cpu_s_per_call=estimate(0.01),
    cpu_utilization=estimate(1.0),
    gil_held_fraction=estimate(1.0),
    gil_method=GilMethod.MEMORY,
    run_queue_share=0.0,
    native_cpu_share=0.0,
    first_call_s=0.01,
)


def told(gain: float | Estimate | None, **changes: Any) -> dict[str, Any]:
    """Say what a strategy gained; None is nothing measured."""
    if gain is None:
        return {"outcome": Outcome.SKIPPED, "error": "not tried", **changes}
    found = gain if isinstance(gain, Estimate) else estimate(gain)
    return {"outcome": Outcome.OK, "speedup": found, "pool_speedup": found, **changes}


def evidence(
    in_threads: float | Estimate | ThreadsResult | None = 1.0,
    in_processes: float | Estimate | ProcessesResult | None = 2.0,
    *,
    seen: Measurement | None = None,
    on: Machine | None = None,
    **changes: Any,
) -> Evidence:
    """Make evidence: by default computing under the GIL. ``changes`` are fields of the serial result."""
    return Evidence(
        measurement=measurement() if seen is None else seen,
        machine=MACHINE if on is None else on,
        serial=replace(SERIAL, **changes),
        threads=in_threads if isinstance(in_threads, ThreadsResult) else ThreadsResult(**told(in_threads)),
        processes=in_processes if isinstance(in_processes, ProcessesResult) else ProcessesResult(**told(in_processes)),
    )
