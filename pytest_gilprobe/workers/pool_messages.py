"""Messages that have a worker process make rounds of calls through executors of the standard library."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.pools import PoolRound


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPools:
    """Make a round of calls of the open test, one after the other and through the executor of each strategy.

    ``strategies`` are the names of the strategies. The first question starts the executors, each with ``workers``
    workers, by ``start_method``; they run until the test is closed. ``calls`` is how many calls are made one after the
    other, and how many an executor makes for each of its workers. A task that takes longer than ``limit_s`` seconds
    counts as failed. ``number`` is the number of the round, counted from 0: each round begins with the next of these
    series of calls.
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
