"""How much of the speed-up of bare calls (calls without an executor) executors keep, and how well that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import StrategyResult

BARE = 0.95
"""A comparison of two strategies by bare calls (calls without an executor) also holds for their executors, if these
keep at least this share of the speed-up that bare calls have."""
DISPATCH_FACTOR = 2.0
"""Factor by which an executor's dispatch of calls may cost more or less than measured. The cost is measured once a
session, and its interval does not contain what a busy machine adds later."""


def at_cost(part: StrategyResult, times: float) -> float:
    """Return the factor by which a predicted speed-up changes if the executor costs more or less than predicted.

    ``part`` is the strategy's result, and ``times`` the assumed cost of its executor divided by the predicted cost. The
    factor is 1 if the speed-up is unknown, or was measured in an executor and so is not predicted.
    """
    pool = part.pool_speedup
    if part.speedup is None or pool is None or pool.value <= 0 or part.pool_rounds or part.executor is not None:
        return 1.0
    lost = max(0.0, part.speedup.value / pool.value - 1)
    return (1 + lost) / (1 + lost * times)


def kept_in_pools(cheaper: StrategyResult, dearer: StrategyResult) -> tuple[float, float] | None:
    """Return the least and greatest factor by which executors change the ratio of two strategies' speed-ups.

    The ratio is that of bare calls (calls without an executor): the speed-up of ``dearer`` over that of ``cheaper``.
    ``dearer`` is the result of the strategy that costs more beside the calls, as processes cost more than threads. The
    result is ``None`` if a speed-up is unknown or 0.

    An executor keeps a share of the bare calls' speed-up. The factor is the share for ``dearer`` over that for
    ``cheaper``. If both shares are at least `BARE` (95 %), it is both the least and the greatest. Otherwise, if it is 1
    or less, the result is (0, 1). Otherwise, the least factor assumes that the executor of ``dearer`` costs twice what
    is predicted (`DISPATCH_FACTOR`), and that of ``cheaper`` half; the greatest assumes the opposite. The least is then
    at most 1.
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
