"""Add up the test calls of a scanned suite: long tests one by one, short tests by file and by fixture, and the whole.

Calls are added one by one and not kept, so that a suite of any size fits in memory. Kept are only the last call of each
test that is long enough to report alone, and one sum for each file and each fixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.results import GilResult, StrategyResult, Verdict, WorkloadResult
from pytest_gilprobe.model.scans import Scan, ScanGroup
from pytest_gilprobe.model.thresholds import bound_at, gil_at
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Gil, GilMethod, Outcome, Status
from pytest_gilprobe.scan.held_places import HeldPlaces
from pytest_gilprobe.scan.samples import SampleCounts, ScannedCall, held_share
from pytest_gilprobe.verdict import scan_findings

LONG_NS: Final = 20_000_000
"""A test's call without samples of the GIL, as when it is not watched, is reported on its own if it took at least this
many nanoseconds. With samples, calls of about this length have just enough for an estimate."""
LONGER_NS: Final = 100_000_000
"""A test's call with samples of the GIL, but too few for an estimate, is reported on its own if it took at least this
many nanoseconds. A call with enough samples is always reported on its own."""
LEAST_GROUP: Final = 2
"""Smallest number of short tests that are summed up in the report under a fixture that they all use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """A scan's findings: ``scan`` for the whole suite, ``results`` for tests long enough to be reported one by one."""

    scan: Scan
    results: tuple[WorkloadResult, ...]


@dataclass(slots=True)
class _Sum:
    """Calls laid end to end."""

    tests: int = 0
    wall_ns: int = 0
    cpu_ns: int = 0
    run_queue_ns: int = 0
    queue_known: bool = False
    collections: int = 0
    collected_ns: int = 0
    counts: SampleCounts = field(default_factory=SampleCounts)

    def add(self, call: ScannedCall) -> None:
        self.tests += 1
        self.wall_ns += call.wall_ns
        self.cpu_ns += call.process_cpu_ns
        self.run_queue_ns += call.run_queue_ns or 0
        self.queue_known |= call.run_queue_ns is not None
        self.collections += call.collections
        self.collected_ns += call.collected_ns
        self.counts += call.counts


class SuiteTotals:
    """Add up the calls of a scanned suite; calls may be added in any order."""

    def __init__(self) -> None:
        self._whole, self._files, self._fixtures = _Sum(), dict[str, _Sum](), dict[str, _Sum]()
        self._alone: dict[str, ScannedCall] = {}
        self._places = HeldPlaces()

    def add(self, call: ScannedCall) -> None:
        """Add ``call``, one test's call.

        If a plugin reruns a test, only the test's last call can be reported on its own, but all its calls count in the
        sums over the whole suite.
        """
        self._whole.add(call)
        self._places.add(call.places, call.stacks, call.thinned)
        least_ns = LONGER_NS if call.counts.samples else LONG_NS
        if call.held is not None or call.wall_ns >= least_ns:
            self._alone[call.nodeid] = call
            return
        self._files.setdefault(call.nodeid.partition("::")[0], _Sum()).add(call)
        for name in call.fixtures:
            self._fixtures.setdefault(name, _Sum()).add(call)

    def result(
        self, *, gil_absent: bool, unwatched: str | None = None, lost: int = 0, died_in: str | None = None
    ) -> ScanResult:
        """Return the result of all calls added so far.

        Args:
            gil_absent: whether the tests ran without a GIL.
            unwatched: why the GIL was not sampled; ``None`` if it was.
            lost: how many test calls are missing because they left no record.
            died_in: the test that was running when pytest died; ``None`` if pytest did not die.
        """
        whole = self._whole
        results = tuple(workload_result(call, gil_absent=gil_absent) for call in self._alone.values())
        fixtures = {name: found for name, found in self._fixtures.items() if found.tests >= LEAST_GROUP}
        groups = (*_groups("file", self._files), *_groups("fixture", fixtures))
        scan = Scan(
            tests=whole.tests,
            tests_alone=len(results),
            wall_s=whole.wall_ns * 1e-9,
            cpu_s=whole.cpu_ns * 1e-9,
            run_queue_s=whole.run_queue_ns * 1e-9 if whole.queue_known else None,
            gil_held_fraction=_held_of_suite(results, groups),
            unwatched=unwatched,
            lost=lost,
            died_in=died_in,
            collections=whole.collections,
            collected_s=whole.collected_ns * 1e-9,
            findings=scan_findings.find(results, groups),
            groups=groups,
            functions=self._places.functions(),
        )
        return ScanResult(scan=scan, results=results)


def workload_result(call: ScannedCall, *, gil_absent: bool) -> WorkloadResult:
    """Return the result of one test's call, in the same form as that of a test whose speed-ups were measured.

    The call counts as one serial call. Shares estimated from samples have confidence intervals; times are single
    readings and have none. ``gil_absent`` is whether the test ran without a GIL. CPU time is that of the whole process,
    so that a test whose thread waits for another thread to compute counts as computing.
    """
    utilization = _utilization(call.process_cpu_ns, call.wall_ns, call.run_queue_ns or 0)
    extra_cores = max(0, call.process_cpu_ns - call.cpu_ns) / call.wall_ns if call.wall_ns else 0.0
    serial = StrategyResult(
        outcome=Outcome.OK,
        calls=1,
        rounds=1,
        wall_s_per_call=_exactly(call.wall_ns * 1e-9),
        cpu_s_per_call=_exactly(call.process_cpu_ns * 1e-9),
        cpu_utilization=_exactly(utilization),
        run_queue_share=None if call.run_queue_ns is None else min(1.0, call.run_queue_ns / max(1, call.wall_ns)),
        extra_cores=extra_cores if call.alone else None,
    )
    gil = GilResult(
        held_fraction=call.held,
        method=GilMethod.MEMORY if call.held is not None else None,
        holders=call.holders if call.held is not None else None,
    )
    bound = bound_at(utilization)
    word = Gil.ABSENT if gil_absent else gil_at(call.held, utilization)
    reason = scan_findings.reason(serial, gil, bound, word, call.loop)
    return WorkloadResult(
        nodeid=call.nodeid,
        status=Status.SCANNED,
        workers=0,
        probe_time_s=0.0,
        verdict=Verdict(bound=bound, gil=word, strategy=INCONCLUSIVE, speedup=None, reason=reason),
        strategies={SERIAL: serial},
        gil=gil,
        event_loop=call.loop,
    )


def _exactly(value: float) -> Estimate:
    """Give a single reading the form of an estimate: it has no interval of its own."""
    return Estimate(value=value, low=value, high=value)


def _utilization(cpu_ns: int, wall_ns: int, run_queue_ns: int) -> float:
    return min(1.0, cpu_ns / max(1, wall_ns - run_queue_ns, cpu_ns))


def _groups(kind: str, sums: dict[str, _Sum]) -> tuple[ScanGroup, ...]:
    """Turn sums into groups, the one that took longest first."""
    return tuple(
        ScanGroup(
            kind=kind,
            name=name,
            tests=found.tests,
            wall_s=found.wall_ns * 1e-9,
            cpu_utilization=_utilization(found.cpu_ns, found.wall_ns, found.run_queue_ns),
            gil_held_fraction=held_share(found.counts),
        )
        for name, found in sorted(sums.items(), key=lambda item: -item[1].wall_ns)
    )


def _held_of_suite(results: Iterable[WorkloadResult], groups: Iterable[ScanGroup]) -> Estimate | None:
    """Add up the held time of tests and of files' groups; parts without a share are left out, with their time.

    The parts were sampled independently, so the distances to the ends of their intervals add up as squares.
    """
    shares = [(test.serial.call_s.value, test.gil.held_fraction) for test in results if test.serial is not None]
    shares += [(group.wall_s, group.gil_held_fraction) for group in groups if group.kind == "file"]
    parts = [(wall_s, held) for wall_s, held in shares if held is not None]
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
