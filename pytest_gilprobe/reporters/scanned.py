"""What to say of a scan.

The whole in a sentence, why to read it with care, what was found, the pools of short tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Scan, ScanPool
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.reporters.inert import inert

if TYPE_CHECKING:
    from pytest_gilprobe.reporters.views import Note

CROWDED = 0.1
"""Share of the tests' time in the run queue from which a caution is due: times are then longer than they need be."""


def notes(scan: Scan) -> Iterator[Note]:
    """Give everything said of the whole, one note each: cautions, findings with all their names, pools by file."""
    from pytest_gilprobe.reporters.views import Note  # noqa: PLC0415 - 15 ms that a scan on a terminal has no use for

    for caution in cautions(scan):
        yield Note(kind="caution", label="caution", lines=(caution,))
    for finding in scan.findings:
        lines = (inert(finding.message), *map(inert, finding.names))
        yield Note(kind="finding", label="found", lines=lines, slug=inert(finding.slug))
    for pool in scan.pools:
        if pool.kind == "file":
            yield Note(kind="pool", label="short tests", lines=(pooled(pool),))


def pooled(pool: ScanPool) -> str:
    """Say what a pool of short tests is like."""
    held = pool.gil_held_fraction
    share = f", GIL held {numbers.percent(held.value)}" if held else ""
    busy = f"CPU {numbers.percent(pool.cpu_utilization)}"
    return f"{inert(pool.name)}: {numbers.count(pool.tests, 'test')} in {numbers.seconds(pool.wall_s)}, {busy}{share}"


def headline(scan: Scan) -> str:
    """Say the whole in a sentence."""
    held = scan.gil_held_fraction
    share = f", GIL held {numbers.percent(held.value)} of it {numbers.interval(held)}" if held else ""
    could_s = scan.wall_s - (scan.run_queue_s or 0.0)
    busy = f"CPU {numbers.percent(scan.cpu_s / could_s)}" if could_s > 0 else "CPU n/a"
    alone = f"{scan.tests_alone} long enough to be told one by one"
    return f"{numbers.count(scan.tests, 'test')}, {alone}: {numbers.seconds(scan.wall_s)} in their calls, {busy}{share}"


def cautions(scan: Scan, tracers: Sequence[str] = ()) -> Iterator[str]:
    """Say what to know before believing the numbers."""
    if scan.died_in is not None:
        yield f"a pytest process died in {inert(scan.died_in)}"
    if scan.unwatched is not None:
        yield f"the GIL was not watched: {inert(scan.unwatched)}"
    if scan.run_queue_s is not None and scan.wall_s > 0 and scan.run_queue_s > CROWDED * scan.wall_s:
        kept = numbers.percent(scan.run_queue_s / scan.wall_s)
        yield f"other programs kept the tests from a core for {kept} of that time; CPU is told of the rest"
    if scan.lost:
        yield f"{numbers.count(scan.lost, 'test')} left no record: the watcher was kept from its core"
    if tracers:
        yield f"Python code was traced ({', '.join(map(inert, tracers))}), which makes it slower, and native code not"
