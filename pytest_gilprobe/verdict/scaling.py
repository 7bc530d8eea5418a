"""Judge curves: how many workers are enough, and what limits them. The phrases are those of reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.thresholds import THROTTLED
from pytest_gilprobe.model.words import Sleep
from pytest_gilprobe.stats import scaling, scaling_laws, throughput
from pytest_gilprobe.verdict.pool_costs import pool_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.ladder import Ladder, Step
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import Verdict, WorkloadResult
    from pytest_gilprobe.model.scaling import ScalingPoint
    from pytest_gilprobe.strategies.contract import Strategy

GROWS = 1.10
"""Factor by which the last doubling must have raised the throughput for a curve to be still growing."""
BUSY = 0.8
"""Share of the CPUs that calls keep busy from which the CPUs are the limit; also of a CPU quota."""
IN_USE = 0.6
"""Share of the time for which the GIL, or the event loop, is in use at the highest throughput from which it is the
limit: gain times the share of a call's time that needs it."""
MAYBE_IN_USE = 0.4
"""The same share from which the GIL cannot be excluded beside another lock."""
WASTED = 0.6
"""Gain for each busy CPU below which the CPUs compute what serial calls do not: they share data or memory."""
LOOKS = 20
"""Looks at what lanes sleep in that tell a lock of the process from what is outside of it."""
SINGLE = 1.4
"""Gain below which something takes one call at a time."""


def curves(evidence: Evidence) -> Mapping[str, Scaling] | None:
    """Return the judged curve of each strategy that has a ladder, by name; ``None`` if there is none."""
    ladders = evidence.measurement.ladders
    known = {strategy.name: strategy for strategy in evidence.strategies}
    found = {name: _curve(known[name], ladder, evidence) for name, ladder in ladders.items() if name in known}
    return found or None


def _curve(strategy: Strategy, ladder: Ladder, evidence: Evidence) -> Scaling:
    error = None if ladder.error is None else summary(ladder.error)
    points = scaling.points_of(ladder.steps, evidence.serial.call_s)
    found = Scaling(
        points=points, failed_at=ladder.failed_at, outcome=ladder.outcome, error=error, complete=ladder.complete
    )
    if len(points) < 2:  # noqa: PLR2004 - one point is no curve
        return found
    late = scaling.held_up(ladder.steps)
    if late:
        return replace(found, open_because=_why_late(late))
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
        limit=_limit(strategy, ladder, points, evidence) if points[0].workers == 1 else None,
    )


def _why_late(late: Sequence[Step]) -> str:
    """Return what held steps up: a quota, or other programs, by their mean shares."""
    quota = fmean(map(throughput.throttled_share, late))
    if quota >= THROTTLED:
        return f"a CPU quota held calls back for {numbers.percent(quota)} of the time"
    others = fmean(map(throughput.others_share, late))
    return f"other programs used {numbers.percent(others)} of the CPUs' time, and calls waited for a CPU"


# What limits


def _limit(strategy: Strategy, ladder: Ladder, points: Sequence[ScalingPoint], evidence: Evidence) -> str | None:
    """Return what limits a strategy's throughput, as a phrase; ``None`` if that cannot be told."""
    last, top = points[-1], scaling.highest(points)
    if ladder.failed_at is not None and _grows(points):
        return f"with {strategy.lanes_text(ladder.failed_at)} it {ladder.outcome}"
    if _grows(points):
        more = "" if ladder.complete else ", and there was no time for more"
        return f"none found up to {last.workers}{more}"
    gain = scaling.speedup(points, top.workers) or 1.0
    ceiling = strategy.ceiling(evidence.gil, evidence.event_loop)
    in_use = 0.0 if ceiling is None else gain / ceiling.value
    if ceiling is not None and in_use >= IN_USE:
        return f"{strategy.bottleneck} for {numbers.percent(min(1.0, 1 / ceiling.value))} of its time"
    used, cpus = _cpus_used(ladder.steps, {top.workers, last.workers}), evidence.machine.cpus
    if used >= BUSY * cpus:
        if gain < WASTED * used:
            busy = numbers.count(round(used), "busy CPU")
            return f"shared data or memory: {busy} gain only {numbers.about(gain)}"
        return f"the CPUs ({cpus} usable)"
    width = "one call at a time" if gain < SINGLE else f"about {gain:.1f} calls at a time"
    return _who_waits(strategy, ladder.steps, points, width, maybe=in_use >= MAYBE_IN_USE)


def _grows(points: Sequence[ScalingPoint]) -> bool:
    return points[-1].throughput.value >= GROWS * max(point.throughput.value for point in points[:-1])


def _cpus_used(steps: Sequence[Step], workers: set[int]) -> float:
    return max(throughput.cpus_used(step) for step in steps if step.workers in workers)


def _who_waits(
    strategy: Strategy, steps: Sequence[Step], points: Sequence[ScalingPoint], width: str, *, maybe: bool
) -> str | None:
    """Tell a lock of this process from what is outside of it, by what lanes sleep in beyond one lane's own waiting."""
    rate = f"{points[-1].throughput.value:.0f} a second"
    outside = f"outside this process: a server, a disk or the like takes {width}, or {rate}"
    if not strategy.one_process:
        return outside.replace("this process", "the processes")
    if strategy.one_thread:
        return outside.replace("outside this process", "the other side, or a lock or pool that tasks share")
    last = points[-1].workers
    alone, beside = _in_locks(steps, 1), _in_locks(steps, last)
    extra = 1 - (scaling.speedup(points, last) or 1.0) / last
    if beside is None or extra <= 0:
        return None
    if beside - (alone or 0.0) < extra / 2:
        return outside
    gil = ", or the GIL" if maybe else ", not the GIL"
    return f"a lock or pool in this process{gil}: it takes {width}"


def _in_locks(steps: Sequence[Step], workers: int) -> float | None:
    """Return the share of looks that found a lane asleep in a lock; ``None`` if there were too few looks."""
    found = [step.sleeps for step in steps if step.workers == workers]
    looks = sum(sum(sleeps.values()) for sleeps in found)
    return sum(sleeps.get(Sleep.LOCK, 0) for sleeps in found) / looks if looks >= LOOKS else None


# What follows for the verdict


def with_curve(result: WorkloadResult, evidence: Evidence) -> WorkloadResult:
    """Add the curves to a result; its verdict then advises as many workers as the advised strategy's curve says."""
    found = curves(evidence)
    return replace(result, scaling=found, verdict=_advised(result.verdict, found or {}, evidence))


def _advised(verdict: Verdict, found: Mapping[str, Scaling], evidence: Evidence) -> Verdict:
    curve = found.get(verdict.strategy)
    enough = None if curve is None else curve.enough_workers
    if curve is None or enough is None or enough < 2:  # noqa: PLR2004 - the curve does not say so, or not clearly
        return verdict
    gain = scaling.speedup(curve.points, enough)
    strategy = next(one for one in evidence.strategies if one.name == verdict.strategy)
    if gain is None:
        return replace(verdict, workers=enough)
    inputs = replace(pool_inputs(evidence, strategy), workers=enough)
    pool = strategy.in_pool(Estimate(value=gain, low=gain, high=gain), inputs)
    most = enough == curve.points[-1].workers and curve.failed_at is None
    clause = f"{strategy.lanes_text(enough)}{', the most tried, gain most' if most else ' are enough'}"
    return replace(
        verdict,
        workers=enough,
        speedup=min(pool.value, float(enough)),
        reason=f"{verdict.reason}; {clause}",
        advice="; ".join(filter(None, (clause, verdict.advice))),
    )
