"""Predict how long a suite takes with ``pytest -n N``, from the times of one serial run.

A run with pytest-xdist is simulated. A controller starts; N workers start, and each collects all tests. The controller
hands out the tests as `pytest_gilprobe.stats.xdist_schedule` does. Each worker sets up for itself every shared fixture
that its tests need. Workers share the CPUs: a test alternates between computing and waiting, evenly over its time. If
the running tests want more CPUs than there are, their computing is slowed down until they fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_gilprobe.model.scans import LongTest, SuiteRun, SuiteWorkers
from pytest_gilprobe.model.suite_times import SuiteTimes
from pytest_gilprobe.stats.xdist_schedule import LoadSchedule

GATEWAY_LOOPS: Final = 80
"""CPU time to start one worker of pytest-xdist, spent by the controller and once more by the worker. The unit is the
time of one call of the control (a fixed pure-Python loop): 60 ms where such a call takes 0.7 ms. *Source:*
``benchmarks/suite_workers.py``, suites of one test with ``-n 1`` to ``-n 4``."""
WORKER_LOOPS: Final = 0.5
"""CPU time that a worker of pytest-xdist takes for each test's messages. The unit is the time of one call of the
control (a fixed pure-Python loop). *Source:* ``benchmarks/suite_workers.py``, suites of empty tests."""
CONTROLLER_LOOPS: Final = 0.9
"""CPU time that pytest-xdist's controller takes for each test's messages. The unit is the time of one call of the
control (a fixed pure-Python loop). *Source:* ``benchmarks/suite_workers.py``, suites of empty tests."""
MOST_UNITS: Final = 2_000
"""In a suite of more tests than this, neighbouring short tests are simulated as one, so that a prediction takes under a
second."""
COUNTS: Final = (2, 4, 8)
"""The first numbers of workers for which a suite's time is predicted. More numbers follow, each twice the last one, as
long as doubling makes the suite at least 1.1 times (`GAIN`) as fast."""
MOST_WORKERS: Final = 64
"""The largest number of workers of pytest-xdist for which the suite's time is predicted."""
GAIN: Final = 1.1
"""Times with more than 8 workers are predicted only while each doubling gains at least this factor in speed."""
ENOUGH: Final = 0.9
"""The number of workers called enough is the smallest that gives at least this share of the highest predicted speed."""
TAIL: Final = 0.1
"""A test that still runs when the first worker has no more tests may be named as prolonging the suite's run. It is
named if both its own time and the time from that moment to the end of the last test are at least this share of the
run's time."""
MOST_NAMED: Final = 5
"""The largest number of tests that are named as prolonging the suite's run."""
CROWDED: Final = 0.25
"""The same computing takes longer by this share where all CPUs are busy: they share caches, memory and often cores.
*Source:* ``benchmarks/suite_workers.py``, CPU time of whole runs with ``-n 2`` and ``-n 4`` on two CPUs."""
SHUTDOWN_LOOPS: Final = 240
"""Time to end the workers and the controller of pytest-xdist after the last test. The unit is the time of one call of
the control (a fixed pure-Python loop): 170 ms where such a call takes 0.7 ms. *Source:*
``benchmarks/suite_workers.py``."""
_ROUNDS: Final = 12
"""Most steps of the search for how far computing is stretched; a few are enough."""
_TINY_S: Final = 1e-9
"""The shortest time of a test, and the smallest share of one that counts as left: what rounding leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """Neighbouring tests that one worker runs one after the other; ``tests`` are their indices."""

    tests: range
    wall_s: float
    cpu_s: float
    needs: frozenset[int]


@dataclass(slots=True)
class _Running:
    """A unit on a worker: the share of it that is left, its time alone, and the share of that in which it computes."""

    unit: int
    alone_s: float
    computing: float
    demand: float
    left: float = 1.0
    rate: float = 0.0


def predict(suite: SuiteTimes, *, cpus: float, loop_s: float) -> SuiteWorkers | None:
    """Predict a suite's time with 2, 4 and 8 workers of pytest-xdist, and with 16, 32 and 64 if more workers help.

    The time with more than 8 workers is predicted only if the previous doubling made the suite faster by the factor
    `GAIN` (1.1). Returns ``None`` for fewer than two tests.

    Args:
        suite: the times of a serial run of all tests.
        cpus: how many CPUs the workers may use, above 0.
        loop_s: how many seconds one call of the control (a fixed pure-Python loop) takes on this machine.
    """
    if len(suite.walls_s) < COUNTS[0]:
        return None
    units = _units(suite, WORKER_LOOPS * loop_s)
    runs: list[SuiteRun] = []
    tails: dict[int, tuple[int, ...]] = {}
    workers = COUNTS[0]
    while workers <= MOST_WORKERS and (workers <= COUNTS[-1] or _pays(runs)):
        run, tails[workers] = _Simulation(suite, units, workers, cpus, loop_s).run()
        runs.append(run)
        workers *= 2
    enough = _enough(suite.wall_s, runs)
    named = sorted(tails[max(enough, COUNTS[0])], key=lambda test: -suite.walls_s[test])[:MOST_NAMED]
    on_cpus_s = suite.cpu_s
    return SuiteWorkers(
        wall_s=suite.wall_s,
        start_s=suite.start.wall_s,
        collection_s=suite.collection.wall_s,
        fixtures_s=sum(fixture.wall_s for fixture in suite.fixtures),
        cpu_s=on_cpus_s,
        cpus=cpus,
        runs=tuple(runs),
        enough_workers=enough,
        long_tests=tuple(
            LongTest(nodeid=suite.names[test], wall_s=suite.walls_s[test]) for test in named if test in suite.names
        ),
    )


def _pays(runs: Sequence[SuiteRun]) -> bool:
    return runs[-2].wall_s >= GAIN * runs[-1].wall_s


def _enough(serial_s: float, runs: Sequence[SuiteRun]) -> int:
    """Return the smallest number of workers, 1 for the serial run, that gives `ENOUGH` of the best speed."""
    times = [(1, serial_s), *((run.workers, run.wall_s) for run in runs)]
    best_s = min(wall_s for _, wall_s in times)
    return next(workers for workers, wall_s in times if best_s >= ENOUGH * wall_s)


def _units(suite: SuiteTimes, more_s: float) -> list[_Unit]:
    """Join neighbouring short tests with the same fixtures; each test takes a worker ``more_s`` of CPU time more."""
    sets = [frozenset(needs) for needs in suite.fixture_sets]
    least_s = sum(suite.walls_s) / MOST_UNITS if len(suite.walls_s) > MOST_UNITS else 0.0
    units: list[_Unit] = []
    for test, (wall_s, cpu_s, need) in enumerate(zip(suite.walls_s, suite.cpus_s, suite.needs, strict=True)):
        last = units[-1] if units else None
        if last is not None and last.needs == sets[need] and last.wall_s + wall_s < least_s:
            units[-1] = _Unit(
                tests=range(last.tests.start, test + 1),
                wall_s=last.wall_s + wall_s + more_s,
                cpu_s=last.cpu_s + cpu_s + more_s,
                needs=last.needs,
            )
        else:
            one = range(test, test + 1)
            units.append(_Unit(tests=one, wall_s=wall_s + more_s, cpu_s=cpu_s + more_s, needs=sets[need]))
    return units


class _Simulation:
    """One run of the suite with a number of workers."""

    def __init__(self, suite: SuiteTimes, units: Sequence[_Unit], workers: int, cpus: float, loop_s: float) -> None:
        self._suite, self._units, self._workers, self._cpus = suite, units, workers, cpus
        self._gateway_s, self._controller_s = GATEWAY_LOOPS * loop_s, CONTROLLER_LOOPS * loop_s
        self._shutdown_s = SHUTDOWN_LOOPS * loop_s
        self._schedule = LoadSchedule(len(units), workers)
        self._set_up: list[set[int]] = [set() for _ in range(workers)]
        self._running: dict[int, _Running] = {}

    def run(self) -> tuple[SuiteRun, tuple[int, ...]]:
        """Return the predicted run, and the tests that run at its end while other workers have nothing left to do."""
        now_s = 0.0
        ends_s: list[float] = []
        tail: tuple[int, ...] = ()
        for worker in range(self._workers):
            self._begin(worker, ends_s, now_s)
        while self._running:
            if ends_s and not tail:
                tail = tuple(test for one in self._running.values() for test in self._units[one.unit].tests)
            now_s += self._step(ends_s, now_s)
        tests_s = max(now_s, self._controller_s * len(self._suite.walls_s))
        wall_s = self._suite.start.wall_s + self._bring_up_s() + tests_s + self._shutdown_s
        idle_s = sum(now_s - end_s for end_s in ends_s)
        alone_s = now_s - min(ends_s, default=now_s)
        run = SuiteRun(
            workers=self._workers,
            wall_s=wall_s,
            idle=idle_s / (now_s * self._workers) if now_s else 0.0,
        )
        if alone_s < TAIL * wall_s:
            return run, ()
        return run, tuple(test for test in tail if self._suite.walls_s[test] >= TAIL * wall_s)

    def _bring_up_s(self) -> float:
        """Return how long it takes until all workers have started and collected all tests."""
        parts = (self._suite.start, self._suite.collection)
        wall_s = sum(part.wall_s for part in parts) + self._gateway_s
        cpu_s = sum(part.cpu_s for part in parts) + 2 * self._gateway_s
        return max(wall_s + self._gateway_s, self._workers * cpu_s / self._capacity(self._workers))

    def _begin(self, worker: int, ends_s: list[float], now_s: float) -> None:
        """Let a worker run its next unit, with the fixtures that it has not set up yet."""
        number = self._schedule.current(worker)
        if number is None:
            self._running.pop(worker, None)
            ends_s.append(now_s)
            return
        unit = self._units[number]
        fixtures = [self._suite.fixtures[index] for index in unit.needs - self._set_up[worker]]
        self._set_up[worker] |= unit.needs
        alone_s = max(unit.wall_s + sum(fixture.wall_s for fixture in fixtures), _TINY_S)
        cpu_s = unit.cpu_s + sum(fixture.cpu_s for fixture in fixtures)
        elsewhere_s = max(0.0, cpu_s - alone_s) + self._controller_s * len(unit.tests)
        self._running[worker] = _Running(
            unit=number,
            alone_s=alone_s,
            computing=min(1.0, cpu_s / alone_s),
            demand=(min(cpu_s, alone_s) + elsewhere_s) / alone_s,
        )

    def _step(self, ends_s: list[float], now_s: float) -> float:
        """Go on to the moment at which the next unit ends; return how long that takes."""
        stretch = self._stretch()
        for one in self._running.values():
            one.rate = 1 / (one.alone_s * (1 - one.computing + one.computing * stretch))
        step_s = min(one.left / one.rate for one in self._running.values())
        for worker, one in list(self._running.items()):
            one.left -= step_s * one.rate
            if one.left <= _TINY_S:
                unit = self._units[one.unit]
                self._schedule.complete(worker, unit.wall_s / len(unit.tests))
                self._begin(worker, ends_s, now_s + step_s)
        return step_s

    def _capacity(self, wanted: float) -> float:
        """Return how many CPUs' worth of computing is done at once if as many as ``wanted`` would be used."""
        busy = min(wanted, self._cpus)
        crowd = max(0.0, busy - 1) / max(1.0, self._cpus - 1)
        return busy / (1 + CROWDED * crowd)

    def _stretch(self) -> float:
        """Return by how much computing is stretched, 1.0 or more, so that all units together use no more CPUs."""
        stretch, wanted = 1.0, sum(one.demand for one in self._running.values())
        for _ in range(_ROUNDS):
            used = sum(one.demand / (1 - one.computing + one.computing * stretch) for one in self._running.values())
            if used <= self._capacity(wanted) * (1 + 1e-3):
                break
            stretch *= used / self._capacity(wanted)
        return stretch
