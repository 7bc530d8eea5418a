"""How much of the speed-up of bare calls (calls without an executor) executors keep, and how well that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import StrategyResult

BARE = 0.95
"""If executors keep at least this share of the speed-up of bare calls, dispatch does not limit them: then comparing
bare calls shows how executors compare."""
DISPATCH_FACTOR = 2.0
"""Factor by which an executor's dispatch of calls may cost more or less than measured. The cost is measured once a
session, and its interval does not contain what a busy machine adds later."""


def at_cost(part: StrategyResult, times: float) -> float:
    """Return the factor by which a predicted speed-up changes if its executor costs ``times`` as much as predicted.

    ``part`` is the result of the strategy. The factor is 1 if the speed-up is unknown, or was measured in a real
    executor, as it always is for an executor that the user named.
    """
    pool = part.pool_speedup
    if part.speedup is None or pool is None or pool.value <= 0 or part.pool_rounds or part.executor is not None:
        return 1.0
    lost = max(0.0, part.speedup.value / pool.value - 1)
    return (1 + lost) / (1 + lost * times)


def kept_in_pools(cheaper: StrategyResult, dearer: StrategyResult) -> tuple[float, float] | None:
    """Return the least and greatest factor by which executors change the ratio of two strategies' speed-ups.

    The ratio is the speed-up of the ``dearer`` strategy over that of the ``cheaper`` one, measured with bare calls
    (calls without an executor). The result is ``None`` if a speed-up is unknown.

    If both executors keep at least the share `BARE` of the bare-call speed-up, the factor is known, and both ends are
    equal. Otherwise, if the dearer strategy's executor keeps no larger share than the cheaper one's, the factor is from
    0 to 1. Otherwise each end assumes that one executor costs `DISPATCH_FACTOR` times what is predicted, and the other
    that many times less; the low end is at most 1.
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
