"""Draw a scan (one measured run of a whole test suite) for a terminal: summary, findings, long and short tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.safe_text import safe_line, short_names
from pytest_gilprobe.model.scans import ScanFinding, ScanGroup, SuiteWorkers
from pytest_gilprobe.model.words import Gil
from pytest_gilprobe.report import holding_functions, suite_layout
from pytest_gilprobe.report.scan_layout import (
    PROBE_THEM,
    calm_loops,
    cautions,
    command,
    headline,
    largest_blocker,
    largest_holder,
    not_available,
)
from pytest_gilprobe.report.screen import END, INDENT, Page, Segment, styled, table
from pytest_gilprobe.verdict.scan_findings import loop_blocked_s

MOST_ROWS = 20
"""Largest number of tests, or of groups of short tests, in each table on the terminal; the report files list all."""
MOST_NAMES = 5
"""Largest number of test names below one finding (a remark on the test suite); the JSON report has all."""
MOST_FUNCTIONS = 5
"""Largest number of functions in a list of functions that hold the GIL: one list for the project, one for packages."""
MOST_HOLDERS = 10
"""Largest number of tests in a list of places in the code. There are two such lists: where tests hold the GIL for
longest, and where tests block their event loop."""
_NUMBERS_WIDTH = 44


def draw(report: Report, *, width: int = 80, encoding: str = "utf-8", tracers: Sequence[str] = ()) -> Iterator[Segment]:
    """Draw the report of a scan (one measured run of a whole test suite); yield nothing for any other report.

    Args:
        report: the report to draw.
        width: width of the terminal in columns; a smaller width than 40 counts as 40.
        encoding: encoding of the output; characters that this encoding lacks are replaced, mostly by visible escapes.
        tracers: names of the tools, such as coverage, that traced the tests and so slowed down their Python code.
    """
    scan = report.scan
    if scan is None:
        return
    page = Page(width=max(width, 40), encoding=encoding)
    yield from styled(page.wrap(headline(scan)), {"bold": True})
    for caution in cautions(scan, tracers):
        yield from styled(page.wrap(f"caution: {caution}"), {"yellow": True})
    for finding in scan.findings:
        yield from _finding(finding, page)
    for title, said in holding_functions.lists(scan.functions or ()):
        yield from styled(page.wrap(f"{title}:"), {"bold": True})
        yield from styled([part for line in said[:MOST_FUNCTIONS] for part in page.wrap(line, INDENT)], {})
    if scan.suite_workers is not None:
        yield from _workers(scan.suite_workers, page)
    longest = sorted(report.workloads, key=lambda one: -(one.serial.call_s.value if one.serial else 0.0))
    yield from _rows(("longest tests", "bound"), [_test_row(one) for one in longest[:MOST_ROWS]], page)
    yield from _places("where these tests hold the GIL for longest", longest[:MOST_ROWS], largest_holder, page)
    blocking = sorted(report.workloads, key=lambda one: -(loop_blocked_s(one) or 0.0))
    yield from _places("for how long these tests block their event loop", blocking, largest_blocker, page)
    if calm := calm_loops(report.workloads):
        yield from styled(page.wrap(calm), {})
    for kind in ("file", "fixture"):
        groups = [group for group in scan.groups if group.kind == kind][:MOST_ROWS]
        yield from _rows((f"short tests, by {kind}", "tests"), [_group_row(group) for group in groups], page)
    if unknown := not_available(report):
        yield from styled(page.wrap(unknown), {})
    if parts := command(scan):
        yield END
        lines = " \\\n  ".join(parts).splitlines()  # as long as they are: a shell takes them so
        yield from styled([*page.wrap(f"{PROBE_THEM}:"), *lines], {})


def _finding(finding: ScanFinding, page: Page) -> Iterator[Segment]:
    yield from styled(page.wrap(f"{safe_line(finding.message)} [{safe_line(finding.slug)}]"), {"bold": True})
    for name in short_names([*map(safe_line, finding.names[:MOST_NAMES])], page.width - len(INDENT)):
        yield from styled([INDENT + page.fit(name)], {})
    if len(finding.names) > MOST_NAMES:
        yield from styled([f"{INDENT}and {len(finding.names) - MOST_NAMES} more: see the JSON report"], {})


def _workers(found: SuiteWorkers, page: Page) -> Iterator[Segment]:
    """Draw the answer, the table of numbers of workers, and the tests that make the other workers wait."""
    yield END
    yield from styled(page.wrap(suite_layout.answer(found)), {"bold": True})
    rows = [suite_layout.row(found, run) for run in found.runs]
    yield from table(suite_layout.TITLES, rows, [{}] * len(rows), page.width)
    if found.long_tests:
        yield from styled(page.wrap(suite_layout.tail(found)), {})
    took = [f"{numbers.seconds(test.wall_s)}  " for test in found.long_tests]
    room = page.width - len(INDENT) - max(map(len, took), default=0)
    names = short_names([safe_line(test.nodeid) for test in found.long_tests], room)
    for time, name in zip(took, names, strict=True):
        yield from styled([INDENT + page.fit(time + name)], {})


def _places(
    title: str, tests: Sequence[WorkloadResult], place_of: Callable[[WorkloadResult], str | None], page: Page
) -> Iterator[Segment]:
    """Name a place in the code of each of these tests; nothing where none is known."""
    found = [(test.nodeid, said) for test in tests if (said := place_of(test)) is not None]
    if not found:
        return
    yield END
    yield from styled(page.wrap(f"{title}:"), {"bold": True})
    names = short_names([safe_line(nodeid) for nodeid, _ in found[:MOST_HOLDERS]], page.width - len(INDENT))
    for name, (_, said) in zip(names, found, strict=False):
        yield from styled(page.wrap(f"{name}: {said}", INDENT), {})


def _rows(titles: tuple[str, str], rows: Sequence[tuple[str, ...]], page: Page) -> Iterator[Segment]:
    """Draw a table after an empty line; nothing where there are no rows."""
    if not rows:
        return
    room = max(page.width - _NUMBERS_WIDTH, 12)
    names = short_names([safe_line(name) for name, *_ in rows], room)
    named = [(page.fit(name), *map(page.fit, cells)) for name, (_, *cells) in zip(names, rows, strict=True)]
    yield END
    yield from table((titles[0], "time", "CPU", "GIL held", titles[1]), named, [{}] * len(named), page.width)


def _test_row(result: WorkloadResult) -> tuple[str, ...]:
    serial = result.serial
    if serial is None:
        return (result.nodeid, *(numbers.NOT_AVAILABLE,) * 4)
    held = "no GIL" if result.verdict.gil is Gil.ABSENT else _share(result.gil.held_fraction)
    times = (numbers.seconds(serial.call_s.value), numbers.percent(serial.utilization.value))
    return (result.nodeid, *times, held, str(result.verdict.bound))


def _group_row(group: ScanGroup) -> tuple[str, ...]:
    times = (numbers.seconds(group.wall_s), numbers.percent(group.cpu_utilization))
    return (group.name, *times, _share(group.gil_held_fraction), str(group.tests))


def _share(held: Estimate | None) -> str:
    return numbers.percent(held.value if held else None)
