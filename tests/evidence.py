"""Makers of readings, measurements and evidence: of a quiet machine with two CPUs unless told otherwise."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.machine import DispatchCosts, Machine
from pytest_gilprobe.model.readings import (
    BatchReading,
    ControlRound,
    End,
    Evidence,
    GilSamples,
    LaneReading,
    Measurement,
    Round,
    WorkerReading,
)
from pytest_gilprobe.model.results import GilResult, StrategyResult
from pytest_gilprobe.model.words import CallKind, GilMethod, Outcome
from pytest_gilprobe.strategies.registry import BUILT_IN

if TYPE_CHECKING:
    from pytest_gilprobe.strategies.contract import Strategy

START_NS = 1_000_000_000
PLAIN = tuple(one for one in BUILT_IN.existing_for(CallKind.PLAIN).parallel if one.by_default)
"""The strategies of a plain function."""
_OF_WORKER = ("native_s", "children_s", "gil_on", "rss", "idle")


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    """Make an estimate, exact unless its ends are given."""
    return Estimate(value=value, low=value if low is None else low, high=value if high is None else high)


# Readings


def lane(
    wall_s: float,
    *,
    cpu_s: float = 0.0,
    queue_s: float | None = 0.0,
    calls: int = 10,
    start_s: float = 0.0,
    waits: int | None = None,
    preemptions: int | None = None,
) -> LaneReading:
    """Make one lane's reading."""
    start = START_NS + round(start_s * 1e9)
    return LaneReading(
        calls=calls,
        start_ns=start,
        end_ns=start + round(wall_s * 1e9),
        cpu_ns=round(cpu_s * 1e9),
        run_queue_ns=None if queue_s is None else round(queue_s * 1e9),
        waits=waits,
        preemptions=preemptions,
    )


def worker(
    *lanes: LaneReading,
    native_s: float = 0.0,
    children_s: float = 0.0,
    gil_on: bool = True,
    rss: int | None = 50_000_000,
    idle: float | None = None,
) -> WorkerReading:
    """Make a worker's reading; ``native_s`` is CPU time of other threads, ``children_s`` of child processes.

    ``idle`` is the share of their time that two CPUs idled meanwhile, ``None`` where that is unknown.
    """
    cpus_ns = 0 if idle is None else 2 * max(one.end_ns - one.start_ns for one in lanes)
    return WorkerReading(
        lanes=lanes,
        process_cpu_ns=sum(one.cpu_ns for one in lanes) + round(native_s * 1e9),
        children_cpu_ns=round(children_s * 1e9),
        peak_rss_bytes=rss,
        gil_enabled=gil_on,
        cpus_ns=cpus_ns,
        cpus_idle_ns=round(cpus_ns * (idle or 0.0)),
    )


def batch(wall_s: float, busy: float, *, lanes: int = 1, workers: int = 1, **changes: Any) -> BatchReading:
    """Make a batch of 10 calls in each lane of each worker, all alike.

    ``busy`` is a lane's CPU utilization, ``gil`` the samples of the GIL; other changes are of `worker` or `lane`.
    """
    gil = changes.pop("gil", None)
    of_worker = {name: changes.pop(name) for name in _OF_WORKER if name in changes}
    one = lane(wall_s, cpu_s=changes.pop("cpu_s", wall_s * busy), **changes)
    readings = (worker(*[one] * lanes, **of_worker),) * workers
    return BatchReading(workers=readings, gil=gil, apart=lanes == 1)


def serial(wall_s: float = 0.1, busy: float = 1.0, **changes: Any) -> BatchReading:
    """Make a serial batch of 10 calls."""
    return batch(wall_s, busy, **changes)


def threads(wall_s: float = 0.2, busy: float = 0.5, lanes: int = 2, **changes: Any) -> BatchReading:
    """Make a batch of 10 calls in each of two threads."""
    return batch(wall_s, busy, lanes=lanes, **changes)


def processes(wall_s: float = 0.1, busy: float = 1.0, workers: int = 2, **changes: Any) -> BatchReading:
    """Make a batch of 10 calls in each of two workers."""
    return batch(wall_s, busy, workers=workers, **changes)


def gil_samples(
    share: float, *, count: int = 400, span_s: float = 0.1, method: GilMethod = GilMethod.MEMORY
) -> GilSamples:
    """Make evenly spread samples, a share of which finds the GIL held."""
    moments = tuple(START_NS + round(span_s * 1e9 * (number + 0.5) / count) for number in range(count))
    held = tuple(int((number + 1) * share) > int(number * share) for number in range(count))
    return GilSamples(method=method, at_ns=moments, held=held, late_ns=(0,) * count)


def round_(base: BatchReading | None = None, **batches: BatchReading) -> Round:
    """Make a round of a serial batch and those of other strategies, by their names."""
    return Round(batches={"serial": serial() if base is None else base, **batches})


def control(alone: BatchReading | None = None, together: BatchReading | None = None) -> ControlRound:
    """Make a round of the fixed loop: by default two CPUs gave all they have."""
    return ControlRound(
        alone=serial() if alone is None else alone, together=processes() if together is None else together
    )


PYTHON_LOOP = round_(threads=threads(), processes=processes())
"""A quiet round of computing under the GIL."""


# Measurement, machine, evidence


def measurement(*rounds: Round, **changes: Any) -> Measurement:
    """Make a measurement with two workers."""
    ends = {one.name: End(outcome=Outcome.OK) for one in PLAIN}
    return replace(Measurement(workers=2, rounds=rounds or (PYTHON_LOOP,), ends=ends), **changes)


def costs(**task_s: float | DispatchCosts) -> dict[str, DispatchCosts]:
    """Make what executors cost, by strategy: the seconds per empty task, or the record."""
    return {
        name: one if isinstance(one, DispatchCosts) else DispatchCosts(task_s=one, task_high_s=one)
        for name, one in task_s.items()
    }


MACHINE = Machine(
    cpus=2, scaling=estimate(2.0), scaling_workers=2, noise=0.03, costs=costs(threads=1e-5, processes=1e-4)
)


def machine(**changes: Any) -> Machine:
    """Make a quiet machine of two CPUs."""
    return replace(MACHINE, **changes)


SERIAL = StrategyResult(
    outcome=Outcome.OK,
    calls=10,
    rounds=1,
    wall_s_per_call=estimate(0.01),
    cpu_s_per_call=estimate(0.01),
    cpu_utilization=estimate(1.0),
    run_queue_share=0.0,
    extra_cores=0.0,
    first_call_s=0.01,
)
GIL = GilResult(held_fraction=estimate(1.0), method=GilMethod.MEMORY)
_OF_GIL = frozenset(field.name for field in fields(GilResult))


def tried(gain: float | Estimate | None, **changes: Any) -> StrategyResult:
    """Say what a strategy gained, bare and in an executor; ``None`` is a strategy that was skipped."""
    if gain is None:
        return replace(StrategyResult(outcome=Outcome.SKIPPED, error="not tried"), **changes)
    found = gain if isinstance(gain, Estimate) else estimate(gain)
    return replace(StrategyResult(outcome=Outcome.OK, speedup=found, pool_speedup=found), **changes)


def evidence(
    in_threads: float | Estimate | StrategyResult | None = 1.0,
    in_processes: float | Estimate | StrategyResult | None = 2.0,
    *,
    seen: Measurement | None = None,
    on: Machine | None = None,
    strategies: tuple[Strategy, ...] = PLAIN,
    **changes: Any,
) -> Evidence:
    """Make evidence: by default of computing under the GIL.

    ``changes`` are fields of the GIL's result (``held_fraction``, ``longest_hold_s`` ...) or of the serial one.
    """
    of_gil = {name: changes.pop(name) for name in _OF_GIL & changes.keys()}
    gains = {"threads": in_threads, "processes": in_processes}
    found = {name: gain if isinstance(gain, StrategyResult) else tried(gain) for name, gain in gains.items()}
    return Evidence(
        measurement=measurement() if seen is None else seen,
        machine=MACHINE if on is None else on,
        strategies=strategies,
        results={"serial": replace(SERIAL, **changes), **found},
        gil=replace(GIL, **of_gil),
    )
