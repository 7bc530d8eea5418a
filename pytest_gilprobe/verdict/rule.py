"""The rule that chooses a strategy by the speed-ups of executors: from known values, and from intervals."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.model.words import SERIAL

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import StrategyResult

Interval = tuple[float, float]

BARE = 0.95
"""Share of its bare-call speed-up that an executor must keep for bare calls to show how executors compare; if it keeps
less, dispatch limits it."""


def rule(gains: Mapping[str, float]) -> str:
    """Return the cheapest strategy within 15 % of the best, or serial if no strategy is worth it.

    ``gains`` maps each strategy to its known speed-up in an executor, the cheapest first; 0 if it cannot be used.
    """
    best = max(gains.values(), default=0.0)
    if best < WORTH_IT:
        return SERIAL
    return next(name for name, gain in gains.items() if gain * CLOSE >= best)


def at_corners(intervals: Mapping[str, Interval]) -> set[str]:
    """Return the strategies that `rule` chooses at the corners of the intervals of the executors' speed-ups."""
    return {rule(dict(zip(intervals, corner, strict=True))) for corner in product(*intervals.values())}


def kept_in_pools(cheaper: StrategyResult, dearer: StrategyResult) -> tuple[float, float] | None:
    """Return the least and greatest factor by which executors change the ratio of two strategies' speed-ups.

    The ratio is the dearer strategy's speed-up over the cheaper strategy's. If both executors keep a share of `BARE` of
    the bare-call speed-up, the factor is known. Otherwise dispatch limits an executor: the factor is from 0 to 1 if the
    dearer strategy keeps no more than the cheaper one. ``None`` if it keeps more, or a speed-up is unknown.
    """
    kept = [
        part.pool_speedup.value / part.speedup.value
        for part in (cheaper, dearer)
        if part.speedup is not None and part.pool_speedup is not None and part.speedup.value > 0
    ]
    if len(kept) < 2:  # noqa: PLR2004 - the two
        return None
    if min(kept) >= BARE:
        return kept[1] / kept[0], kept[1] / kept[0]
    return (0.0, 1.0) if kept[1] <= kept[0] else None
