"""Report what a test's own, normal run showed if its call could not be probed, that is, repeated and timed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.readings import Measurement, Round
from pytest_gilprobe.model.thresholds import HARDLY_HELD, bound_at, gil_at
from pytest_gilprobe.model.words import SERIAL, Bound, Gil
from pytest_gilprobe.stats import gil_result
from pytest_gilprobe.stats.rounds import span_s
from pytest_gilprobe.verdict import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_gilprobe.model.readings import BatchReading
    from pytest_gilprobe.model.results import GilResult, WorkloadResult

LEAST_S = 0.1
"""Shortest single run, in seconds, that shows whether a call waits or computes: imports dominate a shorter one."""
_WORDS = {Bound.IO: "I/O-bound", Bound.CPU: "CPU-bound", Bound.MIXED: "half waiting, half computing"}


def told(
    result: WorkloadResult, run: BatchReading | None, seen: Measurement | None = None, *, only_run: bool = False
) -> WorkloadResult:
    """Return the result of a workload that was not probed (repeated and timed), with what its test's normal run showed.

    ``run`` has the readings of that run. They tell whether the call waits or computes, whether it holds the GIL and
    where, and the serial strategy's wall and CPU time. If ``run`` is ``None`` or shorter than `LEAST_S` (0.1 s),
    ``result`` is returned as it is. ``seen`` has the readings of one call in each worker of some parallel strategies,
    whose results get the wall time of these calls; ``None`` if no strategy was tried. All strategies stay *skipped*.
    ``only_run`` is whether the call was too long to be repeated. If so, the reason in ``result`` becomes the verdict's
    advice.
    """
    lane = None if run is None else run.lanes[0]
    wall_s = 0.0 if lane is None else (lane.end_ns - lane.start_ns) / 1e9
    if run is None or lane is None or wall_s < LEAST_S:
        return result
    awake_s = max(wall_s - (lane.run_queue_ns or 0) / 1e9, 1e-9)
    used = lane.cpu_ns / 1e9 / awake_s
    bound = bound_at(used)
    gil_on = any(worker.gil_enabled for worker in run.workers)
    one = Measurement(workers=1, rounds=(Round(batches={SERIAL: run}),), ends={}, gil_on_at_start=gil_on)
    gil = gil_result.of(one, ())
    held = gil_at(gil.held_fraction, used) if gil_on else Gil.ABSENT
    said = f"the test's own run took {numbers.seconds(wall_s)} and was {_WORDS[bound]} "
    said += f"({numbers.percent(min(used, 1.0))} of one core)"
    batches = seen.rounds[0].parallel if seen is not None and seen.rounds else {}
    tried = {name: span_s(batch, less_queue=False) for name, batch in batches.items()}
    beside = [*_tried(tried, result.workers, wall_s), *(_not_tried(result, tried) if only_run else ())]
    last = [result.reason] if only_run else []
    reason = "; ".join(filter(None, [*([] if only_run else [result.reason]), said, _held(gil), *beside, *last]))
    why, advice = ("; ".join(beside), result.reason or "") if only_run else ("", "")
    times: dict[str, dict[str, Any]] = {name: {"wall_s_per_call": _single(took_s)} for name, took_s in tried.items()}
    times[SERIAL] = {
        "wall_s_per_call": _single(wall_s),
        "cpu_s_per_call": _single(lane.cpu_ns / 1e9),
        "cpu_utilization": _single(used),
    }
    return replace(
        result,
        reason=reason,
        verdict=replace(result.verdict, bound=bound, gil=held, reason=reason, why=why, advice=advice),
        gil=gil,
        strategies={
            name: replace(part, calls=1, **times[name]) if name in times else part
            for name, part in result.strategies.items()
        },
    )


def _held(gil: GilResult) -> str:
    """Say for how much of the run the GIL was held, and where mostly; empty if that is not known."""
    if gil.held_fraction is None:
        return ""
    share = numbers.percent(gil.held_fraction.value)
    where = f", most of that in {places.place(gil.holders[0])}" if gil.holders else ""
    return f"the GIL was held for {share} of it{where if gil.held_fraction.value >= HARDLY_HELD else ''}"


def _tried(tried: Mapping[str, float], workers: int, wall_s: float) -> Iterator[str]:
    """Say how long one call in each lane (thread, process ...) took, all at once.

    The test's own run may have been slower than a call is, as it was the first: N calls gain no more than N times.
    """
    for name, took_s in tried.items():
        gain = min(workers * wall_s / took_s, float(workers))
        yield f"{workers} calls at once in {name} took {numbers.seconds(took_s)} ({numbers.about(gain)})"


def _not_tried(result: WorkloadResult, tried: Mapping[str, float]) -> Iterator[str]:
    """Name the strategies that were asked for, and for a call of which there was no time."""
    known = {SERIAL, *tried, *(end.strategy for end in result.bad_ends)}
    left = [name for name, part in result.strategies.items() if name not in known and not part.impossible]
    if left:
        yield f"not tried: {', '.join(left)}"


def _single(value: float) -> Estimate:
    """Return an estimate of a single run, of whose spread nothing is known."""
    return Estimate(value=value, low=value, high=value)
