"""Get a strategy's speed-up from its result, limited to the number of calls that the strategy makes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.results import StrategyResult


def in_pool(part: StrategyResult, workers: int) -> Estimate | None:
    """Return the speed-up by which strategies are judged: that in a pool, or, if unknown, that of the calls alone.

    A pool is an executor, with its costs of dispatch and moving data. N calls at a time cannot do more than N times the
    work of one call, so the result is at most `at_once`. ``workers`` is the number of workers with which the workload
    was tried. Return ``None`` if neither speed-up is known.
    """
    gain = part.pool_speedup or part.speedup
    return None if gain is None else gain.at_most(at_once(part, workers))


def alone(part: StrategyResult, workers: int) -> Estimate | None:
    """Return the speed-up of the calls alone, without dispatch and moving of data; ``None`` if it was not measured.

    The result is at most `at_once`, for ``workers`` workers. For an executor that the user named, it is the speed-up
    with tasks so large that dispatch matters little.
    """
    return None if part.speedup is None else part.speedup.at_most(at_once(part, workers))


def at_once(part: StrategyResult, workers: int) -> float:
    """Return how many calls a strategy makes at a time.

    That is ``workers``, except for an executor that the user named, which has workers of its own.
    """
    return float(workers if part.executor is None else part.executor.at_once)
