"""Get a strategy's speed-up from its result, limited to the number of calls that the strategy makes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.results import StrategyResult


def in_pool(part: StrategyResult, workers: int) -> Estimate | None:
    """Return a strategy's speed-up in an executor or, if unknown, of its calls alone; ``None`` if neither is known.

    Strategies are judged by this number. In an executor, dispatch and moving of data cost time, which is included.
    ``part`` is the strategy's result, and ``workers`` is the number of workers with which the workload was tried. The
    result is limited to the number of calls made at a time: N calls at a time do at most N times the work of one call.
    """
    gain = part.pool_speedup or part.speedup
    return None if gain is None else gain.at_most(at_once(part, workers))


def alone(part: StrategyResult, workers: int) -> Estimate | None:
    """Return the speed-up of a strategy's calls alone, without dispatch and moving of data; ``None`` if not measured.

    ``part`` is the strategy's result, and ``workers`` is the number of workers with which the workload was tried. The
    result is at most the number of calls that the strategy makes at a time. For an executor that the user named, it is
    the speed-up with tasks so large that dispatch matters little.
    """
    return None if part.speedup is None else part.speedup.at_most(at_once(part, workers))


def at_once(part: StrategyResult, workers: int) -> float:
    """Return how many calls a strategy, whose result is ``part``, makes at a time.

    That is ``workers``, the number of workers with which the workload was tried. An executor that the user named has a
    number of workers of its own, which is returned instead.
    """
    return float(workers if part.executor is None else part.executor.at_once)
