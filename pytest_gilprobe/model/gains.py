"""Read what a strategy gains from its result, never more than the calls that it makes at once allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.results import StrategyResult


def in_pool(part: StrategyResult, workers: int) -> Estimate | None:
    """Return the speed-up that answers count: that of a pool, or of the calls alone where no pool's is known.

    N calls at once cannot do more than N times the work of one. N is ``workers``, the number that the workload was
    tried with; an executor that the user named has workers of its own.
    """
    gain = part.pool_speedup or part.speedup
    return None if gain is None else gain.at_most(at_once(part, workers))


def alone(part: StrategyResult, workers: int) -> Estimate | None:
    """Return the speed-up without a pool's dispatch and moving of data, limited in the same way.

    Of an executor that the user named, it is that of tasks large enough for dispatch to matter little.
    """
    return None if part.speedup is None else part.speedup.at_most(at_once(part, workers))


def at_once(part: StrategyResult, workers: int) -> float:
    """Return how many calls a strategy makes at once."""
    return float(workers if part.executor is None else part.executor.at_once)
