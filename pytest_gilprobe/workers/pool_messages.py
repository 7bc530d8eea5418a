"""Messages that ask a worker process to time calls through executors of the standard library."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.pools import PoolRound


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPools:
    """Asks a worker process for a round of calls of a test: serial ones, and some through each of several executors.

    The test is set up already. ``strategies`` names the ways to make calls, such as ``threads``, whose executors are
    used. The first such message starts the executors, each with ``workers`` workers, by ``start_method``; they run
    until the test is torn down. ``calls`` is the number of serial calls; an executor makes as many for each of its
    workers. A task that takes longer than ``limit_s`` seconds counts as failed. ``number`` is the number of the round,
    counted from 0. It decides which comes first, the serial calls or one of the executors: each is the first in turn.
    """

    strategies: tuple[str, ...]
    calls: int
    workers: int
    start_method: str
    limit_s: float
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolsRan:
    """The answer to `RunPools`: ``round`` has the times of the serial calls and of the calls in each executor."""

    round: PoolRound
