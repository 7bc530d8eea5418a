"""Judge curves (throughput by number of workers): how many workers are enough, and how that changes the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.thresholds import THROTTLED
from pytest_gilprobe.stats import scaling, scaling_laws, throughput
from pytest_gilprobe.verdict import reasons, scaling_limit
from pytest_gilprobe.verdict.pool_costs import pool_inputs

if TYPE_CHECKING:
    from pytest_gilprobe.model.ladder import Ladder, Step
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import Verdict, WorkloadResult
    from pytest_gilprobe.strategies.contract import Strategy


def curves(evidence: Evidence) -> Mapping[str, Scaling] | None:
    """Return the measured curves (throughput by number of workers), by the strategy's name; ``None`` if there are none.

    Each curve also says how many workers are enough, and what limits the throughput.
    """
    ladders = evidence.measurement.ladders
    known = {strategy.name: strategy for strategy in evidence.strategies}
    found = {name: _curve(known[name], ladder, evidence) for name, ladder in ladders.items() if name in known}
    return found or None


def _curve(strategy: Strategy, ladder: Ladder, evidence: Evidence) -> Scaling:
    error = None if ladder.error is None else summary(ladder.error)
    points = scaling.points_of(ladder.steps, evidence.serial.call_s)
    points = scaling.with_machine(points, ladder.machine, evidence.machine.cpus)
    found = Scaling(
        points=points,
        failed_at=ladder.failed_at,
        outcome=ladder.outcome,
        error=error,
        complete=ladder.complete,
        start_up_s=_start_up_s(strategy, evidence),
    )
    if len(points) < 2:  # noqa: PLR2004 - one point is no curve
        return found
    late = scaling.held_up(ladder.steps)
    if late:
        return replace(found, open_because=_why_late(late))
    if (beyond := scaling.beyond_its_workers(points, evidence.serial.call_s)) is not None:
        lanes, times = strategy.lanes_text(beyond.workers), beyond.workers
        return replace(found, open_because=f"{lanes} gave more than {times} times as much as one, which was held up")
    enough = scaling.enough_workers(points)
    if enough is None:
        return replace(found, open_because="timings vary too much")
    fit = scaling_laws.best_fit(points)
    return replace(
        found,
        model=None if fit is None else fit.law,
        parameters={} if fit is None else fit.with_errors,
        best_workers=scaling.best_workers(points),
        enough_workers=enough,
        limit=scaling_limit.limit(strategy, ladder, points, evidence),
    )


def _start_up_s(strategy: Strategy, evidence: Evidence) -> float | None:
    """Return the seconds to start one more worker of a strategy; ``None`` if that costs nothing or is not known."""
    if strategy.worker_main() is None:
        part = evidence.results.get(strategy.name)
        return None if part is None else part.start_up_s
    apart = evidence.measurement.apart.get(strategy.name)
    return None if apart is None else apart.lane_start_up_s


def _why_late(late: Sequence[Step]) -> str:
    """Return what held steps up: a quota, or other programs, by their mean shares."""
    quota = fmean(map(throughput.throttled_share, late))
    if quota >= THROTTLED:
        return f"a CPU quota held calls back for {numbers.percent(quota)} of the time"
    others = fmean(map(throughput.others_share, late))
    return f"other programs used {numbers.percent(others)} of the CPUs' time, and calls waited for a CPU"


# What follows for the verdict


def with_curve(result: WorkloadResult, evidence: Evidence) -> WorkloadResult:
    """Return ``result`` with the curves of its strategies (throughput by number of workers), if any were measured.

    If the advised strategy has a curve, the verdict also advises the number of workers that is enough by that curve.
    """
    found = curves(evidence)
    return replace(result, scaling=found, verdict=_advised(result.verdict, found or {}, evidence))


def _advised(verdict: Verdict, found: Mapping[str, Scaling], evidence: Evidence) -> Verdict:
    curve = found.get(verdict.strategy)
    enough = None if curve is None else curve.enough_workers
    if curve is None or enough is None:
        return verdict
    strategy = next(one for one in evidence.strategies if one.name == verdict.strategy)
    if enough == 1:
        return _with_clause(verdict, f"but in the curve, {_most_gain(curve, strategy)}")
    gain = scaling.speedup(curve.points, enough)
    if gain is None:
        return replace(verdict, workers=enough)
    inputs = replace(pool_inputs(evidence, strategy), workers=enough)
    pool = strategy.in_pool(Estimate(value=gain, low=gain, high=gain), inputs)
    most = enough == curve.points[-1].workers and curve.failed_at is None
    clause = f"{strategy.lanes_text(enough)}{', the most tried, gain most' if most else ' are enough'}"
    changed = replace(verdict, workers=enough, speedup=min(pool.value, float(enough)))
    return _with_clause(reasons.in_words(evidence, changed), clause)


def _most_gain(curve: Scaling, strategy: Strategy) -> str:
    """Say how little more workers gain where one is enough."""
    best = curve.best_workers or 1
    gain = scaling.speedup(curve.points, best)
    if best == 1 or gain is None:
        return f"more than {strategy.lanes_text(1)} gains nothing"
    return strategy.gain_text(best, gain)


def _with_clause(verdict: Verdict, clause: str) -> Verdict:
    return replace(
        verdict, reason=f"{verdict.reason}; {clause}", advice="; ".join(filter(None, (clause, verdict.advice)))
    )
