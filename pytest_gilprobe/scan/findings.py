"""What a scan found, in words: which tests are worth a probe, and what to expect of it.

A scan sees one run in one thread. What it says of threads and processes is therefore a question to probe, not an
answer; each group below is a property that was seen, with the thresholds of a probe's verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pytest_gilprobe.model import Bound, Gil, ScanFinding, ScanPool, SerialResult, WorkloadResult
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.thresholds import CPU_ABOVE, IO_BELOW, RELEASED_BELOW

MOST_OF_IT: Final = 0.7
"""The heaviest tests are named until they hold this share of the suite's GIL time."""
FEW: Final = 20
"""But no more of them than this: a longer list is no shortlist."""
BLOCKS_BY: Final = 0.3
"""The GIL was held for at least this much more of the time than the test was on a core: it was held by a sleeper."""
PARALLEL: Final = 0.2
"""CPU time beyond one thread, as a share of wall time, from which a test counts as parallel inside (as in a probe)."""
LEAST_HELD_S: Final = 0.1
"""A suite whose calls hold the GIL for less in all has no heavy tests."""
WORTH_S: Final = 0.02
"""Tests shorter than this are not named for waiting: a pool's hand-outs would eat what threads could gain."""


def of(results: Sequence[WorkloadResult], pools: Sequence[ScanPool]) -> tuple[ScanFinding, ...]:
    """Say what is worth knowing of a suite; nothing, if nothing is."""
    return tuple(
        finding
        for finding in (
            _heavy(results, pools),
            _blocking(results),
            _waiting(results),
            _releasing(results),
            _parallel(results),
        )
        if finding is not None
    )


def sentence(serial: SerialResult, bound: Bound, gil: Gil) -> str:
    """Say of one test what was seen and what it suggests."""
    busy = f"{numbers.percent(serial.cpu_utilization.value)} of one core"
    held = serial.gil_held_fraction
    looked = f"GIL held {numbers.percent(held.value)} of the time" if held and gil is not Gil.ABSENT else ""
    seen = ", ".join(filter(None, [busy, looked]))
    if blocks(serial):
        return f"waits ({seen}): it blocks while holding the GIL, so threads would not overlap it"
    if bound is Bound.IO and gil in (Gil.RELEASED, Gil.ABSENT):
        return f"waits ({seen}): it would overlap in threads"
    does = {Bound.IO: "waits", Bound.MIXED: "computes and waits"}.get(bound, "computes")
    ceiling = f"threads might give up to {numbers.about(1 / held.value)}" if held and held.value else ""
    advice = {
        Gil.HELD: "threads would not help; processes might" if bound is Bound.CPU else ceiling,
        Gil.RELEASED: "the GIL is released, threads might help",
        Gil.PARTIAL: ceiling,
        Gil.ABSENT: "there is no GIL: threads might help",
    }.get(gil, "")
    return f"{does} ({seen}): {advice}" if advice else f"{does} ({seen})"


def blocks(serial: SerialResult) -> bool:
    """Tell whether the GIL was held by a call that was asleep."""
    held = serial.gil_held_fraction
    known = serial.run_queue_share if serial.run_queue_share is not None else 0.0
    return held is not None and held.low > serial.cpu_utilization.value + known + BLOCKS_BY


def _heavy(results: Sequence[WorkloadResult], pools: Sequence[ScanPool]) -> ScanFinding | None:
    """Name the fewest tests that hold most of the suite's GIL time."""
    held = sorted(((_held_s(one), one.nodeid) for one in results), reverse=True)
    total_s = sum(held_s for held_s, _ in held) + sum(
        pool.wall_s * pool.gil_held_fraction.value for pool in pools if pool.kind == "file" and pool.gil_held_fraction
    )
    if total_s < LEAST_HELD_S:
        return None
    named, sum_s = [], 0.0
    for held_s, nodeid in held[:FEW]:
        if not held_s or sum_s >= MOST_OF_IT * total_s:
            break
        named.append(nodeid)
        sum_s += held_s
    if not named:
        return None
    verb = "holds" if len(named) == 1 else "hold"
    message = f"{_these(named)} {verb} {numbers.percent(sum_s / total_s)} of the suite's GIL time"
    if sum_s < MOST_OF_IT * total_s and len(named) == FEW:
        message = f"the {FEW} heaviest tests hold only {numbers.percent(sum_s / total_s)} of the suite's GIL time"
    return ScanFinding(slug="scan-heavy", message=message, names=tuple(named))


def _blocking(results: Iterable[WorkloadResult]) -> ScanFinding | None:
    found = _longest(one for one in results if one.serial is not None and blocks(one.serial))
    verb = "blocks" if len(found) == 1 else "block"
    what = f"{verb} while holding the GIL: no other thread runs meanwhile"
    return ScanFinding(slug="scan-blocks", message=f"{_these(found)} {what}", names=found) if found else None


def _waiting(results: Iterable[WorkloadResult]) -> ScanFinding | None:
    found = _longest(
        one
        for one in results
        if one.serial is not None
        and one.serial.cpu_utilization.value < IO_BELOW
        and one.serial.wall_s_per_call.value >= WORTH_S
        and one.verdict.gil in (Gil.RELEASED, Gil.ABSENT)
    )
    verb = "waits" if len(found) == 1 else "wait"
    what = f"{verb} most of the time without the GIL, and would overlap in threads"
    return ScanFinding(slug="scan-waits", message=f"{_these(found)} {what}", names=found) if found else None


def _releasing(results: Iterable[WorkloadResult]) -> ScanFinding | None:
    found = _longest(
        one
        for one in results
        if one.serial is not None and one.serial.cpu_utilization.value > CPU_ABOVE and one.verdict.gil is Gil.RELEASED
    )
    verb = "computes" if len(found) == 1 else "compute"
    under = f"held under {numbers.percent(RELEASED_BELOW)}"
    what = f"{verb} in native code that releases the GIL ({under}): worth a probe in threads"
    return ScanFinding(slug="scan-releases", message=f"{_these(found)} {what}", names=found) if found else None


def _parallel(results: Iterable[WorkloadResult]) -> ScanFinding | None:
    found = _longest(
        one for one in results if one.serial is not None and (one.serial.native_cpu_share or 0.0) > PARALLEL
    )
    verb = "uses" if len(found) == 1 else "use"
    what = f"{verb} more than one core already, in threads that Python does not know of"
    return ScanFinding(slug="scan-parallel", message=f"{_these(found)} {what}", names=found) if found else None


def _longest(results: Iterator[WorkloadResult]) -> tuple[str, ...]:
    """Name tests, those that took longest first."""
    timed = [(one.serial.wall_s_per_call.value, one.nodeid) for one in results if one.serial is not None]
    return tuple(nodeid for _, nodeid in sorted(timed, reverse=True))


def _held_s(result: WorkloadResult) -> float:
    serial = result.serial
    if serial is None or serial.gil_held_fraction is None:
        return 0.0
    return serial.wall_s_per_call.value * serial.gil_held_fraction.value


def _these(names: Sequence[str]) -> str:
    return "this test" if len(names) == 1 else f"these {len(names)} tests"
