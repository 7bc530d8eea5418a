"""From a watcher's notes to what a suite is like: its tests one by one, the short ones in pools, and the whole.

Pure: calls come in one by one and are not kept, so that a suite of any size fits; what is kept is one call of each test
that is long enough to be told alone, and one count for each file and each fixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pytest_gilprobe.model import (
    Estimate,
    Gil,
    GilMethod,
    Outcome,
    ProcessesResult,
    Recommendation,
    Scan,
    ScanPool,
    SerialResult,
    Status,
    ThreadsResult,
    Verdict,
    WorkloadResult,
)
from pytest_gilprobe.scan import findings
from pytest_gilprobe.scan.tally import Counts, ScannedCall
from pytest_gilprobe.stats.held import MAX_UNKNOWN_SHARE, MIN_LOOKS, wilson
from pytest_gilprobe.thresholds import bound_at, gil_at

LONG_NS: Final = 20_000_000
"""Where the GIL is not watched, a call of 20 ms is long enough to be told alone: as long as `MIN_LOOKS` looks take."""

LONGER_NS: Final = 100_000_000
"""A call as long as this is told alone even if the watcher was kept from looking often enough."""

LEAST_POOL: Final = 2
"""A fixture that one short test uses pools nothing."""

_NO_RERUN: Final = "a scan runs nothing again: mark the test with @pytest.mark.gilprobe to find out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """All that a scan gives: the whole with its pools and findings, and the tests that could be told alone."""

    scan: Scan
    results: tuple[WorkloadResult, ...]


@dataclass(slots=True)
class _Sum:
    """Tests laid end to end."""

    tests: int = 0
    wall_ns: int = 0
    cpu_ns: int = 0
    run_queue_ns: int = 0
    queue_known: bool = False
    counts: Counts = field(default_factory=Counts)

    def add(self, call: ScannedCall) -> None:
        self.tests += 1
        self.wall_ns += call.wall_ns
        self.cpu_ns += call.process_cpu_ns
        self.run_queue_ns += call.run_queue_ns or 0
        self.queue_known |= call.run_queue_ns is not None
        self.counts += call.counts


class Reduction:
    """A suite as far as it is known: calls are added one by one, in any order, and none is kept but the long ones."""

    def __init__(self) -> None:
        self._whole, self._files, self._fixtures = _Sum(), dict[str, _Sum](), dict[str, _Sum]()
        self._alone: dict[str, ScannedCall] = {}

    def add(self, call: ScannedCall) -> None:
        """Add a call.

        Of a test that was called more than once (a plugin's rerun) the last counts as the test, and all count in the
        sums.
        """
        self._whole.add(call)
        least_ns = LONGER_NS if call.counts.looks else LONG_NS
        if call.held is not None or call.wall_ns >= least_ns:
            self._alone[call.nodeid] = call
            return
        self._files.setdefault(call.nodeid.partition("::")[0], _Sum()).add(call)
        for name in call.fixtures:
            self._fixtures.setdefault(name, _Sum()).add(call)

    def result(
        self, *, gil_absent: bool, unwatched: str | None = None, lost: int = 0, died_in: str | None = None
    ) -> Scanned:
        """Sum up what was added.

        Args:
            gil_absent: no GIL is there to be held.
            unwatched: why the GIL was not watched.
            lost: how many calls left no record.
            died_in: the test in which pytest died.
        """
        whole = self._whole
        results = tuple(result_of(call, gil_absent=gil_absent) for call in self._alone.values())
        fixtures = {name: found for name, found in self._fixtures.items() if found.tests >= LEAST_POOL}
        pools = (*_pools("file", self._files), *_pools("fixture", fixtures))
        scan = Scan(
            tests=whole.tests,
            tests_alone=len(results),
            wall_s=whole.wall_ns * 1e-9,
            cpu_s=whole.cpu_ns * 1e-9,
            run_queue_s=whole.run_queue_ns * 1e-9 if whole.queue_known else None,
            gil_held_fraction=_of_the_suite(results, pools),
            unwatched=unwatched,
            lost=lost,
            died_in=died_in,
            findings=findings.of(results, pools),
            pools=pools,
        )
        return Scanned(scan=scan, results=results)


def share(counts: Counts) -> Estimate | None:
    """Estimate the held share from counts; None below `MIN_LOOKS` looks, or where too many of them were blind.

    Blind looks are imputed the share of those that found the tests' thread running, and bounded by free and held.
    """
    looks = counts.looks
    if looks < MIN_LOOKS or counts.blind > MAX_UNKNOWN_SHARE * looks:
        return None
    imputed = counts.running_held / counts.running if counts.running else 0.5
    low, high = counts.held / looks, (counts.held + counts.blind) / looks
    value = (counts.held + counts.blind * imputed) / looks
    return Estimate(value=value, low=min(value, wilson(low, looks)[0]), high=max(value, wilson(high, looks)[1]))


def result_of(call: ScannedCall, *, gil_absent: bool) -> WorkloadResult:
    """Put one test's call into the form of a report: one reading, so that only the looks leave an interval.

    CPU time is the whole process's: a test that waits for a thread which computes does not count as waiting.
    """
    utilization = _utilization(call.process_cpu_ns, call.wall_ns, call.run_queue_ns or 0)
    native = max(0, call.process_cpu_ns - call.cpu_ns) / call.wall_ns if call.wall_ns else 0.0
    serial = SerialResult(
        calls=1,
        rounds=1,
        wall_s_per_call=exactly(call.wall_ns * 1e-9),
        cpu_s_per_call=exactly(call.process_cpu_ns * 1e-9),
        cpu_utilization=exactly(utilization),
        gil_held_fraction=call.held,
        gil_method=GilMethod.MEMORY if call.held is not None else None,
        run_queue_share=None if call.run_queue_ns is None else min(1.0, call.run_queue_ns / max(1, call.wall_ns)),
        native_cpu_share=native if call.alone else None,
    )
    bound = bound_at(utilization)
    gil = Gil.ABSENT if gil_absent else gil_at(call.held, utilization)
    return WorkloadResult(
        nodeid=call.nodeid,
        status=Status.SCANNED,
        workers=0,
        probe_time_s=0.0,
        verdict=Verdict(
            bound=bound,
            gil=gil,
            strategy=Recommendation.INCONCLUSIVE,
            speedup=None,
            reason=findings.sentence(serial, bound, gil),
        ),
        serial=serial,
        threads=ThreadsResult(outcome=Outcome.SKIPPED, error=_NO_RERUN),
        processes=ProcessesResult(outcome=Outcome.SKIPPED, error=_NO_RERUN),
    )


def exactly(value: float) -> Estimate:
    """Give a single reading the form of an estimate: it has no interval of its own."""
    return Estimate(value=value, low=value, high=value)


def _utilization(cpu_ns: int, wall_ns: int, run_queue_ns: int) -> float:
    return min(1.0, cpu_ns / max(1, wall_ns - run_queue_ns, cpu_ns))


def _pools(kind: str, sums: dict[str, _Sum]) -> tuple[ScanPool, ...]:
    """Turn sums into pools, the one that took longest first."""
    return tuple(
        ScanPool(
            kind=kind,
            name=name,
            tests=found.tests,
            wall_s=found.wall_ns * 1e-9,
            cpu_utilization=_utilization(found.cpu_ns, found.wall_ns, found.run_queue_ns),
            gil_held_fraction=share(found.counts),
        )
        for name, found in sorted(sums.items(), key=lambda item: -item[1].wall_ns)
    )


def _of_the_suite(results: Iterable[WorkloadResult], pools: Iterable[ScanPool]) -> Estimate | None:
    """Add up the held time of tests and of file pools; parts that could not be told are left out, with their time.

    The parts were looked at independently: the distances to the ends of their intervals add up as squares.
    """
    parts = [
        (one.serial.wall_s_per_call.value, one.serial.gil_held_fraction)
        for one in results
        if one.serial is not None and one.serial.gil_held_fraction is not None
    ]
    parts += [(pool.wall_s, pool.gil_held_fraction) for pool in pools if pool.kind == "file" and pool.gil_held_fraction]
    total_s = math.fsum(wall_s for wall_s, _ in parts)
    if not total_s:
        return None

    def spread(distance: Callable[[Estimate], float]) -> float:
        return math.sqrt(math.fsum((wall_s * distance(held)) ** 2 for wall_s, held in parts)) / total_s

    value = math.fsum(wall_s * held.value for wall_s, held in parts) / total_s
    return Estimate(
        value=value,
        low=max(0.0, value - spread(lambda held: held.value - held.low)),
        high=min(1.0, value + spread(lambda held: held.high - held.value)),
    )
