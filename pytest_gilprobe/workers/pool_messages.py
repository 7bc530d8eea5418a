"""The messages about real executors of the standard library: make a round of calls through them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.pools import PoolRound


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPools:
    """Make a round of calls of the open test, one after the other and through the executor of each strategy.

    ``strategies`` are the names of the strategies. The first question starts the executors, with ``workers`` workers
    each, by ``start_method``; they run until the test is closed. ``calls`` is the number of serial calls, and of calls
    for each worker. A task that does not come back within ``limit_s`` seconds is a failure. ``number`` counts the
    rounds from 0: the order in which a round runs its series rotates with it.
    """

    strategies: tuple[str, ...]
    calls: int
    workers: int
    start_method: str
    limit_s: float
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolsRan:
    """The answer to `RunPools`: ``round`` has the times."""

    round: PoolRound
