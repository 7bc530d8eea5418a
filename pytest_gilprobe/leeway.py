"""What a gate's wider intervals leave room for: which strategies, which bounds, which speed-ups."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from pytest_gilprobe import judge
from pytest_gilprobe.model import Bound, Gil, Strategy, ThreadsResult
from pytest_gilprobe.thresholds import WORTH_IT, gil_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_gilprobe.model import Estimate, ProcessesResult, WorkloadResult

WIDENING = 1.7
"""How much wider than the reported 95 % interval a gate's is, on both sides.

A report may be wrong one time in 40 on either side; a gate that runs in every build must not. The least degrees of
freedom that an estimate has are 4 (`stats.estimates.PRIOR_WEIGHT`), where Student's t reaches 2.78 at 97.5 % and 4.60
at 99.5 %: 1.66 times as far. With more it is less (1.31 for the normal distribution), so the chance to miss on one
side is 0.5 % or less. *Source:* tables of Student's distribution; ``benchmarks/gate_rates.py`` counts.
"""


WIDENING_AT_EXTREMES = 1.44
"""The same at the extremes of what a busy machine may hide; their noise is known well
(`stats.speedups.NOISE_OF_DOUBT`).

That is Student's 99.5 % over 97.5 % with 9 degrees of freedom (3.25 / 2.26), those of the first look (`gate.LOOKS`).
By simulation with the scatter that was seen, 0.5 % fail at the edge. *Source:* ``tests/test_gate.py``.
"""


HAND_OUT = 2.0
"""By what factor handing out may cost more or less than a session measured it: it is measured once in each, and what a
busy machine adds to it is in none of the intervals (seen: 45 to 72 us for the same empty tasks within ten minutes)."""


def widened(estimate: Estimate, least: Estimate | None = None, most: Estimate | None = None) -> tuple[float, float]:
    """Return the ends of a gate's interval for a speed-up: so many times as far, in logarithms.

    ``least`` and ``most``, where there are any, are the estimates at the extremes of what a busy machine may hide: a
    bound for the worst case is no statistics, so only the chance in each of them is widened.
    """
    low = _ends_of(estimate, WIDENING)[0] if least is None else _ends_of(least, WIDENING_AT_EXTREMES)[0]
    high = _ends_of(estimate, WIDENING)[1] if most is None else _ends_of(most, WIDENING_AT_EXTREMES)[1]
    return low, high


def _ends_of(estimate: Estimate, by: float) -> tuple[float, float]:
    if min(estimate.low, estimate.value) <= 0:
        return widened_share(estimate)
    down, up = estimate.value / estimate.low, estimate.high / estimate.value
    return estimate.value / down**by, estimate.value * up**by


def in_pool(part: ThreadsResult | ProcessesResult) -> tuple[float, float] | None:
    """Return the ends of a gate's interval for a strategy's speed-up in a pool; None where it has none."""
    if part.pool_speedup is None:
        return None
    ends = (
        widened(part.pool_speedup, part.pool_speedup_least, part.pool_speedup_most)
        if isinstance(part, ThreadsResult)
        else widened(part.pool_speedup)
    )
    if part.speedup is None or part.pool_speedup.value <= 0:
        return ends
    lost = max(0.0, part.speedup.value / part.pool_speedup.value - 1)
    return ends[0] * (1 + lost) / (1 + lost * HAND_OUT), ends[1] * (1 + lost) / (1 + lost / HAND_OUT)


def widened_share(estimate: Estimate) -> tuple[float, float]:
    """Return the ends of a gate's interval for a share of 0 to 1."""
    low = estimate.value - (estimate.value - estimate.low) * WIDENING
    high = estimate.value + (estimate.high - estimate.value) * WIDENING
    return max(0.0, low), max(estimate.value, min(1.0, high)) if estimate.value <= 1 else high


def possible_strategies(result: WorkloadResult) -> frozenset[Strategy]:
    """List the strategies that the widened intervals leave room for; one without a speed-up counts as 0."""
    most = float(result.workers)
    threads, processes = (
        [min(end, most) for end in in_pool(part) or (0.0, 0.0)] for part in (result.threads, result.processes)
    )
    # As processes gain, the rule may go from serial over threads to processes: so it is asked between the ends, too.
    turns = (WORTH_IT, *(end * judge.CLOSE for end in threads))
    of_threads = (*threads, *_between(threads, (WORTH_IT,)))
    of_processes = (*processes, *_between(processes, turns))
    found = {Strategy(str(judge.rule(*pair))) for pair in product(of_threads, of_processes)}
    return frozenset(found - _excluded_directly(result))


def _between(ends: Sequence[float], points: Iterable[float]) -> list[float]:
    return [point for point in points if ends[0] < point < ends[1]]


def _excluded_directly(result: WorkloadResult) -> set[Strategy]:
    """Find what the direct comparison of processes with threads excludes, where that holds for pools too."""
    processes = result.processes
    kept = judge.kept_in_pools(result.threads, processes)
    if processes.over_threads is None or processes.over_threads.low <= 0 or kept is None:
        return set()
    ends = widened(processes.over_threads, processes.over_threads_least, processes.over_threads_most)
    low, high = ends[0] * kept[0], ends[1] * kept[1]
    if low > judge.CLOSE:
        return {Strategy.THREADS}
    return {Strategy.PROCESSES} if high <= judge.CLOSE else set()


def possible_gil(result: WorkloadResult) -> frozenset[Gil]:
    """List the parts that the GIL may have by the widened interval of its held share; none where that is unknown."""
    if result.serial is None or result.serial.gil_held_fraction is None or result.verdict.gil is Gil.ABSENT:
        return frozenset()
    held, used = result.serial.gil_held_fraction, result.serial.cpu_utilization
    low, high = widened_share(held)
    return frozenset(gil_words(replace(held, low=min(low, held.value), high=high), *widened_share(used)))


def possible_bounds(result: WorkloadResult) -> frozenset[Bound]:
    """List what a call may spend its time on, by the widened interval of its CPU utilization."""
    if result.serial is None:
        return frozenset(Bound) - {Bound.INCONCLUSIVE}
    low, high = widened_share(result.serial.cpu_utilization)
    edges = (low, high, *(edge for edge in (judge.IO_BELOW, judge.CPU_ABOVE) if low <= edge <= high))
    return frozenset(judge.bound_at(edge) for edge in edges)
