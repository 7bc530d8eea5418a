"""Clock the parts of a session that pytest-xdist would repeat or share out: start, collection, tests, shared fixtures.

These times serve to predict how long the suite would take with ``pytest -n``. Only a session that runs all its tests in
pytest's own process is clocked.
"""

from __future__ import annotations

import heapq
from array import array
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_gilprobe.model.suite_times import Cost, SuiteTimes
from pytest_gilprobe.observe import clocks

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

MOST_NAMES: Final = 50
"""Maximum number of tests whose node ids are kept; these are the tests that take longest."""
_NARROW: Final = "function"


class _Reading:
    """What the clocks say at one moment, in nanoseconds; the difference of two readings is a `Cost`."""

    __slots__ = ("cpu_ns", "wall_ns")

    def __init__(self, queue: clocks.RunQueueClock) -> None:
        self.cpu_ns = clocks.process_time_ns() + clocks.children_time_ns()
        self.wall_ns = clocks.perf_counter_ns() - (queue.read_ns() or 0)

    def since(self, start: _Reading) -> tuple[int, int]:
        return max(0, self.wall_ns - start.wall_ns), max(0, self.cpu_ns - start.cpu_ns)


class SuiteClock:
    """Plugin that clocks one session: its start, collection, tests and shared fixtures.

    `times` returns what the clocks found, once the last test is over.
    """

    def __init__(self) -> None:
        """Prepare to clock a session that runs in the present process and thread."""
        self._queue = clocks.RunQueueClock()
        self._start = self._collection = Cost(wall_s=0.0, cpu_s=0.0)
        self._walls_s, self._cpus_s, self._needs = array("d"), array("d"), array("I")
        self._sets: dict[tuple[int, ...], int] = {}
        self._fixtures: list[list[int]] = []
        self._live: dict[int, tuple[str, int]] = {}
        self._used: tuple[tuple[str, int], ...] = ()
        self._longest: list[tuple[float, int, str]] = []
        self._shared_ns = [0, 0]
        self._mark: _Reading | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Read the wall time and the CPU time that this process took from its start until now."""
        cpu_ns = clocks.process_time_ns() + clocks.children_time_ns()
        wall_ns = max(cpu_ns, (clocks.process_age_ns() or 0) - (self._queue.read_ns() or 0))
        self._start = _cost((wall_ns, cpu_ns))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Clock the collection of all tests."""
        start = self._read()
        try:
            return (yield)
        finally:
            self._collection = _cost(self._read().since(start))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Clock one test, without the set-up and teardown of shared fixtures (of a wider scope than ``function``)."""
        start = self._read()
        self._shared_ns, self._used = [0, 0], ()
        try:
            return (yield)
        finally:
            wall_ns, cpu_ns = self._read().since(start)
            self._note(item, max(0, wall_ns - self._shared_ns[0]), max(0, cpu_ns - self._shared_ns[1]))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Clock the set-up of a fixture of a wider scope than ``function``, which tests may share.

        If this set-up requests another such fixture, the time for setting that one up is not counted twice.
        """
        if fixturedef.scope == _NARROW:
            return (yield)
        start, inner = self._read(), self._shared_ns
        self._shared_ns = [0, 0]
        try:
            return (yield)
        finally:
            wall_ns, cpu_ns = self._read().since(start)
            own_ns = [max(0, wall_ns - self._shared_ns[0]), max(0, cpu_ns - self._shared_ns[1])]
            self._live[id(fixturedef)] = (fixturedef.argname, len(self._fixtures))
            self._fixtures.append(own_ns)
            self._shared_ns = [inner[0] + wall_ns, inner[1] + cpu_ns]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Note which fixtures of a wider scope than ``function`` exist now, and begin to clock their teardowns."""
        self._used = tuple(self._live.values())
        self._mark = self._read() if self._live else None

    @pytest.hookimpl(trylast=True)
    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Clock the teardown, just ended, of a shared fixture (of a wider scope than ``function``).

        The time counts from the end of the previous fixture's teardown; for the first one, from the beginning of the
        test's teardown phase.
        """
        if self._mark is None:
            return
        now = self._read()
        ended = self._live.pop(id(fixturedef), None)
        if ended is not None:
            for place, took_ns in enumerate(now.since(self._mark)):
                self._fixtures[ended[1]][place] += took_ns
                self._shared_ns[place] += took_ns
        self._mark = now

    def times(self, collected: int) -> SuiteTimes | None:
        """Return the times of the session's start, its collection, and each test and fixture, in seconds.

        The result is ``None`` if fewer tests ran than the ``collected`` ones, or if there were none.
        """
        if not collected or len(self._walls_s) < collected:
            return None
        return SuiteTimes(
            start=self._start,
            collection=self._collection,
            walls_s=self._walls_s,
            cpus_s=self._cpus_s,
            needs=self._needs,
            fixture_sets=tuple(self._sets),
            fixtures=tuple(map(_cost, self._fixtures)),
            names={number: nodeid for _, number, nodeid in self._longest},
        )

    def _read(self) -> _Reading:
        return _Reading(self._queue)

    def _note(self, item: pytest.Item, wall_ns: int, cpu_ns: int) -> None:
        number, wall_s = len(self._walls_s), wall_ns * 1e-9
        names = set(getattr(item, "fixturenames", ())) if self._used else ()
        needs = tuple(fixture for name, fixture in self._used if name in names)
        self._walls_s.append(wall_s)
        self._cpus_s.append(cpu_ns * 1e-9)
        self._needs.append(self._sets.setdefault(needs, len(self._sets)))
        keep = heapq.heappush if number < MOST_NAMES else heapq.heappushpop
        keep(self._longest, (wall_s, number, item.nodeid))


def _cost(took_ns: Sequence[int]) -> Cost:
    wall_ns, cpu_ns = took_ns
    return Cost(wall_s=wall_ns * 1e-9, cpu_s=cpu_ns * 1e-9)
