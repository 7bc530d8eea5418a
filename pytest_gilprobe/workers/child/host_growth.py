"""Judge whether a process that hosts interpreters has grown too big, relative to the number of its interpreters.

Memory, file descriptors and child processes belong to the whole process: no interpreter can tell which are its own.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gilprobe.workers.child.leftovers import ResourceUse

if TYPE_CHECKING:
    from collections.abc import Iterator


class HostGrowth:
    """What this process uses more than at its start, and than before a test's calls, beside what starts took.

    Attributes:
        spoilt: whether calls of the open test have kept so much memory that no more are made.
    """

    def __init__(self) -> None:
        """Note what this process uses now, without interpreters."""
        self._at_start = self._at_open = ResourceUse.now()
        self.spoilt = False

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Leave out what this process uses more after the ``with`` block, in which interpreters start."""
        before = ResourceUse.now()
        yield
        self._at_start = self._at_start.plus(before, ResourceUse.now())

    @contextlib.contextmanager
    def setting_up(self, *, widens: bool) -> Iterator[None]:
        """Leave out what the ``with`` block, in which a test is set up, adds to what calls are said to have kept.

        ``widens`` is whether the test was set up, and called, in some interpreters before.
        """
        before = ResourceUse.now()
        yield
        after = ResourceUse.now()
        self._at_open = self._at_open.plus(before, after) if widens else after
        self.spoilt = self.spoilt and widens

    def disturbance(self) -> str | None:
        """Say that the open test's calls kept more memory than is left; ``None`` if they did not."""
        why = self._at_open.memory_kept()
        self.spoilt = self.spoilt or why is not None
        return why

    def outgrown(self, interpreters: int) -> bool:
        """Return whether this process must be replaced, since it has grown by more than so many ``interpreters`` may.

        Each of them may grow by as much as a worker process of its own.
        """
        return self._at_start.outgrown_by(ResourceUse.now(), interpreters)
