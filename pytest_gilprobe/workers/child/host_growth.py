"""Judge whether a process that hosts subinterpreters has grown too big for the number of its interpreters.

Memory, file descriptors and child processes belong to the whole process: no interpreter can tell which are its own.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gilprobe.workers.child.leftovers import ResourceUse

if TYPE_CHECKING:
    from collections.abc import Iterator


class HostGrowth:
    """How much this process has grown since its start, and since before the calls of the open test.

    The start of an interpreter does not count as growth, and the set-up of a test not as growth by its calls.

    Attributes:
        spoilt: whether calls of the open test have kept so much memory that no more are made.
    """

    def __init__(self) -> None:
        """Note what this process uses now, without interpreters."""
        self._at_start = self._at_open = ResourceUse.now()
        self.spoilt = False

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Exclude what the ``with`` block adds, in which interpreters start, from the growth since the start."""
        before = ResourceUse.now()
        yield
        self._at_start = self._at_start.plus(before, ResourceUse.now())

    @contextlib.contextmanager
    def setting_up(self, *, widens: bool) -> Iterator[None]:
        """Exclude what the ``with`` block adds, in which a test is set up, from what the test's calls have kept.

        ``widens`` is whether the same test was already set up, and called, in some interpreters. If not, the count of
        what its calls keep begins after the block.
        """
        before = ResourceUse.now()
        yield
        after = ResourceUse.now()
        self._at_open = self._at_open.plus(before, after) if widens else after
        self.spoilt = self.spoilt and widens

    def disturbance(self) -> str | None:
        """Say that the open test's calls have kept too much memory, and set ``spoilt``; else return ``None``."""
        why = self._at_open.memory_kept()
        self.spoilt = self.spoilt or why is not None
        return why

    def outgrown(self, interpreters: int) -> bool:
        """Return whether this process has grown by more than ``interpreters`` interpreters may, and must be replaced.

        Each interpreter may grow by as much as a worker process of its own.
        """
        return self._at_start.outgrown_by(ResourceUse.now(), interpreters)
