"""Fail a test if throughput certainly stops growing below the number of workers in the marker's ``scales_to``."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.verdict import margins
from pytest_gilprobe.verdict.gating import Failure, Gating, unchecked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.scaling import Scaling, ScalingPoint
    from pytest_gilprobe.model.settings import Expectation

GROWTH = 1.10
"""If doubling the workers certainly raises the throughput by less than this factor, growth stops there. A test can fail
if that is before the number of workers that its marker gives as ``scales_to``."""


class _Stop(NamedTuple):
    """Where one strategy's throughput stops growing, and what shows it."""

    workers: int
    evidence: str


def check(expectation: Expectation, result: WorkloadResult) -> Gating:
    """Compare a workload's curves (throughput by number of workers) with the ``scales_to`` that its marker expects.

    Only the curves of strategies that the marker expects count; all curves if it names no strategy. The gate fails only
    if each of these curves certainly stops growing before ``scales_to`` workers, or its calls fail with ``scales_to``
    workers or fewer. If the curves do not decide, the gate passes with a caution.
    """
    wanted = expectation.scales_to
    if wanted is None or result.serial is None:
        return Gating()
    curves = {
        name: curve
        for name, curve in (result.scaling or {}).items()
        if not expectation.strategies or name in expectation.strategies
    }
    stops = {name: _stop(name, curve, wanted) for name, curve in curves.items()}
    certain = [stop for stop in stops.values() if stop is not None]
    if curves and len(certain) == len(curves):
        return Gating(failures=(_failure(wanted, stops, result),))
    if any(reaches(curve, wanted) for name, curve in curves.items() if stops[name] is None):
        return Gating()
    why = next((why for curve in curves.values() if (why := _why_open(curve, wanted))), "there is no curve")
    return Gating(cautions=(unchecked(f"scales_to={wanted} is not decided, so the test passes: {why}"),))


def _stop(name: str, curve: Scaling, wanted: int) -> _Stop | None:
    """Return where a curve certainly stops growing before ``wanted`` workers; ``None`` if that is not certain."""
    if curve.open_because is None:
        for fewer, more in pairwise(_up_to(curve, wanted)):
            if _most_growth(fewer, more) < GROWTH ** math.log2(more.workers / fewer.workers):
                rates = f"{fewer.throughput.value:.0f} and {more.throughput.value:.0f} calls a second"
                return _Stop(fewer.workers, f"{fewer.workers} and {more.workers} {name} give {rates}")
    if curve.failed_at is not None and curve.failed_at <= wanted:
        below = [point.workers for point in curve.points if point.workers < curve.failed_at]
        return _Stop(max(below, default=1), f"with {_lanes(curve.failed_at, name)} it {curve.outcome}: {curve.error}")
    return None


def _up_to(curve: Scaling, wanted: int) -> list[ScalingPoint]:
    return [point for point in curve.points if point.workers <= wanted]


def _most_growth(fewer: ScalingPoint, more: ScalingPoint) -> float:
    """Return the largest ratio of two throughputs that a gate's intervals leave."""
    return margins.widened(more.throughput)[1] / max(margins.widened(fewer.throughput)[0], 1e-300)


def reaches(curve: Scaling, wanted: int) -> bool:
    """Return whether a curve's measured throughput grows by `GROWTH` with each doubling, up to ``wanted`` workers.

    The intervals of the throughput are ignored. The result is ``False`` if ``wanted`` workers were not measured, or if
    nothing can be concluded from the curve.
    """
    points = _up_to(curve, wanted)
    return (
        curve.open_because is None
        and bool(points)
        and points[-1].workers == wanted
        and all(
            more.throughput.value >= fewer.throughput.value * GROWTH ** math.log2(more.workers / fewer.workers)
            for fewer, more in pairwise(points)
        )
    )


def _why_open(curve: Scaling, wanted: int) -> str | None:
    if curve.open_because is not None:
        return curve.open_because
    points = _up_to(curve, wanted)
    if not points or points[-1].workers < wanted:
        return curve.error or f"{wanted} workers were not tried{'' if curve.complete else ', for want of time'}"
    return "the throughput seems to stop growing earlier, but its intervals do not exclude that it grows"


def _failure(wanted: int, stops: dict[str, _Stop | None], result: WorkloadResult) -> Failure:
    known: Iterator[tuple[str, _Stop]] = ((name, stop) for name, stop in stops.items() if stop is not None)
    name, stop = max(known, key=lambda pair: pair[1].workers)
    curve = (result.scaling or {})[name]
    limit = f"; limit: {curve.limit}" if curve.limit else ""
    return Failure(
        expected=f"scales_to={wanted}",
        found=f"throughput that grows up to {_lanes(stop.workers, name)} only",
        evidence=f"{stop.evidence}{limit}",
        remedy=f"remove that limit, or {f'set scales_to={stop.workers}' if stop.workers > 1 else 'drop scales_to'}",
    )


def _lanes(number: int, name: str) -> str:
    """Return the phrase for so many workers of a strategy, whose name is a plural: ``4 threads``."""
    return f"{number} {name}" if number > 1 else f"1 worker in {name}"
