"""Messages that ask a worker process to time calls through executors of the standard library."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.pools import PoolRound


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPools:
    """Asks a worker process to make calls of a test: some serially, and some through each of several executors.

    The test is set up already. ``strategies`` names ways to make calls, such as ``threads``; each has its executor. The
    first such message starts the executors, each with ``workers`` workers (processes by ``start_method``); they run
    until the test is torn down. ``calls`` is the number of serial calls; an executor makes ``calls`` calls for each of
    its workers. If an executor's calls have not all returned after ``limit_s`` seconds, the answer is `Failed`.
    ``number`` is how many such messages came before; it rotates the order of the serial calls and the executors.
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
