"""The messages about real executors of the standard library: make a round of calls through them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.pools import PoolRound


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPools:
    """Make a round of calls of the open test, one after the other and through the executor of each strategy.

    The first question starts the executors, with ``workers`` workers each, by ``start_method``; they run until the test
    is closed. ``calls`` is the number of serial calls, and of calls for each worker. A task that does not come back
    within ``limit_s`` seconds is a failure. ``number`` is that of the round: the order of its series rotates.
    """

    strategies: tuple[str, ...]
    calls: int
    workers: int
    start_method: str
    limit_s: float
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolsRan:
    """The round's times."""

    round: PoolRound
