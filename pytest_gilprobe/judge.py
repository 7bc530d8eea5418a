"""From estimates to a verdict: thresholds, reasons, cautions.

A decision is taken only if every point of the estimates' intervals leads to the same one; otherwise it stays *inconclusive*, and ``open_``
says whether more rounds could settle it. Evidence that contradicts itself is never averaged away: it makes the verdict inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from pytest_gilprobe import cautions, reasons
from pytest_gilprobe.model import (
    Bound,
    Gil,
    Outcome,
    Recommendation,
    Verdict,
)

if TYPE_CHECKING:
    from pytest_gilprobe.model import Estimate, Evidence, ProcessesResult, ThreadsResult

IO_BELOW = 0.35
"""CPU utilization under which a call mostly waits (DESIGN, Verdict)."""
CPU_ABOVE = 0.80
"""CPU utilization over which a call mostly computes."""
HELD_ABOVE = 0.80
"""GIL-held share of on-CPU time over which the GIL counts as held: threads cannot pass 1.25x."""
RELEASED_BELOW = 0.20
"""GIL-held share under which it counts as released: it allows 5x."""
WORTH_IT = 1.3
"""A pool must promise this speed-up before it is worth its complexity."""
CLOSE = 1.15
"""A cheaper strategy within 15 % of the best is the better advice."""
SCALING_TO_JUDGE = 0.7
"""The control must reach this share of an ideal machine's scaling before *nothing helps* is believed of computing."""
BELIEVED = 1.25
"""Threads measured above their GIL ceiling by more than this contradict it."""
QUIET = 0.05
"""Run-queue share up to which other programs are taken not to matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, and whether another round could change an *inconclusive* in it."""

    verdict: Verdict
    open_: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A strategy chosen or not, why not, and whether more rounds could tell."""

    strategy: Recommendation
    why_not: str | None = None
    open_: bool = False


def judge(evidence: Evidence) -> Judgement:
    """Give the verdict that the evidence supports."""
    bound = bound_of(evidence.serial.cpu_utilization)
    gil = gil_of(evidence)
    choice = choose(evidence, bound)
    verdict = Verdict(
        bound=bound,
        gil=gil,
        strategy=choice.strategy,
        speedup=_speedup(choice.strategy, evidence),
        reason=reasons.sentence(evidence, bound, gil, choice.strategy, choice.why_not),
        cautions=cautions.of(evidence, bound, gil),
    )
    return Judgement(verdict=verdict, open_=choice.open_ or bound is Bound.INCONCLUSIVE)


def bound_of(utilization: Estimate) -> Bound:
    """Tell waiting from computing; inconclusive while the interval straddles a threshold."""
    found = {_bound_at(utilization.low), _bound_at(utilization.high)}
    return found.pop() if len(found) == 1 else Bound.INCONCLUSIVE


def _bound_at(utilization: float) -> Bound:
    if utilization < IO_BELOW:
        return Bound.IO
    return Bound.CPU if utilization > CPU_ABOVE else Bound.MIXED


def gil_of(evidence: Evidence) -> Gil:
    """Tell the GIL's part: its held share of on-CPU time, or of all time for a call that mostly waits.

    A share whose interval reaches from *released* to *held* is unknown.
    """
    if not evidence.measurement.gil_on_at_start and not any(
        reading.gil_enabled for one in evidence.measurement.rounds for reading in one.serial.readings
    ):
        return Gil.ABSENT
    fraction, utilization = evidence.serial.gil_held_fraction, evidence.serial.cpu_utilization.value
    if fraction is None:
        return Gil.UNKNOWN
    base = 1.0 if utilization < IO_BELOW else utilization
    low, value, high = (min(1.0, share / base) for share in (fraction.low, fraction.value, fraction.high))
    if low < RELEASED_BELOW and high > HELD_ABOVE:
        return Gil.UNKNOWN
    if value > HELD_ABOVE:
        return Gil.HELD
    return Gil.RELEASED if value < RELEASED_BELOW else Gil.PARTIAL


def choose(evidence: Evidence, bound: Bound) -> Choice:
    """Choose the cheapest strategy within 15 % of the best, serial if none reaches 1.3x.

    The rule is asked at every corner of the intervals; it is monotone in each speed-up, so corners that agree speak for all between.
    """
    threads, processes = _interval(evidence.threads, evidence), _interval(evidence.processes, evidence)
    if threads is None and processes is None:
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=reasons.nothing_to_compare(evidence))
    found = {_rule(*corner) for corner in product(_ends(threads), _ends(processes))}
    if len(found) > 1:
        unsettled = " or ".join(sorted(found, key=list(Recommendation).index))
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=reasons.straddles(evidence, unsettled), open_=True)
    strategy = found.pop()
    if contradiction := contradicts(evidence):
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=contradiction, open_=True)
    if strategy is Recommendation.SERIAL and (blind := cannot_tell(evidence, bound)):
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=blind)
    return Choice(strategy=strategy)


def _rule(threads: float, processes: float) -> Recommendation:
    best = max(threads, processes)
    if best < WORTH_IT:
        return Recommendation.SERIAL
    return Recommendation.THREADS if threads * CLOSE >= best else Recommendation.PROCESSES


def _interval(result: ThreadsResult | ProcessesResult, evidence: Evidence) -> tuple[float, float] | None:
    """Return a strategy's possible pool speed-ups; None if it is out because it failed, hung or crashed.

    N workers cannot do more than N times the work of one, so no interval reaches beyond. A strategy that time did not allow to
    try may have any speed-up; one that was not asked for, or must not be tried, has none.
    """
    most = float(evidence.measurement.workers)
    if result.pool_speedup is not None:
        return min(result.pool_speedup.low, most), min(result.pool_speedup.high, most)
    if result.outcome is Outcome.SKIPPED and result.error == evidence.measurement.out_of_time:
        return 0.0, most
    return None


def _ends(interval: tuple[float, float] | None) -> tuple[float, ...]:
    return (0.0,) if interval is None else interval


def contradicts(evidence: Evidence) -> str | None:
    """Find threads that ran faster than the GIL, as it was watched, allows; only on a quiet machine does that say anything."""
    threads, fraction = evidence.threads, evidence.serial.gil_held_fraction
    quiet = (threads.run_queue_share or 0.0) <= QUIET
    if threads.speedup is None or fraction is None or fraction.low <= 0 or not quiet:
        return None
    if threads.speedup.low > max(1.0, 1 / fraction.low) * BELIEVED:
        return reasons.threads_beat_ceiling(evidence)
    return None


def cannot_tell(evidence: Evidence, bound: Bound) -> str | None:
    """Say why *nothing helps* may be the machine's fault, or None.

    Waiting overlaps on any machine and a call that costs less than handing it out gains nowhere; but computing in parallel needs
    CPUs, and the control says whether there were any.
    """
    machine, workers = evidence.machine, evidence.measurement.workers
    if bound is Bound.IO or machine.scaling is None:
        return None
    best_case = [
        min(workers, evidence.serial.wall_s_per_call.value / task)
        for task in (machine.thread_task_s, machine.process_task_s)
        if task is not None
    ]
    if best_case and max(best_case) < WORTH_IT:
        return None
    ideal = min(workers, max(machine.cpus, 2))
    if machine.scaling.value >= ideal * SCALING_TO_JUDGE:
        return None
    return reasons.machine_too_small(evidence)


def _speedup(strategy: Recommendation, evidence: Evidence) -> float | None:
    if strategy is Recommendation.SERIAL:
        return 1.0
    chosen = {Recommendation.THREADS: evidence.threads, Recommendation.PROCESSES: evidence.processes}.get(strategy)
    return chosen.pool_speedup.value if chosen is not None and chosen.pool_speedup is not None else None
