"""Say what would settle an open verdict: more time, as far as the intervals promise it, or a quieter machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.stats.rounds import span_s
from pytest_gilprobe.verdict.rule import at_corners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.verdict.rule import Interval

NARROWER = tuple(step / 20 for step in range(19, 3, -1))
"""Parts to which intervals may shrink, the largest first; the smallest, a fifth, takes 25 times as many rounds."""
MOST_S = 120.0
"""Longest probe, in seconds, that is worth proposing."""
BESIDE_ROUNDS = 1.5
"""A probe takes about this many times as long as its rounds: workers start, calls warm up, controls run."""
BUSY = 0.1
"""Share of their time that calls queued for a CPU from which a quieter machine would help."""


def remedy(evidence: Evidence) -> str:
    """Return what would settle the choice of a strategy, as a clause."""
    if evidence.measurement.no_time_for and evidence.measurement.out_of_time is not None:
        return evidence.measurement.out_of_time
    quieter = "a quieter machine" if _is_disturbed(evidence) else ""
    enough_s = seconds_needed(evidence)
    if enough_s is not None:
        return (
            f"{quieter}, or max_time={enough_s}, is likely to settle it"
            if quieter
            else (f"max_time={enough_s} is likely to settle it")
        )
    if quieter:
        return f"{quieter} may settle it, more time alone hardly"
    near = f"{WORTH_IT:g}x, or {(CLOSE - 1) * 100:.0f} % apart"
    return f"the values lie near a limit of the rule ({near}), so more time hardly settles it: either will do"


def seconds_needed(evidence: Evidence) -> int | None:
    """Return about how many seconds a probe takes whose intervals decide, if values stay; ``None`` if too many.

    The interval of a mean of n rounds is proportional to 1 / sqrt(n).
    """
    seen = evidence.measurement
    rounds = [*seen.rounds, *seen.bursts, *(one.as_round() for one in seen.controls)]
    spent_s = sum(span_s(batch, less_queue=False) for one in rounds for batch in one.batches.values())
    for part in NARROWER:
        if len(at_corners(narrowed(evidence, part))) == 1:
            least_s = max(math.ceil(spent_s * BESIDE_ROUNDS), math.floor(seen.allowed_s or 0.0)) + 1
            needed_s = max(math.ceil(spent_s / part**2 * BESIDE_ROUNDS), least_s)
            return needed_s if seen.rounds and needed_s <= MOST_S else None
    return None


def narrowed(evidence: Evidence, part: float) -> Mapping[str, Interval]:
    """Return the intervals of the executors' speed-ups, shrunk around their values to a ``part`` of their width."""
    most, found = float(evidence.measurement.workers), {}
    for strategy in evidence.strategies:
        pool = evidence.results[strategy.name].pool_speedup
        if pool is not None:
            ends = (pool.value - (pool.value - pool.low) * part, pool.value + (pool.high - pool.value) * part)
            found[strategy.name] = (min(ends[0], most), min(ends[1], most))
    return found


def _is_disturbed(evidence: Evidence) -> bool:
    return any((part.run_queue_share or 0.0) >= BUSY for part in evidence.results.values())
