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
    """How much this process, a host of subinterpreters, has grown since its start, and by calls of the present test.

    Growth is in threads, child processes, file descriptors and memory. What the start of a subinterpreter adds does not
    count as growth. What the set-up of a test adds does not count as growth by the test's calls.

    Attributes:
        spoilt: whether calls of the present test have kept so much memory that no more should be made.
    """

    def __init__(self) -> None:
        """Note what this process uses now, before it hosts any subinterpreter."""
        self._at_start = self._at_open = ResourceUse.now()
        self.spoilt = False

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """For a ``with`` block that starts subinterpreters, do not count as growth what it adds."""
        before = ResourceUse.now()
        yield
        self._at_start = self._at_start.plus(before, ResourceUse.now())

    @contextlib.contextmanager
    def setting_up(self, *, widens: bool) -> Iterator[None]:
        """For a ``with`` block that sets a test up, do not count what it adds as growth by the test's calls.

        ``widens`` is whether the same test is already set up in other subinterpreters. If so, growth by its earlier
        calls still counts. If not, only growth after the end of the block counts.
        """
        before = ResourceUse.now()
        yield
        after = ResourceUse.now()
        self._at_open = self._at_open.plus(before, after) if widens else after
        self.spoilt = self.spoilt and widens

    def disturbance(self) -> str | None:
        """If calls of this test have kept too much memory, set ``spoilt`` and return a text; else return ``None``."""
        why = self._at_open.memory_kept()
        self.spoilt = self.spoilt or why is not None
        return why

    def outgrown(self, interpreters: int) -> bool:
        """Return whether this process has grown so much since its start that it must be replaced.

        ``interpreters`` is how many subinterpreters it hosts. For each of them, it may grow by as much as a worker
        process that hosts none.
        """
        return self._at_start.outgrown_by(ResourceUse.now(), interpreters)
