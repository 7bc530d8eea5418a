"""Choose the texts on a scan (one measured run of a whole test suite): summary, cautions, findings, groups of tests."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.scans import BETWEEN_TESTS, Scan, ScanGroup
from pytest_gilprobe.model.words import Gil
from pytest_gilprobe.report import holding_functions, suite_layout
from pytest_gilprobe.verdict.places import place
from pytest_gilprobe.verdict.scan_findings import LEAST_BLOCKED_S, loop_blocked_s, worth_probing

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.report.views import Note

PROBE_THEM = "to probe what stands out, in pytest's rootdir"
CROWDED = 0.1
"""A caution (warning) says that tests waited for CPUs, if they did so for more than this share of the tests' time."""

COLLECTED = 0.01
"""A caution mentions Python's full garbage collections if they took more than this share of the tests' time."""
MOST_FUNCTIONS = 10
"""Largest number of functions in a list of functions that hold the GIL, in the HTML and Markdown reports. There is one
list for the project and one for installed packages; the JSON report may have more."""


def headline(scan: Scan) -> str:
    """Sum up a scan in one sentence: the number of tests, their time, CPU use, and share of time with the GIL held."""
    on_cpu_s = scan.wall_s - (scan.run_queue_s or 0.0)
    busy = numbers.percent(scan.cpu_s / on_cpu_s if on_cpu_s > 0 else None)
    said = f"{numbers.count(scan.tests, 'test')}, {scan.tests_alone} long enough to report one by one: "
    said += f"{numbers.seconds(scan.wall_s)} in their calls, CPU {busy}"
    held = scan.gil_held_fraction
    return f"{said}, GIL held {numbers.percent(held.value)} of it {_ends(held)}" if held else said


def _ends(held: Estimate) -> str:
    return f"[{numbers.percent(held.low)}, {numbers.percent(held.high)}]"


def cautions(scan: Scan, tracers: Sequence[str] = ()) -> Iterator[str]:
    """Yield a sentence for each thing that makes the numbers of a scan less reliable.

    ``tracers`` names the tools, such as coverage, that traced Python code in the tests and so slowed it down.
    """
    if scan.died_in is not None:
        yield f"a pytest process died {_place(scan.died_in)}"
    if scan.unwatched is not None:
        yield f"the GIL was not watched: {safe_line(scan.unwatched)}"
    if scan.run_queue_s is not None and scan.wall_s > 0 and scan.run_queue_s > CROWDED * scan.wall_s:
        kept = numbers.percent(scan.run_queue_s / scan.wall_s)
        yield f"for {kept} of that time other programs kept the tests from a CPU; CPU is the share of the rest"
    if scan.collected_s > COLLECTED * scan.wall_s:
        many = numbers.count(scan.collections, "full garbage collection")
        yield f"{many} took {numbers.seconds(scan.collected_s)} more, in whichever tests ran then: they are left out"
    if scan.lost:
        yield f"{numbers.count(scan.lost, 'test')} left no record, because the watcher did not get a CPU"
    if tracers:
        yield f"Python code was traced ({', '.join(map(safe_line, tracers))}): that slows it down, but not native code"


def command(scan: Scan) -> tuple[str, ...]:
    """Return the shell command that probes (runs in threads, processes and so on) the tests that a scan suggests.

    The first part is pytest with its options, each other part the quoted node id of one test. The result is empty if
    the scan suggests no test. A test is left out if its node id is too long, or cannot be shown unchanged on one line.
    """
    names = [shlex.quote(name) for name in worth_probing(scan.findings) if safe_line(name) == name]
    return ("pytest --gilprobe-all --gilprobe-report", *names) if names else ()


def largest_holder(result: WorkloadResult) -> str | None:
    """Return where in the code a test holds the GIL for longest: ``97 % in json.loads(raw) at shop/orders.py:10``.

    The percentage is that of the time for which the test holds the GIL. ``None`` if no place is known, or if the
    test's verdict on the GIL is neither ``held`` nor ``partial``.
    """
    if not result.gil.holders or result.verdict.gil not in (Gil.HELD, Gil.PARTIAL):
        return None
    first = result.gil.holders[0]
    return f"{numbers.percent(first.share.value)} in {place(first)}"


def largest_blocker(result: WorkloadResult) -> str | None:
    """Return a phrase on how long a test blocks its event loop, and on the place in the code that blocks it longest.

    ``None`` if it is not certain that the test blocks the loop for 0.05 s or more.
    """
    blocked_s = loop_blocked_s(result)
    if blocked_s is None or result.serial is None or result.event_loop is None:
        return None
    first = result.event_loop.blockers[0] if result.event_loop.blockers else None
    where = "" if first is None else f", {numbers.percent(first.share.value)} of that in {place(first)}"
    return f"{numbers.seconds(blocked_s)} of {numbers.seconds(result.serial.call_s.value)}{where}"


def calm_loops(results: Sequence[WorkloadResult]) -> str | None:
    """Return a sentence that says that no test blocks its event loop for 0.05 s or more.

    ``None`` if a test does so, or if no event loop was seen in any test.
    """
    looped = [result for result in results if result.event_loop is not None]
    if not looped or any(loop_blocked_s(result) is not None for result in looped):
        return None
    return (
        f"no test is seen to block its event loop for {numbers.seconds(LEAST_BLOCKED_S)} or more "
        f"({numbers.count(len(looped), 'test')} with a loop)"
    )


def not_available(report: Report) -> str | None:
    """Return a sentence that says why the report of a scan lacks the GIL-held share of some or all tests.

    ``None`` if no share is missing, if the GIL is off, if the GIL was not watched (a caution says that already), or if
    the report is not of a scan.
    """
    scan, has_gil = report.scan, report.environment.gil_enabled
    shares = [result.gil.held_fraction for result in report.workloads]
    if scan is None or scan.unwatched is not None or not has_gil:
        return None
    if None not in [*shares, *(group.gil_held_fraction for group in scan.groups)]:
        return None
    return f"GIL held {numbers.NOT_AVAILABLE}: too few samples, since calls are short or CPUs were busy"


def died(where: str, pid: int) -> str:
    """Return the line above the report of a scan whose pytest process died.

    ``where`` is the node id of the test that ran when it died, or ``between two tests``. ``pid`` is the id of
    the process.
    """
    return f"gilprobe: pytest (process {pid}) died {_place(where)}; what was seen until then:"


def _place(died_in: str) -> str:
    return died_in if died_in == BETWEEN_TESTS else f"in {safe_line(died_in)}"


def notes(scan: Scan, results: Sequence[WorkloadResult] = ()) -> Iterator[Note]:
    """Yield the notes on a scan for the HTML and Markdown reports, in this order.

    They are cautions (reasons to distrust the numbers), findings with the names of all tests concerned, the command to
    run next, how many pytest-xdist workers would help, the functions that hold the GIL, and the sums of short tests by
    file. ``results`` are the results of the tests that are long enough to be reported one by one.
    """
    from pytest_gilprobe.report.views import Note  # noqa: PLC0415 - 15 ms that a scan on a terminal has no use for

    for caution in cautions(scan):
        yield Note(kind="caution", label="caution", lines=(caution,))
    for finding in scan.findings:
        lines = (safe_line(finding.message), *map(safe_line, finding.names))
        yield Note(kind="finding", label="found", lines=lines, slug=safe_line(finding.slug))
    if calm := calm_loops(results):
        yield Note(kind="finding", label="event loops", lines=(calm,))
    if parts := command(scan):
        yield Note(kind="finding", label="next", lines=(PROBE_THEM, " ".join(parts)))
    if scan.suite_workers is not None:
        yield Note(kind="workers", label=suite_layout.LABEL, lines=tuple(suite_layout.lines(scan.suite_workers)))
    for title, lines in holding_functions.lists(scan.functions or ()):
        yield Note(kind="holder", label=title, lines=lines[:MOST_FUNCTIONS])
    for group in scan.groups:
        if group.kind == "file":
            yield Note(kind="group", label="short tests", lines=(_group(group),))


def _group(group: ScanGroup) -> str:
    held = group.gil_held_fraction
    share = f", GIL held {numbers.percent(held.value)}" if held else ""
    took = f"{numbers.count(group.tests, 'test')} in {numbers.seconds(group.wall_s)}"
    return f"{safe_line(group.name)}: {took}, CPU {numbers.percent(group.cpu_utilization)}{share}"
