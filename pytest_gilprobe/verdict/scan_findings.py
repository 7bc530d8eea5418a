"""Find which tests of a scanned suite are worth a probe, and what each scanned test suggests.

A scan sees one run in one thread, so whether threads or processes would help remains a question for a probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.results import GilResult, StrategyResult, WorkloadResult
from pytest_gilprobe.model.scans import ScanFinding, ScanGroup
from pytest_gilprobe.model.thresholds import CPU_ABOVE, EXTRA_CORES, IO_BELOW, RELEASED_BELOW
from pytest_gilprobe.model.words import Bound, Gil

HEAVY_SHARE: Final = 0.7
"""Tests are listed as the heaviest until together they make up this share of the suite's GIL-held time. The test that
holds the GIL longest comes first."""
MOST_HEAVY: Final = 20
"""Largest number of tests that are listed as the heaviest: a longer list would not be a shortlist."""
LEAST_HELD_S: Final = 0.1
"""If a suite holds the GIL for fewer seconds than this in total, none of its tests is listed as one of the heaviest."""
BLOCKS_BY: Final = 0.3
"""A call is said to hold the GIL while it sleeps if the share of its time for which it holds the GIL, minus the share
for which it runs on a CPU or queues for one, is certainly larger than this."""
PROBED_NEXT: Final = frozenset({"scan-heavy", "scan-blocks", "scan-waits", "scan-releases"})
"""Slugs (short names) of the findings whose tests are proposed for a probe, since threads or processes may make these
tests faster."""
MOST_TO_PROBE: Final = 10
"""Largest number of tests that a scan proposes to probe: probing so many takes a minute or less."""
LEAST_BLOCKED_S: Final = 0.05
"""A test is listed as blocking its event loop only if it does so for at least this many seconds in all."""
MOST_BLOCKED: Final = 0.5
"""Calls of a test are said not to overlap in tasks if a call blocks the event loop for more than this share of its
time: tasks would then make the calls less than twice as fast."""
LEAST_WAIT_S: Final = 0.02
"""A test is listed as one that waits only if its call takes at least this many seconds. For shorter calls, an
executor's dispatch would cost about as much time as threads could save."""


def find(results: Sequence[WorkloadResult], groups: Sequence[ScanGroup]) -> tuple[ScanFinding, ...]:
    """Return the findings on a scanned suite, each with the tests that it names; empty if no test stands out.

    ``results`` are the tests that were reported one by one, ``groups`` the sums of tests that were too short for that.
    """
    found = (_heavy(results, groups), *(_finding(results, *rule) for rule in _RULES), _blocks_loop(results))
    return tuple(finding for finding in found if finding is not None)


def worth_probing(findings: Iterable[ScanFinding]) -> tuple[str, ...]:
    """Return the node ids of the tests to probe next, at most `MOST_TO_PROBE` (10), in the order of ``findings``.

    Only tests count that threads or processes may make faster: those of the findings in `PROBED_NEXT`.
    """
    named = (name for finding in findings if finding.slug in PROBED_NEXT for name in finding.names)
    return tuple(dict.fromkeys(named))[:MOST_TO_PROBE]


def reason(serial: StrategyResult, gil: GilResult, bound: Bound, word: Gil, loop: EventLoop | None = None) -> str:
    """Format what a scan saw of one test, and what it suggests.

    ``serial`` and ``gil`` are the test's results, ``bound`` says whether the call waits or computes, and ``word``
    whether it holds the GIL. ``loop`` is how the event loop in which the test ran spent its time; ``None`` if none was
    seen.
    """
    seen = f"{numbers.percent(serial.utilization.value)} of one core"
    held = gil.held_fraction
    if held is not None and word is not Gil.ABSENT:
        seen += f", GIL held {numbers.percent(held.value)} of the time"
    if blocks(serial, gil):
        return f"waits ({seen}): it blocks while holding the GIL, so its calls would not overlap in threads"
    if bound is Bound.IO and word in (Gil.RELEASED, Gil.ABSENT):
        return f"waits ({seen}): {_overlaps(loop)}"
    does = {Bound.IO: "waits", Bound.MIXED: "computes and waits"}.get(bound, "computes")
    ceiling = f"threads might give up to {numbers.about(1 / held.value)}" if held and held.value else ""
    advice = {
        Gil.HELD: "threads would not help; processes might" if bound is Bound.CPU else ceiling,
        Gil.RELEASED: "the GIL is released, threads might help",
        Gil.PARTIAL: ceiling,
        Gil.ABSENT: "there is no GIL: threads might help",
    }.get(word, "")
    return f"{does} ({seen}): {advice}" if advice else f"{does} ({seen})"


def _overlaps(loop: EventLoop | None) -> str:
    if loop is None:
        return "its calls would overlap in threads"
    if _blocks_its_loop(loop):
        return "it blocks its event loop meanwhile, so its calls would not overlap in tasks"
    return "its calls would overlap in tasks"


def _blocks_its_loop(loop: EventLoop | None) -> bool:
    return loop is not None and loop.blocked_fraction is not None and loop.blocked_fraction.value > MOST_BLOCKED


def blocks(serial: StrategyResult, gil: GilResult) -> bool:
    """Return whether a call certainly held the GIL while it slept; ``False`` if its GIL-held share is unknown."""
    return gil.held_fraction is not None and (
        gil.held_fraction.low > serial.utilization.value + (serial.run_queue_share or 0.0) + BLOCKS_BY
    )


def _waits(serial: StrategyResult, gil: Gil) -> bool:
    long = serial.call_s.value >= LEAST_WAIT_S
    return long and serial.utilization.value < IO_BELOW and gil in (Gil.RELEASED, Gil.ABSENT)


_RULES: Final[tuple[tuple[str, Callable[[StrategyResult, WorkloadResult], bool], str, str], ...]] = (
    (
        "scan-blocks",
        lambda serial, test: blocks(serial, test.gil),
        "block",
        "while holding the GIL: no other thread runs meanwhile",
    ),
    (
        "scan-waits",
        lambda serial, test: _waits(serial, test.verdict.gil) and not _blocks_its_loop(test.event_loop),
        "wait",
        "most of the time without the GIL, and would overlap: functions in threads, coroutines in tasks",
    ),
    (
        "scan-releases",
        lambda serial, test: serial.utilization.value > CPU_ABOVE and test.verdict.gil is Gil.RELEASED,
        "compute",
        f"in native code with the GIL held under {numbers.percent(RELEASED_BELOW)}: worth a probe in threads",
    ),
    (
        "scan-parallel",
        lambda serial, _: (serial.extra_cores or 0.0) > EXTRA_CORES,
        "use",
        "more than one core already, in threads that Python does not know of",
    ),
)
"""Slug, property, verb and the rest of the sentence of each property that single tests have."""


def _finding(
    results: Iterable[WorkloadResult],
    slug: str,
    holds: Callable[[StrategyResult, WorkloadResult], bool],
    verb: str,
    rest: str,
) -> ScanFinding | None:
    """Name the tests that have a property, those that took longest first."""
    found = [
        (test.serial.call_s.value, test.nodeid)
        for test in results
        if test.serial is not None and holds(test.serial, test)
    ]
    names = tuple(nodeid for _, nodeid in sorted(found, reverse=True))
    return ScanFinding(slug=slug, message=f"{_these(names, verb)} {rest}", names=names) if names else None


def loop_blocked_s(test: WorkloadResult) -> float | None:
    """Return for how many seconds a test's call blocked its event loop.

    The result is ``None`` if that is unknown, or if it may be less than `LEAST_BLOCKED_S`.
    """
    blocked = None if test.event_loop is None else test.event_loop.blocked_fraction
    if blocked is None or test.serial is None or blocked.low * test.serial.call_s.value < LEAST_BLOCKED_S:
        return None
    return blocked.value * test.serial.call_s.value


def _blocks_loop(results: Iterable[WorkloadResult]) -> ScanFinding | None:
    """Name the tests that block their event loop, those that do so for longest first."""
    found = [(blocked_s, test.nodeid) for test in results if (blocked_s := loop_blocked_s(test)) is not None]
    names = tuple(nodeid for _, nodeid in sorted(found, reverse=True))
    if not names:
        return None
    message = (
        f"{_these(names, 'block')} {'its' if len(names) == 1 else 'their'} event loop: no other task runs meanwhile"
    )
    return ScanFinding(slug="scan-blocks-loop", message=message, names=names)


def _heavy(results: Sequence[WorkloadResult], groups: Sequence[ScanGroup]) -> ScanFinding | None:
    """Name the fewest tests that make up most of the suite's GIL-held time."""
    held = sorted(((_held_s(test), test.nodeid) for test in results), reverse=True)
    short = [(group.wall_s, group.gil_held_fraction) for group in groups if group.kind == "file"]
    total_s = sum(held_s for held_s, _ in held) + sum(wall_s * share.value for wall_s, share in short if share)
    if total_s < LEAST_HELD_S:
        return None
    names: list[str] = []
    sum_s = 0.0
    for held_s, nodeid in held[:MOST_HEAVY]:
        if not held_s or sum_s >= HEAVY_SHARE * total_s:
            break
        names.append(nodeid)
        sum_s += held_s
    if not names:
        return None
    who = _these(names, "hold")
    if sum_s < HEAVY_SHARE * total_s and len(names) == MOST_HEAVY:
        who = f"the {MOST_HEAVY} heaviest tests hold only"
    message = f"{who} {numbers.percent(sum_s / total_s)} of the suite's GIL time"
    return ScanFinding(slug="scan-heavy", message=message, names=tuple(names))


def _held_s(test: WorkloadResult) -> float:
    held = test.gil.held_fraction
    return test.serial.call_s.value * held.value if test.serial is not None and held is not None else 0.0


def _these(names: Sequence[str], verb: str) -> str:
    return f"this test {verb}s" if len(names) == 1 else f"these {len(names)} tests {verb}"
