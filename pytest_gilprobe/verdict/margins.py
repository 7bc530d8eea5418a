"""Widen measured intervals for gates (checks that fail a test), and list which answers are then still possible.

A gate must seldom be wrong, so it fails only what the wider intervals exclude.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import CLOSE, CPU_ABOVE, IO_BELOW, WORTH_IT, bound_at, gil_words
from pytest_gilprobe.model.words import SERIAL, Bound, Gil
from pytest_gilprobe.verdict.kept import DISPATCH_FACTOR, at_cost, kept_in_pools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.results import StrategyResult, WorkloadResult
    from pytest_gilprobe.verdict.rule import Interval

WIDENING = 1.7
"""Factor by which a gate (a check that fails a test) lengthens a reported 95 % interval on each side of the value.

A reported interval misses the true value on one side in one case of 40. A gate that runs in every build must be wrong
less often: in one case of 200 or fewer. For this, the factor has to be the ratio of Student's t at 99.5 % to that at
97.5 %. The ratio is 1.66 for 4 degrees of freedom, the fewest of any estimate (`stats.estimates.PRIOR_WEIGHT`), and
less for more. *Source:* tables of Student's distribution; ``benchmarks/gate_rates.py`` counts.
"""
WIDENING_AT_EXTREMES = 1.44
"""Factor by which a gate (a check that fails a test) lengthens the interval of an extreme speed-up on each side of it.

Other programs' load makes a speed-up uncertain. The two extreme speed-ups count the whole load against the strategy, or
in its favour. Their noise is known better than that of other estimates, for which the factor is `WIDENING`.

The factor is Student's t at 99.5 % over that at 97.5 % (3.25 / 2.26), with 9 degrees of freedom (`stats.speedups`): as
many as there are after 6 rounds (one batch of calls of every strategy), the first at which a gate may fail
(`expectations.ROUNDS_TO_FAIL`). *Source:* ``tests/test_gate.py`` simulates it.
"""
_WIDEST = 1e100
"""A report from elsewhere may have any numbers: this many times as far, and no power of it leaves the floats."""


def widened(estimate: Estimate, at_worst: Estimate | None = None, at_best: Estimate | None = None) -> Interval:
    """Return the interval of a speed-up that gates (checks that fail a test) use, wider than the reported one.

    Each end of the interval of ``estimate`` is moved to `WIDENING` times its distance from the value, on a log scale.
    Other programs' load can make a speed-up uncertain: ``at_worst`` is the lowest speed-up that is possible because of
    the load, ``at_best`` the highest; ``None`` if the load cannot have changed it. If given, ``at_worst`` replaces
    ``estimate`` for the low end, ``at_best`` for the high end, and the factor is `WIDENING_AT_EXTREMES`.
    """
    low = _widened_by(WIDENING, estimate) if at_worst is None else _widened_by(WIDENING_AT_EXTREMES, at_worst)
    high = _widened_by(WIDENING, estimate) if at_best is None else _widened_by(WIDENING_AT_EXTREMES, at_best)
    return low[0], high[1]


def _widened_by(factor: float, estimate: Estimate) -> Interval:
    if min(estimate.low, estimate.value) <= 0:
        return widened_share(estimate)
    down, up = min(estimate.value / estimate.low, _WIDEST), min(estimate.high / estimate.value, _WIDEST)
    return estimate.value / down**factor, estimate.value * up**factor


def widened_share(estimate: Estimate) -> Interval:
    """Return the interval of a share of time that gates (checks that fail a test) use, wider than the reported one.

    The result is a pair of its low and high end. Each is moved to `WIDENING` (1.7) times its distance from the value.
    The low end is at least 0. The high end is at most 1, unless the value itself is above 1.
    """
    low = estimate.value - (estimate.value - estimate.low) * WIDENING
    high = estimate.value + (estimate.high - estimate.value) * WIDENING
    return max(0.0, low), max(estimate.value, min(1.0, high)) if estimate.value <= 1 else high


def in_pool(part: StrategyResult) -> Interval | None:
    """Return the interval of a strategy's speed-up in an executor, wider than the reported one, for gates.

    A gate is a check that fails a test. If the speed-up is predicted, the interval also allows for an executor that
    costs `DISPATCH_FACTOR` (2) times what is predicted, or half of it. The result is ``None`` if the speed-up is
    unknown.
    """
    pool = part.pool_speedup
    if pool is None:
        return None
    low, high = widened(pool, part.pool_speedup_at_worst, part.pool_speedup_at_best)
    return low * at_cost(part, DISPATCH_FACTOR), high * at_cost(part, 1 / DISPATCH_FACTOR)


def possible_strategies(result: WorkloadResult) -> frozenset[str]:
    """Return every strategy that may be the right advice, by the wide intervals that gates use for speed-ups.

    A gate is a check that fails a test; it uses wider intervals than the report. A strategy whose speed-up in an
    executor is unknown is compared as if that speed-up were 0.
    """
    most, gains = float(result.workers), {}
    for name, part in result.parallel.items():
        low, high = in_pool(part) or (0.0, 0.0)
        gains[name] = (min(low, most), min(high, most))
    return frozenset(_answers(gains) - _excluded_directly(result))


def _answers(gains: Mapping[str, Interval]) -> set[str]:
    """List what `rule.rule` answers anywhere within the intervals, the cheapest strategy first.

    A strategy is the answer somewhere if it is with its highest gain and the lowest of cheaper ones. What a dearer one
    gains helps it over `WORTH_IT`, and out of the reach of the cheaper ones, as long as it is in its own reach.
    """
    lows = [low for low, _ in gains.values()]
    found = {SERIAL} if all(low < WORTH_IT for low in lows) else set()
    for at, (name, (_, high)) in enumerate(gains.items()):
        reach = high * CLOSE
        dearer = [min(other, reach) for _, other in list(gains.values())[at + 1 :]]
        best = max(high, *dearer, 0.0)
        if best >= WORTH_IT and all(low <= reach for low in lows) and all(low * CLOSE < best for low in lows[:at]):
            found.add(name)
    return found


def _excluded_directly(result: WorkloadResult) -> set[str]:
    """List what comparing strategies with each other excludes, where that holds for executors, too.

    One that is out of a cheaper one's reach excludes that. One that is in it is excluded itself if it is the dearest:
    else a still dearer one may be out of the cheaper one's reach, and in its own.
    """
    parts, excluded = result.parallel, set()
    dearest = [name for name, part in parts.items() if part.pool_speedup is not None][-1:]
    for name, part in parts.items():
        for cheaper, contrast in part.over.items():
            kept = kept_in_pools(parts[cheaper], part) if cheaper in parts else None
            if kept is None or contrast.ratio.low <= 0:
                continue
            low, high = widened(contrast.ratio, contrast.at_worst, contrast.at_best)
            if low * kept[0] > CLOSE:
                excluded.add(cheaper)
            elif high * kept[1] <= (CLOSE if [name] == dearest else 1.0):
                excluded.add(name)
    return excluded


def possible_gil(result: WorkloadResult) -> frozenset[Gil]:
    """Return every word (released, partial, held) that may be right for the GIL, by the intervals that gates use.

    A gate (a check that fails a test) uses wider intervals than the report: here of the GIL-held share and of the
    serial calls' CPU utilization. The result is empty if one of these is unknown, or if there is no GIL.
    """
    held = result.gil.held_fraction
    if result.serial is None or held is None or result.verdict.gil is Gil.ABSENT:
        return frozenset()
    low, high = widened_share(held)
    used = widened_share(result.serial.utilization)
    return frozenset(gil_words(replace(held, low=min(low, held.value), high=high), *used))


def possible_bounds(result: WorkloadResult) -> frozenset[Bound]:
    """Return every word (io, mixed, cpu) that a gate must take as possible for what limits calls.

    A gate is a check that fails a test. It must seldom be wrong, so it uses an interval of the calls' CPU utilization
    that is wider than the reported one. The words that fit some value in this interval are returned; all three if the
    utilization is unknown. If the system does not report how long threads queued for a CPU, the interval reaches up to
    1, since queueing then looks like waiting.
    """
    if result.serial is None:
        return frozenset(Bound) - {Bound.INCONCLUSIVE}
    low, high = widened_share(result.serial.utilization)
    high = 1.0 if result.serial.run_queue_share is None else high
    edges = (low, high, *(edge for edge in (IO_BELOW, CPU_ABOVE) if low <= edge <= high))
    return frozenset(bound_at(edge) for edge in edges)
