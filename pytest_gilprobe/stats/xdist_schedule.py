"""Schedule tests on workers as pytest-xdist does by default (``--dist load``): which worker gets which tests, and when.

*Source:* ``xdist.scheduler.load.LoadScheduling`` of pytest-xdist 3.8, methods ``schedule`` and ``check_schedule``.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LEAST_PENDING: Final = 2
"""Least number of tests that a worker has been given and not completed, the running one included. It may have fewer
only when all tests have been given out."""
LONG_S: Final = 0.1
"""A worker whose last test took at least this many seconds gets no more tests while `LEAST_PENDING` (2) or more of its
tests are not completed."""


class LoadSchedule:
    """Which worker gets which tests; a test is known by its number (0, 1, 2 ...).

    Tests are given out in order, several at a time. A worker runs its tests in the order in which it got them.
    """

    def __init__(self, tests: int, workers: int) -> None:
        """Give each of ``workers`` workers its first tests: a quarter of ``tests`` / ``workers``, but at least two.

        If there are too few for that, give them out one by one, in turn.
        """
        self._next, self._tests, self._workers = 0, tests, workers
        self._pending: list[deque[int]] = [deque() for _ in range(workers)]
        if tests < LEAST_PENDING * workers:
            for test in range(tests):
                self._hand_out(test % workers, 1)
        else:
            for worker in range(workers):
                self._hand_out(worker, max(tests // workers // 4, LEAST_PENDING))

    def current(self, worker: int) -> int | None:
        """Return the number of the test that a worker runs; ``None`` if it has none."""
        pending = self._pending[worker]
        return pending[0] if pending else None

    def complete(self, worker: int, duration_s: float) -> None:
        """Record that a worker completed its current test in ``duration_s`` seconds; give it more tests if it has few.

        Few are less than two, or, if the test took less than `LONG_S` (0.1 s), less than a quarter of the worker's
        equal share of the tests that are not given out.
        """
        pending = self._pending[worker]
        pending.popleft()
        left = self._tests - self._next
        if not left or len(pending) >= max(LEAST_PENDING, left // self._workers // 4):
            return
        if duration_s >= LONG_S and len(pending) >= LEAST_PENDING:
            return
        self._hand_out(worker, max(LEAST_PENDING, left // self._workers // 2) - len(pending))

    def _hand_out(self, worker: int, tests: int) -> None:
        until = min(self._tests, self._next + tests)
        self._pending[worker].extend(range(self._next, until))
        self._next = until
