"""The records of how long each part of a test suite took in one serial run: start, tests, shared fixtures ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one part of a session took, in seconds.

    ``wall_s`` is the wall time without waits for a CPU; ``cpu_s`` is the CPU time of all threads and child processes.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTimes:
    """One serial run of a suite, test by test in the order of the run.

    A shared fixture is one of a scope wider than one function. All wall times leave out waits for a CPU.

    Attributes:
        start: seconds of wall time and of CPU time from the start of the process until pytest's session began: imports,
            plugins and conftest files.
        collection: seconds of wall time and of CPU time for collecting the tests.
        walls_s: for each test, the wall time in seconds of set-up, call and teardown, without shared fixtures.
        cpus_s: for each test, the CPU time in seconds for the same parts, of all threads and of child processes that
            ended.
        needs: for each test, which shared fixtures it uses: the index of a set in ``fixture_sets``.
        fixture_sets: sets of shared fixtures, each as indices into ``fixtures``.
        fixtures: one entry for each time that a shared fixture was set up: seconds of wall time and of CPU time, each
            the sum of that set-up and of the teardown after it.
        names: the node ids of the longest tests, by the test's index.
    """

    start: Cost
    collection: Cost
    walls_s: Sequence[float]
    cpus_s: Sequence[float]
    needs: Sequence[int]
    fixture_sets: tuple[tuple[int, ...], ...]
    fixtures: tuple[Cost, ...]
    names: Mapping[int, str]

    @property
    def wall_s(self) -> float:
        """Sum of all parts' wall times in seconds, from the start of the process to the end of the last test."""
        parts = (self.start, self.collection, *self.fixtures)
        return sum(self.walls_s) + sum(part.wall_s for part in parts)

    @property
    def cpu_s(self) -> float:
        """Sum of all parts' CPU times in seconds, from the start of the process to the end of the last test."""
        return sum(self.cpus_s) + sum(part.cpu_s for part in (self.start, self.collection, *self.fixtures))
