"""What a gate's wider intervals leave room for: which strategies, which bounds, which speed-ups."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from pytest_gilprobe import judge
from pytest_gilprobe.model import Bound, Strategy

if TYPE_CHECKING:
    from pytest_gilprobe.model import Estimate, ProcessesResult, ThreadsResult, WorkloadResult

WIDENING = 1.7
"""How much wider than the reported 95 % interval a gate's is, on both sides.

A report may be wrong one time in 40 on either side; a gate that runs in every build must not. The least degrees of
freedom that an estimate has are 4 (`stats.rounds.PRIOR_WEIGHT`), where Student's t reaches 2.78 at 97.5 % and 4.60
at 99.5 %: 1.66 times as far. With more it is less (1.31 for the normal distribution), so the chance to miss on one
side is 0.5 % or less. *Source:* tables of Student's distribution; ``benchmarks/gate_rates.py`` counts.
"""


BARE = 0.95
"""Share of its speed-up that a pool must keep for calls alone to tell how pools compare: less, and handing out does."""


def widened(estimate: Estimate) -> tuple[float, float]:
    """Return the ends of a gate's interval for a speed-up: `WIDENING` times as far, in logarithms.

    An upper end that is farther off than the lower one was moved out by what other programs may have done to threads
    that wait for each other (`stats.reduce`): a bound for the worst case, no statistics, which is kept as it is.
    """
    if min(estimate.low, estimate.value) <= 0:
        return widened_share(estimate)
    down, up = estimate.value / estimate.low, estimate.high / estimate.value
    return estimate.value / down**WIDENING, estimate.value * _farther(up, min(up, down))


def _farther(end: float, by_chance: float) -> float:
    """Move an interval's end `WIDENING` times as far by that factor of it which chance explains."""
    return float(by_chance**WIDENING) * (end / by_chance)


def widened_comparison(over: Estimate) -> tuple[float, float]:
    """Return the ends of a gate's interval for processes over threads: as `widened`, with the ends' roles exchanged."""
    down, up = over.value / over.low, over.high / over.value
    return over.value / _farther(down, min(up, down)), over.value * up**WIDENING


def widened_share(estimate: Estimate) -> tuple[float, float]:
    """Return the ends of a gate's interval for a share of 0 to 1."""
    low = estimate.value - (estimate.value - estimate.low) * WIDENING
    high = estimate.value + (estimate.high - estimate.value) * WIDENING
    return max(0.0, low), max(estimate.value, min(1.0, high)) if estimate.value <= 1 else high


def possible_strategies(result: WorkloadResult) -> frozenset[Strategy]:
    """List the strategies that the widened intervals leave room for; one without a speed-up counts as 0."""
    ends = [
        (0.0,) if part.pool_speedup is None else widened(part.pool_speedup)
        for part in (result.threads, result.processes)
    ]
    most = float(result.workers)
    found = {
        Strategy(str(judge.rule(min(threads, most), min(processes, most)))) for threads, processes in product(*ends)
    }
    return frozenset(found - _excluded_directly(result))


def _excluded_directly(result: WorkloadResult) -> set[Strategy]:
    """Find what the direct comparison of processes with threads excludes, unless handing out limits a pool."""
    over, kept = result.processes.over_threads, [_kept(part) for part in (result.threads, result.processes)]
    if over is None or over.low <= 0 or min(kept) < BARE:
        return set()
    low, high = (end * kept[1] / kept[0] for end in widened_comparison(over))
    if low > judge.CLOSE:
        return {Strategy.THREADS}
    return {Strategy.PROCESSES} if high <= judge.CLOSE else set()


def _kept(part: ThreadsResult | ProcessesResult) -> float:
    """Return the share of a strategy's speed-up that is left in a pool; 0 for one without."""
    if part.speedup is None or part.pool_speedup is None or part.speedup.value <= 0:
        return 0.0
    return part.pool_speedup.value / part.speedup.value


def possible_bounds(result: WorkloadResult) -> frozenset[Bound]:
    """List what a call may spend its time on, by the widened interval of its CPU utilization."""
    if result.serial is None:
        return frozenset(Bound) - {Bound.INCONCLUSIVE}
    low, high = widened_share(result.serial.cpu_utilization)
    edges = (low, high, *(edge for edge in (judge.IO_BELOW, judge.CPU_ABOVE) if low <= edge <= high))
    return frozenset(judge.bound_at(edge) for edge in edges)
