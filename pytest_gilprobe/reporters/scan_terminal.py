"""Draw a scan for a terminal: the whole in a sentence, what was found, the longest tests, the pools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gilprobe.model import Gil, Report, ScanFinding, ScanPool, WorkloadResult
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.reporters.inert import inert, short_name
from pytest_gilprobe.reporters.scanned import cautions, headline
from pytest_gilprobe.reporters.screen import END, INDENT, Page, Segment, styled, table

MOST_ROWS = 20
"""Tests, and pools of each kind, in the terminal's tables; the files hold all of them."""
MOST_NAMES = 5
"""Names listed under one finding."""
_NUMBERS_WIDTH = 44


def draw(report: Report, *, width: int = 80, encoding: str = "utf-8", tracers: Sequence[str] = ()) -> Iterator[Segment]:
    """Draw the report of a scan; nothing for any other report. ``tracers`` traced the tests' Python code meanwhile."""
    scan = report.scan
    if scan is None:
        return
    page = Page(width=max(width, 40), encoding=encoding)
    yield from styled(page.wrap(headline(scan)), {"bold": True})
    for caution in cautions(scan, tracers):
        yield from styled(page.wrap(f"caution: {caution}"), {"yellow": True})
    for finding in scan.findings:
        yield from _finding(finding, page)
    if report.workloads:
        longest = sorted(report.workloads, key=lambda one: -_wall_s(one))[:MOST_ROWS]
        yield END
        yield from _rows(("longest tests", "bound"), [_test_row(one) for one in longest], page)
    for kind in ("file", "fixture"):
        pools = [pool for pool in scan.pools if pool.kind == kind][:MOST_ROWS]
        if pools:
            yield END
            yield from _rows((f"short tests, by {kind}", "tests"), [_pool_row(pool) for pool in pools], page)


def _finding(finding: ScanFinding, page: Page) -> Iterator[Segment]:
    yield from styled(page.wrap(f"{finding.message} [{finding.slug}]"), {"bold": True})
    for name in finding.names[:MOST_NAMES]:
        yield from styled([INDENT + page.fit(short_name(inert(name), page.width - len(INDENT)))], {})
    if len(finding.names) > MOST_NAMES:
        yield from styled([f"{INDENT}and {len(finding.names) - MOST_NAMES} more: see the JSON report"], {})


def _rows(titles: tuple[str, str], rows: Sequence[tuple[str, ...]], page: Page) -> Iterator[Segment]:
    room = max(page.width - _NUMBERS_WIDTH, 12)
    named = [(page.fit(short_name(inert(name), room)), *map(page.fit, cells)) for name, *cells in rows]
    yield from table((titles[0], "time", "CPU", "GIL held", titles[1]), named, [{}] * len(named), page.width)


def _test_row(result: WorkloadResult) -> tuple[str, ...]:
    serial = result.serial
    if serial is None:
        return (result.nodeid, *(numbers.NOT_AVAILABLE,) * 4)
    held = serial.gil_held_fraction
    return (
        result.nodeid,
        numbers.seconds(serial.wall_s_per_call.value),
        numbers.percent(serial.cpu_utilization.value),
        "no GIL" if result.verdict.gil is Gil.ABSENT else numbers.percent(held.value if held else None),
        str(result.verdict.bound),
    )


def _pool_row(pool: ScanPool) -> tuple[str, ...]:
    held = pool.gil_held_fraction
    return (
        pool.name,
        numbers.seconds(pool.wall_s),
        numbers.percent(pool.cpu_utilization),
        numbers.percent(held.value if held else None),
        str(pool.tests),
    )


def _wall_s(result: WorkloadResult) -> float:
    return result.serial.wall_s_per_call.value if result.serial is not None else 0.0
