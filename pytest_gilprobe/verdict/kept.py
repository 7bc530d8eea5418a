"""How much of the speed-up of bare calls (calls without an executor) executors keep, and how well that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import StrategyResult

BARE = 0.95
"""Share of its bare-call speed-up that an executor must keep for bare calls to show how executors compare; if it keeps
less, dispatch limits it."""
DISPATCH_FACTOR = 2.0
"""Factor by which dispatching may cost more or less than measured: each session measures it once, and no interval
contains what a busy machine adds."""


def at_cost(part: StrategyResult, times: float) -> float:
    """Return the factor by which a predicted speed-up changes if its executor costs ``times`` what is predicted.

    The factor is 1 if the speed-up was measured in a real executor, as that of a named executor is, or if it is
    unknown.
    """
    pool = part.pool_speedup
    if part.speedup is None or pool is None or pool.value <= 0 or part.pool_rounds or part.executor is not None:
        return 1.0
    lost = max(0.0, part.speedup.value / pool.value - 1)
    return (1 + lost) / (1 + lost * times)


def kept_in_pools(cheaper: StrategyResult, dearer: StrategyResult) -> tuple[float, float] | None:
    """Return the least and greatest factor by which executors change the ratio of two strategies' speed-ups.

    The ratio is the dearer strategy's speed-up over the cheaper strategy's. If both executors keep a share of `BARE` of
    the bare-call speed-up, the factor is known. Otherwise dispatch limits an executor: the factor is from 0 to 1 if the
    dearer strategy keeps no more than the cheaper one, or else what it may be if executors cost up to `DISPATCH_FACTOR`
    times more and less than predicted. ``None`` if a speed-up is unknown.
    """
    kept = [
        part.pool_speedup.value / part.speedup.value
        for part in (cheaper, dearer)
        if part.speedup is not None and part.pool_speedup is not None and part.speedup.value > 0
    ]
    if len(kept) < 2 or min(kept) <= 0:  # noqa: PLR2004 - the two
        return None
    if min(kept) >= BARE:
        return kept[1] / kept[0], kept[1] / kept[0]
    if kept[1] <= kept[0]:
        return 0.0, 1.0
    ratio = kept[1] / kept[0]
    more, less = DISPATCH_FACTOR, 1 / DISPATCH_FACTOR
    return (
        min(1.0, ratio * at_cost(dearer, more) / at_cost(cheaper, less)),
        ratio * at_cost(dearer, less) / at_cost(cheaper, more),
    )
